"""What each kind of dirt in a line comes to: a reason, or a meaning that stands in docs/INPUT.md."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from spark_jobs.session import Engine

NIGHT = date(2026, 3, 2)
OpenDoor = Callable[..., Any]
ARCHIVE = {"first_night": "2017-11-25", "last_night": "2017-12-03"}


def _judge(engine: Engine, door: Any, lines: list[str], feed: str = "events") -> list[dict[str, Any]]:
    """Each line judged; the file name is what the door's pattern names."""
    door.put({f"{NIGHT}/a.txt": "\n".join(lines) + "\n"})
    door.land(NIGHT)
    rows: list[dict[str, Any]] = door.judged(engine, feed)
    assert len(rows) == len(lines)
    return rows


def _expect(cases: dict[str, Any], found: list[Any]) -> None:
    """Names the lines that came to something else."""
    wrong = [
        (line[:80], f"expected {expected}, found {now}")
        for (line, expected), now in zip(cases.items(), found, strict=True)
        if now != expected
    ]
    assert not wrong


def test_delimited_lines_have_reasons(engine: Engine, open_door: OpenDoor) -> None:
    door = open_door(events={"connector": "taobao", "pattern": "*/*.txt", **ARCHIVE}, timezone="Asia/Shanghai")
    cases: dict[str, str | None] = {
        "1,2,3,pv,1511658000": None,
        '"1",2,"3","buy","1511658000"': None,
        "9223372036854775807,2,3,pv,1511658000": None,
        "1,2,,pv,1511658000": None,
        "": "empty_line",
        " ": "wrong_column_count",
        "1,2,3,pv": "wrong_column_count",
        "1,2,3,pv,1511658000,": "wrong_column_count",
        "1,2,3,pv,15": "outside_window",
        "1,2,3": "wrong_column_count",
        '"1,2,3,pv,1511658000': "unbalanced_quote",
        '1,2"x",3,pv,1511658000': "unbalanced_quote",
        '1,"2"x,3,pv,1511658000': "unbalanced_quote",
        '1,"2,2",3,pv,1511658000': "bad_item_id",
        '1,"2""2",3,pv,1511658000': "bad_item_id",
        ",2,3,pv,1511658000": "missing_user",
        "9223372036854775808,2,3,pv,1511658000": "user_id_overflow",
        "1,99999999999999999999,3,pv,1511658000": "item_id_overflow",
        "1,2,9223372036854775808,pv,1511658000": "category_id_overflow",
        "-1,2,3,pv,1511658000": "bad_user_id",
        "1.0,2,3,pv,1511658000": "bad_user_id",
        "1e3,2,3,pv,1511658000": "bad_user_id",
        "007,2,3,pv,1511658000": "bad_user_id",
        " 1,2,3,pv,1511658000": "bad_user_id",
        "\ufeff1,2,3,pv,1511658000": "bad_user_id",  # not the file's first line, where it would be a byte-order mark
        "1,2,3,click,1511658000": "unknown_event_type",
        "1,2,3,,1511658000": "unknown_event_type",
        "1,,3,pv,1511658000": "missing_item",
        "1,2,3,pv,": "bad_timestamp",
        "1,2,3,pv,1e9": "bad_timestamp",
        "1,2,3,pv,1_511_658_000": "bad_timestamp",
        "1,2,3,pv,1511658000.5": "bad_timestamp",
        "1,2,3,pv,1511658000000": "bad_timestamp",
        "1,2,3,pv,-1511658000": "outside_window",
        "1,2,3,pv,1511539199": "outside_window",
        "1,2,3,pv,1511539200": None,  # 2017-11-25 00:00 in Shanghai
        "1,2,3,pv,1512316799": None,  # 2017-12-03 23:59:59
        "1,2,3,pv,1512316800": "outside_window",
    }
    rows = _judge(engine, door, list(cases))
    _expect(cases, [row["reason"] for row in rows])
    assert [rows[2][name] for name in ("user_id", "item_id", "category_id", "event_type")] == [
        "9223372036854775807",
        "2",
        "3",
        "view",
    ]
    assert rows[1]["event_type"] == "purchase"
    assert [row["night"] for row in rows if row["occurred_us"] in (1511539200_000000, 1512316799_000000)] == [
        "2017-11-25",
        "2017-12-03",
    ]


def test_prices_quotes_and_times_of_a_csv_have_one_meaning(engine: Engine, open_door: OpenDoor) -> None:
    archive = {"first_night": "2019-10-01", "last_night": "2019-10-31"}
    door = open_door(events={"connector": "rees46", "pattern": "*/*.txt", **archive}, cleaning={"max_price": 5000})

    def line(at: str = "2019-10-01 00:00:00 UTC", brand: str = "acer", price: str = "35.79") -> str:
        return f"{at},view,44600062,2103807459595387724,a.b,{brand},{price},541312140,72d76fde-8bb3"

    header = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
    cases: dict[str, Any] = {
        header: ("bad_user_id", None, None),  # a header, and so counted apart: see is_header
        line(): (None, 3579, "acer"),
        line(brand=""): (None, 3579, None),
        line(brand='""'): (None, 3579, None),
        line(brand='"a ""b"", c"'): (None, 3579, 'a "b", c'),
        line(brand='"' + "x" * 20_000 + '"'): (None, 3579, "x" * 20_000),
        line(brand='"' + '""' * 15_000 + '"'): (None, 3579, '"' * 15_000),
        line(price="0.00"): (None, None, "acer"),
        line(price=""): (None, None, "acer"),
        line(price="12"): (None, 1200, "acer"),
        line(price="1.005"): (None, 100, "acer"),
        line(price="0.125"): (None, 13, "acer"),
        line(price="1e2"): (None, 10_000, "acer"),
        line(price="5000"): (None, 500_000, "acer"),
        line(price="5000.01"): ("absurd_price", 500_001, "acer"),
        line(price="1e30"): ("absurd_price", None, "acer"),
        line(price="9" * 20): ("absurd_price", None, "acer"),
        line(price="-0.01"): ("negative_price", -1, "acer"),
        line(price="-" + "9" * 20): ("negative_price", None, "acer"),
        line(price='"12,50"'): ("bad_price", None, "acer"),
        line(price="NaN"): ("bad_price", None, "acer"),
        line(price="inf"): ("bad_price", None, "acer"),
        line(price="12 EUR"): ("bad_price", None, "acer"),
        line(at="2019-10-01T02:00:00+02:00"): (None, 3579, "acer"),
        line(at="2019-09-30T19:00:00.000001-0500"): (None, 3579, "acer"),
        line(at="2019-10-01 00:00:00"): ("bad_timestamp", 3579, "acer"),
        line(at="2019-02-29 00:00:00 UTC"): ("bad_timestamp", 3579, "acer"),
        line(at="2019-10-01 24:00:00 UTC"): ("bad_timestamp", 3579, "acer"),
        line(at="1850-10-01 00:00:00 UTC"): ("bad_timestamp", 3579, "acer"),
        line(at="2019-09-30 23:59:59 UTC"): ("outside_window", 3579, "acer"),
        line(at="2019-11-01 00:00:00 UTC"): ("outside_window", 3579, "acer"),
        header + " ": ("bad_user_id", None, "brand"),
        header.upper(): ("bad_user_id", None, "BRAND"),
        "2019-10-01 00:00:00 UTC,view,1,2,,,1.00,541312140,": ("missing_session", 100, None),
    }
    rows = _judge(engine, door, list(cases))
    assert [row["line_number"] for row in rows if row["is_header"]] == [1]
    _expect(dict(list(cases.items())[1:]), [(row["reason"], row["price_cents"], row["brand"]) for row in rows[1:]])
    micros = [row["occurred_us"] % 86_400_000_000 for row in rows if row["reason"] is None]
    assert set(micros) == {0, 1}


def test_a_header_is_the_first_line_of_its_file_and_no_other(engine: Engine, open_door: OpenDoor) -> None:
    archive = {"first_night": "2015-05-01", "last_night": "2015-09-18"}
    door = open_door(events={"connector": "retailrocket", "pattern": "*/*.txt", **archive})
    header, event = "timestamp,visitorid,event,itemid,transactionid", "1433221332117,257597,view,355908,"
    door.put(
        {
            f"{NIGHT}/a.txt": f"\ufeff{header}\r\n{event}\r\n{header}\r\n{event}",
            f"{NIGHT}/b.txt": f"{event}\n",
            f"{NIGHT}/c.txt": f"{header}\n",
        }
    )
    door.land(NIGHT)
    found = [(row["is_header"], row["reason"]) for row in door.judged(engine)]
    assert [pair for pair in found if not pair[0]] == [
        (False, None),
        (False, "bad_user_id"),
        (False, None),
        (False, None),
    ]
    assert [pair[0] for pair in found] == [True, False, False, False, False, True]


def _json(**changed: str | None) -> str:
    """A good event with some values (as JSON text) changed or taken out."""
    good: dict[str, str | None] = {
        "user_id": '"u1"',
        "event_type": '"view"',
        "occurred_at": '"2026-03-02T10:00:00Z"',
        "item_id": '"i1"',
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in {**good, **changed}.items() if value is not None) + "}"


def test_json_lines_have_reasons(engine: Engine, open_door: OpenDoor) -> None:
    door = open_door(events={"connector": "jsonl", "pattern": "{night}/*.txt"}, cleaning={"max_price": 1000})
    cases: dict[str, str | None] = {
        _json(): None,
        " \t" + _json() + " ": None,
        _json(unknown_key='{"deep":[1]}'): None,
        "": "empty_line",
        " ": "bad_json",
        "[]": "bad_json",
        "[" + _json() + "]": "bad_json",
        '"text"': "bad_json",
        "null": "bad_json",
        _json()[:-1]: "bad_json",
        _json() + "}": "bad_json",
        _json() + " trailing": "bad_json",
        _json() + _json(): "bad_json",
        _json() + "," + _json(): "bad_json",
        _json(price="NaN"): "bad_json",
        _json(price="-Infinity"): "bad_json",
        _json(price="01"): "bad_json",
        _json(price=".5"): "bad_json",
        _json(brand="'x'"): "bad_json",
        _json(brand='"\t"'): "bad_json",
        _json(brand='"\\ud83d"'): "bad_json",
        _json(brand='"\\x"'): "bad_json",
        _json()[:-1] + ",}": "bad_json",
        _json(brand="[" * 1001 + "]" * 1001): "bad_json",
        _json(brand='"a\\u0000b"'): "nul_byte",
        _json(user_id=None): "missing_user",
        _json(user_id="null"): "missing_user",
        _json(user_id='""'): "missing_user",
        _json(user_id='"a b"'): "bad_user_id",
        _json(user_id='"u1\\n"'): "bad_user_id",
        _json(user_id='"u1\\u2028"'): "bad_user_id",
        _json(user_id='"' + "x" * 129 + '"'): "bad_user_id",
        _json(user_id='"' + "x" * 128 + '"'): None,
        _json(user_id='{"id":1}'): "bad_user_id",
        _json(user_id='["u1"]'): "bad_user_id",
        _json(user_id='"客户"'): "bad_user_id",
        _json(event_id='"a b"'): "bad_event_id",
        _json(session_id='"a,b"'): "bad_session_id",
        _json(item_id='"a b"'): "bad_item_id",
        _json(order_id='"#1"'): "bad_order_id",
        _json(event_type=None): "unknown_event_type",
        _json(event_type='"View"'): "unknown_event_type",
        _json(event_type='"pv"'): "unknown_event_type",
        _json(item_id=None): "missing_item",
        _json(event_type='"click"', item_id=None): None,
        _json(event_type='"search"', item_id=None): "missing_query",
        _json(event_type='"search"', item_id=None, query='"tea"'): None,
        _json(event_type='"unsubscribe"', item_id=None): None,
        _json(quantity="-1"): "bad_quantity",
        _json(quantity="1.5"): "bad_quantity",
        _json(quantity='"many"'): "bad_quantity",
        _json(price="-1"): "negative_price",
        _json(price="1000.01"): "absurd_price",
        _json(price='"12,50"'): "bad_price",
        _json(price="1e400"): "bad_price",
        _json(occurred_at=None): "bad_timestamp",
        _json(occurred_at="1772445600"): "bad_timestamp",
        _json(occurred_at='"2026-03-02T10:00:00"'): "bad_timestamp",
        _json(occurred_at='"2026-03-02"'): "bad_timestamp",
        _json(occurred_at='"2026-03-02T10:00:00+30:00"'): "bad_timestamp",
        _json(occurred_at='"2026-03-03T00:00:00Z"'): "outside_window",  # of the future
        _json(occurred_at='"2026-03-02T23:59:59.999999Z"'): None,
        _json(occurred_at='"2026-02-23T00:00:00Z"'): None,  # seven nights late
        _json(occurred_at='"2026-02-22T23:59:59.999999Z"'): "outside_window",
        _json(occurred_at='"2036-03-02T10:00:00Z"'): "outside_window",
    }
    rows = _judge(engine, door, list(cases))
    _expect(cases, [row["reason"] for row in rows])


def test_json_values_are_read_as_they_are_written(engine: Engine, open_door: OpenDoor) -> None:
    door = open_door(events={"connector": "jsonl", "pattern": "{night}/*.txt"})
    cases: dict[str, Any] = {
        _json(user_id="7"): {"user_id": "7"},
        _json(user_id="9223372036854775807"): {"user_id": "9223372036854775807"},
        _json(user_id="1234567890123456789012"): {"user_id": "1234567890123456789012"},
        _json(user_id="7.0"): {"user_id": "7.0"},
        _json(user_id='"1234567890.1234567890"'): {"user_id": "1234567890.1234567890"},
        _json(item_id="1234567890.1234567890"): {"item_id": "1234567890.1234567890"},
        _json(item_id="1e3"): {"item_id": "1e3"},
        _json(item_id="true"): {"item_id": "true"},
        _json(brand='"a \\"b\\": 1.50, c"'): {"brand": 'a "b": 1.50, c'},
        _json(brand='": 1.50, c"'): {"brand": ": 1.50, c"},
        _json(brand='"caf\\u00e9 \\ud83d\\ude00\\n,}"'): {"brand": "café 😀\n,}"},
        _json(brand='"NaN"'): {"brand": "NaN"},
        _json(brand="null", category_id='""'): {"brand": None, "category_id": None},
        _json(item_id='"first"')[:-1] + ',"item_id":"second"}': {"item_id": "first"},
        _json(price="12.5", quantity="2"): {"price_cents": 1250, "quantity": 2},
        _json(price='"12.50"'): {"price_cents": 1250},
        _json(price="1.5e2"): {"price_cents": 15_000},
        _json(price="-0.0"): {"price_cents": 0},
        _json(occurred_at='"2026-03-02T10:00:00.1234567Z"'): {"occurred_us": _micros(2026, 3, 2, 10) + 123_456},
        _json(occurred_at='"2026-03-02 10:00:00.5+0130"'): {"occurred_us": _micros(2026, 3, 2, 8, 30) + 500_000},
    }
    rows = _judge(engine, door, list(cases))
    assert {row["reason"] for row in rows} == {None}
    _expect(cases, [{name: row[name] for name in expected} for row, expected in zip(rows, cases.values(), strict=True)])


def _micros(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc, arg-type]


def test_lines_that_are_no_text_keep_the_fault_of_their_landing(engine: Engine, open_door: OpenDoor) -> None:
    door = open_door(events={"connector": "jsonl", "pattern": "{night}/*.txt"}, cleaning={"max_line_bytes": 256})
    door.put({f"{NIGHT}/a.txt": b"\0\n\xff\n" + b"x" * 300 + b"\n" + _json().encode() + b"\n" + _json().encode()[:30]})
    door.land(NIGHT)
    assert door.reasons(engine) == ["nul_byte", "bad_encoding", "line_too_long", None, "bad_json"]


def test_the_shops_zone_decides_the_night(engine: Engine, open_door: OpenDoor) -> None:
    """In Amsterdam the night of 2026-03-29 has 23 hours, the one of 2026-10-25 has 25."""
    nights = {"first_night": "2026-03-28", "last_night": "2026-10-26"}
    door = open_door(events={"connector": "jsonl", "pattern": "*/*.txt", **nights}, timezone="Europe/Amsterdam")
    cases = {
        "2026-03-28T22:59:59.999999Z": "2026-03-28",
        "2026-03-28T23:00:00Z": "2026-03-29",
        "2026-03-29T00:59:59Z": "2026-03-29",  # 01:59:59 before the hour is skipped
        "2026-03-29T01:00:00Z": "2026-03-29",  # 03:00:00 after
        "2026-03-29T21:59:59Z": "2026-03-29",
        "2026-03-29T22:00:00Z": "2026-03-30",
        "2026-03-29T23:59:59+02:00": "2026-03-29",
        "2026-03-30T00:00:00+02:00": "2026-03-30",
        "2026-03-29T23:30:00+01:00": "2026-03-30",
        "2026-10-24T22:00:00Z": "2026-10-25",
        "2026-10-25T00:30:00Z": "2026-10-25",  # 02:30 for the first time
        "2026-10-25T01:30:00Z": "2026-10-25",  # and again
        "2026-10-25T22:59:59Z": "2026-10-25",
        "2026-10-25T23:00:00Z": "2026-10-26",
    }
    rows = _judge(engine, door, [_json(occurred_at=f'"{at}"') for at in cases])
    _expect(cases, [row["night"] for row in rows])


def test_another_trade_needs_only_its_event_names_in_the_configuration(engine: Engine, open_door: OpenDoor) -> None:
    names = {"page_viewed": "view", "ticket_booked": "purchase", "waitlisted": "favorite"}
    door = open_door(
        events={"connector": "jsonl", "pattern": "{night}/*.txt", "event_types": names, "default_brand": "own"}
    )
    cases = {
        _json(event_type='"page_viewed"'): (None, "view", "own"),
        _json(event_type='"ticket_booked"', brand='"Globe"'): (None, "purchase", "Globe"),
        _json(event_type='"waitlisted"', item_id=None): ("missing_item", "favorite", "own"),
        _json(event_type='"view"'): (None, "view", "own"),
        _json(event_type='"page_left"'): ("unknown_event_type", None, "own"),
    }
    rows = _judge(engine, door, list(cases))
    _expect(cases, [(row["reason"], row["event_type"], row["brand"]) for row in rows])
