"""Words of a model's text that nobody has said: what a decoder writes may say only what the catalogue or the offer says too.

    grounds = Grounds(moderation.plain)
    grounds.unsaid("brewed on a hot day", known)     # ["brewed", "hot"], of a tea that is neither

The other rules know claims and miss those that they do not know. This one knows none: every word has to be grounded, by a
word of the same stem that is known, or to be plain, one that claims nothing of any product (conf/moderation/plain.yaml). It
is strict, as a template says the same for nothing: lexical entailment of every content word, the simplest of the measures
that Maynez et al. 2020 (arXiv:2005.00661) call faithfulness to the source; it sees words, not how they are put together.
"""

import re
from collections.abc import Mapping
from typing import Final

from training.language.moderation_known import Known
from training.language.moderation_phrases import either
from training.language.moderation_views import normal

_LATIN: Final = re.compile(r"[a-z]+")
_HAN: Final = re.compile(r"[\u3400-\u9fff]+")
_APOSTROPHE: Final = re.compile(r"'(?:s|re|ve|ll|d|m|t)?(?![a-z])")
_ENDING: Final = re.compile(r"(?<=[a-z]{3})(?:ings?|ed|es|s|ly|ers?|e)$")
_LONGEST: Final = 12  # characters of a Chinese word that is looked for in what is known


class Grounds:
    """Plain words by language, compiled."""

    def __init__(self, plain: Mapping[str, str]) -> None:
        words = {word for told in plain.values() for word in normal(told).split()}
        self._plain = frozenset(map(_stem, words))
        han = sorted((word for word in words if _HAN.fullmatch(word)), key=len, reverse=True)
        self._plain_han = re.compile(either(han)) if han else None

    def unsaid(self, text: str, known: Known) -> list[str]:
        """The words, in their order, that are neither plain nor known. `text` is normal."""
        evidence = f"{known.product} . {known.granted}"
        stems = self._plain | set(map(_stem, _words(evidence)))
        latin = [word for word in _words(text) if _stem(word) not in stems]
        return [*dict.fromkeys(latin), *dict.fromkeys(self._unsaid_han(text, evidence))]

    def _unsaid_han(self, text: str, evidence: str) -> list[str]:
        """Chinese has no spaces: what is known is taken away, the longest first from the left, then what is plain."""
        found = []
        for run in _HAN.findall(text):
            at, left = 0, ""
            while at < len(run):
                size = next((n for n in range(min(_LONGEST, len(run) - at), 1, -1) if run[at : at + n] in evidence), 0)
                left += " " if size else run[at]
                at += size or 1
            bare = self._plain_han.sub(" ", left) if self._plain_han else left
            found += [part for part in bare.split() if not all(one in evidence for one in part)]
        return found


def _words(text: str) -> list[str]:
    return [word for word in _LATIN.findall(_APOSTROPHE.sub(" ", text)) if len(word) > 1]


def _stem(word: str) -> str:
    """Light on purpose: "brewing", "brewed" and "brews" are one, "warm" and "warmth" are not."""
    short = _ENDING.sub("", word)
    return short[:-1] if len(short) > 3 and short[-1] == short[-2] else short
