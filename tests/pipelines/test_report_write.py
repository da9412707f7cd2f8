"""The report's section on copy, on a night small enough to count by hand."""

from pathlib import Path

from pipelines.core.columns import Columns as C
from pipelines.core.copywriting import Write
from pipelines.core.shop import Shop, Source
from pipelines.core.storage import Store
from pipelines.report import page
from pipelines.report_numbers import collect
from pipelines.report_write import written
from tests.pipelines.test_report import EVIL, publish, with_events
from tests.pipelines.test_report_recommend import NIGHT

COUNTS = {
    "customers": 4, "generated": 0, "reused": 0, "model": "tiny-copywriter-baseline", "version": "none", "why": "no champion",
    "by_status": {"clean": 3, "held": 2}, "customers_by_source": {"template": 3, "no text": 1}, "by_rule": {"price": 2},
}  # fmt: skip


def shop(*, is_written: bool = True) -> Shop:
    return Shop(
        shop="tiny",
        landing={"events": Source(connector="jsonl", pattern="{night}/*")},
        write=Write() if is_written else None,
    )


def filled(root: Path) -> Store:
    """One product text for one customer, one without for two, and two that are held."""
    store = Store(root, "tiny")
    with_events(store)
    told = [("a", "lamp", "clean", ""), ("b", None, "clean", ""), ("c", "lamp", "clean", ""), ("d", "lamp", "held", "price"),
            ("e", "lamp", "held", "price")]  # fmt: skip
    rows = [
        {C.CREATIVE_ID: name, C.ITEM_ID: item, C.CHANNEL: "sms", C.CREATIVE_STYLE: "plain", C.LANGUAGE: "en", C.STATUS: status,
         C.TEXT: f"{name} {EVIL}", C.SOURCE: "template", C.RULE: rule, C.DETAIL: "says 5 €"} for name, item, status, rule in told
    ]  # fmt: skip
    publish(store, "creatives", NIGHT, rows, COUNTS)
    publish(store, "plan_copy", NIGHT, [{C.USER_KEY: f"u{at}", C.CREATIVE_ID: name} for at, name in enumerate("abb")])
    return store


def test_the_section_counts_texts_and_shows_the_product_s_before_others(tmp_path: Path) -> None:
    told = written(NIGHT, shop(), filled(tmp_path))
    assert told is not None
    assert (told["texts"], told["usable"], told["customers"]) == (5, 3, 4)
    assert told["by_source"] == [
        {"source": "template", "rows": 3},
        {"source": "the offer's own words alone", "rows": 1},
    ]
    assert [(row["text"], row["customers"]) for row in told["examples"]] == [(f"a {EVIL}", 1)]
    assert [row[C.CREATIVE_ID] for row in told["held"]] == ["d", "e"]


def test_the_page_shows_texts_as_text(tmp_path: Path) -> None:
    store = filled(tmp_path)
    text = page(collect(NIGHT, shop(), store))
    assert 'href="#written"' in text
    assert "says 5 €" in text
    assert EVIL not in text


def test_a_shop_that_writes_nothing_has_no_section_and_a_night_without_texts_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    with_events(store)
    assert written(NIGHT, shop(is_written=False), store) is None
    assert 'id="written"' not in page(collect(NIGHT, shop(is_written=False), store))
    assert "the plan stage does it" in page(collect(NIGHT, shop(), store))
