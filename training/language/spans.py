"""Stretches of a product's own words that may be the value of an attribute, and what speaks for each.

A stretch is up to four words (of Chinese up to six characters) of the title, or a known value that its description holds. What
speaks for it is counted over products that tell the attribute, the product itself always left out: how often the whole stretch,
and each of its words, was the value where it stood in a title.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from training.language.attribute_words import COLOURS, MATERIALS, SIZE

BRAND: Final = "brand"
TITLE, DESCRIPTION = "title", "description"
_TOKEN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:[&'’.+-][^\W_\u3040-\u30ff\u3400-\u9fff]+)*")
_SIZE: Final = re.compile(SIZE)
_LONGEST, _LONGEST_HAN = 4, 6
_READ: Final = 600  # characters of a description
_LEAST_RATIO: Final = 0.08  # of a word, from which a stretch that holds it is looked at
_OWN, _NONE = 0.5, 0.02  # prior counts of a ratio


@dataclass(frozen=True)
class Product:
    """What a catalogue tells of an item."""

    item_id: str
    title: str
    description: str
    told: dict[str, str]  # attribute -> value, where the catalogue has one


@dataclass(frozen=True)
class Span:
    """A stretch of a product's title or description."""

    source: str
    start: int
    end: int
    text: str
    first: int = 0  # token of the title, from 0
    last: int = 0  # the first that belongs to it no more


def normal(value: str) -> str:
    """As values are held against each other: small letters, one space between words, gray for grey."""
    return " ".join("gray" if word == "grey" else word for word in re.findall(r"[^\W_]+", value.lower()))


@dataclass
class Gazetteer:
    """What products that tell an attribute say of its values and their words."""

    attribute: str
    values: Counter[str] = field(default_factory=Counter)  # normal value -> products that tell it
    seen: Counter[str] = field(default_factory=Counter)  # known value -> products whose title holds it
    right: Counter[str] = field(default_factory=Counter)  # ... and tell it
    word_seen: Counter[str] = field(default_factory=Counter)
    word_right: Counter[str] = field(default_factory=Counter)
    title_words: Counter[str] = field(default_factory=Counter)  # of all products

    @classmethod
    def of(cls, attribute: str, products: Sequence[Product]) -> "Gazetteer":
        """From the products that tell the attribute; how rare a word is from all."""
        made = cls(attribute)
        made.title_words.update(word for one in products for word in set(_words(one.title)))
        told = [(one, normal(one.told[attribute])) for one in products if one.told.get(attribute)]
        made.values.update(value for _, value in told if value)
        for one, value in told:
            held = made.held(one)
            made.seen.update(held)
            made.right.update({value} & held)
            words = set(_words(one.title))
            made.word_seen.update(words)
            made.word_right.update(words & set(value.split()) if not _is_han(value) else words & set(value))
        return made

    def held(self, product: Product) -> set[str]:
        """Known values that stand in the title."""
        return {value for _, _, value in _stretches(product.title) if value in self.values}

    def ratio(self, value: str, own: str | None) -> float:
        """How often a value was right where it stood in a title; `own`: what the product itself tells, not counted."""
        left_out = own is not None and value in self.values
        seen = self.seen[value] - left_out
        right = self.right[value] - (value == own)
        return (max(0, right) + _OWN * _NONE) / (max(0, seen) + _OWN)

    def word_ratio(self, word: str, own: str | None) -> float:
        """The same of a word, being part of the value."""
        seen = self.word_seen[word] - (own is not None)
        right = self.word_right[word] - (own is not None and word in (own if _is_han(word) else own.split()))
        return (max(0, right) + _OWN * self._known(word)) / (max(0, seen) + _OWN)

    def _known(self, word: str) -> float:
        kind = COLOURS if self.attribute.startswith(("colo", "颜色")) else MATERIALS if self.attribute.startswith(("material", "材")) else ()
        return 0.6 if word in kind else _NONE


def _is_han(text: str) -> bool:
    return "\u3040" <= text[:1] <= "\u9fff"


def _words(text: str) -> list[str]:
    return [part for token in _TOKEN.findall(text) for part in normal(token).split()]


def _stretches(title: str) -> Iterable[tuple[int, int, str]]:
    """First and last token, and the normal text, of each stretch of a title."""
    tokens = list(_TOKEN.finditer(title))
    for first in range(len(tokens)):
        longest = _LONGEST_HAN if _is_han(tokens[first].group()) else _LONGEST
        for last in range(first + 1, min(len(tokens), first + longest) + 1):
            text = title[tokens[first].start() : tokens[last - 1].end()]
            yield first, last, normal(text)


def candidates(product: Product, known: Gazetteer, own: str | None) -> list[Span]:
    """Stretches that may tell the attribute, in order, each text once; `own` as in `Gazetteer.ratio`."""
    tokens = list(_TOKEN.finditer(product.title))
    sizes = {found.span() for found in _SIZE.finditer(product.title)} if known.attribute.startswith(("size", "尺")) else set()
    found: dict[str, Span] = {}
    for first, last, text in _stretches(product.title):
        start, end = tokens[first].start(), tokens[last - 1].end()
        is_prefix = known.attribute == BRAND and (first == 0 or (first and tokens[first - 1].group().lower() == "by"))
        others = known.values[text] - (text == own)
        ratios = [known.word_ratio(word, own) for word in text.split()] if not _is_han(text) else [known.word_ratio(one, own) for one in text]
        likely = ratios and ratios[0] >= _LEAST_RATIO and ratios[-1] >= _LEAST_RATIO and known.attribute != BRAND
        if is_prefix or others > 0 or likely or (start, end) in sizes:
            found.setdefault(text, Span(TITLE, start, end, product.title[start:end], first, last))
    told = product.description[:_READ]
    places = list(_TOKEN.finditer(told))
    for first, last, text in _stretches(told):
        if text not in found and known.values[text] - (text == own) > 1 and known.ratio(text, own) > _LEAST_RATIO:
            start, end = places[first].start(), places[last - 1].end()
            found[text] = Span(DESCRIPTION, start, end, told[start:end], first, last)
    return list(found.values())


def features(product: Product, span: Span, known: Gazetteer, own: str | None) -> list[float]:
    """What speaks for a stretch; the same numbers, in the same order, for all."""
    tokens = [token.group() for token in _TOKEN.finditer(product.title)]
    value = normal(span.text)
    parts = value.split() if not _is_han(value) else list(value)
    ratios = [known.word_ratio(word, own) for word in parts] or [0.0]
    in_title = span.source == TITLE
    before = tokens[span.first - 1] if in_title and span.first else ""
    after = tokens[span.last] if in_title and span.last < len(tokens) else ""
    rarity = [math.log1p(known.title_words[word]) for word in parts] or [0.0]
    others = known.values[value] - (value == own)
    follows = product.title[span.end : span.end + 1] if in_title else ""
    leads = product.title[: span.start].rstrip()[-1:] if in_title else ""
    said_again = math.log1p(product.description[:_READ].lower().count(span.text.lower()))
    ratio = known.ratio(value, own)
    return [
        ratio, math.log1p(max(0, others)), float(others > 0), ratio * math.log1p(max(0, others)),
        max(ratios), min(ratios), sum(ratios) / len(ratios),
        _edge(before, known, own), _edge(after, known, own),
        float(in_title), float(in_title and span.first == 0), span.first / max(1, len(tokens)) if in_title else 1.0,
        float(in_title and span.last == len(tokens)), float(before.lower() == "by"), float(before.lower() == "in"),
        float(follows in ",|-–:;(" and bool(follows)), float(leads in ",|-–:;([" and bool(leads)),
        float(len(parts) == 1), float(len(parts) == 2), float(len(parts) >= 3), min(len(value), 30) / 30,
        float(span.text[:1].isupper()), float(span.text.isupper() and len(span.text) > 1), float(any(c.isdigit() for c in value)),
        max(rarity), min(rarity), math.log1p(known.title_words[normal(after)]), float(after[:1].isupper()), said_again,
    ]  # fmt: skip


def _edge(token: str, known: Gazetteer, own: str | None) -> float:
    """How likely the word beside a stretch belongs to a value."""
    return known.word_ratio(normal(token), own) if token else 0.0


def rows_of(found: Sequence[Sequence[float]]) -> np.ndarray:
    """(n, features)."""
    return np.array(found, dtype=np.float64).reshape(len(found), -1)
