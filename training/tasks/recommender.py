"""Recommender: which items a customer will want on the next night, the best first.

    nightmarket train recommender --shop demo

The baseline is the customer's own history, by behaviour and recency, then what is popular. The challenger asks several
sources for candidates (own history, what goes together with it, searches, categories, popularity, new items) and ranks
them by gradient boosting, fitted on nights after those that the sources learnt from.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
from pydantic import Field
from scipy.sparse import csr_matrix

from pipelines.core.columns import Columns as C
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from training.boosting import Data, fit_boosted
from training.recommend import measures as of_lists
from training.recommend.feedback import COLUMNS, REFUSED
from training.recommend.interactions import NO_ITEM
from training.recommend.off_policy import compare_shown
from training.recommend.ranker_protocol import places
from training.task import Examples, Fitting, Measure, settings_of
from training.tasks.recommender_examples import (
    AGE_HOURS,
    BEHAVIOUR,
    BOUGHT,
    CATEGORIES,
    ITEMS,
    PRICES,
    TOUCHED,
    examples_of,
)
from training.tasks.recommender_features import NAMES, Sight
from training.tasks.recommender_knowledge import Knowledge
from training.tasks.recommender_model import LISTED, TASK_NAME, RecommenderModel
from training.tasks.recommender_sight import Histories

_TINY: Final = 1e-12
_NIGHT_HOURS: Final = 24.0


class RecommenderSettings(Settings):
    """Under models.settings.recommender of a shop."""

    length: int = Field(20, ge=1, le=1000, description="items per list, and where it is judged")
    max_customers: int = Field(50_000, ge=100, description="per night, drawn by lot if there are more")
    nights: int = Field(5, ge=1, description="newest nights of training that the ranker is fitted on")
    negatives: int = Field(40, ge=1, description="candidates not touched, per customer and night, drawn by lot")
    rounds: int = Field(150, ge=1)
    learning_rate: float = Field(0.1, gt=0, le=1)


def per_list(target: pa.Table, predicted: pa.Table, truth: str) -> tuple[np.ndarray, csr_matrix]:
    """Lists (n, k) of places and the truth (n, items), as training.recommend.measures takes them."""
    wanted, listed = target[truth].combine_chunks(), predicted[LISTED].combine_chunks()
    names = pa.concat_arrays([wanted.flatten(), listed.flatten()]).dictionary_encode()
    code = names.indices.to_numpy(zero_copy_only=False)
    size, length = (part.value_lengths().fill_null(0).to_numpy(zero_copy_only=False) for part in (wanted, listed))
    rows = np.repeat(np.arange(len(target)), size)
    shape = (len(target), max(len(names.dictionary), 1))
    lists = np.full((len(target), max(int(length.max(initial=1)), 1)), NO_ITEM, dtype=np.int64)
    start = np.cumsum(length) - length
    at = np.repeat(np.arange(len(target)), length)
    lists[at, np.arange(len(at)) - start[at]] = code[len(rows) :]
    return lists, csr_matrix((np.ones(len(rows)), (rows, code[: len(rows)])), shape=shape)


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean over those with a value; 0 where nobody has one."""
    known = np.isfinite(values)
    total = weight[..., known].sum(axis=-1)
    found: np.ndarray = (weight[..., known] @ values[known]) / np.maximum(total, _TINY)
    return found


def _ndcg(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return _mean(of_lists.ndcg(*per_list(target, predicted, ITEMS)), weight)


def _bought_ndcg(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return _mean(of_lists.ndcg(*per_list(target, predicted, BOUGHT)), weight)


def _recall(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return _mean(of_lists.recall(*per_list(target, predicted, ITEMS)), weight)


def _hit(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    lists, truth = per_list(target, predicted, ITEMS)
    return _mean(np.where(np.diff(truth.indptr) > 0, of_lists.hit(lists, truth), np.nan), weight)


def _distinct(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    lists, truth = per_list(target, predicted, ITEMS)
    row, _ = np.nonzero(lists != NO_ITEM)
    listed = csr_matrix((np.ones(len(row)), (row, lists[lists != NO_ITEM])), shape=truth.shape)
    found: np.ndarray = np.asarray((weight @ listed) > 0).sum(axis=-1).astype(np.float64)
    return found


class RecommenderTask:
    """See training/task.py. An example is one customer's night: the items touched on it, of all events before it."""

    name: ClassVar[str] = TASK_NAME
    metric = "ndcg"
    example_columns = (C.USER_KEY, C.SEGMENT_NAME, TOUCHED, BEHAVIOUR, AGE_HOURS, CATEGORIES, PRICES)
    measures: Mapping[str, Measure] = {
        "ndcg": Measure(_ndcg, True, "NDCG of the list for whatever was touched on the night, by customers who came"),
        "bought_ndcg": Measure(_bought_ndcg, True, "NDCG of the list for what was bought, by customers who bought"),
        "recall": Measure(_recall, True, "share of what was touched that stood in the list"),
        "hit_rate": Measure(_hit, True, "customers whose list held something they touched"),
        "distinct_items": Measure(_distinct, True, "different items in all lists together"),
    }

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        settings = settings_of(RecommenderSettings, self.name, shop.models.settings.get(self.name, {}))
        return examples_of(shop, store, nights, settings.max_customers)

    def baseline(self, train: Examples, how: Fitting) -> RecommenderModel:
        """Own history, then popularity."""
        settings = settings_of(RecommenderSettings, self.name, how.settings)
        return RecommenderModel(Knowledge.fit(_newest(train)[1]), settings.length)

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> RecommenderModel:
        """The ranker's examples are of nights after all that its sources were shown; as many trees as serve `valid`."""
        settings = settings_of(RecommenderSettings, self.name, how.settings)
        held = valid if len(valid) else train
        nights = np.unique(train.night)[-settings.nights :]
        learnt = _pairs(train, nights, settings, how.seed)
        chosen = _pairs(valid, np.unique(valid.night), settings, how.seed) if len(valid) else None
        ranker = fit_boosted(
            learnt, chosen, how, objective="binary", rounds=settings.rounds, names=NAMES,
            learning_rate=settings.learning_rate, num_leaves=15, min_data_in_leaf=50,
            feature_fraction=0.6, bagging_fraction=0.7, bagging_freq=1,  # small trees: reasons ask each of them
        )  # fmt: skip
        return RecommenderModel(Knowledge.fit(_newest(held)[1]), settings.length, ranker)

    def load(self, folder: Path) -> RecommenderModel:
        return RecommenderModel.load(folder)

    def compare_policies(
        self, shop: Shop, store: Store, examples: Examples, challenger: Any, champion: Any
    ) -> dict[str, Any]:
        """Clicks that both models' lists would have had, by what was shown on these nights; see training/task.py."""
        lists = (model.predict(examples.rows)[LISTED].combine_chunks() for model in (challenger, champion))
        return compare_shown(shop, store, examples, *lists)


TASK = RecommenderTask()


def _newest(examples: Examples) -> tuple[np.datetime64, Histories]:
    """The newest night, and everybody's history before it."""
    night = examples.night.max()
    return night, Histories.of(examples.rows.filter(pa.array(examples.night == night)))


def _pairs(examples: Examples, nights: np.ndarray, settings: RecommenderSettings, seed: int) -> Data:
    """Candidates of the nights' customers and whether they were touched; of those that were not, some by lot, and what was
    shown to them with what they made of it."""
    newest, everybody = _newest(examples)
    rng = np.random.default_rng(seed)
    parts = []
    for night in nights:
        came = (examples.night == night) & (examples.target[ITEMS].combine_chunks().value_lengths().to_numpy() > 0)
        mine = examples.take(came)
        before = everybody.before(_NIGHT_HOURS * float((newest - night) / np.timedelta64(1, "D")))
        sight = Sight(Histories.of(mine.rows), Knowledge.fit(before))
        shelf = sight.known.shelf.items
        row, item, _ = sight.candidates()
        touched = _touched(mine.target, shelf)
        kept = _some(row, _at(touched, row, item) > 0, settings.negatives, rng)
        shown_row, shown_item, label, told = _answered(mine.target, shelf)
        asked = shown_row * len(shelf) + shown_item
        pairs = np.union1d(row[kept] * len(shelf) + item[kept], asked)
        row, item = np.divmod(pairs, max(len(shelf), 1))
        y, weight = (_at(touched, row, item) > 0).astype(np.float64), np.ones(len(pairs))
        # What was shown weighs as if no slot were favoured; what was looked for by oneself needs no slot.
        at = np.searchsorted(pairs, asked)
        by_slot = (label > REFUSED) | (y[at] == 0)
        y[at[by_slot]], weight[at[by_slot]] = label[by_slot] > REFUSED, told[by_slot]
        parts.append((sight.features(row, item), y, weight))
    return Data(*(np.concatenate([part[place] for part in parts]) for place in range(3)))


def _answered(target: pa.Table, shelf: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, items, labels and weights of what was shown (training/recommend/feedback.py); nothing where no row tells."""
    none = np.zeros(0, dtype=np.int64)
    if not set(COLUMNS) <= set(target.schema.names):
        return none, none, none, none.astype(np.float64)
    items, labels, weights = (target[name].combine_chunks() for name in COLUMNS)
    row = np.repeat(np.arange(len(target)), items.value_lengths().to_numpy())
    item = places(shelf, items.flatten().to_numpy(zero_copy_only=False).astype(str))
    known = item >= 0
    return row[known], item[known], labels.flatten().to_numpy()[known], weights.flatten().to_numpy()[known]


def _at(matrix: csr_matrix, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """(p,) cells of a sparse matrix."""
    return np.asarray(matrix[row, column]).ravel() if len(row) else np.zeros(0)


def _touched(target: pa.Table, shelf: np.ndarray) -> csr_matrix:
    """(n, i) 1 where the row's customer touched the item."""
    lists = target[ITEMS].combine_chunks()
    row = np.repeat(np.arange(len(target)), lists.value_lengths().to_numpy())
    item = places(shelf, lists.flatten().to_numpy(zero_copy_only=False).astype(str))
    known = item >= 0
    return csr_matrix((np.ones(known.sum()), (row[known], item[known])), shape=(len(target), len(shelf)))


def _some(row: np.ndarray, is_touched: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Places of all that were touched and of `most` others per row."""
    lot = np.where(is_touched, -1.0, rng.random(len(row)))
    order = np.lexsort((lot, row))
    before = np.bincount(row[is_touched], minlength=int(row.max(initial=-1)) + 1)
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    return np.sort(order[rank < most + before[row[order]]])
