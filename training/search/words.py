"""Queries and titles as words, and what a query says it does not want.

    read("white desk chair without wheels")     # words white, desk, chair, wheel; wheel is unwanted

In Latin letters runs of letters and of digits, so that "128gb" and "128 gb" are alike, without a plural's s; of Chinese and
Japanese the pairs of neighbouring characters.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from training.recommend.words import singular

MAX_CHARACTERS: Final = 500  # of a query; what stands beyond says nothing more of what is looked for
MAX_WORDS: Final = 32
_TOKEN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+|\d+(?:\.\d+)?|[^\W\d_\u3040-\u30ff\u3400-\u9fff]+")
_APOSTROPHE: Final = re.compile(r"[\u2018\u2019'`]")
_NOT: Final = frozenset({"without", "not", "no", "non", "sans"})
_STOP: Final = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "s", "that", "the", "this", "to", "w",
     "who", "with")
)  # fmt: skip
_ENDS: Final = frozenset({"for", "with", "and", "in", "but"})  # what was not wanted ends here
UNSAID: Final = _NOT | _STOP  # words that are no words of a query


@dataclass(frozen=True)
class Query:
    """What a customer typed."""

    text: str  # one line, cut
    words: tuple[str, ...]  # without stop words and words of negation, in their order
    unwanted: frozenset[str]  # those of them that the customer does not want

    @property
    def wanted(self) -> tuple[str, ...]:
        return tuple(word for word in self.words if word not in self.unwanted)


def read(text: str) -> Query:
    """Never fails: of symbols alone no word is left; of very long texts the beginning counts."""
    line = " ".join(unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).split())
    words: list[str] = []
    unwanted: set[str] = set()
    is_not = False
    for word in tokens(line)[: 2 * MAX_WORDS]:
        if word in _NOT:
            is_not = True
        elif word in _STOP:
            is_not = is_not and word not in _ENDS
        elif word not in words:
            words.append(word)
            if is_not:
                unwanted.add(word)
    return Query(line, tuple(words[:MAX_WORDS]), frozenset(unwanted))


def tokens(text: str) -> list[str]:
    """All words of a text in small letters, stop words too."""
    found: list[str] = []
    for run in _TOKEN.findall(_APOSTROPHE.sub("", text.lower())):
        if "\u3040" <= run[0] <= "\u9fff":
            found += [run[at : at + 2] for at in range(max(1, len(run) - 1))]
        else:
            found.append(singular(run))
    return found
