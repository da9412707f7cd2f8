"""Words that claim something of a product: true where the catalogue says one of the same concept, or of what implies it."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pipelines.core.moderating import Claims
from training.language.moderation_known import NEGATED, Known
from training.language.moderation_phrases import either
from training.language.moderation_views import normal


class ClaimBook:
    """Words that claim, compiled: a finder per kind, and the concepts of each word."""

    def __init__(self, claims: Claims) -> None:
        self._allowed = (
            re.compile(rf"(?<![a-z0-9])(?:{either([normal(one) for one in claims.allowed])})")
            if claims.allowed
            else None
        )
        self._kinds = []
        for kind, concepts in claims.kinds.items():
            of_word = {normal(word): name for name, concept in concepts.items() for word in concept.words if word}
            grounds = {
                name: frozenset(
                    normal(word) for other in (name, *_implied(name, claims, kind)) for word in concepts[other].words
                )
                for name in concepts
            }
            finder = re.compile(either(sorted(of_word, key=lambda word: -len(word))))
            self._kinds.append((kind, finder, of_word, grounds))

    def faults(self, text: str, known: Known) -> Iterator[tuple[str, str]]:
        """(rule, detail) of each word that neither catalogue nor offer says. `text` is normal."""
        shown = self._allowed.sub(" ~ ", text) if self._allowed else text
        unsaid = NEGATED.sub(" ~ ", shown)
        evidence = f"{known.product} {known.granted}"
        for kind, finder, of_word, grounds in self._kinds:
            for found in finder.finditer(unsaid if kind in ("material", "colour") else shown):
                before = found.string[found.start() - 1] if found.start() else " "
                if found[0][0].isascii() and before.isascii() and (before.isalnum() or before == "'"):
                    continue
                name = (
                    of_word.get(re.sub(r"[\s\-]+", " ", found[0]))
                    or of_word.get(found[0])
                    or _stripped(found[0], of_word)
                )
                if name and not any(_says(evidence, word) for word in grounds[name]):
                    yield f"claim.{kind}", f"says '{found[0]}'; the catalogue does not"
                    break


def _stripped(word: str, of_word: Mapping[str, str]) -> str | None:
    bare = re.sub(r"[\s\-]+", "", word)
    return next((name for known, name in of_word.items() if re.sub(r"[\s\-]+", "", known) == bare), None)


def _implied(name: str, claims: Claims, kind: Any) -> list[str]:
    """Concepts that make one true, and those that make these true."""
    found: list[str] = []
    waiting = list(claims.kinds[kind][name].implied_by)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.append(one)
            waiting += claims.kinds[kind][one].implied_by
    return found


def _says(evidence: str, word: str) -> bool:
    return bool(_finder(word).search(evidence))


@lru_cache(maxsize=4096)
def _finder(word: str) -> re.Pattern[str]:
    text = r"[\s\-]?".join(re.escape(part) for part in re.split(r"[\s\-]+", word))
    return re.compile(rf"(?<![a-z]){text}(?:s|es|ed|en)?(?![a-z])" if word[0].isascii() else text)
