"""One engine of each kind for all tests of this folder, and factories of small tables that name only what matters."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.tables import TABLES
from spark_jobs.session import DataFrame, Engine, open_engine


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
    """event_frame(("ann", "s1", "2026-03-02 10:00", "view", {"item_id": "i1"}), ...) -> clean events as the store has."""

    def make(*events: tuple[Any, ...]) -> DataFrame:
        rows = [
            {"user_key": user, "session_id": session, "occurred_at": at, "event_type": kind, "is_bot": False, **more}
            for user, session, at, kind, *rest in events
            for more in [rest[0] if rest else {}]
        ]
        return engine.read([write_table("events", rows)])

    return make
