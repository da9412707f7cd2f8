"""Every connector's real file, on both engines, with the counts that its SOURCE.md names (checked by hand)."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.config import load_shop
from pipelines.core.privacy import PseudonymKey
from pipelines.core.storage import Store
from pipelines.simulator.simulate import simulate
from spark_jobs.session import Engine, open_engine

OpenDoor = Callable[..., Any]
DATA = Path("../shared/data")
on_spark = pytest.mark.parametrize("engine", ["spark"], indirect=True)  # DuckDB is opened beside it


def _real(folder: str) -> Path:
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is not here")
    return DATA / folder


def _both(door: Any, spark: Engine, work: Path, feed: str = "events") -> list[dict[str, Any]]:
    """The judged lines, after checking that the engines agree on every one."""
    theirs = door.judged(spark, feed)
    with open_engine("duckdb", work, threads=2) as duckdb:
        ours: list[dict[str, Any]] = door.judged(duckdb, feed)
    assert len(ours) == len(theirs)
    assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]][:3] == []
    return ours


def _distinct(rows: list[dict[str, Any]]) -> Counter[str]:
    """Events per night, duplicates dropped."""
    place = {"arrival", "source_file", "line_number", "reason", "is_header"}
    good = {
        tuple((name, value) for name, value in row.items() if name not in place)
        for row in rows
        if row["reason"] is None
    }
    return Counter(dict(row)["night"] for row in good)


@on_spark
def test_taobao(engine: Engine, open_door: OpenDoor, tmp_path: Path) -> None:
    shop = load_shop("taobao")
    door = open_door(**{"shop": "taobao", "timezone": shop.timezone, "events": shop.landing["events"].model_dump()})
    door = door.__class__(door.shop, _real("taobao-userbehavior"), door.store)
    assert door.land(date(2017, 12, 3)) == 180_645
    rows = _both(door, engine, tmp_path)
    assert Counter(row["reason"] for row in rows) == {None: 180_608, "outside_window": 36, "wrong_column_count": 1}
    users, two_hours = (
        [row for row in rows if row["source_file"] == name]
        for name in ("UserBehavior_815users_9days.csv.gz", "UserBehavior_2017-11-26_2h.csv.gz")
    )
    good = [row for row in users if row["reason"] is None]
    assert list(dict(sorted(Counter(row["night"] for row in good).items())).values()) == [
        8697,
        8788,
        8335,
        8867,
        8785,
        8616,
        9455,
        11520,
        11377,
    ]
    assert [n for _, n in sorted(Counter(row["night"] for row in good if row["event_type"] == "purchase").items())] == [
        143, 187, 220, 199, 185, 204, 191, 193, 228,
    ]  # fmt: skip
    assert Counter(row["reason"] for row in users) == {None: 84_440, "outside_window": 35, "wrong_column_count": 1}
    assert [(row["line_number"], row["reason"]) for row in users if row["reason"] == "wrong_column_count"] == [
        (84_476, "wrong_column_count")
    ]
    kinds = Counter(row["event_type"] for row in two_hours if row["reason"] is None)
    assert len(two_hours) == 96_169
    assert kinds == {"view": 85_773, "cart": 5_292, "favorite": 2_959, "purchase": 2_144}
    assert two_hours[-1]["reason"] == "outside_window"  # the cut-off line's time is "15"
    assert _distinct(rows).total() == 180_527


@on_spark
def test_rees46(engine: Engine, open_door: OpenDoor, tmp_path: Path) -> None:
    door = open_door(events=load_shop("rees46").landing["events"].model_dump())
    door = door.__class__(door.shop, _real("rees46-multicategory"), door.store)
    assert door.land(date(2019, 10, 1)) == 17_436
    header, *rows = _both(door, engine, tmp_path)
    assert header["is_header"]
    assert not any(row["is_header"] for row in rows)
    assert Counter(row["reason"] for row in rows) == {None: 17_434, "wrong_column_count": 1}
    assert rows[-1]["user_id"] == "52040330"
    assert Counter(row["event_type"] for row in rows) == {"view": 17_056, "purchase": 214, "cart": 165}
    assert sum(row["category_path"] is None for row in rows) == 5_746
    assert sum(row["brand"] is None for row in rows) == 2_477
    assert sum(row["price_cents"] is None for row in rows) == 19
    assert {len(row["category_id"]) for row in rows} == {19}
    assert rows[0]["category_id"] == "2103807459595387724"
    assert len({row["session_id"] for row in rows} - {None}) == 5_066
    assert _distinct(rows) == {"2019-10-01": 17_429}


@on_spark
def test_yoochoose(engine: Engine, open_door: OpenDoor, tmp_path: Path) -> None:
    door = open_door(events=load_shop("yoochoose").landing["events"].model_dump())
    door = door.__class__(door.shop, _real("yoochoose-100k"), door.store)
    assert door.land(date(2014, 4, 8)) == 70_278 + 13_568 + 2
    rows = _both(door, engine, tmp_path)
    train, test = (
        [row for row in rows if name in row["source_file"] and not row["is_header"]] for name in ("train_full", "test")
    )
    assert (
        len(train),
        len(test),
        len({row["session_id"] for row in train}),
        len({row["session_id"] for row in test}),
    ) == (70_278, 13_568, 17_794, 3_416)
    assert len({row["item_id"] for row in train}) == 2_933
    assert {row["reason"] for row in (*train, *test)} == {None}
    assert train[0]["occurred_us"] == 1396437466_940000
    assert min(row["night"] for row in train) == "2014-04-01"
    assert max(row["night"] for row in test) == "2014-04-08"
    assert len(train) + len(test) - _distinct(rows).total() == 1


ROCKET = """timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433224214164,992329,view,248676,
1433221999827,111016,addtocart,318965,
1433223236124,287857,transaction,5206,12146
1433223236124,287857,transaction,5206,12146
1433223236124,,view,1,
"""


@on_spark
def test_retailrocket(engine: Engine, open_door: OpenDoor, tmp_path: Path) -> None:
    door = open_door(events=load_shop("retailrocket").landing["events"].model_dump())
    door.put({"events.csv": ROCKET})
    door.land(date(2015, 9, 18))
    names = ("user_id", "occurred_us", "event_type", "item_id", "order_id", "reason")
    _header, *rows = [tuple(row[name] for name in names) for row in _both(door, engine, tmp_path)]
    assert rows == [
        ("257597", 1433221332_117000, "view", "355908", None, None),
        ("992329", 1433224214_164000, "view", "248676", None, None),
        ("111016", 1433221999_827000, "cart", "318965", None, None),
        ("287857", 1433223236_124000, "purchase", "5206", "12146", None),
        ("287857", 1433223236_124000, "purchase", "5206", "12146", None),
        (None, 1433223236_124000, "view", "1", None, "missing_user"),
    ]


@on_spark
def test_the_demo_shop_and_all_its_feeds(engine: Engine, open_door: OpenDoor, tmp_path: Path) -> None:
    demo = load_shop("demo").model_copy(
        update={"simulator": load_shop("demo").simulator.model_copy(update={"customers": 300, "items": 60})}
    )  # type: ignore[union-attr]
    last = date(2026, 3, 2)
    simulate(demo, tmp_path / "landing", last, lambda night: None, PseudonymKey(bytes(32)))
    door = open_door(events=demo.landing["events"].model_dump()).__class__(
        demo, tmp_path / "landing", Store(tmp_path / "store", "demo")
    )
    door.land(last)
    events = _both(door, engine, tmp_path)
    reasons = Counter(row["reason"] for row in events)
    assert reasons[None] > 0.97 * len(events)
    assert {"bad_json", "bad_encoding", "nul_byte"} & set(reasons)
    assert {row["event_type"] for row in events if row["reason"] is None} >= {
        "impression",
        "view",
        "search",
        "favorite",
        "cart",
        "purchase",
    }
    for feed in ("catalog", "reviews", "messages"):
        rows = _both(door, engine, tmp_path, feed)
        assert rows
        assert {row["reason"] for row in rows} == {None}
