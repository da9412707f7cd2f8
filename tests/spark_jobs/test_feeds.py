# ruff: noqa: E501 -- tables of lines, one a row
"""Reviews, messages, deliveries, outcomes and the catalogue: one row per id, bad lines aside with a reason."""

import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.core.privacy import PseudonymKey
from spark_jobs.feeds import clean_catalog, clean_feeds
from spark_jobs.session import Engine

OpenDoor = Callable[..., Any]
NIGHT = date(2026, 3, 2)
KEY = PseudonymKey(bytes(range(32)))
USER_KEY = "ab" * 32
GOOD: dict[str, dict[str, Any]] = {
    "catalog": {"item_id": "i1", "title": "Tea"},
    "reviews": {"review_id": "r1", "user_id": "u1", "item_id": "i1", "rating": 5, "text": "Good.", "occurred_at": "2026-03-02T10:00:00Z"},
    "messages": {"message_id": "m1", "conversation_id": "c1", "user_id": "u1", "sender": "customer", "text": "Hi", "occurred_at": "2026-03-02T10:00:00Z"},
    "deliveries": {"delivery_id": "d1", "user_key": USER_KEY, "strategy_id": "s1", "channel": "email", "status": "delivered", "sent_at": "2026-03-02T10:00:00Z"},
    "outcomes": {"outcome_id": "o1", "delivery_id": "d1", "user_key": USER_KEY, "channel": "email", "outcome": "click", "occurred_at": "2026-03-02T10:00:00Z"},
}  # fmt: skip
CASES: dict[str, list[tuple[dict[str, Any], str | None]]] = {
    "catalog": [
        ({}, None),
        ({"item_id": None}, "missing_item"),
        ({"item_id": "a b"}, "bad_item_id"),
        ({"title": ""}, "missing_title"),
        ({"price": -1}, "negative_price"),
        ({"price": 2e6}, "absurd_price"),
        ({"price": "cheap"}, "bad_price"),
        ({"unit_cost": -0.01}, "bad_unit_cost"),
        ({"unit_cost": 0}, None),
        ({"stock": -1}, "bad_stock"),
        ({"stock": 1.5}, "bad_stock"),
        ({"attributes": ["a"]}, "bad_attributes"),
        ({"attributes": {"grams": 1.5}}, None),
    ],
    "reviews": [
        ({}, None),
        ({"text": None}, "missing_key"),
        ({"user_id": "a b"}, "bad_user_id"),
        ({"rating": 0}, "bad_rating"),
        ({"rating": 6}, "bad_rating"),
        ({"rating": 4.5}, "bad_rating"),
        ({"occurred_at": "2026-03-02"}, "bad_timestamp"),
    ],
    "messages": [
        ({}, None),
        ({"sender": "bot"}, "bad_sender"),
        ({"sender": None}, "bad_sender"),
        ({"conversation_id": None}, "missing_key"),
    ],
    "deliveries": [
        ({}, None),
        ({"user_key": "u1"}, "bad_user_key"),
        ({"user_key": USER_KEY.upper()}, "bad_user_key"),
        ({"user_key": USER_KEY + "\n"}, "bad_user_key"),
        ({"status": "lost"}, "bad_status"),
        ({"cost": -1}, "negative_price"),
        ({"cost": "x"}, "bad_price"),
        ({"strategy_id": None}, "missing_key"),
    ],
    "outcomes": [
        ({}, None),
        ({"outcome": "opened"}, "bad_outcome"),
        ({"revenue": 1e9}, "absurd_price"),
        ({"revenue": 12.5}, None),
    ],
}


def _line(feed: str, **changed: Any) -> str:
    return json.dumps({**GOOD[feed], **changed}) + "\n"


def _door(open_door: OpenDoor, feeds: list[str], files: dict[str, str]) -> Any:
    sources = {
        feed: {"connector": "jsonl" if feed == "events" else feed, "pattern": f"{{night}}/{feed}*"}
        for feed in ("events", *feeds)
    }
    door = open_door(**sources)
    door.put({f"{NIGHT}/events.jsonl": "", **files})
    door.land(NIGHT)
    return door


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_lines_of_every_feed_have_reasons(engine: Engine, open_door: OpenDoor) -> None:
    files = {
        f"{NIGHT}/{feed}.jsonl": "".join(_line(feed, **changed) for changed, _ in cases)
        for feed, cases in CASES.items()
    }
    door = _door(open_door, list(CASES), files)
    found = {feed: door.reasons(engine, feed) for feed in CASES}
    assert found == {feed: [reason for _, reason in cases] for feed, cases in CASES.items()}


def test_a_feed_has_one_row_per_id_and_every_line_is_accounted_for(
    engine: Engine, open_door: OpenDoor, tmp_path: Path
) -> None:
    reviews = (
        _line("reviews")
        + _line("reviews", text="Better.")
        + _line("reviews", review_id="r0", user_id="u2")
        + "{broken\n"
    )
    files = {
        f"{NIGHT}/reviews-a.jsonl": reviews,
        f"{NIGHT}/reviews-b.jsonl": _line("reviews"),
        "2026-03-01/reviews.jsonl": _line("reviews", review_id="r7"),
        f"{NIGHT}/deliveries.jsonl": _line("deliveries") * 2,
    }
    door = _door(open_door, ["reviews", "deliveries"], files)
    raw = {feed: door.raw(feed) for feed in ("reviews", "deliveries")}
    counts = clean_feeds(engine, raw, ["2026-03-01", str(NIGHT)], door.shop, KEY, tmp_path)
    assert counts == {
        "2026-03-01": {"reviews": {"lines": 1, "quarantined": 0, "rows": 1, "duplicate": 0}},
        str(NIGHT): {
            "reviews": {"lines": 5, "quarantined": 1, "rows": 2, "duplicate": 2},
            "deliveries": {"lines": 2, "quarantined": 0, "rows": 1, "duplicate": 1},
        },
    }
    rows = _rows(tmp_path / "reviews" / str(NIGHT))
    assert [(row["review_id"], row["user_key"], row["text"], row["rating"]) for row in rows] == [
        ("r0", KEY.pseudonym("u2"), "Good.", 5),
        ("r1", KEY.pseudonym("u1"), "Good.", 5),  # told last, in the last file
    ]
    assert rows[0]["occurred_at"].replace(tzinfo=None) == datetime(2026, 3, 2, 10)
    (delivery,) = _rows(tmp_path / "deliveries" / str(NIGHT))
    assert (delivery["user_key"], delivery["cost_cents"]) == (USER_KEY, 0)
    (bad,) = _rows(tmp_path / "feed_quarantine" / str(NIGHT))
    assert (bad["source_file"], bad["line_number"], bad["reason"], bad["raw_text"]) == (
        f"{NIGHT}/reviews-a.jsonl",
        4,
        "bad_json",
        "{broken",
    )
    assert _rows(tmp_path / "feed_quarantine" / "2026-03-01") == []


def test_what_an_earlier_arrival_told_is_not_told_again_and_an_emptied_feed_leaves_no_row(
    engine: Engine, open_door: OpenDoor, tmp_path: Path
) -> None:
    files = {
        "2026-02-20/reviews.jsonl": _line("reviews", review_id="long-ago"),
        "2026-03-01/reviews.jsonl": _line("reviews") + _line("reviews", review_id="long-ago"),
        f"{NIGHT}/reviews.jsonl": _line("reviews", text="Sent again.") + _line("reviews", review_id="r2"),
        f"{NIGHT}/deliveries.jsonl": "",
    }
    door = _door(open_door, ["reviews", "deliveries"], files)
    raw = {feed: door.raw(feed) for feed in ("reviews", "deliveries")}
    alone = {feed: {arrival: paths for arrival, paths in raw[feed].items() if arrival >= "2026-03-01"} for feed in raw}
    counts = clean_feeds(engine, alone, [str(NIGHT)], door.shop, KEY, tmp_path / "alone")
    assert counts == {
        str(NIGHT): {
            "reviews": {"lines": 2, "quarantined": 0, "rows": 1, "duplicate": 1},
            "deliveries": {"lines": 0, "quarantined": 0, "rows": 0, "duplicate": 0},
        }
    }
    assert [row["review_id"] for row in _rows(tmp_path / "alone/reviews" / str(NIGHT))] == ["r2"]
    together = clean_feeds(engine, raw, ["2026-03-01", str(NIGHT)], door.shop, KEY, tmp_path / "together")
    assert together[str(NIGHT)] == counts[str(NIGHT)]
    assert together["2026-03-01"]["reviews"]["rows"] == 2
    assert _rows(tmp_path / "together/reviews" / str(NIGHT)) == _rows(tmp_path / "alone/reviews" / str(NIGHT))


def test_the_newest_line_of_a_product_wins(engine: Engine, open_door: OpenDoor, tmp_path: Path) -> None:
    files = {
        f"{NIGHT}/catalog.jsonl": _line("catalog", price=2.5) + _line("catalog", price=-1),
        "2026-03-01/catalog.jsonl": _line("catalog", price=9.99, title="Old") + _line("catalog", item_id="i0", attributes={"colour": "绿", "grams": 1.50, "of": ["a", {"b": None}]}),
    }  # fmt: skip
    door = _door(open_door, ["catalog"], files)
    paths = [path for paths in door.raw("catalog").values() for path in paths]
    assert clean_catalog(engine, paths, door.shop, str(NIGHT), tmp_path) == {"rows": 2}
    rows = _rows(tmp_path / "catalog" / str(NIGHT))
    assert [(row["item_id"], row["title"], row["price_cents"], row["attributes"]) for row in rows] == [
        ("i0", "Tea", None, '{"colour":"绿","grams":1.5,"of":["a",{"b":null}]}'),
        ("i1", "Tea", 250, None),
    ]
