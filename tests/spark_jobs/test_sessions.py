from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from spark_jobs.event_window import event_window
from spark_jobs.session import Engine
from spark_jobs.sessions import sessions

NIGHT = date(2026, 3, 2)


def test_a_session_is_counted_and_timed(
    engine: Engine, event_frame: Callable[..., Any], rows_of: Callable[..., Any]
) -> None:
    frame = event_frame(
        ("ann", "s1", "2026-03-02 10:00:00.250000", "search", {"query": "tea"}),
        ("ann", "s1", "2026-03-02 10:00:30.100000", "view", {"item_id": "i1"}),
        ("ann", "s1", "2026-03-02 10:01:00", "cart", {"item_id": "i1"}),
        ("ann", "s1", "2026-03-02 10:02:00", "impression", {"item_id": "i9"}),
        ("ann", "s1", "2026-03-02 10:05:00", "purchase", {"item_id": "i1", "price_cents": 250, "quantity": 3}),
        ("ann", "s1", "2026-03-02 10:05:00", "purchase", {"item_id": "i2"}),
        ("bob", "s1", "2026-03-02 11:00:00", "favorite", {"item_id": "i1"}),
    )
    found = rows_of(engine, sessions(event_window(frame, NIGHT, "UTC", 7)))
    assert found == [
        {
            "user_key": "ann",
            "session_id": "s1",
            "started_at": datetime(2026, 3, 2, 10, 0, 0, 250000),
            "ended_at": datetime(2026, 3, 2, 10, 5),
            "duration_s": 299,
            "n_events": 6,
            "n_views": 1,
            "n_searches": 1,
            "n_favorites": 0,
            "n_carts": 1,
            "n_purchases": 2,
            "revenue_cents": 750,
            "n_items": 2,
        },
        {
            "user_key": "bob",
            "session_id": "s1",
            "started_at": datetime(2026, 3, 2, 11),
            "ended_at": datetime(2026, 3, 2, 11),
            "duration_s": 0,
            "n_events": 1,
            "n_views": 0,
            "n_searches": 0,
            "n_favorites": 1,
            "n_carts": 0,
            "n_purchases": 0,
            "revenue_cents": 0,
            "n_items": 1,
        },
    ]


def test_the_shops_zone_decides_the_night_and_bots_are_left_out(
    engine: Engine, event_frame: Callable[..., Any], rows_of: Callable[..., Any]
) -> None:
    frame = event_frame(
        ("ann", "before", "2026-03-01 15:59:59", "view", {"item_id": "i1"}),
        ("ann", "first", "2026-03-01 16:00:00", "view", {"item_id": "i1"}),
        ("ann", "last", "2026-03-02 15:59:59", "view", {"item_id": "i1"}),
        ("ann", "after", "2026-03-02 16:00:00", "view", {"item_id": "i1"}),
        ("bot", "bots", "2026-03-02 10:00:00", "view", {"item_id": "i1", "is_bot": True}),
    )
    found = rows_of(engine, sessions(event_window(frame, NIGHT, "Asia/Shanghai", 7)))
    assert [row["session_id"] for row in found] == ["first", "last"]


def test_of_a_session_over_midnight_the_night_has_its_own_part(
    engine: Engine, event_frame: Callable[..., Any], rows_of: Callable[..., Any]
) -> None:
    frame = event_frame(
        ("ann", "s1", "2026-03-01 23:50", "view", {"item_id": "i1"}),
        ("ann", "s1", "2026-03-02 00:05", "view", {"item_id": "i2"}),
        ("ann", "s1", "2026-03-02 00:10", "view", {"item_id": "i2"}),
    )
    (found,) = rows_of(engine, sessions(event_window(frame, NIGHT, "UTC", 7)))
    assert (found["n_events"], found["n_items"], found["duration_s"]) == (2, 1, 300)
