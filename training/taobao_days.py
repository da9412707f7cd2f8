"""The nine Taobao days as a recommender is judged on them: what was known when a day began, and what came on it."""

from dataclasses import dataclass
from datetime import date, datetime
from datetime import time as clock
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from training.evaluate_behaviour import ZONE, read_taobao
from training.recommend.interactions import BEHAVIOURS, NO_ITEM, Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_examples import Target
from training.recommend.ranker_protocol import DAY_S, places

CROWD: Final = "UserBehavior_2017-11-26_2h.csv.gz"  # two hours of the second day, 58,000 other people
TARGETS: Final[tuple[Target, ...]] = ("any", "purchase")


def read_events(path: Path) -> pa.Table:
    """Raises NoDataError where the file is missing or damaged."""
    try:
        return read_taobao(path)
    except (OSError, EOFError, pa.ArrowInvalid, KeyError) as error:
        raise NoDataError(
            f"{path}: {error}; expected the sample of Taobao UserBehavior that SOURCE.md describes"
        ) from None


@dataclass(frozen=True)
class Day:
    """What was known when a day began, and what came on it."""

    told: Interactions  # of the days before, whose items are all that is ranked
    at_s: float
    truth: dict[Target, csr_matrix]  # (n_customers, n_items) 1 where it came
    misses: dict[Target, np.ndarray]  # (n_customers,) distinct items that came and were not known

    @classmethod
    def of(cls, events: pa.Table, level: str, night: date) -> "Day":
        """Raises NoDataError where there is nothing before the day or nothing on it."""
        at_s = datetime.combine(night, clock.min, ZONE).timestamp()
        seconds = events[C.OCCURRED_AT].cast(pa.timestamp("s", "UTC")).cast(pa.int64()).to_numpy()
        order = np.argsort(seconds, kind="stable")
        column = C.ITEM_ID if level == "item" else C.CATEGORY_ID
        seconds, who, what, category, kind = (
            np.array(told)[order]
            for told in (
                seconds,
                *(events[name].to_pylist() for name in (C.USER_KEY, column, C.CATEGORY_ID, C.EVENT_TYPE)),
            )
        )
        before, on = seconds < at_s, (seconds >= at_s) & (seconds < at_s + DAY_S)
        if not before.any() or not on.any():
            raise NoDataError(f"{before.sum()} events before {night} and {on.sum()} on it; expected some of both")
        told = interactions(
            *(part[before] for part in (who, what, category, kind, seconds)), with_category=level == "item"
        )
        truth, misses = {}, {}
        for target in TARGETS:
            came = on & ((kind == "purchase") | (target == "any"))
            pairs = np.unique(np.stack([who[came], what[came]]), axis=1)
            customer, item = places(told.customers, pairs[0]), places(told.items, pairs[1])
            known, new = (customer != NO_ITEM) & (item != NO_ITEM), (customer != NO_ITEM) & (item == NO_ITEM)
            shape = (len(told.customers), len(told.items))
            truth[target] = csr_matrix((np.ones(known.sum()), (customer[known], item[known])), shape=shape)
            misses[target] = np.bincount(customer[new], minlength=len(told.customers))
        return cls(told, at_s, truth, misses)


def interactions(
    who: np.ndarray,
    what: np.ndarray,
    category: np.ndarray,
    kind: np.ndarray,
    seconds: np.ndarray,
    *,
    with_category: bool,
) -> Interactions:
    """Of events (n,) in time order."""
    customers, customer = np.unique(who, return_inverse=True)
    items, first, item = np.unique(what, return_index=True, return_inverse=True)
    categories = np.unique(category[first], return_inverse=True)[1] if with_category else None
    behaviour = np.array([BEHAVIOURS.index(one) for one in kind], dtype=np.int8)
    return Interactions(customers, items, customer, item, behaviour, seconds.astype(np.float64), categories)


def crowd_of(events: pa.Table, level: str, day: Day) -> Popularity:
    """How many other people touched an item or category; ranked customers are left out."""
    others = events.filter(pc.invert(pc.is_in(events[C.USER_KEY], pa.array(day.told.customers))))
    column = C.ITEM_ID if level == "item" else C.CATEGORY_ID
    pairs = np.unique(np.array([others[C.USER_KEY].to_pylist(), others[column].to_pylist()]), axis=1)
    items, customers = np.unique(pairs[1], return_counts=True)
    return Popularity(items, customers.astype(np.float64))
