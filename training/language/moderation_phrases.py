"""Finds what conf/moderation/*.yaml bans, in every way to read a text.

Phrases and patterns in Latin letters match whole words; a pattern is looked for without a boundary before it, which lets
`re` skip by first letter, and the boundary is looked at afterwards: ten times as fast.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pipelines.core.moderating import Family
from training.language.moderation_views import Views, normal

_PHRASES_AT_A_TIME: Final = 400


@dataclass(frozen=True)
class Found:
    family: str
    words: str  # as the rule read them
    why: str


class PhraseBook:
    """All families, compiled."""

    def __init__(self, families: Iterable[tuple[str, Family]]) -> None:
        self._compiled = [(name, family, *_compiled(family)) for name, family in families]

    def search(self, views: Views, offer_says: str) -> Iterator[Found]:
        """What the text says that is banned, in the order of the file. `offer_says`: the shop's own words, normal."""
        for name, family, finders, allowed in self._compiled:
            for view in views.all:
                text = allowed.sub(lambda found: " ~ ", view) if allowed else view
                for words in _matches(finders, text):
                    if not (family.offer_may_say and words in offer_says):
                        yield Found(name, words, family.why)
                        break


def _compiled(family: Family) -> tuple[tuple[re.Pattern[str], ...], re.Pattern[str] | None]:
    phrases = sorted({normal(one) for one in family.phrases}, key=lambda one: (-len(one), one))
    texts = [either(phrases[at : at + _PHRASES_AT_A_TIME]) for at in range(0, len(phrases), _PHRASES_AT_A_TIME)]
    allowed = re.compile(rf"(?<![a-z0-9])(?:{either([normal(a) for a in family.allowed])})") if family.allowed else None
    return tuple(re.compile(text) for text in (*texts, *family.patterns)), allowed


def either(phrases: Iterable[str]) -> str:
    """A pattern of any of these phrases, spaces and hyphens alike, as whole words where they end in a Latin letter."""
    return "|".join(_literal(one) for one in phrases)


def _literal(phrase: str) -> str:
    text = r"[\s\-]*".join(re.escape(part) for part in re.split(r"[\s\-]+", phrase))
    return text + (r"(?![a-z0-9])" if phrase[-1].isascii() and phrase[-1].isalnum() else "")


def _matches(finders: Iterable[re.Pattern[str]], text: str) -> Iterator[str]:
    for finder in finders:
        for found in finder.finditer(text):
            before = text[found.start() - 1] if found.start() else " "
            first = found[0][0]
            if not (first.isascii() and first.isalnum() and before.isascii() and before.isalnum()):
                yield found[0]
