"""TF-IDF over the words of items, in Latin letters and in Chinese: what any learned vector has to beat.

words = Words.fit(texts)
rows = words.rows(texts)        # (n, vocabulary), rows of unit length: a product of two rows is their cosine
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix

_RUN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
_NO_PLURAL: Final = ("ss", "us", "is")


def split(text: str) -> list[str]:
    """Words in small letters without a plural's s (Harman 1991, the S-stemmer); of Chinese and Japanese runs the pairs
    of neighbouring characters, which need no dictionary."""
    found = []
    for run in _RUN.findall(text.lower()):
        if "\u3040" <= run[0] <= "\u9fff":
            found += [run[at : at + 2] for at in range(max(1, len(run) - 1))]
        elif len(run) > 1:
            found.append(singular(run))
    return found


def singular(word: str) -> str:
    """The S-stemmer's stem of a word in small letters."""
    if len(word) <= 3 or not word.endswith("s") or word.endswith(_NO_PLURAL):
        return word
    return word[:-3] + "y" if word.endswith("ies") and len(word) > 4 else word[:-1]


@dataclass(frozen=True)
class Words:
    """Known words, each with its weight by rarity: 1 + ln((1 + n) / (1 + texts that hold it))."""

    places: dict[str, int]
    rarity: np.ndarray  # (vocabulary,) float32

    @classmethod
    def fit(cls, texts: Sequence[Sequence[str]], least: int = 1) -> "Words":
        """From the words of n texts, those that `least` texts hold at least."""
        counted = Counter(word for text in texts for word in set(text))
        kept = sorted(word for word, count in counted.items() if count >= least)
        counts = np.array([counted[word] for word in kept], dtype=np.float64)
        rarity = 1 + np.log((1 + len(texts)) / (1 + counts))
        return cls({word: at for at, word in enumerate(kept)}, rarity.astype(np.float32))

    def rows(self, texts: Sequence[Sequence[str]]) -> csr_matrix:
        """(n, vocabulary) float32: (1 + ln count) x rarity, to unit length; nothing for a text of unknown words."""
        columns, values, ends = [], [], [0]
        for text in texts:
            counted = Counter(self.places[word] for word in text if word in self.places)
            found = np.fromiter(counted, np.int64, len(counted))
            weight = (1 + np.log(np.fromiter(counted.values(), np.float64, len(counted)))) * self.rarity[found]
            columns.append(found)
            values.append(weight / max(float(np.sqrt((weight**2).sum())), 1e-12))
            ends.append(ends[-1] + len(found))
        shape = (len(texts), max(1, len(self.places)))
        told = np.concatenate([np.zeros(0), *values]).astype(np.float32)
        at = np.concatenate([np.zeros(0, np.int64), *columns])
        return csr_matrix((told, at, np.array(ends)), shape=shape)
