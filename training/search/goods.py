"""What is searched: a catalogue's items with their words and vectors, and the candidates of a query.

    goods = Goods.of(items, {TITLE: vectors})
    sight = goods.sight(read("red desk lamp"), {TITLE: vector})     # the candidates, with what found them

Candidates are the items with the largest sums of BM25 and cosines, each divided by how far it spreads. Without vectors, or
for a query without one, words do alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from training.recommend.texts import Items
from training.search.bm25 import Bm25
from training.search.words import Query, tokens

TITLE, MULTILINGUAL = "title", "multilingual"  # views: titles by the English encoder, and by the multilingual one
ALL, NAME, LONG, SHELF, BRAND, COLOUR = "all", "name", "long", "shelf", "brand", "colour"  # fields
FIELD_WEIGHT: Final = {ALL: 0.5, LONG: 0.25}  # of the first sum; each view has 1
CANDIDATES: Final = 500
TITLE_WORDS: Final = 48  # of a title that count, too, for where a word stands
_SKETCHED: Final = 20_000  # from so many items on, shortened vectors say first which items' full ones are worth reading
_SKETCH_WIDTH: Final = 96
_SHORTLIST: Final = 1_000
_SAMPLE: Final = 2_000
_TINY: Final = 1e-9


@dataclass(frozen=True)
class Sight:
    """c candidates of a query, the likeliest first, and what found them."""

    query: Query
    places: np.ndarray  # (c,) of items
    first: np.ndarray  # (c,) float32 the sum that found them
    scores: Mapping[str, np.ndarray]  # (c,) BM25 by field
    best: Mapping[str, float]  # the largest BM25 of all items by field
    cosines: Mapping[str, np.ndarray]  # (c,) by view
    vectors: Mapping[str, np.ndarray]  # (c, width) float32 by view
    n_found: int  # the first so many were found; what stands behind was asked for


@dataclass(frozen=True)
class Goods:
    """n items. `vectors`: (n, width) by view, rows of unit length or zero."""

    items: Items
    fields: Mapping[str, Bm25]
    title_words: np.ndarray  # (n, TITLE_WORDS) int32 places among the words of field NAME, -1 behind the last
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Items, vectors: Mapping[str, np.ndarray] | None = None) -> "Goods":
        name = [tokens(title) for title in items.titles]
        shelf = [tokens(" ".join(path)) for path in items.paths]
        brand, colour = ([tokens(one) for one in told.tolist()] for told in (items.brands, items.colours))
        told = {
            ALL: [a + b + c + d for a, b, c, d in zip(name, shelf, brand, colour, strict=True)],
            NAME: name,
            LONG: [tokens(text) for text in items.texts],
            SHELF: shelf,
            BRAND: brand,
            COLOUR: colour,
        }
        fields = {key: Bm25.fit(texts) for key, texts in told.items()}
        words = np.full((len(items), TITLE_WORDS), -1, np.int32)
        for row, title in enumerate(name):
            found = [fields[NAME].places[word] for word in title[:TITLE_WORDS]]
            words[row, : len(found)] = found
        return cls(items, fields, words, dict(vectors or {}))

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def shelves(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int twice, equal where the category is: by its whole path and by two levels; -1 where none is told."""
        paths = self.items.paths
        return _codes([" > ".join(path) for path in paths]), _codes([" > ".join(path[:2]) for path in paths])

    def in_a_row(self, first: str, second: str) -> int:
        """How many titles hold the one word right before the other."""
        places = self.fields[NAME].places
        if first not in places or second not in places:
            return 0
        pairs = (self.title_words[:, :-1] == places[first]) & (self.title_words[:, 1:] == places[second])
        return int(pairs.any(axis=1).sum())

    @cached_property
    def brands(self) -> np.ndarray:
        """(n,) int, equal where the brand is, -1 where none is told."""
        return _codes(self.items.brands.tolist())

    @cached_property
    def brand_words(self) -> np.ndarray:
        """(n,) words of the brand's name."""
        return np.array([len(tokens(brand)) for brand in self.items.brands.tolist()], np.int64)

    @cached_property
    def spread(self) -> dict[str, float]:
        """How far cosines of any two items spread, by view: one encoder's lie close together, another's far apart."""
        some = np.random.default_rng(0).permutation(len(self))[:_SAMPLE]
        return {
            view: max(float((rows[some[:200]] @ rows[some].T).std()), _TINY) if len(some) else 1.0
            for view, rows in ((view, np.asarray(told, np.float32)) for view, told in self.vectors.items())
        }

    @cached_property
    def _sketch(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, short) float32 rows and the axes (width, short) of all views beside each other, by their largest variance.

        Of 6,764 products' titles (ESCI), 94.5% of the 500 nearest and 99.6% of the 100 nearest are among the 1,000 that 96
        axes find; the first 500 of 192 axes alone are 83% and 99.7%, and twice the bytes are read."""
        rows = np.hstack([np.asarray(told, np.float32) / self.spread[view] for view, told in self.vectors.items()])
        some = rows[np.random.default_rng(0).permutation(len(rows))[: 5 * _SAMPLE]]
        _, axes = np.linalg.eigh(some.T @ some)
        axes = axes[:, ::-1][:, :_SKETCH_WIDTH]
        return np.ascontiguousarray(rows @ axes), axes

    def sight(self, query: Query, vectors: Mapping[str, np.ndarray], also: Sequence[int] = ()) -> Sight:
        """The CANDIDATES of a query; `vectors`: (width,) by view; `also`: items that are looked at in any case."""
        scores = {key: one.scores(query.words) for key, one in self.fields.items() if key in (ALL, LONG, NAME, SHELF)}
        first = np.zeros(len(self), np.float32)
        for key, weight in FIELD_WEIGHT.items():
            first += np.float32(weight / max(float(scores[key].std()), _TINY)) * scores[key] if len(self) else 0
        known = {view: vectors[view] for view in self.vectors if view in vectors}
        short, rows = self._shortlist(first, known)
        full = first[short] + self._nearness({view: rows[view] @ told for view, told in known.items()})
        at = largest(full, CANDIDATES)
        if not known:
            at = at[full[at] > 0]  # words alone find nothing where no word is known
        more = np.setdiff1d(np.asarray(also, np.int64), short[at])
        places = np.concatenate([short[at], more])
        near = {view: np.concatenate([one[at], self._rows(view, more)]) for view, one in rows.items()}
        cosines = {view: near[view] @ told for view, told in known.items()}
        told_first = np.concatenate([full[at], (first[places] + self._nearness(cosines))[len(at) :]])
        told_scores = {key: one[places] for key, one in scores.items()}
        best = {key: float(one.max(initial=0)) for key, one in scores.items()}
        return Sight(query, places, told_first, told_scores, best, cosines, near, len(at))

    def _shortlist(
        self, first: np.ndarray, known: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """(s,) places of items whose vectors are read, and these (s, width) by view: of few items all, of many those that
        come first by words (n,) and shortened vectors."""
        if len(self) <= _SKETCHED or not known or len(known) < len(self.vectors):
            return np.arange(len(self)), {view: np.asarray(self.vectors[view], np.float32) for view in known}
        sketch, axes = self._sketch
        near = sketch @ (np.concatenate([known[view] for view in self.vectors]) @ axes)
        short = np.sort(largest(first + near, max(_SHORTLIST, CANDIDATES)))
        return short, {view: self._rows(view, short) for view in known}

    def _rows(self, view: str, places: np.ndarray) -> np.ndarray:
        return np.asarray(self.vectors[view][places], np.float32)

    def _nearness(self, cosines: Mapping[str, np.ndarray]) -> np.ndarray:
        """(r,) sums over the views, each divided by how far it spreads."""
        return sum((one / np.float32(self.spread[view]) for view, one in cosines.items()), np.zeros(1, np.float32))


def largest(score: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest of (n,), by falling score, equal ones in their order."""
    k = min(k, len(score))
    if k < 1:
        return np.zeros(0, np.int64)
    least = np.partition(score, len(score) - k)[len(score) - k]
    kept = np.flatnonzero(score >= least)
    return kept[np.argsort(-score[kept], kind="stable")][:k]


def _codes(told: Sequence[str]) -> np.ndarray:
    places: dict[str, int] = {"": -1}
    return np.array([places.setdefault(one, len(places) - 1) for one in told], dtype=np.int64)
