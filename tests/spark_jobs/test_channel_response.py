from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pipelines.core.shop import Channel
from spark_jobs.channel_response import channel_response
from spark_jobs.event_window import nights_ago
from spark_jobs.session import DataFrame, Engine

NIGHT = date(2026, 3, 31)
CHANNELS = (
    Channel(id="email", cost_cents=1, capacity_per_night=9, cap_window_nights=7),
    Channel(id="sms", cost_cents=6, capacity_per_night=9, cap_window_nights=2),
)
Make = Callable[..., Any]


@pytest.fixture
def responses_of(engine: Engine, event_frame: Make, write_table: Make, rows_of: Make) -> Make:
    """responses_of(*events, deliveries=[...], outcomes=[...]) -> {(user_key, channel): row}; 28 nights of rest."""

    def aged(frame: DataFrame, at: str) -> DataFrame:
        return frame.select("*", nights_ago(at, NIGHT, "UTC").alias("nights_ago"))

    def responses(*events: Any, deliveries: Any = (), outcomes: Any = ()) -> dict[tuple[str, str], dict[str, Any]]:
        frame = channel_response(
            aged(event_frame(*events), "occurred_at"),
            aged(engine.read([write_table("deliveries", list(deliveries))]), "sent_at"),
            aged(engine.read([write_table("outcomes", list(outcomes))]), "occurred_at"),
            CHANNELS,
            28,
        )
        return {(row["user_key"], row["channel"]): row for row in rows_of(engine, frame)}

    return responses


def _sent(at: str, channel: str, status: str = "delivered") -> dict[str, Any]:
    return {"delivery_id": f"{channel} {at}", "user_key": "ann", "channel": channel, "status": status, "sent_at": at}


def _answer(at: str, channel: str, outcome: str, revenue_cents: int | None = None) -> dict[str, Any]:
    return {
        "user_key": "ann",
        "channel": channel,
        "outcome": outcome,
        "occurred_at": at,
        "revenue_cents": revenue_cents,
    }


def test_deliveries_and_answers_are_counted_per_channel(responses_of: Make) -> None:
    found = responses_of(
        deliveries=[
            _sent("2026-01-05 10:00", "email"),
            _sent("2026-03-24 10:00", "email"),  # 7 nights ago: outside the cap's window
            _sent("2026-03-25 10:00", "email"),  # 6 nights ago: inside
            _sent("2026-03-31 10:00", "email", "bounced"),
            _sent("2026-03-29 10:00", "sms"),
            _sent("2026-03-30 10:00", "sms"),
        ],
        outcomes=[
            _answer("2026-01-05 12:00", "email", "click"),
            _answer("2026-01-05 12:05", "email", "purchase", 1_250),
        ],
    )
    assert found == {
        ("ann", "email"): {
            "user_key": "ann",
            "channel": "email",
            "n_deliveries": 3,
            "n_deliveries_cap_window": 1,
            "n_clicks": 1,
            "n_purchases": 1,
            "n_complaints": 0,
            "revenue_cents": 1_250,
            "is_suppressed": False,
        },
        ("ann", "sms"): {
            "user_key": "ann",
            "channel": "sms",
            "n_deliveries": 2,
            "n_deliveries_cap_window": 1,
            "n_clicks": 0,
            "n_purchases": 0,
            "n_complaints": 0,
            "revenue_cents": 0,
            "is_suppressed": False,
        },
    }


def test_an_unsubscribe_closes_its_channel_for_ever_and_one_without_channel_closes_all(responses_of: Make) -> None:
    found = responses_of(
        ("ann", "s", "2020-01-01 10:00", "unsubscribe", {"channel": "email"}),
        ("bob", "s", "2020-01-01 10:00", "unsubscribe"),
        ("cleo", "s", "2020-01-01 10:00", "unsubscribe", {"channel": "sms", "is_bot": True}),
        deliveries=[_sent("2026-03-01 10:00", "sms")],
    )
    closed = {key: row["is_suppressed"] for key, row in found.items()}
    assert closed == {
        ("ann", "email"): True,
        ("ann", "sms"): False,
        ("bob", "email"): True,
        ("bob", "sms"): True,
        ("cleo", "sms"): True,
    }


def test_an_unsubscribe_told_as_an_outcome_counts_like_the_event(responses_of: Make) -> None:
    found = responses_of(outcomes=[_answer("2020-01-01 10:00", "sms", "unsubscribe")])
    assert {key: row["is_suppressed"] for key, row in found.items()} == {("ann", "sms"): True}


def test_a_complaint_rests_all_channels_for_the_configured_nights(responses_of: Make) -> None:
    found = responses_of(
        ("ann", "s", "2026-03-04 00:00", "complaint", {"channel": "email"}),  # 27 nights ago: the last of 28
        ("bob", "s", "2026-03-03 23:59", "complaint"),  # 28 nights ago: over
        outcomes=[{**_answer("2026-03-31 10:00", "sms", "complaint"), "user_key": "cleo"}],
    )
    closed = {key: (row["is_suppressed"], row["n_complaints"]) for key, row in found.items()}
    assert closed == {
        ("ann", "email"): (True, 0),
        ("ann", "sms"): (True, 0),
        ("cleo", "email"): (True, 0),
        ("cleo", "sms"): (True, 1),
    }
