"""Clauses of a review, in English and Chinese, and the words of a clause: where each stands, and whether it is denied.

    for clause in clauses("Lovely lamp, but it does not dim."):      # two
        words(clause.text)                                           # ["not:dim", ...]

English words are what stands between spaces, small, without a plural's s. Chinese needs no dictionary: a word is any run of
one to three characters, and which of them matter is learnt from counts. A word is denied where "not", "没" or the like
stands shortly before it in its clause; it then carries the mark NOT.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from training.recommend.words import split

NOT: Final = "not:"
LONGEST: Final = 240  # characters of a clause; a text without any punctuation is cut at a space before
_BREAK: Final = re.compile(
    r"[.!?;:,\n\r…。！？；，、：~～]+|\s+(?:but|however|although|though|except|yet)\s+|(?:但是|不过|可是|然而|就是|但)",
    re.IGNORECASE,
)
_SENTENCE: Final = re.compile(r"(?<!\d)[.](?!\d)|[!?\n\r…。！？]")
_HAN: Final = r"\u3040-\u30ff\u3400-\u9fff"
_RUN: Final = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+(?:['’][a-z]+)?")
_DENIES_EN: Final = re.compile(r"^(?:not|no|never|nothing|without|hardly|cannot|isnt|dont|.*n['’]t)$")
_DENIES_ZH: Final = re.compile(r"(?:不是|不太|不够|并不|没有|没|未|别|无|不)")
_REACH: Final = 3  # words, or characters, that a denial reaches
_FILLER: Final = frozenset(
    re.split(" ", "a an the very so too really quite that this it is was be any much as at all do does did")
)


@dataclass(frozen=True)
class Clause:
    """A stretch of a text, without white space around it."""

    text: str
    start: int  # characters from the text's begin
    end: int


def clauses(text: str) -> list[Clause]:
    """In order; none of a text that says nothing. A number's comma or point does not part."""
    return [clause for start, end in _stretches(text, _BREAK) for clause in _cut(text, start, end)]


def sentences(text: str) -> list[Clause]:
    """Whole sentences, in order."""
    return [clause for start, end in _stretches(text, _SENTENCE, keep=True) for clause in _cut(text, start, end)]


def _stretches(text: str, breaks: re.Pattern[str], *, keep: bool = False) -> Iterator[tuple[int, int]]:
    """`keep`: the mark belongs to the stretch before it."""
    at = 0
    for found in breaks.finditer(text):
        inside = text[max(0, found.start() - 1) : found.start()] + text[found.end() : found.end() + 1]
        if found.group() in ",." and len(inside) == 2 and inside.isdigit():
            continue
        yield at, found.end() if keep else found.start()
        at = found.end()
    yield at, len(text)


def _cut(text: str, start: int, end: int) -> Iterator[Clause]:
    while start < end:
        stop = end
        if end - start > LONGEST:
            space = text.rfind(" ", start + LONGEST // 2, start + LONGEST)
            stop = space if space > 0 else start + LONGEST
        told = text[start:stop]
        if _RUN.search(told):
            left = len(told) - len(told.lstrip())
            yield Clause(told.strip(), start + left, start + len(told.rstrip()))
        start = stop


def words(text: str) -> list[str]:
    """Of one clause, marked NOT where denied; of Chinese all runs of one to three characters."""
    found: list[str] = []
    denied = 0
    for run in _RUN.findall(text.lower()):
        if "\u3040" <= run[0] <= "\u9fff":
            found += _han_words(run)
            denied = 0
        elif _DENIES_EN.match(run):
            denied = _REACH
        elif run not in _FILLER:
            found += [NOT * (denied > 0) + word for word in split(run.replace("’", "'").partition("'")[0])]
            denied -= 1
    return found


def _han_words(run: str) -> list[str]:
    reach: list[int] = [found.end() for found in _DENIES_ZH.finditer(run)]
    made = []
    for size in (1, 2, 3):
        for at in range(len(run) - size + 1):
            denied = any(0 <= at - end <= _REACH - 1 for end in reach)
            made.append(NOT * denied + run[at : at + size])
    return made


def bare(word: str) -> str:
    """Without the mark of a denial."""
    return word.removeprefix(NOT)


def is_latin(words_of: Sequence[str]) -> bool:
    """Whether most words are in an alphabet."""
    return 2 * sum("\u3040" <= bare(word)[:1] <= "\u9fff" for word in words_of) < len(words_of)
