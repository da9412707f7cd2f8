"""Engines: one DataFrame API, run by DuckDB inside this process (through SQLFrame) or by Apache Spark.

Transformations import `F` and `Window` from here and never an engine. `open_engine` chooses what they stand for.
Where the two engines lack or mean something different, the function is in `_Dialect`, once for each.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql import Window as _Window
    from pyspark.sql import functions as _functions
else:
    Column = DataFrame = Any


class Engine:
    """What a job needs from an engine: read, hold, write, and the function namespace."""

    name: str
    functions: Any
    window: Any
    possessive = ""  # what makes a repeated group of a regular expression keep what it took

    def read(self, files: Sequence[Path]) -> DataFrame:
        """The rows of these Parquet files; at least one file."""
        raise NotImplementedError

    def rows(self, columns: dict[str, str], values: Sequence[tuple[Any, ...]]) -> DataFrame:
        """A small table from Python values; `columns` maps name to type. Values never appear in query text."""
        raise NotImplementedError

    def hold(self, frame: DataFrame) -> DataFrame:
        """Computes the frame once, for several uses."""
        raise NotImplementedError

    def cluster(self, frame: DataFrame, key: str, n_rows: int) -> DataFrame:
        """Brings rows of equal key together, so that what follows by that key moves no row again (Spark only).

        `n_rows`: about how many there are, as a function of the table alone: it decides the number of files.
        """
        return frame

    def write(
        self,
        frame: DataFrame,
        folder: Path,
        sort_by: Sequence[str],
        *,
        n_rows: int | None = None,
        clustered: bool = False,
    ) -> int:
        """Writes folder/part-*.parquet (zstd), each file in the order of `sort_by`; returns the number of rows.

        `n_rows`: about how many, where that is known; Spark has to count those of a large job.
        `clustered`: the frame went through `cluster`, and its rows stay where they are.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Frees what the engine holds."""
        raise NotImplementedError

    def fetch(self, frame: DataFrame) -> list[dict[str, Any]]:
        """A small frame as Python rows."""
        return [row.asDict() for row in frame.collect()]

    # What the engines say differently ------------------------------------------------------------------------------

    def try_cast(self, column: Column, kind: str) -> Column:
        raise NotImplementedError

    def timestamp_of_micros(self, micros: Column) -> Column:
        """UTC timestamp of microseconds since 1970."""
        raise NotImplementedError

    def micros_of_timestamp(self, timestamp: Column) -> Column:
        raise NotImplementedError

    def local_timestamp(self, timestamp: Column, zone: str) -> Column:
        """Wall-clock time in `zone` of a UTC timestamp."""
        raise NotImplementedError

    def split_on(self, text: Column, separator: str) -> Column:
        """Fields between a literal separator; `split` takes a pattern, which costs DuckDB ten times as much."""
        raise NotImplementedError

    def parse_json(self, text: Column, keys: Sequence[str]) -> Column:
        """A JSON object parsed once, for `parsed_text`; null if the text is no JSON object (RFC 8259).

        Of a key that stands twice the first counts. Decimal numbers come as written, between two `json_text.MARK`.
        """
        raise NotImplementedError

    def parsed_text(self, parsed: Column, at: int, key: str) -> Column:
        """Value of the key at position `at` as text; null where missing or null."""
        raise NotImplementedError

    def nested_text(self, cell: Column) -> Column:
        """The text of a nested JSON value as `parsed_text` gave it, every character as itself."""
        return cell


_current: Engine | None = None


def engine() -> Engine:
    """The engine that is open."""
    if _current is None:
        raise RuntimeError("no engine is open: use `with open_engine(...)`")
    return _current


_DIALECT = frozenset({"try_cast", "timestamp_of_micros", "micros_of_timestamp", "local_timestamp", "split_on"})


class _Dialect:
    """`F`: the open engine's functions, plus the few that the engines say differently."""

    def __getattr__(self, name: str) -> Any:
        own = engine()
        if name in _DIALECT:
            return getattr(own, name)
        return getattr(own.functions, name)


class _WindowProxy:
    def __getattr__(self, name: str) -> Any:
        return getattr(engine().window, name)


if TYPE_CHECKING:
    F: Any = _functions
    Window = _Window
else:
    F = _Dialect()
    Window = _WindowProxy()


@contextmanager
def open_engine(
    name: str,
    work: Path,
    *,
    n_bytes: int = 0,
    threads: int = 0,
    memory_gb: float = 4.0,
    partitions: int | None = None,
    master: str = "local[*]",
    conf: dict[str, str] | None = None,
    **executors: Any,
) -> Iterator[Engine]:
    """Opens `duckdb` or `spark` for the transformations of this process; spills under `work`.

    `n_bytes` of Parquet are to be read; the rest is what sizing.engine_spec tells.
    """
    global _current
    work.mkdir(parents=True, exist_ok=True)
    before = _current
    if name == "duckdb":
        from spark_jobs.engine_duckdb import DuckDB

        _current = DuckDB(work, threads, memory_gb)
    elif name == "spark":
        from spark_jobs.engine_spark import Spark

        settings = {"threads": threads, "memory_gb": memory_gb, "partitions": partitions, "master": master}
        _current = Spark(work, {**settings, "conf": conf or {}, **executors}, n_bytes)
    else:
        raise ValueError(f"unknown engine '{name}'; known are duckdb and spark")
    try:
        yield _current
    finally:
        _current.close()
        _current = before
