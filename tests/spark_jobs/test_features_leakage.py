"""The features job as a whole: nothing from after the night reaches it, and equal input gives equal rows and bytes."""

import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.core.config import load_shop
from pipelines.core.errors import NoDataError
from pipelines.core.tables import EVENT_TYPES, TABLES
from spark_jobs.features import run
from spark_jobs.session import Engine, open_engine

FIRST, NIGHT = date(2026, 3, 1), date(2026, 3, 4)
FITTED = {"profile_projection", "segment_models"}
EVERY_NIGHT = {
    "sessions",
    "user_profiles",
    "channel_response",
    "hour_response",
    "item_stats",
    "item_pairs",
    "category_stats",
    "segments",
}
Make = Callable[..., Any]


def _event(user: int, at: datetime, kind: str, item: int) -> dict[str, Any]:
    about_item = kind not in ("search", "complaint", "unsubscribe")
    return {
        "user_key": f"user{user:03d}",
        "session_id": f"s{user}-{at:%d}-{at.hour // 12}",
        "occurred_at": at,
        "event_type": kind,
        "item_id": f"i{item}" if about_item else None,
        "category_id": f"c{item % 3}" if about_item else None,
        "brand": f"b{item % 2}" if about_item and item % 5 else None,
        "price_cents": 100 + 37 * item if about_item and item % 4 else None,
        "quantity": 1 + item % 2 if kind == "purchase" else None,
        "order_id": f"o{user}-{at:%d%H}" if kind == "purchase" and user % 2 else None,
        "channel": "email" if kind in ("complaint", "unsubscribe") and user % 2 else None,
        "is_bot": user % 17 == 5,
    }


def _night(night: date, n_users: int = 45) -> list[dict[str, Any]]:
    chance = random.Random(night.toordinal())
    kinds = ["view", "view", "view", "click", "impression", "search", "favorite", "cart", "purchase"]
    events = []
    for user in range(n_users):
        if chance.random() < 0.3:
            continue
        start = datetime(night.year, night.month, night.day, 6 + user % 12, tzinfo=UTC)
        for step in range(chance.randrange(2, 9)):
            at = start + timedelta(seconds=97 * step + chance.randrange(60))
            events.append(_event(user, at, chance.choice(kinds), chance.randrange(8)))
        if chance.random() < 0.05:
            events.append(_event(user, start, chance.choice(["complaint", "unsubscribe"]), 0))
    return events


@pytest.fixture
def make_spec(tmp_path: Path, write_table: Make) -> Make:
    """make_spec(out, later=[events after the night]) -> the job's spec for a small shop of four nights.

    Later events stand in a later night's file and, as if cleaning had failed, in the night's own file too.
    """
    nights = [FIRST + timedelta(days=at) for at in range((NIGHT - FIRST).days + 1)]
    sent = [
        {
            "delivery_id": f"d{user}",
            "user_key": f"user{user:03d}",
            "channel": "email" if user % 2 else "push",
            "status": "delivered",
            "sent_at": "2026-03-03 09:00",
        }
        for user in range(20)
    ]
    answered = [
        {
            "outcome_id": row["delivery_id"],
            "user_key": row["user_key"],
            "channel": row["channel"],
            "outcome": "click",
            "occurred_at": "2026-03-03 10:00",
        }
        for row in sent[::3]
    ]

    def spec(out: str, *, later: Any = (), night: date = NIGHT, reverse: bool = False) -> dict[str, Any]:
        events = {}
        for at in nights:
            rows = _night(at) + (list(later) if at == NIGHT else [])
            events[str(at)] = [str(write_table("events", rows[::-1] if reverse else rows, f"{out}-{at}.parquet"))]
        if later:
            events[str(NIGHT + timedelta(days=1))] = [str(write_table("events", list(later), f"{out}-later.parquet"))]
        return {
            "out": str(tmp_path / out),
            "night": str(night),
            "first_night": str(FIRST),
            "shop": load_shop("demo").model_dump(mode="json"),
            "events": events,
            "history": {},
            "deliveries": {"2026-03-03": [str(write_table("deliveries", sent, f"{out}-deliveries.parquet"))]},
            "outcomes": {"2026-03-03": [str(write_table("outcomes", answered, f"{out}-outcomes.parquet"))]},
            "projection": [],
            "segment_models": [],
            "previous_projection": [],
            "previous_models": [],
        }

    return spec


def _rows(out: Path, tables: set[str]) -> dict[str, list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    return {table: pq.ParquetDataset(sorted((out / table).glob("*.parquet"))).read().to_pylist() for table in tables}


def _bytes(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}


def test_equal_input_gives_equal_bytes_and_both_engines_give_equal_rows(
    engine: Engine, make_spec: Make, tmp_path: Path
) -> None:
    spec = make_spec("once")
    result = run(engine, spec)
    assert run(engine, make_spec("twice", reverse=True)) == result
    assert _bytes(tmp_path / "once") == _bytes(tmp_path / "twice")
    with open_engine("duckdb", tmp_path / "work", threads=1, memory_gb=1) as other:
        assert run(other, {**spec, "out": str(tmp_path / "other")}) == result
    ours, others = (_rows(tmp_path / name, EVERY_NIGHT | FITTED) for name in ("once", "other"))
    assert set(result["tables"]) == set(ours)
    for table, rows in ours.items():
        assert rows == others[table], table
        assert len(rows) == result["tables"][table] > 0, table
        assert list(rows[0]) == list(TABLES[table].columns), table
        key = TABLES[table].sort_by
        assert [[row[name] for name in key] for row in rows] == sorted([row[name] for name in key] for row in rows)
    assert json.loads(json.dumps(result)) == result


_later_events = st.lists(
    st.builds(
        _event,
        st.integers(0, 60),
        st.datetimes(datetime(2026, 3, 5), datetime(2026, 4, 30)).map(lambda at: at.replace(tzinfo=UTC)),
        st.sampled_from(EVENT_TYPES),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(later=_later_events)
def test_no_later_event_changes_a_night(make_spec: Make, tmp_path: Path, later: list[dict[str, Any]]) -> None:
    with open_engine("duckdb", tmp_path / "work", threads=1, memory_gb=1) as engine:
        if not (tmp_path / "plain").exists():
            run(engine, make_spec("plain"))
        run(engine, make_spec("leak", later=later))
    assert _bytes(tmp_path / "leak") == _bytes(tmp_path / "plain")


def test_the_nights_after_an_anchor_use_its_segments(make_spec: Make, tmp_path: Path) -> None:
    with open_engine("duckdb", tmp_path / "work", threads=1, memory_gb=1) as engine:
        run(engine, make_spec("anchor", night=NIGHT - timedelta(days=1)))
        model = {
            key: [str(path) for path in (tmp_path / "anchor" / table).glob("*.parquet")]
            for key, table in (("projection", "profile_projection"), ("segment_models", "segment_models"))
        }
        result = run(engine, {**make_spec("next"), **model})
    assert set(result["tables"]) == EVERY_NIGHT
    (names,) = _rows(tmp_path / "anchor", {"segment_models"}).values()
    known = {(row["segment_id"], row["segment_name"]) for row in names}
    (segments,) = _rows(tmp_path / "next", {"segments"}).values()
    assert {(row["segment_id"], row["segment_name"]) for row in segments} <= known
    (profiles,) = _rows(tmp_path / "next", {"user_profiles"}).values()
    assert [row["user_key"] for row in segments] == [row["user_key"] for row in profiles]


def test_an_unsubscribe_from_before_the_window_still_holds(make_spec: Make, write_table: Make, tmp_path: Path) -> None:
    said = {**_event(7, datetime(2020, 1, 1, tzinfo=UTC), "unsubscribe", 0), "channel": "sms"}
    history = {"2020-01-01": [str(write_table("events", [said], "old.parquet"))]}
    with open_engine("duckdb", tmp_path / "work", threads=1, memory_gb=1) as engine:
        run(engine, {**make_spec("night"), "history": history})
    (rows,) = _rows(tmp_path / "night", {"channel_response"}).values()
    assert [row["is_suppressed"] for row in rows if (row["user_key"], row["channel"]) == ("user007", "sms")] == [True]


def test_a_window_without_events_or_with_bots_only_is_told_in_one_line(
    make_spec: Make, write_table: Make, tmp_path: Path
) -> None:
    bots = [{**event, "is_bot": True} for event in _night(NIGHT)]
    with open_engine("duckdb", tmp_path / "work", threads=1, memory_gb=1) as engine:
        with pytest.raises(NoDataError, match=r"^demo: no events in the 28 nights up to 2026-03-04; land and clean"):
            run(engine, {**make_spec("none"), "events": {}})
        only_bots = {str(NIGHT): [str(write_table("events", bots, "bots.parquet"))]}
        with pytest.raises(NoDataError, match=r"^demo: only bots in the window up to 2026-03-04: nobody to plan for$"):
            run(engine, {**make_spec("bots"), "events": only_bots})
