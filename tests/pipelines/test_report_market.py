"""The report's sections on the market, on a store small enough to count by hand."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.pricing import Pricing
from pipelines.core.shop import Shop, Source
from pipelines.core.storage import Store
from pipelines.report import page
from pipelines.report_charts import outlook
from pipelines.report_market import coming, prices
from pipelines.report_numbers import collect
from tests.pipelines.test_report import EVIL, publish, with_events

NIGHT = date(2026, 3, 10)


def shop(**more: Any) -> Shop:
    return Shop(shop="tiny", landing={"events": Source(connector="jsonl", pattern="{night}/*")}, **more)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """k1 had 10 events a night and is expected to have 12; k2 had 4 and is expected to keep them."""
    made = Store(tmp_path, "tiny")
    with_events(made)
    for back in range(7):
        stats = [{C.CATEGORY_ID: name, C.N_EVENTS: n} for name, n in (("k1", 10), ("k2", 4))]
        publish(made, "category_stats", NIGHT - timedelta(days=back), stats)
    rows = [
        {
            C.CATEGORY_ID: name, C.HORIZON_NIGHTS: ahead, C.FORECAST: n, C.FORECAST_LOW: n / 2, C.FORECAST_HIGH: 2 * n,
            C.METHOD: "smoothing", C.BACKTEST_ERROR: 1.5, C.NAIVE_ERROR: 2.0, C.N_NIGHTS_KNOWN: 7,
        }
        for name, n in (("k1", 12.0), ("k2", 4.0)) for ahead in range(1, 8)
    ]  # fmt: skip
    publish(made, "category_trend", NIGHT, rows)
    return made


def test_a_category_that_is_expected_to_change_has_its_sentence(store: Store) -> None:
    numbers = collect(NIGHT, shop(), store)
    assert [row["name"] for row in numbers["coming"]["categories"]] == ["k1", "k2"]
    assert [(row["name"], row["expected"], row["change"]) for row in numbers["coming"]["notable"]] == [("k1", 84, 0.2)]
    text = " ".join(page(numbers).split())
    assert (
        "<b>k1</b>: 84 events are expected in the next 7 nights, +20.0% against the last 7; tomorrow between 6 and 24, "
        "by exponential smoothing, whose error was 75.0% of that of repeating last week." in text
    )
    assert 'id="prices"' not in text


def test_without_the_table_the_section_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    assert "no forecast of this night yet" in coming(NIGHT, store, {"categories": []})["missing"]
    assert prices(NIGHT, shop(), store) is None
    assert prices(NIGHT, shop(pricing=Pricing()), store) == {"missing": "No prices were suggested on this night."}


def test_prices_are_told_with_reasons_and_the_best_changes_first(store: Store) -> None:
    rows = [
        {
            C.ITEM_ID: item, C.PRICE_CENTS: 1000, C.SUGGESTED_CENTS: price, C.GAIN_CENTS: gain, C.GAIN_LOW_CENTS: -1.0,
            C.GAIN_HIGH_CENTS: 9.0, C.GUARDRAIL: "step", C.WHY: "as far as it goes",
        }
        for item, price, gain in (("a", 1049, 2.0), (EVIL, 949, 5.0), ("same", 1000, 0.0), ("none", None, None))
    ]  # fmt: skip
    counts = {
        "items": 4, "raised": 1, "lowered": 1, "gain_cents": 7.0, "model": "m", "version": "3", "why": "champion",
        "by_reason": {"bound": 2, "no_gain": 1, "no_price": 1},
    }  # fmt: skip
    publish(store, "price_suggestions", NIGHT, rows, counts)
    numbers = collect(NIGHT, shop(pricing=Pricing()), store)
    assert [row["item_id"] for row in numbers["prices"]["rows"]] == [EVIL, "a"]
    text = " ".join(page(numbers).split())
    assert "1 of 4 prices should go up, 1 down; €0.07 more profit tomorrow is expected of that" in text
    assert "kept: no change would pay surely enough" in text
    assert EVIL not in text


def test_an_outlook_of_nothing_or_with_a_gap_is_drawn_too() -> None:
    assert "nan" not in outlook([], [], [], [], "empty")
    assert outlook([1, None], [2], [1], [3], "ahead").count("<polyline") == 2
