"""The report's section on reviews, on a store small enough to count by hand."""

from datetime import date
from pathlib import Path

from pipelines.core.columns import Columns as C
from pipelines.core.listening import Listen
from pipelines.core.shop import Shop, Source
from pipelines.core.storage import Store
from pipelines.report import page
from pipelines.report_listen import listened
from pipelines.report_numbers import collect
from tests.pipelines.test_report import EVIL, publish, with_events

NIGHT = date(2026, 3, 10)
WORDS = "These words are one customer's alone."
COUNTS = {
    "reviews": 9, "reviews_in_window": 40, "topics_found": ["kettle, whistle"], "no_alarm": "", "model": "tiny-sentiment",
    "version": "2", "why": "champion", "threshold": 0.001,
    "aspects": {
        "delivery": {"blamed": 6, "praised": 1, "blamed_before": 2, "reviews": 20, "reviews_before": 20},
        "looks": {"praised": 11, "reviews": 20, "reviews_before": 20},
    },
}  # fmt: skip


def shop(*, listens: bool = True) -> Shop:
    listen = Listen() if listens else None
    return Shop(shop="tiny", landing={"events": Source(connector="jsonl", pattern="{night}/*")}, listen=listen)


def filled(root: Path, *, alert: bool = True) -> Store:
    store = Store(root, "tiny")
    with_events(store)
    publish(store, "review_opinions", NIGHT, [], COUNTS)
    row = {C.ASPECT: "delivery", C.FIRST_NIGHT: "2026-03-09", C.N_NEGATIVE: 6, C.N_EXPECTED: 0.8, C.N_REVIEWS: 12,
           C.P_VALUE: 1e-5, C.ITEM_IDS: "a;b"}  # fmt: skip
    publish(store, "opinion_alerts", NIGHT, [row] if alert else [])
    said = {C.SCOPE: "item", C.ITEM_ID: "a", C.LANGUAGE: "en", C.SENTENCE: WORDS, C.N_REVIEWS: 12}
    publish(store, "review_summaries", NIGHT, [
        {**said, C.SIDE: "pro", C.RANK: 1, C.ASPECT: "looks", C.N_SAID: 8},
        {**said, C.SIDE: "pro", C.RANK: 2, C.ASPECT: "price", C.N_SAID: 3},
        {**said, C.SIDE: "con", C.RANK: 1, C.ASPECT: "delivery", C.N_SAID: 4},
        {**said, C.SCOPE: "alert", C.SIDE: "con", C.RANK: 1, C.ASPECT: "delivery", C.N_SAID: 4},
    ])  # fmt: skip
    publish(store, "item_attributes", NIGHT, [{C.ITEM_ID: name, C.ATTRIBUTE: "brand"} for name in "ab"])
    publish(store, "catalog", NIGHT, [{C.ITEM_ID: "a", C.TITLE: EVIL}])
    return store


def test_the_section_tells_alerts_topics_with_their_change_items_and_attributes(tmp_path: Path) -> None:
    numbers = collect(NIGHT, shop(), filled(tmp_path))
    found = numbers["listened"]
    assert found["alerts"] == [
        {"aspect": "delivery", "since": "2026-03-09", "blamed": 6, "expected": 0.8, "reviews": 12, "items": [EVIL, "b"]}
    ]
    assert [(row["aspect"], row["praised"], row["blamed"], row["change"]) for row in found["aspects"]] == [
        ("looks", 11, 0, 0.0), ("delivery", 1, 6, 0.2),
    ]  # fmt: skip
    [item] = found["items"]
    assert (item["title"], item["language"], item["reviews"]) == (EVIL, "English", 12)
    assert item["pro"] == [{"aspect": "looks", "said": 8}, {"aspect": "price", "said": 3}]
    assert item["con"] == [{"aspect": "delivery", "said": 4}]
    assert found["attributes"] == [{"attribute": "brand", "items": 2}]
    text = " ".join(page(numbers).split())
    assert 'id="listened"' in text
    assert "6 of 12" in text
    assert "+20.00" in text
    assert EVIL not in text
    assert "Topics in the shop's own words: kettle, whistle." in text.replace("&#39;", "'")


def test_no_customer_s_own_words_are_on_the_page(tmp_path: Path) -> None:
    numbers = collect(NIGHT, shop(), filled(tmp_path))
    assert WORDS not in str(numbers)
    assert WORDS.partition("'")[0] not in page(numbers)


def test_a_quiet_night_says_so_and_one_that_cannot_tell_says_why(tmp_path: Path) -> None:
    store = filled(tmp_path, alert=False)
    assert "Nothing is blamed more than usual. Budget of false alarms: 1 in 30 nights" in page(
        collect(NIGHT, shop(), store)
    )
    publish(store, "review_opinions", NIGHT, [], COUNTS | {"no_alarm": "9 nights of reviews: 14 are needed"})
    assert "No alert is possible yet: 9 nights of reviews" in page(collect(NIGHT, shop(), store))


def test_without_settings_there_is_no_section_and_without_the_table_it_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    with_events(store)
    assert listened(NIGHT, shop(listens=False), store) is None
    assert 'id="listened"' not in page(collect(NIGHT, shop(listens=False), store))
    assert "No review was read on this night yet" in page(collect(NIGHT, shop(), store))
