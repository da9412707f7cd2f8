"""Filters."""

import numpy as np
import pytest

from pipelines.core.errors import WrongUseError
from tests.training.search.small_catalog import catalog
from training.recommend.texts import items_of
from training.search.filters import allowed, parse

ITEMS = items_of(catalog())
STOCK = np.array([np.nan if stock is None else stock for stock in catalog()["stock"].to_pylist()], float)


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        (["price<15"], ["b2", "b3"]),
        (["price<=15"], ["a6", "b2", "b3"]),
        (["price >= 129"], ["a3", "a7"]),
        (["brand=hartwell"], ["a3", "a4"]),
        (["category=belts", "brand=Lumo"], ["a5"]),
        (["colour=red", "in_stock"], ["a1", "a3"]),
    ],
)
def test_filters_keep_what_they_say(rules: list[str], kept: list[str]) -> None:
    assert ITEMS.ids[allowed(parse(rules), ITEMS, STOCK)].tolist() == kept


def test_out_of_stock_is_out_and_untold_stock_is_in() -> None:
    kept = set(ITEMS.ids[allowed(parse(["in_stock"]), ITEMS, STOCK)].tolist())
    assert "a2" not in kept
    assert "a8" in kept


@pytest.mark.parametrize("rule", ["price", "price<", "price<cheap", "brand<Lumo", "weight=3", "", "price<5 or so"])
def test_a_filter_that_is_none_is_refused_with_what_is_expected(rule: str) -> None:
    with pytest.raises(WrongUseError, match="expected price<50"):
        parse([rule])
