"""The hour at which each planned message is sent: read from hour_response, chosen by pipelines/strategy/placement.py."""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Strategy
from pipelines.core.storage import Store
from pipelines.strategy.explore import Decisions
from pipelines.strategy.holdout import hashed
from pipelines.strategy.placement import HOURS, HourCounts, fit_hours, open_hours

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "hour_response"
NO_HOUR = -1  # of who is sent nothing


@dataclass(frozen=True)
class SendHours:
    """When messages go out, and what is known of that."""

    hour: np.ndarray  # (n,) int64 on the shop's clock, NO_HOUR where nothing is sent
    told: dict[str, Any] | None  # learnt, by_lot: customers; own_share, gain: means of those learnt; None: no table


def send_hours(
    night: date,
    store: Store,
    keys: "pa.Array",
    segment_ids: np.ndarray,
    decisions: Decisions,
    is_lot: np.ndarray,
    strategy: Strategy,
) -> SendHours:
    """Who was decided by lot, (n,) bool, gets an hour by lot too, so that all hours of a window go on being tried."""
    windows = {window.id: window for window in strategy.send_windows}
    quiet = {channel.id: channel.quiet_hours for channel in strategy.channels}
    may = np.array([open_hours(windows[c.send_window], quiet[c.channel]) for c in decisions.candidates], dtype=bool)
    sent = np.flatnonzero(decisions.strategy >= 0)
    allowed = may[decisions.strategy[sent]].reshape(-1, HOURS)
    draws = hashed([f"hour:{strategy.seed}:{night}:{keys[i].as_py()}" for i in sent.tolist()])
    place = np.floor(draws * allowed.sum(axis=1)).astype(np.int64)
    by_lot = np.argmax(allowed.cumsum(axis=1) == place[:, None] + 1, axis=1)
    hour = np.full(len(keys), NO_HOUR, dtype=np.int64)
    hour[sent] = by_lot
    counts = _counts(night, store, keys, segment_ids)
    if counts is None:
        return SendHours(hour, None)
    model = fit_hours(counts)
    chosen = ~is_lot[sent]
    rows = sent[chosen]
    hour[rows] = model.best_hour(rows, allowed[chosen])
    told: dict[str, Any] = {"learnt": len(rows), "by_lot": int((~chosen).sum())}
    if len(rows):
        usual = (model.p_click[rows] * allowed[chosen]).sum(axis=1) / allowed[chosen].sum(axis=1)
        told["own_share"] = round(float(model.own_share[rows].mean()), 4)
        told["gain"] = round(float(model.p_click[rows, hour[rows]].sum() / usual.sum() - 1), 4)
    return SendHours(hour, told)


def _counts(night: date, store: Store, keys: "pa.Array", segment_ids: np.ndarray) -> HourCounts | None:
    """What the customers `keys` (n) did at each hour; None where the night has no such table."""
    import pyarrow.compute as pc

    table = read(store, TABLE, [night], C.USER_KEY, C.LOCAL_HOUR, C.N_SESSIONS, C.N_DELIVERIES, C.N_CLICKS)
    if table is None:
        return None
    row = pc.index_in(table[C.USER_KEY], value_set=keys)
    known = pc.is_valid(row)
    table, place = table.filter(known), row.filter(known).to_numpy()
    found = []
    for name in (C.N_SESSIONS, C.N_DELIVERIES, C.N_CLICKS):
        count = np.zeros((len(keys), HOURS), dtype=np.int64)
        count[place, table[C.LOCAL_HOUR].to_numpy()] = table[name].to_numpy()
        found.append(count)
    return HourCounts(found[0], found[1], found[2], segment_ids)
