"""The report's section on the service desk, on a store small enough to count by hand."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.servicing import Service
from pipelines.core.shop import Shop, Source
from pipelines.core.storage import Store
from pipelines.report import page
from pipelines.report_numbers import collect
from pipelines.report_service import served
from tests.pipelines.test_report import EVIL, publish, with_events

NIGHT = date(2026, 3, 10)


def shop(*, has_desk: bool = True) -> Shop:
    service = Service(knowledge="demo") if has_desk else None
    return Shop(shop="tiny", landing={"events": Source(connector="jsonl", pattern="{night}/*")}, service=service)


def talk(
    name: str, on: date, intent: str | None, topic: str | None, mood: str = "neutral", **told: bool
) -> dict[str, Any]:
    flags = {
        C.IS_OUT_OF_SCOPE: intent is None,
        C.IS_COMPLAINT: False,
        C.IS_RESOLVED: True,
        C.IS_HANDED_OVER: False,
        **told,
    }
    at = datetime(on.year, on.month, on.day, 12)
    return {
        C.CONVERSATION_ID: name, C.INTENT: intent, C.TOPIC: topic, C.LANGUAGE: "en", C.MOOD: mood, **flags, C.OCCURRED_AT: at
    }  # fmt: skip


def filled(root: Path) -> Store:
    """Five talks tonight and two before, one of which goes on tonight."""
    store = Store(root, "tiny")
    with_events(store)
    before = NIGHT - timedelta(days=3)
    publish(store, "conversations", before, [
        talk("a", before, "refund", "returns", "negative", is_resolved=False),
        talk("b", before, "refund", "returns", "negative", is_resolved=False),
    ])  # fmt: skip
    publish(store, "conversations", NIGHT, [
        talk("b", NIGHT, "refund", "returns", "positive"),
        talk("c", NIGHT, "order_status", "delivery", "negative", is_resolved=False, is_handed_over=True),
        talk("d", NIGHT, "order_status", "delivery"),
        talk("e", NIGHT, "complaint", EVIL, "negative", is_complaint=True, is_resolved=False),
        talk("f", NIGHT, None, None),
    ])  # fmt: skip
    return store


def test_the_section_counts_wishes_moods_and_what_is_still_open(tmp_path: Path) -> None:
    numbers = collect(NIGHT, shop(), filled(tmp_path))
    found = numbers["served"]
    assert (found["conversations"], found["unhappy"], found["languages"]) == (5, None, {"en": 5})
    assert found["intents"][0] == {"intent": "order status", "count": 2, "negative": 1, "settled": 1}
    assert {row["intent"] for row in found["intents"][1:]} == {"complaint", "nothing that the desk knows", "refund"}
    assert found["shares"] == {"settled": 0.6, "for_people": 0.2, "not_understood": 0.2, "complaints": 0.2}
    open_now = {row["topic"]: (row["open"], row["of"]) for row in found["open"]}
    assert open_now == {"returns": (1, 2), "delivery": (1, 2), EVIL.replace("_", " "): (1, 1)}
    text = " ".join(page(numbers).split())
    assert 'id="served"' in text
    assert "5 conversations tonight: 60.0% settled" in text
    assert EVIL not in text


def test_the_plan_s_effect_is_told_where_there_is_a_plan(tmp_path: Path) -> None:
    store = filled(tmp_path)
    publish(store, "campaign_plan", NIGHT, [{C.USER_KEY: "u1"}], {"by_constraint": {"unhappy": 3}})
    found = served(NIGHT, shop(), store)
    assert found
    assert (found["unhappy"], found["rest_nights"]) == (3, 7)


def test_without_a_desk_there_is_no_section_and_without_talks_it_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    with_events(store)
    assert served(NIGHT, shop(has_desk=False), store) is None
    assert 'id="served"' not in page(collect(NIGHT, shop(has_desk=False), store))
    assert "Nobody wrote to the service desk tonight." in page(collect(NIGHT, shop(), store))
