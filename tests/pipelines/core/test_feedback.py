"""What came back about a night's messages, on feeds small enough to read: SUNDAY's messages are told up to two nights late."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.feedback import Feedback
from pipelines.core.storage import Store
from tests.pipelines.test_readout_compare import answer, sent, shop_of
from tests.pipelines.test_report import publish

SUNDAY = date(2026, 3, 1)
MONDAY, TUESDAY, WEDNESDAY = (SUNDAY + timedelta(days=n) for n in (1, 2, 3))
SHOP = shop_of().model_copy(update={"cleaning": shop_of().cleaning.model_copy(update={"late_nights": 2})})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


def sent_on(store: Store, night: date, last: date) -> dict[str, str]:
    """Status by delivery."""
    found = Feedback(SHOP, store, last).sent_on(night)
    return dict(zip(found[C.DELIVERY_ID].to_pylist(), found[C.STATUS].to_pylist(), strict=True))


def answers_to(store: Store, night: date, last: date) -> list[tuple[date, list[str]]]:
    """Ids of answers by arrival, arrivals that told nothing of the night left out."""
    feedback = Feedback(SHOP, store, last)
    found = feedback.answers_to(night, feedback.sent_on(night))
    return [(arrival, told[C.OUTCOME_ID].to_pylist()) for arrival, told in found if len(told)]


def test_what_is_told_late_counts_for_the_night_of_its_message_once_it_was_told(store: Store) -> None:
    publish(store, "deliveries", SUNDAY, [sent("d1", "a", SUNDAY)])
    publish(store, "deliveries", MONDAY, [sent("d2", "b", SUNDAY), sent("d3", "a", MONDAY)])
    publish(store, "deliveries", WEDNESDAY, [sent("d4", "c", SUNDAY)])  # later than is allowed
    publish(store, "outcomes", TUESDAY, [answer("o1", "d1", "a"), answer("o2", "d2", "b"), answer("o3", "d3", "a")])
    assert sent_on(store, SUNDAY, SUNDAY) == {"d1": "delivered"}
    assert sent_on(store, SUNDAY, WEDNESDAY) == {"d1": "delivered", "d2": "delivered"}
    assert sent_on(store, MONDAY, WEDNESDAY) == {"d3": "delivered"}
    assert answers_to(store, SUNDAY, MONDAY) == []
    assert answers_to(store, SUNDAY, WEDNESDAY) == [(TUESDAY, ["o1", "o2"])]


def test_a_night_is_that_of_the_shop_s_clock(store: Store) -> None:
    """23:30 in UTC is half past midnight in Amsterdam."""
    late = {C.SENT_AT: sent("", "", SUNDAY)[C.SENT_AT] + timedelta(hours=2, minutes=30)}
    publish(store, "deliveries", SUNDAY, [sent("d1", "a", SUNDAY, **late)])
    publish(store, "deliveries", MONDAY, [sent("d2", "a", SUNDAY, **late)])
    assert sent_on(store, MONDAY, MONDAY) == {"d2": "delivered"}, "what tells of a night arrives on it or later"
    assert sent_on(store, SUNDAY, MONDAY) == {}


def test_a_delivery_told_twice_is_one_as_told_last(store: Store) -> None:
    publish(store, "deliveries", SUNDAY, [sent("d1", "a", SUNDAY)])
    publish(store, "deliveries", MONDAY, [sent("d1", "a", SUNDAY, "bounced")])
    assert sent_on(store, SUNDAY, SUNDAY) == {"d1": "delivered"}
    assert sent_on(store, SUNDAY, MONDAY) == {"d1": "bounced"}


def test_answers_to_deliveries_that_nobody_told_of_are_answers_to_no_night(store: Store) -> None:
    publish(store, "deliveries", SUNDAY, [sent("d1", "a", SUNDAY)])
    publish(store, "outcomes", SUNDAY, [answer("o1", "lost", "a"), answer("o2", "d1", "a")])
    assert answers_to(store, SUNDAY, MONDAY) == [(SUNDAY, ["o2"])]
    assert answers_to(store, MONDAY, MONDAY) == []


def test_feeds_that_told_nothing_are_no_rows_with_the_same_columns(store: Store) -> None:
    nothing = Feedback(SHOP, store, MONDAY).sent_on(SUNDAY)
    publish(store, "deliveries", SUNDAY, [sent("d1", "a", SUNDAY)])
    assert len(nothing) == 0
    assert nothing.schema == Feedback(SHOP, store, MONDAY).sent_on(SUNDAY).schema
    assert Feedback(SHOP, store, MONDAY).answers_to(SUNDAY, nothing) == []


def test_nights_asked_for_in_their_order_read_each_arrival_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    nights = [SUNDAY + timedelta(days=n) for n in range(9)]
    for n, night in enumerate(nights):
        publish(store, "deliveries", night, [sent(f"d{n}", "a", night)])
        publish(store, "outcomes", night, [answer(f"o{n}", f"d{n}", "a")])
    opened = []

    def files(table: str, of: list[date], keep: object = store.files) -> object:
        opened.extend((table, night) for night in of)
        return keep(table, of)  # type: ignore[operator]

    monkeypatch.setattr(store, "files", files)
    feedback = Feedback(SHOP, store, nights[-1])
    for night in nights:
        assert len(feedback.answers_to(night, feedback.sent_on(night))[0][1]) == 1
    assert sorted(opened) == sorted((table, night) for table in ("deliveries", "outcomes") for night in nights)
