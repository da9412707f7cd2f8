"""From judged lines to events: duplicates, re-sent events, late ones, bots, sessions, pseudonyms, accounting."""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.privacy import PseudonymKey
from spark_jobs.events import pseudonyms
from spark_jobs.session import Engine

OpenDoor = Callable[..., Any]
FIRST, SECOND, THIRD = "2026-03-01", "2026-03-02", "2026-03-03"
CLEANING = {"bot_events_per_minute": 5, "bot_events_per_night": 10}


def _event(user: str, at: str, item: str = "i1", **more: Any) -> str:
    at = at if "T" in at else f"{SECOND}T{at}Z"
    return json.dumps({"user_id": user, "event_type": "view", "occurred_at": at, "item_id": item, **more}) + "\n"


def _door(open_door: OpenDoor, files: dict[str, list[str]], **cleaning: int) -> Any:
    door = open_door(events={"connector": "jsonl", "pattern": "{night}/*.jsonl"}, cleaning={**CLEANING, **cleaning})
    door.put({name: "".join(lines) for name, lines in files.items()})
    door.land(date.fromisoformat(THIRD))
    return door


TWICE = _event("dup", "10:00:00")
FILES = {
    f"{FIRST}/a.jsonl": [_event("early", "2026-03-01T10:00:00Z"), _event("id", "2026-03-01T10:00:00Z", event_id="e1")],
    f"{SECOND}/a.jsonl": [
        # silence of 30 minutes is no split, a microsecond more is; equal times stay together
        _event("split", "10:30:00"),
        _event("split", "10:00:00"),
        _event("split", "11:00:00.000001"),
        _event("split", "12:00:00", "i2"),
        _event("split", "12:00:00", "i1"),
        # what the platform calls a session is one, however long the silence
        _event("own", "10:00:00", session_id="s9"),
        _event("own", "15:00:00", session_id="s9"),
        _event("own", "15:00:01"),
        *[_event("hasty", f"10:00:{second:02}") for second in range(6)],
        *[_event("quick", f"10:{minute:02}:{second:02}") for minute in (0, 1) for second in range(50, 55)],
        *[_event("steady", f"{hour:02}:00:00") for hour in range(11)],
        TWICE,
        TWICE,
        _event("id", "10:00:00", "first", event_id="e1"),
        _event("id", "11:00:00", "b", event_id="e2"),
        _event("id", "11:00:00", "a", event_id="e2"),
        _event("other", "10:00:00", event_id="e1"),
        "{broken\n",
        "\n",
    ],
    f"{SECOND}/b.jsonl": [TWICE],
    f"{THIRD}/a.jsonl": [
        TWICE,
        _event("id", "09:00:00", "later", event_id="e1"),
        _event("early", "2026-03-01T11:00:00Z"),
        _event("late", "2026-02-24T00:00:00Z"),
        _event("late", "2026-02-23T23:59:59Z"),
    ],
}


@pytest.fixture(scope="module")
def key() -> PseudonymKey:
    return PseudonymKey(bytes(range(100, 132)))


def test_events_of_three_arrivals(engine: Engine, open_door: OpenDoor, tmp_path: Path, key: PseudonymKey) -> None:
    made, nights, quarantine = _door(open_door, FILES).clean(engine, tmp_path / "out", key=key)
    assert list(nights) == ["2026-02-24", FIRST, SECOND]
    name_of = {
        key.pseudonym(user): user
        for user in ("split", "own", "hasty", "quick", "steady", "dup", "id", "other", "early", "late")
    }
    of_user: dict[str, list[Any]] = {}
    for row in sorted(nights[SECOND], key=lambda row: (row["occurred_at"], row["item_id"])):
        of_user.setdefault(name_of[row["user_key"]], []).append(row)

    def sessions(user: str) -> list[str]:
        return [row["session_id"].removeprefix(key.pseudonym(user)[:16] + "-") for row in of_user[user]]

    assert sessions("split") == [f"{SECOND}-1", f"{SECOND}-1", f"{SECOND}-2", f"{SECOND}-3", f"{SECOND}-3"]
    assert sessions("own") == ["s9", "s9", f"{SECOND}-1"]
    assert {user: {row["is_bot"] for row in rows} for user, rows in of_user.items() if rows[0]["is_bot"]} == {
        "hasty": {True},
        "steady": {True},
    }
    assert {user: len(of_user[user]) for user in ("hasty", "quick", "steady")} == {
        "hasty": 6,
        "quick": 10,
        "steady": 11,
    }
    assert len(of_user["dup"]) == 1
    assert [row["item_id"] for row in of_user["id"]] == ["first", "a"]
    assert len(of_user["other"]) == 1
    assert [name_of[row["user_key"]] for row in nights[FIRST]].count("early") == 2
    assert [name_of[row["user_key"]] for row in nights[FIRST]].count(
        "id"
    ) == 1  # the same id, another night: another event

    assert made["events"][SECOND]["kept"] == {SECOND: 39}
    assert made["events"][SECOND]["lines"] == {SECOND: 42, THIRD: 2}
    assert made["events"][FIRST]["kept"] == {FIRST: 2, THIRD: 1}
    assert (made["events"][SECOND]["n_bots"], made["events"][SECOND]["n_bot_events"]) == (2, 17)
    n_lines = sum(len(lines) for lines in FILES.values())
    n_clean = sum(len(rows) for rows in nights.values())
    n_good = sum(sum(account["nights"].values()) for account in made["arrivals"].values())
    assert (n_lines, n_clean, n_good - n_clean, len(quarantine)) == (51, 43, 5, 3)
    found = [
        (row["arrival"], row["source_file"], row["line_number"], row["reason"], row["raw_text"]) for row in quarantine
    ]
    assert sorted(found) == [
        (SECOND, f"{SECOND}/a.jsonl", 42, "bad_json", "{broken"),
        (SECOND, f"{SECOND}/a.jsonl", 43, "empty_line", ""),
        (THIRD, f"{THIRD}/a.jsonl", 5, "outside_window", FILES[f"{THIRD}/a.jsonl"][4].strip()),
    ]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "events").rglob("*.parquet"))
    }


@pytest.mark.parametrize("engine", ["duckdb"], indirect=True)
def test_what_the_shop_recommends_makes_no_bot_and_starts_joins_or_splits_no_session(
    engine: Engine, open_door: OpenDoor, tmp_path: Path
) -> None:
    shown = {"event_type": "impression", "channel": "recommendation"}
    lines = [
        _event("ann", "09:00:00", **shown),  # long before the visit
        *[_event("ann", "10:00:01", f"i{k}", **shown) for k in range(20)],  # a page is no minute's work of a person
        _event("ann", "10:00:00"),
        _event("ann", "10:25:00", **shown),
        _event("ann", "10:40:00"),  # silence of 40 minutes, whatever was shown between
        _event("ann", "10:41:00", channel="recommendation", event_type="click"),
        _event("bob", "10:00:00", event_type="impression"),  # of another page: as ever
        _event("eve", "11:00:00", session_id="s1", **shown),
    ]
    made, nights, _ = _door(open_door, {f"{SECOND}/a.jsonl": lines}).clean(engine, tmp_path / "out")
    rows = nights[SECOND]
    assert made["events"][SECOND]["n_bots"] == 0
    numbers = {
        (row["event_type"], row["channel"], f"{row['occurred_at']:%H:%M}"): row["session_id"].rpartition("-")[2]
        for row in rows
    }
    assert numbers == {
        ("impression", "recommendation", "09:00"): "0",
        ("impression", "recommendation", "10:00"): "0",
        ("view", None, "10:00"): "1",
        ("impression", "recommendation", "10:25"): "0",
        ("view", None, "10:40"): "2",
        ("click", "recommendation", "10:41"): "2",
        ("impression", None, "10:00"): "1",
        ("impression", "recommendation", "11:00"): "s1",
    }


def test_a_file_sent_again_under_another_name_changes_no_byte_of_events(
    engine: Engine, open_door: OpenDoor, tmp_path: Path
) -> None:
    once = {f"{SECOND}/a.jsonl": FILES[f"{SECOND}/a.jsonl"]}
    again = {**once, f"{SECOND}/0.jsonl": once[f"{SECOND}/a.jsonl"], f"{THIRD}/again.jsonl": once[f"{SECOND}/a.jsonl"]}
    _door(open_door, once).clean(engine, tmp_path / "once")
    made, _, quarantine = _door(open_door, again).clean(engine, tmp_path / "again")
    assert _bytes(tmp_path / "once") == _bytes(tmp_path / "again")
    assert len(quarantine) == 6
    assert made["events"][SECOND]["kept"].keys() == {SECOND}


@pytest.mark.parametrize("engine", ["duckdb"], indirect=True)
def test_arrivals_judged_one_by_one_and_together_make_the_same_events(
    engine: Engine, open_door: OpenDoor, tmp_path: Path
) -> None:
    door = _door(open_door, FILES)
    door.clean(engine, tmp_path / "together")
    known: dict[str, Any] = {}
    for arrival in (THIRD, FIRST, SECOND):  # in the worst order
        made, _, _ = door.clean(engine, tmp_path / "apart", new=[arrival], known=known)
        known[arrival] = made["arrivals"][arrival]["nights"]
    assert _bytes(tmp_path / "apart") == _bytes(tmp_path / "together")


def test_the_pseudonym_is_hmac_sha256(engine: Engine, key: PseudonymKey, rows_of: Callable[..., Any]) -> None:
    users = ["1", "9223372036854775807", "u@example.com", "客户", "x" * 128]
    frame = engine.rows({"user_id": "string"}, [(user,) for user in (*users, "1")])
    found = {row["user_id"]: row["user_key"] for row in rows_of(engine, pseudonyms(frame, key))}
    assert found == {user: hmac.new(key.secret, user.encode(), hashlib.sha256).hexdigest() for user in users}


def _spellings(secret: bytes) -> list[str]:
    """Ways in which bytes could stand in a text: hex, and the middle of a Python, SQL or Java rendering."""
    return [
        secret.hex(),
        secret.hex().upper(),
        repr(secret)[4:40],
        "".join(f"\\x{byte:02X}" for byte in secret[:8]),
        str(list(secret))[1:30],
    ]


def test_the_key_stands_in_no_query_plan_or_error(
    engine: Engine, key: PseudonymKey, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = pseudonyms(engine.rows({"user_id": "string"}, [("1",)]), key)
    if engine.name == "duckdb":
        sql = engine._sql(frame)  # type: ignore[attr-defined]
        texts = [sql, str(engine.connection.execute(f"EXPLAIN {sql}").fetchall())]  # type: ignore[attr-defined]
        with pytest.raises(Exception, match="error_on_purpose") as told:
            engine.connection.execute(f"SELECT error('error_on_purpose' || user_key) FROM ({sql})")  # type: ignore[attr-defined]
    else:
        texts = [frame._jdf.queryExecution().toString()]
        frame.explain(extended=True)
        with pytest.raises(Exception, match="error_on_purpose") as told:
            frame.selectExpr("raise_error('error_on_purpose ' || user_key)").collect()
    texts += [str(told.value), repr(key), str(key), *capfd.readouterr()]
    for secret in (key.secret, *key.pads):
        for spelling in _spellings(secret):
            assert not [text for text in texts if spelling in text]


def test_the_key_stands_in_no_result_and_user_ids_in_no_event(
    engine: Engine, open_door: OpenDoor, tmp_path: Path, key: PseudonymKey
) -> None:
    door = _door(open_door, {f"{SECOND}/a.jsonl": [_event("a-telling-user-id", "10:00:00"), "{broken\n"]})
    made, nights, quarantine = door.clean(engine, tmp_path / "out", key=key)
    told = json.dumps(made) + str(nights) + str(quarantine)
    assert not [spelling for secret in (key.secret, *key.pads) for spelling in _spellings(secret) if spelling in told]
    assert "a-telling-user-id" not in json.dumps(made) + str(nights)
    files = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet"))
    assert key.secret not in files
    assert b"a-telling-user-id" not in files
