"""One engine of each kind for all tests of this folder, and factories of small tables that name only what matters."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.privacy import PseudonymKey
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.core.tables import FEEDS, TABLES
from pipelines.land import run as land
from spark_jobs import clean
from spark_jobs.events import load_format, parse_events
from spark_jobs.feeds import parse_feed
from spark_jobs.session import DataFrame, Engine, open_engine

KEY = PseudonymKey(bytes(range(32)))


@pytest.fixture(scope="session", params=["duckdb", "spark"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer: make java")
    work = tmp_path_factory.mktemp(request.param)
    with open_engine(request.param, work, threads=2, memory_gb=1, partitions=2) as opened:
        yield opened


Rows = Callable[[Engine, DataFrame], list[dict[str, Any]]]
WriteTable = Callable[..., Path]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):  # DuckDB tells the zone, Spark means UTC
        return value.replace(tzinfo=None) if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
    return value


@pytest.fixture(scope="session")
def rows_of() -> Rows:
    """The rows of a frame, times as naive UTC, in an order that no engine decides."""

    def rows(engine: Engine, frame: DataFrame) -> list[dict[str, Any]]:
        plain = [{name: _plain(value) for name, value in row.items()} for row in engine.fetch(frame)]
        return sorted(plain, key=lambda row: [str(value) for value in row.values()])

    return rows


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """write_table(name, rows, file=...) -> a Parquet file with the declared columns of the table; what a row leaves
    out is null. Times may be given as text, UTC: "2026-03-02 10:00"."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        "string": pa.string(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "array<double>": pa.list_(pa.float64()),
    }

    def write(table: str, rows: list[dict[str, Any]], file: str = "") -> Path:
        columns = TABLES[table].columns
        for row in rows:
            unknown = set(row) - set(columns)
            assert not unknown, f"{table} has no columns {unknown}"
        data = {
            name: pa.array([_typed(row.get(name), kind) for row in rows], kinds[kind]) for name, kind in columns.items()
        }
        path = tmp_path / (file or f"{table}-{len(list(tmp_path.glob('*.parquet')))}.parquet")
        pq.write_table(pa.table(data), path)
        return path

    return write


def _typed(value: Any, kind: str) -> Any:
    if kind == "timestamp" and isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value


@pytest.fixture
def event_frame(engine: Engine, write_table: WriteTable) -> Callable[..., DataFrame]:
    """event_frame(("ann", "s1", "2026-03-02 10:00", "view", {"item_id": "i1"}), ...) -> clean events."""

    def make(*events: tuple[Any, ...]) -> DataFrame:
        rows = [
            {"user_key": user, "session_id": session, "occurred_at": at, "event_type": kind, "is_bot": False, **more}
            for user, session, at, kind, *rest in events
            for more in [rest[0] if rest else {}]
        ]
        return engine.read([write_table("events", rows)])

    return make


@dataclass(frozen=True)
class Door:
    """A shop with a landing folder: put files there, land them, judge the lines, clean them."""

    shop: Shop
    folder: Path
    store: Store

    def put(self, files: dict[str, bytes | str]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def land(self, night: date) -> int:
        """Lines read anew."""
        return land(night, self.shop, self.store, self.folder).n_lines_read

    def raw(self, feed: str = "events") -> dict[str, list[Path]]:
        table = f"raw_{feed}"
        return {night.isoformat(): self.store.files(table, [night]) for night in self.store.nights(table)}

    def judged(self, engine: Engine, feed: str = "events") -> list[dict[str, Any]]:
        """One row per line, in order of file and line: place, reason, what was read from it."""
        lines = engine.read([path for paths in self.raw(feed).values() for path in paths])
        source = self.shop.landing[feed]
        form = load_format(source.connector)
        frame = parse_events(lines, form, source, self.shop) if feed == "events" else parse_feed(lines, feed, self.shop)
        return sorted(engine.fetch(frame), key=lambda row: (row["arrival"], row["source_file"], row["line_number"]))

    def reasons(self, engine: Engine, feed: str = "events") -> list[str | None]:
        return [row["reason"] for row in self.judged(engine, feed)]

    def clean(
        self,
        engine: Engine,
        out: Path,
        new: list[str] | None = None,
        known: dict[str, dict[str, int]] | None = None,
        key: PseudonymKey = KEY,
    ) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]], list[dict[str, Any]]]:
        """The accounting, the events of each night, the quarantine."""
        raw = self.raw()
        spec = {
            "raw": raw,
            "new": list(raw) if new is None else new,
            "known": known or {},
            "also": [],
            "frozen_before": "",
        }
        made = clean.clean_events(engine, spec, self.shop, key, out)
        nights = {night: _stored(out / "events" / night) for night in made["events"]}
        return made, nights, [row for arrival in made["arrivals"] for row in _stored(out / "quarantine" / arrival)]


def _stored(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows = [row for path in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]
    return sorted(({name: _plain(value) for name, value in row.items()} for row in rows), key=str)


OpenDoor = Callable[..., Door]


@pytest.fixture
def open_door(tmp_path: Path) -> OpenDoor:
    """open_door(events={"connector": "taobao", "pattern": ...}, timezone=...) -> Door: feeds by
    name, the rest as in Shop."""
    n = 0

    def make(**given: Any) -> Door:
        nonlocal n
        n += 1
        feeds = {feed: given.pop(feed) for feed in FEEDS if feed in given}
        shop = Shop.model_validate({"shop": "small", "landing": feeds, "features": {"window_nights": 1}, **given})
        folder = tmp_path / f"door-{n}" / "landing"
        folder.mkdir(parents=True)
        return Door(shop, folder, Store(tmp_path / f"door-{n}" / "store", "small"))

    return make
