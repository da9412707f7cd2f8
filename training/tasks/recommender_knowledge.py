"""What the shop's events of the last weeks say about items: who goes with whom, what is popular, what is new.

Learnt from histories alone, in seconds, so a model that was trained last week ranks tonight's catalogue by tonight's
knowledge. Items that nobody has touched yet stand as popular as their category's usual item until they are known.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix

from training.recommend.history import Weights
from training.recommend.item_knn import ItemKnn
from training.recommend.newcomers import alike_by_words
from training.recommend.popularity import Popularity
from training.recommend.ranker_protocol import places
from training.tasks.recommender_sight import MARK, Histories

WEIGHTS: Final = Weights()
_NEIGHBOURS: Final = 50
_TAU_DAYS: Final = 7.0  # of popularity
_RECENT_DAYS: Final = 2.0  # of a trend
_PRIOR_NIGHTS: Final = 2.0  # nights of its category's usual item that an item's own weigh as much as
_HOURS: Final = 24.0
_MIN_SEARCHERS: Final = 3


@dataclass(frozen=True)
class Shelf:
    """What can be recommended."""

    items: np.ndarray  # (i,) str ids, sorted
    category: np.ndarray  # (i,) str, "" where unknown
    price: np.ndarray  # (i,) cents, NaN where unknown

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, seen: Histories) -> "Shelf":
        """Every item of the histories, with its category and price as last told."""
        told, is_item = seen.told, ~seen.is_search
        category = np.full(len(told.items), "", dtype=object)
        price = np.full(len(told.items), np.nan)
        for values, known in ((category, seen.category != ""), (price, seen.price > 0)):
            at = np.flatnonzero(known)  # in time order, so the last one stays
            values[told.item[at]] = (seen.category if values is category else seen.price)[at]
        return cls(told.items[is_item], category[is_item].astype(str), price[is_item])


@dataclass(frozen=True)
class Knowledge:
    """Of the t names of histories and the i items of a shelf."""

    shelf: Shelf
    names: np.ndarray  # (t,) str: items and searches, sorted
    similar: csr_matrix  # (t, i): how alike, cosine over customers; an item is not its own neighbour
    rate: np.ndarray  # (i,) customers a night, of late, drawn to the category's usual item
    trend: np.ndarray  # (i,) log of the rate of the last nights over that of the last weeks
    age_nights: np.ndarray  # (i,) since the first touch, 0: never touched

    @cached_property
    def by_item(self) -> csr_matrix:
        """(i, t) `similar` the other way round."""
        return self.similar.T.tocsr()

    @cached_property
    def is_search(self) -> np.ndarray:
        """(t,) bool: which names are searches."""
        return np.char.startswith(self.names, MARK) if len(self.names) else np.zeros(0, dtype=bool)

    @classmethod
    def fit(cls, seen: Histories, shelf: Shelf | None = None, titles: np.ndarray | None = None) -> "Knowledge":
        """`shelf`: tonight's catalogue, by default what the histories hold; `titles` (i,) of its items, by whose words
        those that nobody has touched go with others."""
        shelf = Shelf.of(seen) if shelf is None else shelf
        seen = _without_rare_searches(seen)
        told = seen.told
        knn = ItemKnn.fit(told, 0.0, WEIGHTS, _NEIGHBOURS)
        place = places(shelf.items, told.items)
        pairs = knn.similar.tocoo()
        kept = (pairs.row != pairs.col) & (place[pairs.col] >= 0)
        similar = csr_matrix(
            (pairs.data[kept], (pairs.row[kept], place[pairs.col[kept]])), shape=(len(told.items), len(shelf))
        )
        first = np.zeros(len(told.items))
        np.maximum.at(first, told.item, seen.age_hours)
        age = _on_shelf(np.ceil(first / _HOURS), place, len(shelf))
        if titles is not None:
            level = float(similar.data.mean()) if similar.nnz else 1.0
            texts = [
                str(titles[at]) if at >= 0 else name.removeprefix(MARK)
                for at, name in zip(place, told.items, strict=True)
            ]
            similar = (similar + alike_by_words(texts, titles.tolist(), np.flatnonzero(age == 0), level)).tocsr()
        slow, fast = (
            _rates(_on_shelf(Popularity.fit(told, 0.0, tau).customers, place, len(shelf)), age, tau, shelf.category)
            for tau in (_TAU_DAYS, _RECENT_DAYS)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            trend = np.nan_to_num(np.log(fast / slow), posinf=0.0, neginf=0.0)
        return cls(shelf, told.items, similar, slow, trend, age)

    def save(self, folder: Path, name: str = "knowledge") -> None:
        """Writes NAME.json (texts) and NAME.safetensors (numbers)."""
        from safetensors.numpy import save_file

        texts = {"items": self.shelf.items, "category": self.shelf.category, "names": self.names}
        numbers = {
            "price": self.shelf.price, "rate": self.rate, "trend": self.trend, "age_nights": self.age_nights,
            "data": self.similar.data, "indices": self.similar.indices, "indptr": self.similar.indptr,
        }  # fmt: skip
        told = {key: values.tolist() for key, values in texts.items()}
        (folder / f"{name}.json").write_text(json.dumps(told, ensure_ascii=False, sort_keys=True), encoding="utf-8")
        save_file({key: np.ascontiguousarray(v) for key, v in numbers.items()}, folder / f"{name}.safetensors")

    @classmethod
    def load(cls, folder: Path, name: str = "knowledge") -> "Knowledge":
        """What `save` wrote. Raises OSError, ValueError or KeyError where it is not there."""
        from safetensors.numpy import load_file

        texts: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        items, category, names = (np.array(texts[key], dtype=str) for key in ("items", "category", "names"))
        told = load_file(folder / f"{name}.safetensors")
        shape = (len(names), len(items))
        similar = csr_matrix((told["data"], told["indices"], told["indptr"]), shape=shape)
        shelf = Shelf(items, category, told["price"])
        return cls(shelf, names, similar, told["rate"], told["trend"], told["age_nights"])


def _without_rare_searches(seen: Histories) -> Histories:
    """What fewer than _MIN_SEARCHERS customers typed says nothing of others, and could tell of one person."""
    told = seen.told
    pairs = np.unique(np.stack([told.item, told.customer]), axis=1)
    n_customers = np.bincount(pairs[0], minlength=len(told.items))
    return seen.only(~seen.is_search | (n_customers >= _MIN_SEARCHERS))


def _on_shelf(values: np.ndarray, place: np.ndarray, n_items: int) -> np.ndarray:
    found = np.zeros(n_items)
    found[place[place >= 0]] = values[place >= 0]
    return found


def _rates(customers: np.ndarray, age: np.ndarray, tau: float, category: np.ndarray) -> np.ndarray:
    """(i,) customers a night: what was counted, decayed, over the nights since the first touch, decayed alike; with
    _PRIOR_NIGHTS of the category's mean item on top, and of the shop's where the category has none."""
    nights = tau * (1 - np.exp(-age / tau))
    names, code = np.unique(category, return_inverse=True)
    overall = customers.sum() / max(nights.sum(), 1.0)
    usual = (np.bincount(code, customers, minlength=len(names)) + _PRIOR_NIGHTS * overall) / (
        np.bincount(code, nights, minlength=len(names)) + _PRIOR_NIGHTS
    )
    found: np.ndarray = (customers + _PRIOR_NIGHTS * usual[code]) / (nights + _PRIOR_NIGHTS)
    return found
