"""Drift: whether customers behaved tonight as on no night of the window before.

A night's mix is its share of events per type and hour of day. Its distance from the nights before is the Jensen-Shannon
distance (Lin 1991; base 2, 0 equal to 1 disjoint) to the mean of their mixes. The limit comes from those nights
themselves: the largest distance of one of them from the mean of the others, and half of it more, so that a shop whose
nights differ much is not alarmed by one more such night.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.reading import read
from pipelines.core.recommending import CHANNEL as RECOMMENDED
from pipelines.core.storage import Store, window
from pipelines.core.tables import EVENT_TYPES

if TYPE_CHECKING:
    import numpy as np

WINDOW_NIGHTS, MIN_NIGHTS, SLACK = 28, 7, 1.5
_HOURS = 24


@dataclass(frozen=True)
class Drift:
    """`distance` and `limit` are Jensen-Shannon distances; both 0 where fewer than MIN_NIGHTS nights are known."""

    distance: float
    limit: float
    told: str

    @property
    def has_drifted(self) -> bool:
        return self.distance > self.limit


def measure(night: date, store: Store) -> Drift:
    """Tonight's mix of events against the nights of the window before. Raises NoDataError without the night's events."""
    import numpy as np

    tonight = _mix(store, night)
    if tonight is None:
        raise NoDataError(f"shop {store.shop}, night {night}: no events to compare with the nights before")
    before = [mix for one in window(night - timedelta(days=1), WINDOW_NIGHTS) if (mix := _mix(store, one)) is not None]
    if len(before) < MIN_NIGHTS:
        return Drift(0.0, 0.0, f"{len(before)} nights before this one, {MIN_NIGHTS} are needed to say what is usual")
    mixes = np.array(before)
    others = (mixes.sum(axis=0) - mixes) / (len(mixes) - 1)
    limit = SLACK * max(distance(mix, rest) for mix, rest in zip(mixes, others, strict=True))
    found = distance(tonight, mixes.mean(axis=0))
    says = "drifted" if found > limit else "as usual"
    return Drift(
        found, limit, f"night {night}: {says}: distance {found:.4f} of events' types and hours, limit {limit:.4f}"
    )


def distance(left: "np.ndarray", right: "np.ndarray") -> float:
    """Jensen-Shannon distance of two mixes, shape (n,), each summing to 1."""
    import numpy as np

    middle = (left + right) / 2

    def divergence(mix: "np.ndarray") -> float:
        there = mix > 0
        return float(np.sum(mix[there] * np.log2(mix[there] / middle[there])))

    return float(np.sqrt(max(0.0, (divergence(left) + divergence(right)) / 2)))


def _mix(store: Store, night: date) -> "np.ndarray | None":
    """Shares of events by type and hour (UTC), recommendations shown left out, shape (n_types * 24,); None without events."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    events = read(store, "events", [night], C.EVENT_TYPE, C.OCCURRED_AT, C.CHANNEL)
    if events is None:
        return None
    by_us = pc.and_(pc.equal(events[C.EVENT_TYPE], "impression"), pc.equal(events[C.CHANNEL], RECOMMENDED))
    events = events.filter(pc.invert(pc.fill_null(by_us, False)))  # the shop's doing, not a customer's
    if not len(events):
        return None
    kinds = pc.index_in(events[C.EVENT_TYPE], pa.array(EVENT_TYPES)).to_numpy()
    hours = pc.hour(events[C.OCCURRED_AT]).to_numpy()
    counts = np.bincount(kinds * _HOURS + hours, minlength=len(EVENT_TYPES) * _HOURS)
    return np.asarray(counts / counts.sum())
