# ruff: noqa: E501 -- tables of lines, one a row
"""Both engines judge and read every line alike: real files' shapes, hand-made dirt, and what hypothesis thinks of."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spark_jobs.session import Engine, open_engine

OpenDoor = Callable[..., Any]

NIGHT = date(2026, 3, 2)
DAILY = {"pattern": "{night}/*.txt"}
on_both = pytest.mark.parametrize("engine", ["spark"], indirect=True)  # DuckDB is opened beside it


def _gather(lines: st.SearchStrategy[bytes], n: int) -> list[bytes]:
    """What hypothesis makes of it, all examples together: one query per engine judges them."""
    found: list[bytes] = []

    @settings(max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(lines, min_size=4, max_size=8))
    def collect(some: list[bytes]) -> None:
        found.extend(some)

    collect()
    return found


def _agree(
    open_door: OpenDoor, spark: Engine, work: Path, connector: str, lines: list[bytes], feed: str = "events"
) -> list[dict[str, Any]]:
    feeds = {"events": {"connector": "jsonl", **DAILY}, feed: {"connector": connector, "pattern": "{night}/*.lines"}}
    door = open_door(**feeds)
    door.put({f"{NIGHT}/a.lines": b"\n".join(lines) + b"\n", f"{NIGHT}/a.txt": b""})
    door.land(NIGHT)
    theirs = door.judged(spark, feed)
    with open_engine("duckdb", work, threads=2) as duckdb:
        ours = door.judged(duckdb, feed)
    different = [
        (
            lines[left["line_number"] - 1][:300],
            {name: (left[name], right[name]) for name in left if left[name] != right[name]},
        )
        for left, right in zip(ours, theirs, strict=True)
        if left != right
    ]
    assert not different, f"{len(different)} lines are read differently, (duckdb, spark): {different[:10]}"
    return ours


NUMBERS = [
    "1.50",
    "1.0",
    "1e5",
    "1E+5",
    "-1e-3",
    "12345678901234567890",
    "123456789012345678901234567890.123",
    "-0",
    "-0.0",
    "1e400",
    "1e-400",
    "12345678.5",
    "0.0005",
    "9" * 1200,
    "NaN",
    "Infinity",
    "-inf",
    "1.",
    ".5",
    "01",
    "+1",
    "0x1F",
    "1_0",
    "007.5",
]
STRINGS = [
    r"",
    r" ",
    r"\u0000",
    r"x\u0000y",
    r"\\u0000",
    r"\ud800",
    r"\ud83d\ude00",
    r"\udc00\ud800",
    r"\\ud800",
    r"\uD83D\uDE00\uD83D",
    "x\ty",
    "x\x01y",
    r"\x",
    r"\n",
    "abc\\n",
    "x\x7fy",
    "é\\/",
    "\u2028",
    "\u2028x",
    "NaN,]",
    ",}",
    ":1.5,",
    'a\\":1.5,',
    "\\\\",
    "\ufdd0",
]
VALUES = [
    *NUMBERS,
    *[f'"{text}"' for text in STRINGS],
    "null",
    "true",
    "tru",
    "{}",
    "[]",
    '{"y":1, "x":[1, 2.50,null]}',
    '{"b":1,"b":2}',
    '["x" , "y"]',
    '{ "k" : "\\u00e9 \\n", "n":1e2 }',
    "[" * 1200 + "]" * 1200,
    "[" * 20000 + "]" * 20000,
    "[1,]",
    "undefined",
    "'x'",
]
JSON_LINES = [
    *[f'{{"query":{value}}}' for value in VALUES],
    *[f'{{"price":{value}}}' for value in VALUES],
    *[f'{{"item_id": {value} , "user_id":"u"}}' for value in VALUES],
    ' {"query":1} ',
    '\t{"query":1}\t',
    '{"query":1}}',
    '{"query":1} x',
    '{"query":1}{"query":2}',
    '{"query":1},{"query":2}',
    '{"query":1},"end",null',
    '{"query":1},"end"] junk',
    '{"query":1},{"seal":"1"}',
    '{"query":1,"query":2}',
    '{"query":1.5,"query":null}',
    "{'query':1}",
    "{query:1}",
    '{"query":1,}',
    "// c",
    '{"query":1} // c',
    '{"query":1/*c*/}',
    "[1]",
    '"x"',
    "1",
    "null",
    "",
    " ",
    "{}",
    '{"query":"',
    '{"query":1',
    '{"query" 1}',
    '{"query":1 "b":2}',
    '{"":1,"query":2}',
    '\ufeff{"query":1}',
    '\u00a0{"query":1}',
    '\x0c{"query":1}',
    '\x0b{"query":1}',
    '{"query":\x0c1}',
    '{"query.x":1, "query":2}',
    '{"k\\ud800":1,"query":1}',
    '{"b":{"query":9},"query":3}',
    '{"qu\\u0065ry":5}',
    '{"query"  :  1.5e3  }',
    '{"QUERY":1}',
    '{"query":"' + "x" * 60000 + '"}',
    '{"query":1}\x00',
    '{"query": "1" , "price" : -5.5}',
]


@on_both
def test_json_lines_of_every_kind_are_read_alike(engine: Engine, open_door: OpenDoor, tmp_path: Path) -> None:
    rows = _agree(open_door, engine, tmp_path, "jsonl", [line.encode() for line in JSON_LINES])
    assert {row["reason"] for row in rows} >= {
        "bad_json",
        "nul_byte",
        "empty_line",
        "missing_user",
        "unknown_event_type",
    }


WHOLE = ["1", "0", "-1", "-0", "+1", " 1", "1 ", "01", "1_0", "1e3", "1.0", "1.5", "0x1F", "9223372036854775807", "9223372036854775808", "x", "",
         "99999999999999999999", "-9223372036854775809", "١", "1\u2028", "1\r", "1\x0b", "true", "NaN", "1511658000", "99999999999", "999999999999",
         "1511658000.", "1511658000.5", "1511658000.1234567", "1511658000.12x", ".5", "1511658000\n"[:-1] + "\x85"]  # fmt: skip
FIELDS = ['"1"', '"1', '1"', '"a,b"', '"a""b"', '"a"b"', '"a"x', 'x"a"', '""', '"', '""""', '"""', ' "1"', '"1" ', "'1'", '"a\tb"', "\t", '"' + "x" * 30000 + '"', '"' * 30000, "\ufeff1"]  # fmt: skip
GOOD = ["1", "2268318", "2520377", "pv", "1511658000"]
TAOBAO_LINES = [",".join([*GOOD[:at], value, *GOOD[at + 1 :]]) for at in range(5) for value in (*WHOLE, *FIELDS)] + [
    "", " ", ",", ",,,,", ",,,,,", '"', '","', '"1","2","3","buy","1511658000"', "1,2,3,pv,1511658000,", ",1,2,3,pv,1511658000", "1;2;3;pv;1511658000", "1,2,3,PV,1511658000",
]  # fmt: skip
TIMES = ["2019-10-01 00:00:00 UTC", "2019-10-01T00:00:00Z", "2019-10-01 24:00:00 UTC", "2019-02-29 00:00:00 UTC", "2020-02-29 00:00:00 UTC", "2019-10-01 00:00:60 UTC",
         "2019-10-01 00:60:00 UTC", "2019-13-01 00:00:00 UTC", "2019-00-01 00:00:00 UTC", "2019-10-00 00:00:00 UTC", "2019-10-01 00:00:00", "2019-10-01 00:00:00 utc", "2019-10-01  00:00:00 UTC",
         "2019-10-01 00:00:00.5 UTC", "2019-10-01 00:00:00.123456789 UTC", "2019-10-01 00:00:00.1234567890 UTC", "2019-10-01 00:00:00. UTC", "2019-10-01 00:00:00+02:00", "2019-10-01 00:00:00-0230",
         "2019-10-01 00:00:00+2", "2019-10-01 00:00:00+29:59", "2019-10-01 00:00:00+14:60", "2019-10-01 00:00:00+30:00", "0000-01-01 00:00:00 UTC", "0001-01-01 00:00:00 UTC", "1582-10-10 00:00:00 UTC",
         "1969-12-31 23:59:59 UTC", "1970-01-01 00:00:00 UTC", "2099-12-31 23:59:59 UTC", "2100-01-01 00:00:00 UTC", "9999-12-31 23:59:59 UTC", "10000-01-01 00:00:00 UTC", "2019-10-01 00:00:00 UTC\u2028",
         "2019-10-01", "1569888000", "٢٠١٩-10-01 00:00:00 UTC", "2019-10-01 00:00:00 UTC UTC"]  # fmt: skip
PRICES = ["0.00", "0", "-0.00", "-0.01", "-0.004", "1", "1.", ".5", "1.005", "1.015", "2.675", "0.125", "1e3", "1E-2", "1e99", "1e100", "1000000", "1000000.01", "1000000.004", "999999999999.99", "1000000000000",
          "9" * 30, "9" * 31, "-" + "9" * 30, "-1e99", "1,5", "1 000", "€5", "NaN", "inf", "-inf", "0x10", "1_0", "+5", "--5", "0." + "3" * 5000, "00012.50"]  # fmt: skip
REES = ["2019-10-01 00:00:00 UTC", "view", "44600062", "2103807459595387724", "x.y", "shiseido", "35.79", "541312140", "72d76fde-8bb3-4e00-8c23-a032dfed738c"]  # fmt: skip
REES_LINES = [",".join([*REES[:at], value, *REES[at + 1 :]]) for at in range(9) for value in {0: TIMES, 6: PRICES}.get(at, [*WHOLE, *FIELDS])] + [
    "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session", ",".join(REES)
]  # fmt: skip
YOO_LINES = [f"{session}\t{item}\t{at}" for session, item, at in [*[(w, "2", "1396861348.277") for w in (*WHOLE, *FIELDS)], *[("1", "2", w) for w in WHOLE]]]  # fmt: skip
ROCKET_LINES = [f"{at},257597,{event},355908,{order}" for at in (*WHOLE, "1433221332117", "99999999999999", "999999999999999") for event, order in (("view", ""), ("transaction", "4000"))]  # fmt: skip


@on_both
@pytest.mark.parametrize(
    ("connector", "lines", "expected"),
    [
        ("taobao", TAOBAO_LINES, {"bad_user_id", "user_id_overflow", "unbalanced_quote", "wrong_column_count", "bad_timestamp"}),
        ("rees46", REES_LINES, {"bad_timestamp", "absurd_price", "negative_price", "bad_price", "bad_session_id"}),
        ("yoochoose", YOO_LINES, {"bad_user_id", "bad_timestamp"}),
        ("retailrocket", ROCKET_LINES, {"bad_timestamp"}),
    ],
)  # fmt: skip
def test_delimited_lines_of_every_kind_are_read_alike(
    connector: str, lines: list[str], expected: set[str], engine: Engine, open_door: OpenDoor, tmp_path: Path
) -> None:
    rows = _agree(open_door, engine, tmp_path, connector, [line.encode() for line in lines])

    assert {row["reason"] for row in rows} >= expected


def _mutated(good: list[bytes], spice: list[bytes]) -> st.SearchStrategy[bytes]:
    """A good line; with a piece cut out, doubled or replaced by dirt; or bytes and text without any sense."""

    def cut(line: bytes, left: int, right: int, piece: bytes) -> bytes:
        left, right = sorted((left % (len(line) + 1), right % (len(line) + 1)))
        return line[:left] + piece + line[right:]

    position = st.integers(0, 400)
    mutated = st.builds(cut, st.sampled_from(good), position, position, st.sampled_from(spice))
    narrow = st.builds(cut, st.sampled_from(good), position.map(lambda at: at), st.just(0), st.sampled_from(spice))
    inserted = st.builds(
        lambda line, at, piece: cut(line, at, at, piece), st.sampled_from(good), position, st.sampled_from(spice)
    )
    return st.one_of(
        inserted, mutated, narrow, st.sampled_from(good), st.text(max_size=40).map(str.encode), st.binary(max_size=40)
    ).map(lambda line: line.replace(b"\n", b""))


SPICE = [
    piece.encode()
    for piece in (
        '"',
        '""',
        ",",
        "\t",
        " ",
        "0",
        "-",
        ".",
        "e",
        "1.5",
        "}",
        "{",
        "]",
        "null",
        ":",
        "\\",
        "\\u",
        "\\u0000",
        "é",
        "\u2028",
        "\ufeff",
        "9" * 19,
        "NaN",
        "UTC",
    )
]
SPICE += [b"", b"\0", b"\xff", b"\r", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\x1f"]
JSON_GOOD = [
    b'{"user_id":"u1","event_type":"view","occurred_at":"2026-03-02T10:00:00.123Z","item_id":"i1","price":12.50,"event_id":"e1"}',
    b'{"user_id":7,"event_type":"search","occurred_at":"2026-03-02T10:00:00+01:00","query":"caf\\u00e9 \xe8\x8c\xb6","brand":null}',
    b'{"user_id":"u2","event_type":"purchase","occurred_at":"2026-03-02T23:30:00Z","item_id":"i2","price":1e2,"quantity":2,"order_id":"o1"}',
]
CATALOG_GOOD = [
    b'{"item_id":"i1","title":"Tea \\"green\\"","price":3.5,"stock":4,"attributes":{"g": 1.50, "tags":["a", {"b":null}], "t":"\\u001f\\/\\u00e9\\ud83d\\ude00", "k":"a\\\\b \\"q\\""}}'
]


@on_both
@pytest.mark.parametrize(
    ("connector", "feed", "good"),
    [
        ("taobao", "events", [b"1,2268318,2520377,pv,1772445600", b'"1","2","3",buy,1772445601']),
        (
            "rees46",
            "events",
            [
                ",".join(["2026-03-02 10:00:00 UTC", *REES[1:]]).encode(),
                b'2026-03-02 12:00:00 UTC,cart,1,2,,"a ""b"", c",0.00,5,s',
            ],
        ),
        ("jsonl", "events", JSON_GOOD),
        ("catalog", "catalog", CATALOG_GOOD),
    ],
)
def test_generated_dirt_is_read_alike(
    connector: str, feed: str, good: list[bytes], engine: Engine, open_door: OpenDoor, tmp_path: Path
) -> None:
    lines = _gather(_mutated(good, SPICE), 120)
    rows = _agree(open_door, engine, tmp_path, connector, lines, feed)
    assert len(rows) == len(lines)
    reasons = {row["reason"] for row in rows}
    assert None in reasons
    assert {"bad_encoding", "empty_line"} <= reasons
