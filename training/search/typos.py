"""Words that nobody sells under that name, mended: to the known word that is fewest slips away.

    speller = Speller.of([fields[ALL], fields[LONG]], goods.in_a_row)
    speller.mend("sihrt")           # "shirt"; a known word, a number and a word with no near neighbour stay as they are
    speller.mend("tshirt")          # "t shirt", where titles hold these two in a row

A slip is a letter left out, added, changed or swapped with its neighbour (optimal string alignment, by rapidfuzz). Words of
four letters may have one, from eight letters on two. The letters that two words hold tell most pairs apart beforehand: a
slip changes at most two of them.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from training.recommend.words import singular
from training.search.bm25 import Bm25
from training.search.words import UNSAID, Query, read

_SHORTEST: Final = 4
_LONG: Final = 8
_LEAST_ITEMS: Final = 2  # that hold a word: what one alone holds may be a slip itself
_RUN: Final = re.compile(r"[A-Za-z]+(?!')\b")


@dataclass(frozen=True)
class Speller:
    """v words that may be meant, how many items hold each, and all that are known."""

    words: np.ndarray  # (v,) str
    counts: np.ndarray  # (v,) int64
    known: frozenset[str]
    in_a_row: Callable[[str, str], int] | None = None  # how many titles hold two words in a row

    @classmethod
    def of(cls, fields: Sequence[Bm25], in_a_row: Callable[[str, str], int] | None = None) -> "Speller":
        """The Latin words of some fields."""
        counted: Counter[str] = Counter()
        for field in fields:
            for word, count in zip(field.words, field.counts.tolist(), strict=True):
                if _is_latin(word):
                    counted[word] = max(counted[word], count)
        kept = sorted(word for word, count in counted.items() if count >= _LEAST_ITEMS and len(word) >= _SHORTEST - 1)
        return cls(
            np.array(kept, dtype=str),
            np.array([counted[word] for word in kept], np.int64),
            frozenset(counted),
            in_a_row,
        )

    @cached_property
    def _letters(self) -> np.ndarray:
        return np.array([_letters(word) for word in self.words.tolist()], np.uint32)

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.char.str_len(self.words)

    def mended(self, query: Query) -> Query:
        """The query with its unknown words mended, in its text as well, but that keeps two words as one: encoders read pieces."""
        text = _RUN.sub(lambda run: self._run(run[0]), query.text)
        if text == query.text:
            return query
        told = _RUN.sub(lambda run: run[0] if " " in (better := self._run(run[0])) else better, query.text)
        return replace(read(text), text=told)

    def _run(self, run: str) -> str:
        word = singular(run.lower())
        better = self.mend(word)
        return run if better == word else better

    def mend(self, word: str) -> str:
        """Two known words that were typed as one, else the nearest known word; of equally near ones that with the same
        first letter, then the most common."""
        from rapidfuzz.distance import OSA

        if len(word) < _SHORTEST or word in self.known or word in UNSAID or not _is_latin(word) or not len(self.words):
            return word
        if apart := self._apart(word):
            return apart
        most = 2 if len(word) >= _LONG else 1
        differ = np.bitwise_count(self._letters ^ np.uint32(_letters(word)))
        near = np.flatnonzero((np.abs(self._lengths - len(word)) <= most) & (differ <= 2 * most))
        found = []
        for at in near.tolist():
            known = str(self.words[at])
            slips = OSA.distance(word, known, score_cutoff=most)
            if slips <= most:
                found.append((slips, known[0] != word[0], -int(self.counts[at]), known))
        return min(found)[3] if found else word

    def _apart(self, word: str) -> str:
        """The two words that titles most often hold in a row and that make this one together; "" where there are none."""
        if self.in_a_row is None:
            return ""
        halves = [(word[:at], word[at:]) for at in range(1, len(word))]
        told = [two for two in halves if self.known.issuperset(two) and UNSAID.isdisjoint(two)]
        count, best = max(((self.in_a_row(*two), two) for two in told), default=(0, ("", "")))
        return " ".join(best) if count >= _LEAST_ITEMS else ""


def _is_latin(word: str) -> bool:
    return all("a" <= letter <= "z" for letter in word)


def _letters(word: str) -> int:
    """Which of 26 letters a word holds, as bits."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) - ord("a"))
    return bits
