from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from spark_jobs.event_window import event_window, nights_ago
from spark_jobs.hour_response import hour_response
from spark_jobs.item_pairs import item_pairs
from spark_jobs.item_stats import category_stats, item_stats
from spark_jobs.session import DataFrame, Engine, F
from spark_jobs.sessions import sessions
from spark_jobs.user_profiles import user_profiles

NIGHT = date(2026, 3, 8)

Make = Callable[..., Any]


@pytest.fixture
def profiles_of(engine: Engine, event_frame: Make, write_table: Make, rows_of: Make) -> Make:
    """profiles_of(*events, deliveries=[...], outcomes=[...]) -> {user_key: profile}, window of 7 nights, UTC."""

    def feed(table: str, rows: list[dict[str, Any]], at: str) -> DataFrame:
        return engine.read([write_table(table, rows)]).select("*", nights_ago(at, NIGHT, "UTC").alias("nights_ago"))

    def profiles(*events: Any, deliveries: Any = (), outcomes: Any = ()) -> dict[str, dict[str, Any]]:
        frame = user_profiles(
            event_window(event_frame(*events), NIGHT, "UTC", 7),
            feed("deliveries", list(deliveries), "sent_at"),
            feed("outcomes", list(outcomes), "occurred_at"),
        )
        return {row["user_key"]: row for row in rows_of(engine, frame)}

    return profiles


def test_recency_frequency_money_taste_and_hours_of_one_customer(profiles_of: Make) -> None:
    tea = {"item_id": "tea", "category_id": "drinks", "brand": "A"}
    cup = {"item_id": "cup", "category_id": "kitchen", "brand": "B"}
    found = profiles_of(
        ("ann", "old", "2026-03-01 12:00", "purchase", {**tea, "price_cents": 9_999}),  # 7 nights ago: outside
        ("ann", "s1", "2026-03-02 08:00", "view", {**tea, "price_cents": 100}),
        ("ann", "s1", "2026-03-02 08:10", "view", {**tea, "price_cents": 101}),
        ("ann", "s1", "2026-03-02 08:20", "purchase", {**tea, "price_cents": 101, "quantity": 2, "order_id": "o1"}),
        ("ann", "s1", "2026-03-02 08:20", "purchase", {**cup, "price_cents": 300, "order_id": "o1"}),
        ("ann", "s2", "2026-03-05 20:00", "cart", {**cup, "price_cents": 300}),
        ("ann", "s2", "2026-03-05 20:01", "impression", {"item_id": "pot", "category_id": "kitchen"}),
        ("ann", "s2", "2026-03-05 20:02", "search", {"query": "pot"}),
        ("ann", "s2", "2026-03-05 20:03", "purchase", {**cup}),
        deliveries=[
            {"delivery_id": "d1", "user_key": "ann", "status": "delivered", "sent_at": "2026-03-03 10:00"},
            {"delivery_id": "d2", "user_key": "ann", "status": "bounced", "sent_at": "2026-03-04 10:00"},
            {"delivery_id": "d3", "user_key": "ann", "status": "delivered", "sent_at": "2026-02-03 10:00"},
        ],
        outcomes=[
            {"outcome_id": "a", "user_key": "ann", "outcome": "click", "occurred_at": "2026-03-03 11:00"},
            {"outcome_id": "b", "user_key": "ann", "outcome": "purchase", "occurred_at": "2026-03-03 11:00"},
        ],
    )
    assert found == {
        "ann": {
            "user_key": "ann",
            "recency_nights": 3,
            "n_active_nights": 2,
            "n_sessions": 2,
            "n_events": 8,
            "n_views": 2,
            "n_searches": 1,
            "n_favorites": 0,
            "n_carts": 1,
            "n_purchases": 3,
            "revenue_cents": 502,
            "n_items": 2,
            "avg_order_cents": 251,  # order o1, and the purchase without an order
            "avg_price_cents": 201,  # tea at (100 + 101 + 101) / 3 = 101, cup at 300: 200.5
            "price_band": "low",
            "top_category_id": "kitchen",
            "top_category_share": 13 / 20,  # kitchen 5 + 3 + 5, drinks 1 + 1 + 5; an impression says nothing
            "top_brand": "B",
            "top_brand_share": 13 / 20,
            "active_hour": 8,  # as many events as at 20: the earlier
            "night_share": 0.0,
            "morning_share": 0.5,
            "afternoon_share": 0.0,
            "evening_share": 0.5,
            "non_latin_share": 0.0,
            "n_deliveries": 1,
            "n_clicks": 1,
        }
    }


def test_recommendations_shown_change_no_profile_visit_hour_or_item(
    engine: Engine, event_frame: Make, write_table: Make, rows_of: Make
) -> None:
    def shown(user: str, session: str, at: str) -> tuple[Any, ...]:
        return (
            user,
            session,
            at,
            "impression",
            {"item_id": "pot", "category_id": "kitchen", "channel": "recommendation"},
        )

    own = [
        ("ann", "s1", "2026-03-03 10:00", "view", {"item_id": "tea", "category_id": "drinks"}),
        (
            "ann",
            "s1",
            "2026-03-03 10:01",
            "click",
            {"item_id": "tea", "category_id": "drinks", "channel": "recommendation"},
        ),
        ("ann", "s1", "2026-03-03 10:02", "impression", {"item_id": "cup"}),
    ]
    more = [
        shown("ann", "s1", "2026-03-03 10:20"),
        shown("ann", "s0", "2026-03-08 21:00"),
        shown("bob", "x", "2026-03-08 09:00"),
    ]
    deliveries, outcomes = (
        engine.read([write_table(table, [])]).select("*", nights_ago(at, NIGHT, "UTC").alias("nights_ago"))
        for table, at in (("deliveries", "sent_at"), ("outcomes", "occurred_at"))
    )
    made = []
    for events in (own, own + more):
        window = event_window(event_frame(*events), NIGHT, "UTC", 7)
        tables = [
            user_profiles(window, deliveries, outcomes), sessions(window), item_stats(window), category_stats(window),
            hour_response(window, deliveries, outcomes, "UTC"), item_pairs(window, 7, 50, 50),
        ]  # fmt: skip
        made.append([rows_of(engine, table) for table in tables])
    assert made[0] == made[1]
    assert made[0][0][0]["n_events"] == 3  # the click is hers, and so is what another page showed


def test_who_only_searched_has_no_price_taste_or_orders(profiles_of: Make) -> None:
    found = profiles_of(("bob", "s1", "2026-03-08 23:59", "search", {"query": "tea"}))["bob"]
    assert (found["price_band"], found["avg_price_cents"], found["avg_order_cents"]) == ("unknown", 0, 0)
    assert (found["top_category_id"], found["top_category_share"], found["top_brand"]) == (None, 0.0, None)
    assert (found["n_items"], found["evening_share"], found["recency_nights"]) == (0, 1.0, 0)


def test_the_script_of_searches_tells_who_writes_in_another_one(profiles_of: Make) -> None:
    def search(user: str, minute: int, query: str | None) -> tuple[Any, ...]:
        return (user, "s1", f"2026-03-08 10:{minute:02d}", "search", {"query": query})

    found = profiles_of(
        *[search("li", minute, query) for minute, query in enumerate(["茶", "Voss 茶", "tea", "чай"])],
        *[search("zoë", minute, query) for minute, query in enumerate(["crème brûlée", "5 € tea"])],
        ("eve", "s1", "2026-03-08 10:00", "view", {"item_id": "i"}),
    )
    assert {user: row["non_latin_share"] for user, row in found.items()} == {"li": 0.75, "zoë": 0.0, "eve": None}


def test_price_bands_are_terciles_and_equal_prices_share_one(profiles_of: Make) -> None:
    prices = {"a": 100, "b": 200, "c": 200, "d": 400, "e": 500, "f": 600}
    found = profiles_of(
        *[
            (user, "s", "2026-03-08 10:00", "view", {"item_id": "i", "price_cents": price})
            for user, price in prices.items()
        ],
        ("g", "s", "2026-03-08 10:00", "view", {"item_id": "i"}),
    )
    bands = {user: row["price_band"] for user, row in found.items()}
    assert bands == {"a": "low", "b": "low", "c": "low", "d": "mid", "e": "high", "f": "high", "g": "unknown"}


def test_equal_taste_goes_to_the_first_in_the_alphabet(profiles_of: Make) -> None:
    found = profiles_of(
        ("ann", "s", "2026-03-08 10:00", "view", {"item_id": "i", "category_id": "b"}),
        ("ann", "s", "2026-03-08 10:00", "view", {"item_id": "j", "category_id": "a"}),
    )["ann"]
    assert (found["top_category_id"], found["top_category_share"]) == ("a", 0.5)


def test_the_active_hour_is_on_the_shops_clock(engine: Engine, event_frame: Make) -> None:
    events = event_frame(("ann", "s", "2026-03-08 10:00", "view", {"item_id": "i"}))
    window = event_window(events, NIGHT, "Asia/Shanghai", 7)
    assert engine.fetch(window.events.select(F.col("local_hour"))) == [{"local_hour": 18}]
