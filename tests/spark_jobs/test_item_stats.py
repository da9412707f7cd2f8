from collections.abc import Callable
from datetime import date
from typing import Any

from spark_jobs.event_window import event_window
from spark_jobs.item_stats import category_stats, item_stats
from spark_jobs.session import Engine

NIGHT = date(2026, 3, 20)
Make = Callable[..., Any]


def test_an_item_has_its_last_known_facts_and_counts(engine: Engine, event_frame: Make, rows_of: Make) -> None:
    frame = event_frame(
        ("ann", "s", "2026-03-20 10:00", "view", {"item_id": "tea", "category_id": "c1", "price_cents": 100}),
        ("ann", "s", "2026-03-20 10:01", "purchase", {"item_id": "tea", "price_cents": 90, "quantity": 2}),
        ("bob", "s", "2026-03-14 10:00", "view", {"item_id": "tea", "brand": "A", "price_cents": 80}),
        ("cleo", "s", "2026-03-13 10:00", "cart", {"item_id": "tea", "brand": "Z", "category_id": "c0"}),
        ("dora", "s", "2026-03-07 10:00", "purchase", {"item_id": "tea", "price_cents": 70}),
        ("eve", "s", "2026-03-06 10:00", "impression", {"item_id": "tea"}),
        ("eve", "s", "2026-03-20 10:00", "search", {"query": "tea"}),
    )
    assert rows_of(engine, item_stats(event_window(frame, NIGHT, "UTC", 28))) == [
        {
            "item_id": "tea",
            "category_id": "c1",
            "brand": "A",
            "price_cents": 90,
            "n_events": 6,
            "n_views": 2,
            "n_searches": 0,
            "n_favorites": 0,
            "n_carts": 1,
            "n_purchases": 2,
            "revenue_cents": 250,
            "n_users": 5,
            "conversion_share": 0.5,  # of ann and bob, who viewed it, ann bought
            "trend_ratio": (3 + 1) / (2 + 1),  # nights 0 to 6 ago against 7 to 13 ago
        }
    ]


def test_at_the_same_instant_the_larger_fact_is_kept(engine: Engine, event_frame: Make, rows_of: Make) -> None:
    frame = event_frame(
        *[("ann", "s", "2026-03-20 10:00", "cart", {"item_id": "tea", "price_cents": cents}) for cents in (90, 100, 95)]
    )
    (found,) = rows_of(engine, item_stats(event_window(frame, NIGHT, "UTC", 28)))
    assert (found["price_cents"], found["brand"], found["conversion_share"]) == (100, None, 0.0)


def test_categories_are_those_of_the_night_alone(engine: Engine, event_frame: Make, rows_of: Make) -> None:
    frame = event_frame(
        ("ann", "s", "2026-03-20 10:00", "view", {"item_id": "a", "category_id": "c1"}),
        ("ann", "s", "2026-03-20 10:01", "view", {"item_id": "b", "category_id": "c1"}),
        ("bob", "s", "2026-03-20 10:01", "purchase", {"item_id": "b", "category_id": "c1", "price_cents": 5}),
        ("bob", "s", "2026-03-20 10:01", "view", {"item_id": "x"}),
        ("bob", "t", "2026-03-19 10:01", "view", {"item_id": "b", "category_id": "c2"}),
    )
    assert rows_of(engine, category_stats(event_window(frame, NIGHT, "UTC", 28))) == [
        {
            "category_id": "c1",
            "n_events": 3,
            "n_views": 2,
            "n_searches": 0,
            "n_favorites": 0,
            "n_carts": 0,
            "n_purchases": 1,
            "revenue_cents": 5,
            "n_users": 2,
        }
    ]
