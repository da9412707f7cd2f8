"""Which items a customer is considered for, by which source, and what is told of each such pair.

Every number of a pair follows from the customer's own events and the shop's knowledge, nothing from the other candidates:
so an event taken away changes a score by what that event carried.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix

from pipelines.core.recommending import AGAIN
from training.recommend.ranker_protocol import places
from training.tasks.recommender_knowledge import WEIGHTS, Knowledge
from training.tasks.recommender_sight import NEVER, Histories, Sums

# Where candidates come from, and how many of each at most.
OWN, TOGETHER, CATEGORY, POPULAR, NEW = SOURCES = ("own", "together", "category", "popular", "new")
_WIDTHS: Final = {OWN: 60, TOGETHER: 60, CATEGORY: 40, NEW: 6}
N_POPULAR: Final = 30
_OF_CATEGORY: Final = 20  # most popular items of each category
# What a feature's contribution is said to come from; the rest is no cause that could be named.
ALONG, SEARCHED, TASTE, BAND, CHEAPER, TREND, FRESH, REST = (
    "together", "search", "category", "price_band", "price_drop", "popular", "new", "rest",
)  # fmt: skip
FEATURES: Final[Mapping[str, str]] = {
    "own_weight": AGAIN, "own_share": AGAIN, "own_count": AGAIN, "own_hours": AGAIN, "cart_hours": AGAIN,
    "bought_hours": AGAIN,
    "together": ALONG, "together_share": ALONG, "together_most": ALONG,
    "search": SEARCHED, "search_share": SEARCHED,
    "category_share": TASTE, "category_hours": TASTE, "category_count": TASTE, "category_bought_hours": TASTE,
    "price_away": BAND, "price_drop": CHEAPER,
    "rate": TREND, "rate_in_category": TREND, "trend": TREND, "age_nights": FRESH,
    "events": REST, "event_hours": REST, "distinct": REST,
}  # fmt: skip
NAMES: Final = tuple(FEATURES)


@dataclass(frozen=True)
class Sight:
    """Histories as a shop's knowledge sees them."""

    seen: Histories
    known: Knowledge
    allowed: np.ndarray | None = None  # (i,) bool: what may stand among the popular; everything by default
    n_popular: int = N_POPULAR

    @cached_property
    def _weight(self) -> np.ndarray:
        weight = WEIGHTS.of(self.seen.told, 0.0)
        return np.where(self.seen.is_search[self.seen.told.item], 0.0, weight) if len(weight) else weight

    @cached_property
    def own(self) -> Sums:
        """Per row and item of the shelf."""
        place = places(self.known.shelf.items, self.seen.told.items)
        thing = place[self.seen.told.item] if len(place) else np.zeros(0, dtype=np.int64)
        return Sums.of(self.seen.told.customer, thing, len(self.known.shelf), self._weight, self.seen)

    @cached_property
    def of_category(self) -> Sums:
        """Per row and category of the shelf."""
        thing = places(self.categories, self.event_category)
        return Sums.of(self.seen.told.customer, thing, len(self.categories), self._weight, self.seen)

    @cached_property
    def event_category(self) -> np.ndarray:
        """(e,) str: of an item on the shelf the shelf's category, of others what the event told."""
        place = places(self.known.shelf.items, self.seen.told.items)
        shelf = np.append(self.known.shelf.category, "")
        on_shelf = shelf[place[self.seen.told.item]] if len(place) else np.zeros(0, dtype=str)
        return np.where(on_shelf == "", self.seen.category, on_shelf)

    @cached_property
    def categories(self) -> np.ndarray:
        """(c,) str, sorted; those of the shelf."""
        return np.unique(self.known.shelf.category[self.known.shelf.category != ""])

    @cached_property
    def category_of(self) -> np.ndarray:
        """(i,) places among the categories, -1 without."""
        return places(self.categories, self.known.shelf.category)

    @cached_property
    def names(self) -> csr_matrix:
        """(n, t) log weights of the known names, searches among them."""
        told = self.seen.told
        touched = told.matrix(WEIGHTS.of(told, 0.0)).log1p().tocoo()
        place = places(self.known.names, told.items)
        column = place[touched.col] if len(place) else touched.col
        kept = column >= 0
        shape = (len(self.seen), len(self.known.names))
        return csr_matrix((touched.data[kept], (touched.row[kept], column[kept])), shape=shape)

    @cached_property
    def total(self) -> np.ndarray:
        """(n,) weight of all touches."""
        return np.bincount(self.seen.told.customer, self._weight, minlength=len(self.seen))

    @cached_property
    def log_price(self) -> np.ndarray:
        """(n,) middle of what was looked at, weighted, NaN without prices."""
        priced = (self.seen.price > 0) & (self._weight > 0)
        row, weight = self.seen.told.customer[priced], self._weight[priced]
        total = np.bincount(row, weight, minlength=len(self.seen))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.bincount(row, weight * np.log(self.seen.price[priced]), minlength=len(self.seen)) / total

    # -- candidates

    def candidates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs row (p,) and item (p,), sorted, and the rank (p, SOURCES) at which each source has them, 0: not at all."""
        n, n_items = len(self.seen), max(len(self.known.shelf), 1)
        affinity = self.of_category.matrix(n)
        found = [
            _top(self.own.matrix(n), _WIDTHS[OWN]),
            _top(self.names @ self.known.similar, _WIDTHS[TOGETHER]),
            _top(affinity @ self._best(self.known.age_nights > 0, _OF_CATEGORY), _WIDTHS[CATEGORY]),
            self._everybody(),
            _top(affinity @ self._best(self.known.age_nights == 0, _WIDTHS[NEW]), _WIDTHS[NEW]),
        ]
        keys = np.concatenate([row * n_items + item for row, item, _ in found])
        pairs, place = np.unique(keys, return_inverse=True)
        rank = np.zeros((len(pairs), len(SOURCES)), dtype=np.int64)
        source = np.repeat(np.arange(len(SOURCES)), [len(row) for row, _, _ in found])
        rank[place, source] = np.concatenate([at for _, _, at in found])
        return pairs // n_items, pairs % n_items, rank

    def _best(self, which: np.ndarray, width: int) -> csr_matrix:
        """(categories, i) rates of the most popular of some items in each category, as shares of its best."""
        able = np.flatnonzero(which & (self.category_of >= 0))
        shape = (max(len(self.categories), 1), len(self.known.shelf))  # as many as the sums have
        row, item, _ = _top(csr_matrix((self.known.rate[able], (self.category_of[able], able)), shape=shape), width)
        rate = self.known.rate[item]
        most = np.zeros(shape[0])
        np.maximum.at(most, row, rate)
        return csr_matrix((rate / np.maximum(most[row], 1e-12), (row, item)), shape=shape)

    def _everybody(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best = np.argsort(-self.known.rate, kind="stable")
        best = (best if self.allowed is None else best[self.allowed[best]])[: self.n_popular]
        rows = np.repeat(np.arange(len(self.seen)), len(best))
        return rows, np.tile(best, len(self.seen)), np.tile(1 + np.arange(len(best)), len(self.seen))

    # -- features

    def carried(self, row: np.ndarray, item: np.ndarray) -> csr_matrix:
        """(p, t) what each known name adds to how well the item goes with the row's history."""
        return self.names[row].multiply(self.known.by_item[item]).tocsr()

    def features(self, row: np.ndarray, item: np.ndarray) -> np.ndarray:
        """(p, len(NAMES)) float64 of pairs; NaN where there is nothing to tell."""
        own, category = self.own.at(row, item), self.category_of[item]
        theirs = self.of_category.at(row, category)
        along = self.carried(row, item)
        is_search = self.known.is_search
        searched = np.asarray(along @ is_search.astype(np.float64)).ravel()
        together = np.asarray(along.sum(axis=1)).ravel() - searched
        most = (
            np.asarray(along[:, np.flatnonzero(~is_search)].max(axis=1).todense()).ravel()
            if along.shape[1]
            else together
        )
        strength = np.asarray(self.names.sum(axis=1)).ravel()[row]
        price = self.known.shelf.price[item]
        with np.errstate(invalid="ignore", divide="ignore"):
            total = np.maximum(self.total[row], 1e-12)
            told = {
                "own_weight": self.own.get("weight", own, 0.0),
                "own_share": self.own.get("weight", own, 0.0) / total,
                "own_count": self.own.get("count", own, 0.0),
                "own_hours": self.own.get("last_hours", own, NEVER),
                "cart_hours": self.own.get("cart_hours", own, NEVER),
                "bought_hours": self.own.get("bought_hours", own, NEVER),
                "together": together,
                "together_share": together / np.maximum(strength, 1e-12),
                "together_most": most,
                "search": searched,
                "search_share": searched / np.maximum(strength, 1e-12),
                "category_share": self.of_category.get("weight", theirs, 0.0) / total,
                "category_hours": self.of_category.get("last_hours", theirs, NEVER),
                "category_count": self.of_category.get("count", theirs, 0.0),
                "category_bought_hours": self.of_category.get("bought_hours", theirs, NEVER),
                "price_away": np.abs(np.log(price) - self.log_price[row]),
                "price_drop": np.log(self.own.get("last_price", own, np.nan) / price),
                "rate": self.known.rate[item],
                "rate_in_category": self._in_category[item],
                "trend": self.known.trend[item],
                "age_nights": self.known.age_nights[item],
                "events": np.bincount(self.seen.told.customer, minlength=len(self.seen))[row].astype(np.float64),
                "event_hours": self._last_hours[row],
                "distinct": np.bincount(self.own.row, minlength=len(self.seen))[row].astype(np.float64),
            }
        return np.column_stack([told[name] for name in NAMES])

    @cached_property
    def _in_category(self) -> np.ndarray:
        """(i,) rate over the mean rate of the item's category."""
        names, code = np.unique(self.known.shelf.category, return_inverse=True)
        mean = np.bincount(code, self.known.rate, minlength=len(names)) / np.maximum(np.bincount(code), 1)
        found: np.ndarray = self.known.rate / np.maximum(mean[code], 1e-12)
        return found

    @cached_property
    def _last_hours(self) -> np.ndarray:
        last = np.full(len(self.seen), NEVER)
        np.minimum.at(last, self.seen.told.customer, self.seen.age_hours)
        return last


def _top(scores: csr_matrix, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and rank (from 1) of the largest positive values of each row; of equal ones those that stand first."""
    told = scores.tocoo()
    kept = told.data > 0
    row, column, value = told.row[kept].astype(np.int64), told.col[kept].astype(np.int64), told.data[kept]
    order = np.lexsort((column, -value, row))
    row, column = row[order], column[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row) + 1
    chosen = rank <= width
    return row[chosen], column[chosen], rank[chosen]
