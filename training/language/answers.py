"""What the desk says: the shop's own words out of its knowledge, filled; nothing is made up.

    fill(intent.answer, "en", {"order_number": "A-20458"}, knowledge, goods)     # None where a fact is missing
    Shelf(knowledge).article("Do you ship to Norway?", "en")                     # the article on shipping, or None

An article is found by its words: of what the message asks, weighted by how rare a word is among all articles, the most must
stand in it. Text of customers, of the catalogue or of the order goes into places of an answer and is never read as one: braces
in it are only braces.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from string import Formatter
from typing import Final

from pipelines.core.servicing import Article, Knowledge, Wording
from training.language.slots import Goods, words_of

_ASKED: Final = 0.5  # of the weight of a message's words, that an article has to hold
_BEYOND: Final = 0.1  # further than the next article: two that fit alike are no answer
_LEAST_WORDS: Final = 2  # of the message, found in the article; one word fits many things
_FILLERS: Final = frozenset(re.findall(r"\S+",
    "a an the i you your my we our it its is are was do does did can could will would to of in on at for and or with from by "
    "me if be have has there this that what how when where which who please any some am so not no but than then hi hello "
    "怎么 什么 可以 你们 我们 我要 我想 请问 一下 多少 是不 不是 有没 没有 你好 吗"
))  # fmt: skip


class Shelf:
    """The articles of a knowledge, found by words; English and Chinese apart."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._articles = knowledge.articles
        self._words = {
            tongue: [_content(f"{one.question.of(tongue)} {one.text.of(tongue)}") for one in knowledge.articles]
            for tongue in ("en", "zh")
        }
        self._weight: dict[str, dict[str, float]] = {}
        for tongue, held in self._words.items():
            n_holding = Counter(word for words in held for word in words)
            self._weight[tongue] = {word: math.log(1 + len(held) / n) for word, n in n_holding.items()}

    def article(self, text: str, tongue: str) -> Article | None:
        """The article that answers the message, None where none does beyond doubt."""
        tongue = "zh" if tongue == "zh" else "en"
        asked, weight = _content(text), self._weight[tongue]
        unknown = math.log(1 + len(self._articles))  # a word that no article holds asks for something else
        total = sum(weight.get(word, unknown) for word in asked)
        if not total:
            return None
        shares = [sum(weight[word] for word in asked & held) / total for held in self._words[tongue]]
        order = sorted(range(len(shares)), key=lambda at: -shares[at])
        best = order[0]
        n_found = len(asked & self._words[tongue][best])
        next_share = shares[order[1]] if len(order) > 1 else 0.0
        if shares[best] < _ASKED or shares[best] - next_share < _BEYOND or n_found < min(_LEAST_WORDS, len(asked)):
            return None
        return self._articles[best]


def fill(wording: Wording, tongue: str, slots: Mapping[str, str], knowledge: Knowledge, goods: Goods) -> str | None:
    """The text with its places filled; None where something is not known."""
    known: dict[str, str] = {name: fact.of(tongue) for name, fact in knowledge.facts.items()}
    known |= _of_product(slots.get("product"), tongue, knowledge, goods)
    known |= slots
    made = []
    for before, name, _, _ in Formatter().parse(wording.of(tongue)):
        made.append(before)
        if name is not None:
            if name not in known:
                return None
            made.append(known[name])
    return "".join(made)


def _of_product(title: str | None, tongue: str, knowledge: Knowledge, goods: Goods) -> dict[str, str]:
    """What the catalogue tells of a product, in words."""
    if title not in goods.titles:
        return {}
    at, told = goods.titles.index(title), {}
    cents, stock = goods.price_cents[at], goods.stock[at]
    if cents is not None:
        told["price"] = f"{cents / 100:,.2f} {goods.currency}".strip()
    if stock is not None and "in_stock" in knowledge.facts:
        told["stock"] = knowledge.facts["in_stock" if stock > 0 else "out_of_stock"].of(tongue)
    return told


def _content(text: str) -> set[str]:
    return {word for word in words_of(re.sub(r"\{\w+\}", " ", text)) if word not in _FILLERS}
