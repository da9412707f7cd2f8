"""BM25 over one field of all items: what any learned search has to beat.

    field = Bm25.fit([tokens(title) for title in titles])
    field.scores(("desk", "lamp"))              # (n,) float32, 0 for what holds none of the words

The weights are bm25s' (Lu 2024, arXiv:2407.03618, Lucene's form): each word's score in each text is known beforehand, so a
query only adds up the lists of its words. We keep these lists as arrays, which say also where each word stands.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

K1: Final = 1.5
B: Final = 0.75


@dataclass(frozen=True)
class Bm25:
    """n texts and v known words."""

    n: int
    words: tuple[str, ...]  # (v,)
    start: np.ndarray  # (v + 1,) int64: where each word's list begins and the next one's
    text: np.ndarray  # (lists,) int32 places of texts
    score: np.ndarray  # (lists,) float32

    @classmethod
    def fit(cls, texts: Sequence[Sequence[str]], k1: float = K1, b: float = B) -> "Bm25":
        """From the words of n texts; where none holds a word nothing is ever found."""
        import bm25s

        places: dict[str, int] = {}
        ids = [[places.setdefault(word, len(places)) for word in text] for text in texts]
        if not places:
            return cls(len(texts), (), np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
        model = bm25s.BM25(k1=k1, b=b, method="lucene", dtype="float32")
        model.index((ids, places), show_progress=False, create_empty_token=False)
        lists = model.scores
        return cls(
            len(texts),
            tuple(places),
            np.asarray(lists["indptr"], np.int64)[: len(places) + 1],
            np.asarray(lists["indices"], np.int32),
            np.asarray(lists["data"], np.float32),
        )

    @cached_property
    def places(self) -> dict[str, int]:
        return {word: at for at, word in enumerate(self.words)}

    @cached_property
    def counts(self) -> np.ndarray:
        """(v,) texts that hold each word."""
        return np.diff(self.start)

    def rarity(self, words: Iterable[str]) -> np.ndarray:
        """(w,) ln(1 + n / (1 + texts that hold it)); of unknown words the largest."""
        held = [self.counts[self.places[word]] if word in self.places else 0 for word in words]
        return np.log1p(self.n / (1 + np.array(held, np.float64)))

    def scores(self, words: Iterable[str]) -> np.ndarray:
        """(n,) float32: sums over the words, twice for one that is said twice."""
        found = np.zeros(self.n, np.float32)
        for word, times in Counter(words).items():
            if word in self.places:
                rows, scores = self._list(word)
                found[rows] += np.float32(times) * scores
        return found

    def each(self, words: Sequence[str], texts: np.ndarray) -> np.ndarray:
        """(w, t) float32: what each word brings to each of some texts (t,); 0 where the text does not hold it."""
        found = np.zeros((len(words), len(texts)), np.float32)
        order = np.argsort(texts)  # places that rise are found several times as fast
        rising = texts[order].astype(self.text.dtype)
        for at, word in enumerate(words):
            if word in self.places:
                rows, scores = self._list(word)
                if len(rows):
                    place = np.searchsorted(rows, rising).clip(max=len(rows) - 1)
                    found[at, order] = np.where(rows[place] == rising, scores[place], 0)
        return found

    def _list(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        at = self.places[word]
        part = slice(int(self.start[at]), int(self.start[at + 1]))
        return self.text[part], self.score[part]
