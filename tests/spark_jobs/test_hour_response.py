from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from spark_jobs.event_window import event_window, nights_ago
from spark_jobs.hour_response import hour_response
from spark_jobs.session import DataFrame, Engine

NIGHT, ZONE = date(2026, 3, 31), "Europe/Amsterdam"  # two hours before UTC from 29 March on, one until then
Make = Callable[..., Any]


@pytest.fixture
def hours_of(engine: Engine, event_frame: Make, write_table: Make, rows_of: Make) -> Make:
    """hours_of(*events, deliveries=[...], outcomes=[...]) -> {(user_key, hour): (sessions, deliveries, clicks)}."""

    def hours(*events: Any, deliveries: Any = (), outcomes: Any = ()) -> dict[tuple[str, int], tuple[int, ...]]:
        def aged(frame: DataFrame, at: str) -> DataFrame:
            return frame.select("*", nights_ago(at, NIGHT, ZONE).alias("nights_ago"))

        frame = hour_response(
            event_window(event_frame(*events), NIGHT, ZONE, 28),
            aged(engine.read([write_table("deliveries", list(deliveries))]), "sent_at"),
            aged(engine.read([write_table("outcomes", list(outcomes))]), "occurred_at"),
            ZONE,
        )
        return {
            (row["user_key"], row["local_hour"]): (row["n_sessions"], row["n_deliveries"], row["n_clicks"])
            for row in rows_of(engine, frame)
        }

    return hours


def _sent(name: str, at: str, status: str = "delivered", user: str = "ann") -> dict[str, Any]:
    return {"delivery_id": name, "user_key": user, "channel": "email", "status": status, "sent_at": at}


def _answer(name: str, at: str, outcome: str = "click") -> dict[str, Any]:
    return {"outcome_id": at, "delivery_id": name, "user_key": "ann", "outcome": outcome, "occurred_at": at}


def test_visits_and_answered_messages_are_counted_by_the_shop_s_hour(hours_of: Make) -> None:
    found = hours_of(
        ("ann", "s1", "2026-03-27 08:59", "view", {"item_id": "i"}),  # winter time: 9
        ("ann", "s1", "2026-03-27 09:01", "view", {"item_id": "i"}),  # the same visit an hour on
        ("ann", "s2", "2026-03-30 07:30", "view", {"item_id": "i"}),  # summer time: 9 again
        ("ann", "s2", "2026-03-30 07:31", "view", {"item_id": "j"}),
        deliveries=[
            _sent("a", "2026-03-30 06:10"),  # 8
            _sent("b", "2026-03-31 06:50"),  # 8
            _sent("c", "2026-03-31 07:10", "bounced"),
        ],
        outcomes=[
            _answer("a", "2026-03-30 18:00"),  # clicked at 20, sent at 8
            _answer("a", "2026-03-30 18:05"),  # twice: one message answered
            _answer("b", "2026-03-31 07:00", "purchase"),
        ],
    )
    assert found == {("ann", 9): (2, 0, 0), ("ann", 10): (1, 0, 0), ("ann", 8): (0, 2, 1)}


def test_what_lies_before_the_window_is_left_out_and_an_unseen_customer_counts(hours_of: Make) -> None:
    found = hours_of(
        ("ann", "s1", "2026-03-03 10:00", "view", {"item_id": "i"}),  # 28 nights ago
        ("ann", "s2", "2026-03-04 10:00", "view", {"item_id": "i"}),
        deliveries=[_sent("a", "2026-03-03 10:00"), _sent("b", "2026-03-20 22:30", user="bob")],
        outcomes=[_answer("a", "2026-03-05 10:00")],
    )
    assert found == {("ann", 11): (1, 0, 0), ("bob", 23): (0, 1, 0)}
