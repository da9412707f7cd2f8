"""Search: which item a customer wants who typed this.

    nightmarket train search --shop demo

The baseline is BM25 over titles, categories, brands and colours. The challenger ranks its candidates by trees
(training/search/ranker.py) over words, shelves and, where `views` names encoders, cosines; it learns from what was touched
after a search.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, default_root
from training.search.features import features
from training.search.index import Index
from training.search.ranker import Ranker
from training.search.views import at_hand, encoders_of, vectors_of
from training.task import Examples, Fitting, Measure, settings_of
from training.tasks.search_examples import GAINS, ITEMS, catalog_of, examples_of

LISTED, SCORES = "items", "scores"  # of a prediction
LENGTH: Final = 20


class SearchSettings(Settings):
    """Under models.settings.search of a shop."""

    views: tuple[Literal["title", "multilingual"], ...] = Field(
        (), description="encoders asked, if their weights are there"
    )
    max_searches: int = Field(20_000, ge=1, description="the newest, if there are more")
    max_queries: int = Field(1_500, ge=1, description="different ones that the ranker learns from, the most frequent")
    rounds: int = Field(200, ge=1)


@dataclass(frozen=True)
class SearchModel:
    index: Index

    @property
    def kind(self) -> str:
        return "bm25" if self.index.ranker is None else "ranked"

    def predict(self, rows: pa.Table) -> pa.Table:
        """LISTED and SCORES, the best first, for each row's C.QUERY; rows of items have no list."""
        asked = rows[C.QUERY].to_pylist() if C.QUERY in rows.schema.names else [None] * len(rows)
        known: dict[str | None, tuple[list[str], list[float]]] = {None: ([], [])}
        for text in asked:
            if text is not None and text not in known:
                hits = self.index.search(str(text), LENGTH)
                known[text] = hits.items, hits.scores
        return pa.table(
            {
                LISTED: pa.array([known[text][0] for text in asked], pa.list_(pa.string())),
                SCORES: pa.array([known[text][1] for text in asked], pa.list_(pa.float64())),
            }
        )

    def save(self, folder: Path) -> None:
        self.index.save(folder)
        told = {"task": TASK.name, "kind": self.kind, "views": sorted(self.index.goods.vectors)}
        (folder / "model.json").write_text(json.dumps(told, indent=1, sort_keys=True), encoding="utf-8")


def _each(target: pa.Table, predicted: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(n,) reciprocal rank of the best item that was touched and NDCG of all; NaN for a row of an item."""
    found = np.full((2, len(target)), np.nan)
    discount = 1 / np.log2(np.arange(2, LENGTH + 2))
    columns = (target[ITEMS], target[GAINS], predicted[LISTED])
    for at, (items, gains, listed) in enumerate(zip(*(one.to_pylist() for one in columns), strict=True)):
        if items:
            gain = dict(zip(items, gains, strict=True))
            got = np.array([gain.get(item, 0.0) for item in listed] + [0.0] * (LENGTH - len(listed)))[:LENGTH]
            best = np.sort(gains)[::-1][:LENGTH]
            found[0, at] = 1 / (1 + int((got > 0).argmax())) if got.any() else 0
            found[1, at] = got @ discount / (best @ discount[: len(best)])
    return found[0], found[1]


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.asarray(weight[..., known] @ values[known] / np.maximum(weight[..., known].sum(axis=-1), 1e-12))


def _mrr(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return _mean(_each(target, predicted)[0], weight)


def _ndcg(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return _mean(_each(target, predicted)[1], weight)


def _found(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    reciprocal = _each(target, predicted)[0]
    return _mean(np.where(np.isfinite(reciprocal), reciprocal > 0, np.nan), weight)


class SearchTask:
    """See training/task.py. An example is a search and what was touched after it."""

    name: ClassVar[str] = "search"
    metric = "ndcg"
    example_columns = (C.USER_KEY, C.SEGMENT_NAME, C.QUERY)
    measures: Mapping[str, Measure] = {
        "ndcg": Measure(_ndcg, True, f"NDCG of the first {LENGTH} items: gain 1 for a purchase, .7 cart, .5 favourite, .3 view"),
        "mrr": Measure(_mrr, True, f"1 / place of the first item of these {LENGTH} that was touched"),
        "found": Measure(_found, True, f"searches with an item that was touched among these {LENGTH}"),
    }  # fmt: skip

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        settings = settings_of(SearchSettings, self.name, shop.models.settings.get(self.name, {}))
        return examples_of(shop, store, nights, settings.max_searches)

    def baseline(self, train: Examples, how: Fitting) -> SearchModel:
        """BM25."""
        return SearchModel(Index.build(_some_items(train), {}))

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> SearchModel:
        """As many trees as serve `valid` best, whose catalogue is the newer one."""
        settings = settings_of(SearchSettings, self.name, how.settings)
        index = Index.build(_some_items(valid if len(valid) else train), {})
        folders = at_hand(settings.views, how.weights) if how.weights else {}
        if folders:
            vectors = vectors_of(index.goods.items.titles, folders, how.threads, None)
            index = Index.build(index.catalog, vectors, encoders_of(folders, how.threads))
        learnt = _asked(index, train, settings.max_queries)
        if not learnt[0]:
            raise TrainingError(
                f"search: no item touched after {len(train)} searches is in the catalogue; wait for more"
            )
        how.log({"items_not_listed": float(_n_not_listed(index, train))}, 0)
        held = _asked(index, valid, settings.max_queries) if len(valid) else ([], [])
        ranker = Ranker.fit(*learnt, how, views=tuple(folders), rounds=settings.rounds, valid=held if held[0] else None)
        return SearchModel(index.with_ranker(replace(ranker, threads=1)))

    def load(self, folder: Path) -> SearchModel:
        """Raises TrainingError for a folder that is none of this task's, or whose encoders are not on this disk."""
        try:
            told: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if told["task"] != self.name:
                raise ValueError("a model of another task")
            views = tuple(told["views"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{folder}: no readable search model ({type(error).__name__}: {error}); train it again"
            ) from None
        folders = at_hand(views, default_root() / "weights")
        if missing := set(views) - set(folders):
            raise TrainingError(
                f"{folder}: weights of {', '.join(sorted(missing))} are not under {default_root()}/weights"
            )
        return SearchModel(Index.load(folder, encoders_of(folders, 1) if folders else {}))


TASK = SearchTask()


def _some_items(examples: Examples) -> pa.Table:
    return catalog_of(examples.rows)


def _n_not_listed(index: Index, examples: Examples) -> int:
    """Items that were touched after a search and are not in the catalogue: nothing is learnt of them."""
    touched = pc.unique(pc.list_flatten(examples.target[ITEMS])).to_pylist()
    return len(set(touched) - set(index.goods.items.ids.tolist()))


def _asked(index: Index, examples: Examples, most: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Features and gains of candidates by query, the most frequent ones: the mean gain of an item over the searches."""
    place = {item: at for at, item in enumerate(index.goods.items.ids.tolist())}
    counted: Counter[str] = Counter()
    gained: dict[str, Counter[int]] = {}
    is_asked = pc.is_valid(examples.rows[C.QUERY]).to_numpy()
    told = examples.take(is_asked)
    columns = (told.rows[C.QUERY], told.target[ITEMS], told.target[GAINS])
    for text, items, gains in zip(*(one.to_pylist() for one in columns), strict=True):
        counted[text] += 1
        for item, gain in zip(items, gains, strict=True):
            if item in place:
                gained.setdefault(text, Counter())[place[item]] += gain
    x, y = [], []
    for text, count in sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:most]:
        if text in gained:
            sight, _ = index.sight(text)
            if len(sight.places):
                x.append(features(index.goods, sight))
                y.append(np.minimum([gained[text][at] / count for at in sight.places.tolist()], 1.0))
    return x, y
