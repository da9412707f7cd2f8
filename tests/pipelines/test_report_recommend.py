"""The report's section on recommendations, on a store small enough to count by hand."""

from datetime import date
from pathlib import Path

from pipelines.core.columns import Columns as C
from pipelines.core.recommending import Recommend
from pipelines.core.shop import Shop, Source
from pipelines.core.storage import Store
from pipelines.report import page
from pipelines.report_numbers import collect
from pipelines.report_recommend import recommended
from tests.pipelines.test_report import EVIL, publish, with_events

NIGHT = date(2026, 3, 10)
COUNTS = {
    "customers": 15, "served": 12, "holdout": 2, "no_consent": 1, "items": 8, "withdrawn": 1, "out_of_stock": 1,
    "distinct_items": 2, "explored": 0, "new": 0, "kind": "blend", "model": "tiny-recommender", "version": "3",
    "why": "champion", "nights_to_buy_again": [9.0, 40.0], "filters": {"stock": 7, "bought": 0, "price_band": 2},
    "by_source": {"own": 12, "popular": 12}, "by_reason": {"again": 3, "together": 9, "popular": 12},
}  # fmt: skip


def shop(*, is_recommended: bool = True) -> Shop:
    recommend = Recommend(k=2) if is_recommended else None
    return Shop(shop="tiny", landing={"events": Source(connector="jsonl", pattern="{night}/*")}, recommend=recommend)


def filled(root: Path) -> Store:
    """Twelve customers with two items each; one sentence is read by all, one by nine."""
    store = Store(root, "tiny")
    with_events(store)
    rows = []
    for user in range(12):
        own = "again" if user < 3 else "together"
        rows += [
            {C.USER_KEY: f"u{user}", C.SLOT: 1, C.ITEM_ID: "a", C.REASON_CODE: own, C.WHY_EN: f"Because of {own}"},
            {C.USER_KEY: f"u{user}", C.SLOT: 2, C.ITEM_ID: EVIL, C.REASON_CODE: "popular", C.WHY_EN: f"Seen {EVIL}"},
        ]
    publish(store, "recommendations", NIGHT, rows, COUNTS)
    publish(store, "catalog", NIGHT, [{C.ITEM_ID: "a", C.TITLE: "A kettle"}])
    offer = {C.PRICE_CENTS: 2000, C.BUNDLE_CENTS: 1900, C.MARGIN_PERCENT: 63.2, C.PROFIT_PER_1000_SESSIONS_CENTS: 450.0}
    pairs = [{C.RANK: n, C.ITEM_A: "a", C.ITEM_B: f"b{n}", C.WHY: f"{n} sessions", **offer} for n in range(1, 8)]
    publish(store, "bundles", NIGHT, pairs)
    return store


def test_the_section_tells_sources_reasons_filters_and_coverage(tmp_path: Path) -> None:
    numbers = collect(NIGHT, shop(), filled(tmp_path))
    found = numbers["recommended"]
    assert (found["rows"], found["coverage"]) == (24, 0.25)
    told = [(row["filter"], row["rows"]) for row in found["filters"]]
    assert told == [("out of stock", 7), ("far from the prices that the customer looks at", 2)]
    assert [(row["reason"], row["rows"]) for row in found["by_reason"]] == [
        ("popular now", 12), ("an earlier item", 9), ("own history", 3),
    ]  # fmt: skip
    assert sorted((row["title"], row["customers"]) for row in found["shown"]) == sorted([(EVIL, 12), ("A kettle", 12)])
    assert [row["titles"] for row in found["bundles"]] == [["A kettle", f"b{n}"] for n in range(1, 6)]
    text = page(numbers)
    assert "A kettle + b1" in text
    assert 'id="recommended"' in text
    assert EVIL not in text
    assert "12 of 15 customers have a list of up to 2 items; 2 are held out" in " ".join(text.split())


def test_a_sentence_that_few_customers_read_is_not_on_the_page(tmp_path: Path) -> None:
    said = {row["reason"]: row["said"] for row in collect(NIGHT, shop(), filled(tmp_path))["recommended"]["by_reason"]}
    assert said["popular now"] == {"text": f"Seen {EVIL}", "customers": 12}
    assert said["own history"] is said["an earlier item"] is None


def test_without_settings_there_is_no_section_and_without_the_table_it_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    with_events(store)
    assert recommended(NIGHT, shop(is_recommended=False), store) is None
    assert 'id="recommended"' not in page(collect(NIGHT, shop(is_recommended=False), store))
    assert "Nothing is recommended on this night yet" in page(collect(NIGHT, shop(), store))
