"""Which products are like a product: seen in several ways, by their words, their shelf and their vectors, and then by company.

    views = views_of(items, {"title": embed(items.titles, ...), "text": embed(items.texts, ...)})
    lists, scores = Similar(views).nearest(np.arange(len(items)), 10)

Each view is a cosine. A weighted sum of them finds the candidates; then counts, too, whom a product and a candidate have
both among their nearest (k-reciprocal neighbours, Zhong et al. 2017, arXiv:1701.08398): two products that the same others
surround are alike even where their words differ, and a hub that is near to everything is near to nobody in this way.
Weights that need no judgements are given; where some products are known to belong together, `fit_weights` fits others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from scipy.sparse import csr_matrix, diags_array, eye_array

from training.recommend.interactions import NO_ITEM
from training.recommend.texts import Items
from training.recommend.words import Words, split

View: TypeAlias = csr_matrix | np.ndarray  # (n, width), rows of unit length or zero
WORDS, SHELF, TITLE, TEXT, MULTILINGUAL, PICTURE = "words", "shelf", "title", "text", "multilingual", "picture"
COMPANY: Final = {"company of 15": 15, "company of 40": 40}  # how many nearest count as company
FIRST: Final = {WORDS: 1.0, SHELF: 0.3, TITLE: 1.0, TEXT: 0.5, MULTILINGUAL: 2.0, PICTURE: 1.0}  # what finds candidates
START: Final = FIRST | {"company of 15": 0.5, "company of 40": 1.0}
_STEPS: Final = (0.0, 0.5, 0.7, 1.4, 2.0, 3.0)  # factors that a weight is tried with
_BLOCK: Final = 512  # rows of cosines held at a time
_LEAST_GAIN: Final = 1e-4


def views_of(items: Items, vectors: Mapping[str, np.ndarray]) -> dict[str, View]:
    """n items by name of the view; `vectors`: (n, width) each, of unit length or zero, from encoders of texts or pictures."""
    shelves = [[" > ".join(path[: depth + 1]) for depth in range(len(path))] for path in items.paths]
    told = [split(f"{title} {' '.join(path)}") for title, path in zip(items.titles, items.paths, strict=True)]
    return {WORDS: _tf_idf(told), SHELF: _tf_idf(shelves), **vectors}


def _tf_idf(told: Sequence[Sequence[str]]) -> csr_matrix:
    return Words.fit(told).rows(told)


@dataclass(frozen=True)
class Similar:
    """n products that can be asked for the nearest of each."""

    views: Mapping[str, View]
    weights: Mapping[str, float] = field(default_factory=lambda: START)  # of views and of company; 0 where not named
    n_candidates: int = 300

    @property
    def n(self) -> int:
        return int(next(iter(self.views.values())).shape[0])

    @property
    def names(self) -> tuple[str, ...]:
        """What a pair of products is compared by."""
        return (*self.views, *COMPANY)

    @cached_property
    def candidates(self) -> np.ndarray:
        """(n, candidates) places of the products that come into question, likeliest first; NO_ITEM where there are fewer."""
        return nearest_by(self.views, FIRST, np.arange(self.n), self.n_candidates)[0]

    @cached_property
    def company(self) -> dict[str, View]:
        """Two more views, (n, n): of each product its nearest by the candidates' order, and itself."""
        return {name: _company(self.candidates[:, :size], self.n) for name, size in COMPANY.items()}

    def features(self, rows: np.ndarray) -> np.ndarray:
        """(r, candidates, names) float32: how like each candidate is, in each way; 0 behind the last."""
        found = np.zeros((len(rows), self.candidates.shape[1], len(self.names)), np.float32)
        sights = {**self.views, **self.company}
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            places = self.candidates[block]
            for at, name in enumerate(self.names):
                cosines = np.take_along_axis(_cosines(sights[name], block), np.maximum(places, 0), axis=1)
                found[start : start + _BLOCK, :, at] = np.where(places == NO_ITEM, 0, cosines)
        return found

    def nearest(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(r, k) places of the products most like each of `rows`, itself left out, NO_ITEM behind the last; and scores."""
        lists, scores = np.full((len(rows), k), NO_ITEM, np.int64), np.full((len(rows), k), -np.inf, np.float32)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            places = self.candidates[block]
            score = scored(self.features(block), places, self.names, self.weights)
            lists[start : start + _BLOCK], scores[start : start + _BLOCK] = ranked(places, score, k)
        return lists, scores


def _company(lists: np.ndarray, n: int) -> csr_matrix:
    """(n, n) rows of unit length: who is in each list (n, k) and the row itself, twice who has the row in its list, too."""
    row, column = np.nonzero(lists != NO_ITEM)
    near = csr_matrix((np.ones(len(row), np.float32), (row, lists[row, column])), shape=(n, n))
    near = (near + eye_array(n, dtype=np.float32)).tocsr()
    near = (near + near.multiply(near.T)).tocsr()
    length = np.sqrt(np.asarray(near.multiply(near).sum(axis=1)).ravel())
    return csr_matrix(diags_array(1 / length) @ near)


def scored(
    features: np.ndarray, candidates: np.ndarray, names: Sequence[str], weights: Mapping[str, float]
) -> np.ndarray:
    """(r, c) weighted sums of features (r, c, names); minus infinity behind the last candidate."""
    weight = np.array([weights.get(name, 0.0) for name in names], np.float32)
    return np.where(candidates == NO_ITEM, -np.inf, features @ weight)


def ranked(candidates: np.ndarray, score: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(r, k) candidates (r, c) by falling score (r, c), NO_ITEM behind the last, and their scores."""
    lists, scores = np.full((len(score), k), NO_ITEM, np.int64), np.full((len(score), k), -np.inf, np.float32)
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]
    lists[:, : order.shape[1]] = np.take_along_axis(candidates, order, axis=1)
    scores[:, : order.shape[1]] = np.take_along_axis(score, order, axis=1)
    return lists, scores


def nearest_by(
    views: Mapping[str, View], weights: Mapping[str, float], rows: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """(r, k) places of the largest weighted sums of cosines, a row's own place left out, and the sums.

    Fewer than k other products leave NO_ITEM behind; equal sums that are kept come in the order of places.
    """
    n = next(iter(views.values())).shape[0]
    lists, sums = np.full((len(rows), k), NO_ITEM, np.int64), np.full((len(rows), k), -np.inf, np.float32)
    wide = min(k, n - 1)
    for start in range(0, len(rows), _BLOCK) if wide > 0 else ():
        block = rows[start : start + _BLOCK]
        score = np.zeros((len(block), n), np.float32)
        for name, view in views.items():
            if weight := weights.get(name, 0.0):
                score += np.float32(weight) * _cosines(view, block)
        score[np.arange(len(block)), block] = -np.inf
        found = np.sort(np.argpartition(-score, wide - 1, axis=1)[:, :wide], axis=1)
        order = np.argsort(-np.take_along_axis(score, found, axis=1), axis=1, kind="stable")
        lists[start : start + _BLOCK, :wide] = np.take_along_axis(found, order, axis=1)
        sums[start : start + _BLOCK, :wide] = np.take_along_axis(score, lists[start : start + _BLOCK, :wide], axis=1)
    return lists, sums


def _cosines(view: View, rows: np.ndarray) -> np.ndarray:
    """(r, n) float32."""
    found = view[rows] @ view.T
    return np.asarray(found if isinstance(found, np.ndarray) else found.toarray(), dtype=np.float32)


def fit_weights(
    features: np.ndarray, relevant: np.ndarray, n_relevant: np.ndarray, names: Sequence[str], allowed: np.ndarray
) -> dict[str, float]:
    """Weights from START that rank best where it is known what belongs together, one after the other, twice.

    features: (r, c, f) of `Similar`; relevant, allowed: (r, c) bool, whether a candidate belongs to the row, and whether it
    may be looked at; n_relevant: (r,) how many belong there. Best is the mean of NDCG@10, recall at 20 and 100 and the
    reciprocal rank. Coordinate ascent on the measure itself (Metzler and Croft 2007, "Linear feature-based models"): the
    likelihood of whole lists served their ends and cost their tops, and trees had too few queries.
    """
    weights = np.array([START.get(name, 0.0) for name in names], np.float32)
    score = features @ weights + np.where(allowed, 0, -1e6).astype(np.float32)
    best = _goodness(score, relevant & allowed, n_relevant)
    for _ in range(2):
        for at in range(len(names)):
            for factor in _STEPS:
                tried = np.float32(weights[at] * factor)
                moved = score + (tried - weights[at]) * features[..., at]
                found = _goodness(moved, relevant & allowed, n_relevant)
                if found > best + _LEAST_GAIN:
                    best, score = found, moved
                    weights[at] = tried
    return dict(zip(names, weights.tolist(), strict=True))


def _goodness(score: np.ndarray, relevant: np.ndarray, n_relevant: np.ndarray) -> float:
    """The mean of four measures over rows with something relevant."""
    order = np.argsort(-score, axis=1, kind="stable")[:, :100]
    hit = np.take_along_axis(relevant, order, axis=1)
    discount = 1 / np.log2(np.arange(2, 12))
    n = np.maximum(n_relevant, 1)
    ndcg = (hit[:, :10] * discount[: hit.shape[1]]).sum(axis=1) / np.cumsum(discount)[np.minimum(n, 10) - 1]
    first = np.where(hit.any(axis=1), 1 / (1 + hit.argmax(axis=1)), 0)
    told = (ndcg + hit[:, :20].sum(axis=1) / n + hit.sum(axis=1) / n + first) / 4
    return float(told[n_relevant > 0].mean()) if (n_relevant > 0).any() else 0.0
