"""Stretches of a product's own words that may be the value of an attribute, and what speaks for each.

A stretch is up to four words (of Chinese up to six characters) of the title, or a known value that its description holds. What
speaks for it is counted over products that tell the attribute, the product itself always left out: how often the whole stretch,
and each of its words, was the value where it stood in a title.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from training.language.attribute_words import COLOURS, MATERIALS, SIZE

BRAND: Final = "brand"
_HAN: Final = r"\u3040-\u30ff\u3400-\u9fff"
TITLE, DESCRIPTION = "title", "description"
_TOKEN: Final = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")
_NORMAL: Final = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")
_MARKS: Final = ",|-–:;()[]"
_SIZE: Final = re.compile(SIZE)
_LONGEST, _LONGEST_HAN = 4, 6
_READ: Final = 600  # characters of a description
_LEAST_RATIO: Final = 0.08  # of a word, from which a stretch that holds it is looked at
_OWN: Final = 0.5  # titles that a ratio is thought to have been in
_NONE, _SEED = 0.02, 0.6  # what it was there, of any word and of one that names a colour or material anywhere


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
    value: str  # normal
    first: int  # word of the title or description, from 0
    last: int  # the first that belongs to it no more


@dataclass(frozen=True)
class Words:
    """A text's words with their places."""

    text: str
    spans: tuple[tuple[int, int], ...]
    normal: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Words":
        found = [(token.span(), normal(token.group())) for token in _TOKEN.finditer(text)]
        return cls(text, tuple(span for span, _ in found), tuple(told for _, told in found))

    def stretches(self) -> Iterator[tuple[int, int, str]]:
        """First and last word, and the normal text, of each stretch."""
        for first, word in enumerate(self.normal):
            value = ""
            longest = _LONGEST_HAN if is_han(word) else _LONGEST
            for last in range(first + 1, min(len(self.normal), first + longest) + 1):
                value = joined(value, self.normal[last - 1])
                yield first, last, value


@dataclass(frozen=True)
class Read:
    """A product, read once."""

    title: Words
    description: Words
    said: str  # the description in small letters

    @classmethod
    def of(cls, product: Product) -> "Read":
        told = product.description[:_READ]
        return cls(Words.of(product.title), Words.of(told), told.lower())


def is_han(text: str) -> bool:
    """Whether it begins with a Chinese character."""
    return "\u3040" <= text[:1] <= "\u9fff"


def joined(left: str, right: str) -> str:
    """With a space between words in Latin letters alone."""
    return left + right if not left or is_han(left[-1:]) or is_han(right) else f"{left} {right}"


def normal(value: str) -> str:
    """As values are held against each other: small letters, one space between words, gray for grey."""
    made = ""
    for word in _NORMAL.findall(value.lower()):
        made = joined(made, "gray" if word == "grey" else word)
    return made


def parts_of(value: str) -> list[str]:
    """The words of a normal value; of Chinese its characters."""
    return list(value) if is_han(value) else value.split()


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
    def of(cls, attribute: str, products: Sequence[Product], reads: Sequence[Read]) -> "Gazetteer":
        """From the products that tell the attribute; how rare a word is from all."""
        made = cls(attribute)
        made.title_words.update(word for read in reads for word in set(read.title.normal))
        told = [
            (read, normal(one.told[attribute]))
            for one, read in zip(products, reads, strict=True)
            if one.told.get(attribute)
        ]
        made.values.update(value for _, value in told if value)
        for read, value in told:
            held = {text for _, _, text in read.title.stretches() if text in made.values}
            made.seen.update(held)
            made.right.update({value} & held)
            words = set(read.title.normal)
            made.word_seen.update(words)
            made.word_right.update(words & set(parts_of(value)))
        return made

    def ratio(self, value: str, own: str | None) -> float:
        """How often a value was right where it stood in a title; `own`: what the product itself tells, not counted."""
        left_out = own is not None and value in self.values
        seen, right = self.seen[value] - left_out, self.right[value] - (value == own)
        return (max(0, right) + _OWN * _NONE) / (max(0, seen) + _OWN)

    def word_ratio(self, word: str, own: str | None) -> float:
        """The same of a word, being part of the value."""
        seen = self.word_seen[word] - (own is not None)
        right = self.word_right[word] - (own is not None and word in parts_of(own))
        return (max(0, right) + _OWN * self._known(word)) / (max(0, seen) + _OWN)

    def _known(self, word: str) -> float:
        kind: frozenset[str] = frozenset()
        if self.attribute.startswith(("colo", "颜色")):
            kind = COLOURS
        elif self.attribute.startswith(("material", "材")):
            kind = MATERIALS
        return _SEED if word in kind else _NONE


def candidates(read: Read, known: Gazetteer, own: str | None) -> list[Span]:
    """Stretches that may tell the attribute, in order, each text once; `own` as in `Gazetteer.ratio`."""
    title = read.title
    is_brand, is_size = known.attribute == BRAND, known.attribute.startswith(("size", "尺"))
    sizes = {found.span() for found in _SIZE.finditer(title.text)} if is_size else set()
    likely = [not is_brand and known.word_ratio(word, own) >= _LEAST_RATIO for word in title.normal]
    found: dict[str, Span] = {}
    for first, last, value in title.stretches():
        place = title.spans[first][0], title.spans[last - 1][1]
        begins = is_brand and (first == 0 or title.normal[first - 1] == "by")
        if begins or known.values[value] > (value == own) or (likely[first] and likely[last - 1]) or place in sizes:
            found.setdefault(value, Span(TITLE, *place, value, first, last))
    for first, last, value in read.description.stretches():
        if value not in found and known.values[value] - (value == own) > 1 and known.ratio(value, own) > _LEAST_RATIO:
            spans = read.description.spans
            found[value] = Span(DESCRIPTION, spans[first][0], spans[last - 1][1], value, first, last)
    return list(found.values())


def features(read: Read, span: Span, known: Gazetteer, own: str | None) -> list[float]:
    """What speaks for a stretch; the same numbers, in the same order, for all."""
    title, in_title, value = read.title, span.source == TITLE, span.value
    text = (title if in_title else read.description).text[span.start : span.end]
    parts = parts_of(value)
    ratios = [known.word_ratio(word, own) for word in parts]
    n_words = len(title.normal)
    before = title.normal[span.first - 1] if in_title and span.first else ""
    after = title.normal[span.last] if in_title and span.last < n_words else ""
    rarity = [math.log1p(known.title_words[word]) for word in parts]
    others = max(0, known.values[value] - (value == own))
    follows = title.text[span.end : span.end + 1] if in_title else ""
    leads = title.text[: span.start].rstrip()[-1:] if in_title else ""
    after_is_name = in_title and span.last < n_words and title.text[title.spans[span.last][0]].isupper()
    ratio = known.ratio(value, own)
    return [
        ratio, math.log1p(others), float(others > 0), ratio * math.log1p(others),
        max(ratios), min(ratios), sum(ratios) / len(ratios),
        known.word_ratio(before, own) if before else 0.0, known.word_ratio(after, own) if after else 0.0,
        float(in_title), float(in_title and span.first == 0), span.first / max(1, n_words) if in_title else 1.0,
        float(in_title and span.last == n_words), float(before == "by"), float(before == "in"),
        float(follows != "" and follows in _MARKS), float(leads != "" and leads in _MARKS),
        float(len(parts) == 1), float(len(parts) == 2), float(len(parts) >= 3), min(len(value), 30) / 30,
        float(text[:1].isupper()), float(text.isupper() and len(text) > 1), float(any(c.isdigit() for c in value)),
        max(rarity), min(rarity), math.log1p(known.title_words[after]), float(after_is_name),
        math.log1p(read.said.count(text.lower())),
    ]  # fmt: skip
