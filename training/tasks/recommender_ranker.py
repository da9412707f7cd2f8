"""The night's blend as one of the rankers that training/evaluate_recommend.py judges: on interactions alone, without a store.

    ranker = NightRanker.fit(told, at_s)
    scores = ranker.score(told, customers, at_s)

It is fitted as the task fits it: on the nights of `told`, the newest of which chooses the number of trees, with what the shop's
events say of items as of `at_s`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from training.recommend.interactions import BEHAVIOURS, NO_CATEGORY, NO_ITEM, Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_protocol import DAY_S, places
from training.task import Examples, Fitting
from training.tasks.recommender import TASK
from training.tasks.recommender_examples import (
    AGE_HOURS,
    BEHAVIOUR,
    CATEGORIES,
    MAX_EVENTS,
    PRICES,
    ROWS,
    TARGET,
    TOUCHED,
)
from training.tasks.recommender_features import Sight
from training.tasks.recommender_knowledge import Knowledge
from training.tasks.recommender_model import RecommenderModel
from training.tasks.recommender_sight import Histories

_PURCHASE: Final = BEHAVIOURS.index("purchase")
_BEHIND: Final = 100.0  # log-odds: what is no candidate stands behind what is, by popularity


@dataclass(frozen=True)
class NightRanker:
    """The model and, for what is no candidate of it, popularity."""

    model: RecommenderModel
    popularity: Popularity
    kind: ClassVar[str] = "night's blend"

    @classmethod
    def fit(cls, told: Interactions, at_s: float, threads: int = 1) -> "NightRanker":
        """The nights are the days before `at_s`. Raises NoDataError for fewer than four of them."""
        first = int(np.ceil((told.seconds.min(initial=at_s) - at_s) / DAY_S))
        if first > -3:
            raise NoDataError(f"{1 - first} days of events: the night's blend needs four, two of them to learn from")
        *learnt, newest = [_examples(told, at_s + DAY_S * day, day) for day in range(first, 0)]
        model = TASK.fit(_together(learnt), newest, Fitting(threads=threads))
        known = Knowledge.fit(Histories.of(rows_of(told, at_s, np.arange(len(told.customers)))))
        return cls(model.renewed(known), Popularity.fit(told, at_s))

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        found = self.model.rank(Sight(Histories.of(rows_of(told, at_s, customers)), self.model.known))
        scores = self.popularity.score(told, customers, at_s) - _BEHIND
        place = places(told.items, self.model.known.shelf.items)[found.item]
        kept = place != NO_ITEM
        scores[found.row[kept], place[kept]] = found.score[kept]
        return scores

    def save(self, folder: Path) -> None:
        """Two folders: the model, and popularity."""
        for name, part in (("model", self.model), ("popularity", self.popularity)):
            (folder / name).mkdir()
            part.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> "NightRanker":
        return cls(RecommenderModel.load(folder / "model"), Popularity.load(folder / "popularity"))


def rows_of(told: Interactions, at_s: float, customers: np.ndarray) -> pa.Table:
    """recommender_examples.ROWS of customers (n,), rising places in told.customers: what each did before a moment."""
    before = told.before(at_s)
    kept = np.isin(before.customer, customers)
    row = np.searchsorted(customers, before.customer[kept])
    item, behaviour, seconds = (part[kept] for part in (before.item, before.behaviour, before.seconds))
    order = np.lexsort((-seconds, row))
    order = order[np.arange(len(order)) - np.searchsorted(row[order], row[order]) < MAX_EVENTS]
    offsets = pa.array(np.searchsorted(row[order], np.arange(len(customers) + 1)).astype(np.int32))
    category = told.category_of.astype(str)[item[order]]
    lists = {
        TOUCHED: pa.array(told.items[item[order]].astype(object), pa.string()),
        BEHAVIOUR: pa.array(behaviour[order].astype(np.int64)),
        AGE_HOURS: pa.array((at_s - seconds[order]) / 3600),
        CATEGORIES: pa.array(np.where(category == str(NO_CATEGORY), None, category), pa.string()),
        PRICES: pa.nulls(len(order), pa.float64()),
    }
    named = {C.USER_KEY: told.customers[customers].astype(object), C.SEGMENT_NAME: np.full(len(customers), "", object)}
    columns = [pa.array(values, pa.string()) for values in named.values()]
    return pa.table([*columns, *(pa.ListArray.from_arrays(offsets, part) for part in lists.values())], schema=ROWS)


def _examples(told: Interactions, begin_s: float, day: int) -> Examples:
    """Everybody known before a day begins, and the distinct items of the day; its night is told as `day`."""
    known = np.unique(told.customer[told.seconds < begin_s])
    on = told.take((told.seconds >= begin_s) & (told.seconds < begin_s + DAY_S))
    wanted = []
    for where in (np.ones(len(on), dtype=bool), on.behaviour == _PURCHASE):
        came = on.take(where).matrix().tocsr()[known]
        came.sort_indices()
        items = pa.array(told.items[came.indices].astype(object), pa.string())
        wanted.append(pa.ListArray.from_arrays(pa.array(came.indptr.astype(np.int32)), items))
    rows = rows_of(told, begin_s, known)
    night = np.full(len(known), np.datetime64(day, "D"))
    return Examples(rows, pa.table(wanted, schema=TARGET), rows[C.USER_KEY].to_numpy(), np.full(len(known), ""), night)


def _together(parts: list[Examples]) -> Examples:
    rows, target = (pa.concat_tables([getattr(part, name) for part in parts]) for name in ("rows", "target"))
    return Examples(
        rows, target, *(np.concatenate([getattr(part, name) for part in parts]) for name in ("customer", "segment", "night"))
    )  # fmt: skip
