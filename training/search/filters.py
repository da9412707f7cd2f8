"""What a customer rules out beforehand: "price<50", "brand=Lumo", "category=Shoes", "in_stock".

mask = allowed(parse(["price<50", "in_stock"]), items, stock)       # (n,) bool
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.core.errors import WrongUseError
from training.recommend.texts import Items

_RULE: Final = re.compile(r"(price|brand|category|colour)\s*(<=|>=|=|<|>)\s*(.+)")
_EXPECTED: Final = (
    "price<50 (also <=, >, >=, =; in the shop's currency), brand=NAME, category=WORDS, colour=NAME or in_stock"
)


@dataclass(frozen=True)
class Filter:
    name: str
    sign: str = "="
    value: str = ""


def parse(rules: Sequence[str]) -> tuple[Filter, ...]:
    """Raises WrongUseError for a rule that is none."""
    found = []
    for rule in rules:
        text = rule.strip()
        told = _RULE.fullmatch(text)
        if text == "in_stock":
            found.append(Filter("in_stock"))
            continue
        is_price = told is not None and told[1] == "price"
        if told is None or (not is_price and told[2] != "=") or (is_price and not _is_number(told[3])):
            raise WrongUseError(f"--filter '{rule[:80]}': expected {_EXPECTED}")
        found.append(Filter(told[1], told[2], told[3].strip()))
    return tuple(found)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.\d+)?", text.strip()))


def allowed(filters: Sequence[Filter], items: Items, stock: np.ndarray) -> np.ndarray:
    """(n,) bool: what all filters allow. An item whose price is not told has none of the prices asked for; stock (n,) is
    NaN where it is not told, which counts as there."""
    mask = np.ones(len(items), dtype=bool)
    for rule in filters:
        if rule.name == "price":
            mask &= _compared(items.prices, rule.sign, round(100 * float(rule.value)))
        elif rule.name == "in_stock":
            mask &= ~(stock <= 0)
        elif rule.name == "category":
            mask &= np.array([rule.value.lower() in " > ".join(path).lower() for path in items.paths], dtype=bool)
        else:
            told = items.brands if rule.name == "brand" else items.colours
            mask &= told == rule.value.lower()
    return mask


def _compared(cents: np.ndarray, sign: str, than: int) -> np.ndarray:
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "=": np.equal}[sign]
    return np.asarray(compare(cents, than))  # NaN is neither
