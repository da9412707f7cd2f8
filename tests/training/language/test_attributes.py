"""Attributes found in products' own words: of brands and colours nobody told yet, only where it is sure, and where they stand."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from training.language.attributes import LEAST_TOLD, fit_finder, fit_logistic, guessed, products_of
from training.language.spans import Words, joined, normal

BRANDS = ["Nordlys", "Halm", "Vesta Home", "Koro", "Brandt", "Kestrel", "Merry Owl", "Tonhaus"]
COLOURS = ["red", "matt black", "green", "sand", "white", "midnight blue"]
THINGS = ["lamp", "kettle", "tent", "sofa", "mug", "rug", "desk"]


def catalog(rows: list[dict[str, Any]]) -> pa.Table:
    names = (C.ITEM_ID, C.TITLE, C.DESCRIPTION, C.CATEGORY_ID, C.CATEGORY_PATH, C.BRAND, C.ATTRIBUTES)
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})


def shelf(n: int = 168) -> list[dict[str, Any]]:
    """Every item begins with its brand and ends with its colour."""
    made = []
    for at in range(n):
        brand, colour, thing = BRANDS[at % 8], COLOURS[at % 6], THINGS[at % 7]
        made.append(
            {
                C.ITEM_ID: f"i{at:03d}", C.TITLE: f"{brand} folding {thing}, {colour}", C.BRAND: brand,
                C.ATTRIBUTES: json.dumps({"colour": colour, "list_price": 900}), C.CATEGORY_ID: f"k{at % 7}",
                C.CATEGORY_PATH: f"home.{thing}", C.DESCRIPTION: f"A {thing} for the home.",
            }
        )  # fmt: skip
    return made


def new(title: str, **more: Any) -> dict[str, Any]:
    return {C.ITEM_ID: "new", C.TITLE: title, C.CATEGORY_ID: "k0", C.CATEGORY_PATH: "home.lamp", **more}


def found(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row[C.ATTRIBUTE]: row for row in guessed(catalog(rows), 0.9) if row[C.ITEM_ID] == "new"}


def test_what_the_catalogue_leaves_out_is_found_where_the_title_says_it() -> None:
    title = "Vesta Home folding mug, midnight blue"
    told = found([*shelf(), new(title)])
    assert (told["brand"][C.VALUE], told["color"][C.VALUE]) == ("Vesta Home", "midnight blue")
    for row in told.values():
        assert title[row[C.FIRST_CHARACTER] : row[C.END_CHARACTER]] == row[C.VALUE]
        assert row[C.SOURCE] == "title"
        assert 0.5 < row[C.CONFIDENCE] <= 1


def test_a_brand_that_no_other_item_has_is_known_by_where_it_stands() -> None:
    finder = fit_finder("brand", products_of(catalog(shelf())), 0.9)
    [product] = products_of(catalog([new("Umbrosa folding tent, red")]))
    best = finder.best(product)
    assert best is not None
    assert best.text == "Umbrosa"


def test_what_is_told_is_not_guessed_and_a_title_that_says_nothing_is_left() -> None:
    told = found([*shelf(), new("Koro folding mug, red", **{C.BRAND: "Other", C.ATTRIBUTES: '{"color": "blue"}'})])
    assert "brand" not in told
    assert "color" not in told
    assert found([*shelf(), new("")]) == {}


def test_an_item_without_a_category_gets_the_one_of_its_words_and_a_strange_one_none() -> None:
    nowhere = {C.CATEGORY_ID: None, C.CATEGORY_PATH: None, C.BRAND: "Koro"}
    lone = new("Koro folding kettle, red", **nowhere, **{C.DESCRIPTION: "A kettle for the home."})
    told = found([*shelf(), lone])["category"]
    assert (told[C.VALUE], told[C.SOURCE]) == ("home.kettle", "text")
    strange = {**lone, C.TITLE: "zzz", C.BRAND: None, C.DESCRIPTION: None}
    assert "category" not in found([*shelf(), strange])


def test_too_few_that_tell_an_attribute_guess_nothing() -> None:
    few = shelf(LEAST_TOLD - 1)
    with pytest.raises(TrainingError, match=f"{LEAST_TOLD - 1} items tell it"):
        fit_finder("brand", products_of(catalog(few)), 0.9)
    assert guessed(catalog([*few, new("Koro folding mug, red")]), 0.9) == []
    assert guessed(catalog([]), 0.9) == []


@pytest.mark.parametrize("told", ["", "no json", "[1]", '{"colour": 7}', '{"colour": ""}', None])
def test_attributes_that_are_none_tell_nothing(told: str | None) -> None:
    [product] = products_of(catalog([new("A lamp", **{C.ATTRIBUTES: told})]))
    assert product.told == {}


def test_chinese_words_are_found_without_spaces() -> None:
    rows = [
        {**new(f"{brand}折叠{thing}{colour}"), C.ITEM_ID: f"z{at}", C.BRAND: brand}
        for at, (brand, thing, colour) in enumerate(
            (b, t, c)
            for b in ("星河", "合器", "听澜")
            for t in ("台灯", "茶壶", "帐篷")
            for c in ("红色", "白色", "橄榄绿", "黑色")
        )
    ]
    told = found([*rows, {**new("听澜折叠台灯红色")}])
    assert told["brand"][C.VALUE] == "听澜"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Matt-Black", "matt black"), ("Grey", "gray"), ("酒红色", "酒红色"), ("iPhone 手机", "iphone手机"), ("  ", "")],
)
def test_values_are_held_against_each_other_in_one_form(value: str, expected: str) -> None:
    assert normal(value) == expected


@settings(max_examples=40)
@given(st.text(alphabet="ab B1,-灯红 ", max_size=30))
def test_a_stretch_is_the_normal_form_of_what_stands_there(text: str) -> None:
    words = Words.of(text)
    for first, last, value in words.stretches():
        assert value == normal(text[words.spans[first][0] : words.spans[last - 1][1]])
        assert joined("", value) == value


def test_logistic_regression_finds_the_weights_that_made_the_rows() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20_000, 2))
    y = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 + x @ [2.0, -1.0])))
    assert fit_logistic(x, y) == pytest.approx([0.5, 2.0, -1.0], abs=0.08)
    assert np.isfinite(fit_logistic(x, x[:, 0] > 0)).all()  # told apart entirely
