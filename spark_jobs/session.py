"""Engines: one DataFrame API, run by DuckDB inside this process (through SQLFrame) or by Apache Spark.

Transformations import `F` and `Window` from here and never an engine. `open_engine` chooses what they stand for.
Where the two engines lack or mean something different, the function is in `_Dialect`, once for each.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from spark_jobs import json_text

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql import Window as _Window
    from pyspark.sql import functions as _functions
else:
    Column = DataFrame = Any

_ROW_GROUP_ROWS = 122_880


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

    def cluster(self, frame: DataFrame, key: str) -> DataFrame:
        """Brings rows of equal key together, so that what follows by that key moves no row again (Spark only)."""
        return frame

    def write(self, frame: DataFrame, folder: Path, sort_by: Sequence[str], *, clustered: bool = False) -> int:
        """Writes folder/part-*.parquet (zstd), rows in the order of `sort_by`; returns the number of rows.

        `clustered`: each file is sorted by itself; the frame went through `cluster` by the first sort column.
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


# Parquet's writer lists the encodings of a column in the order of identity hashes, which differ from JVM to JVM.
EQUAL_BYTES = "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2"
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


class DuckDB(Engine):
    name = "duckdb"

    def __init__(self, work: Path, threads: int, memory_gb: float) -> None:
        import duckdb
        from sqlframe.base.session import _BaseSession
        from sqlframe.duckdb import DuckDBSession, functions
        from sqlframe.duckdb import Window as window

        self.functions, self.window = functions, window
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET temp_directory = ?", [str(work / "spill")])
        self.connection.execute("SET memory_limit = ?", [f"{int(memory_gb * 1000)}MB"])
        self.connection.execute("SET enable_progress_bar = false")
        if threads:
            self.connection.execute(f"SET threads = {int(threads)}")
        _BaseSession._instance = None  # SQLFrame keeps one session for ever, with the first connection in it
        self.session = DuckDBSession(conn=self.connection)
        self._n_held = 0

    def close(self) -> None:
        self.connection.close()

    def read(self, files: Sequence[Path]) -> DataFrame:
        return self._view(self.connection.read_parquet([str(path) for path in files], hive_partitioning=False))

    def rows(self, columns: dict[str, str], values: Sequence[tuple[Any, ...]]) -> DataFrame:
        import pyarrow as pa

        kinds = {"string": pa.string(), "bigint": pa.int64(), "double": pa.float64(), "binary": pa.binary()}
        data = {
            name: pa.array([row[at] for row in values], _arrow_type(kind, kinds))
            for at, (name, kind) in enumerate(columns.items())
        }
        return self._view(self.connection.from_arrow(pa.table(data)))

    def _view(self, relation: Any) -> DataFrame:
        self._n_held += 1
        name = f"input_{self._n_held}"
        relation.create_view(name)
        return cast("DataFrame", self.session.table(name))

    def _sql(self, frame: DataFrame) -> str:
        # SQLFrame's own optimiser repeats what DuckDB's does and takes seconds on long queries.
        return cast(str, frame.sql(dialect="duckdb", optimize=False, pretty=False))  # type: ignore[operator]

    def hold(self, frame: DataFrame) -> DataFrame:
        self._n_held += 1
        name = f"held_{self._n_held}"
        self.connection.execute(f"CREATE TABLE {name} AS {self._sql(frame)}")
        return cast("DataFrame", self.session.table(name))

    def fetch(self, frame: DataFrame) -> list[dict[str, Any]]:
        result = self.connection.execute(self._sql(frame))
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def write(self, frame: DataFrame, folder: Path, sort_by: Sequence[str], *, clustered: bool = False) -> int:
        folder.mkdir(parents=True, exist_ok=True)
        order = ", ".join(f'"{name}" ASC NULLS FIRST' for name in sort_by)
        # No row of nulls: DuckDB declares columns that it knows to hold none as required, so equal rows would make other
        # bytes when they come out of another plan.
        no_row = f"SELECT {', '.join(['NULL'] * len(frame.columns))} FROM range(0)"
        result = self.connection.execute(
            f"COPY (SELECT * FROM (({self._sql(frame)}) UNION ALL ({no_row})) ORDER BY {order}) "
            f"TO '{_quoted(folder / 'part-00000.parquet')}' "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP_ROWS})"
        )
        return int(result.fetchall()[0][0])

    def try_cast(self, column: Column, kind: str) -> Column:
        from sqlframe.base.column import Column as SQLColumn
        from sqlglot import exp

        return cast("Column", SQLColumn(exp.TryCast(this=column.column_expression, to=exp.DataType.build(kind))))

    def timestamp_of_micros(self, micros: Column) -> Column:
        return self.functions.call_function("make_timestamptz", micros)

    def micros_of_timestamp(self, timestamp: Column) -> Column:
        return self.functions.call_function("epoch_us", timestamp)

    def local_timestamp(self, timestamp: Column, zone: str) -> Column:
        return self.functions.call_function("timezone", self.functions.lit(zone), timestamp)

    def split_on(self, text: Column, separator: str) -> Column:
        return self.functions.call_function("string_split", text, self.functions.lit(separator))

    def parse_json(self, text: Column, keys: Sequence[str]) -> Column:
        return json_text.parse_on_duckdb(self.functions, text, keys)

    def parsed_text(self, parsed: Column, at: int, key: str) -> Column:
        return self.functions.try_element_at(parsed, self.functions.lit(at + 1))


class Spark(Engine):
    name = "spark"
    possessive = "+"  # Java walks back through a group by recursion, which a long field would overflow

    def __init__(
        self, work: Path, threads: int, memory_gb: float, partitions: int, master: str, conf: dict[str, str]
    ) -> None:
        from pyspark.sql import SparkSession, functions
        from pyspark.sql import Window as window

        self.functions, self.window, self.partitions = functions, window, partitions
        if threads and master.startswith("local"):
            master = f"local[{threads}]"
        settings = {
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.ansi.enabled": "false",
            "spark.sql.shuffle.partitions": str(partitions),
            "spark.sql.adaptive.enabled": "true",
            # Fixed partitions make equal bytes; adaptive execution would merge them by size.
            "spark.sql.adaptive.coalescePartitions.enabled": "false",
            "spark.sql.adaptive.skewJoin.enabled": "false",
            "spark.sql.parquet.compression.codec": "zstd",
            # What is held lives for one job: packing it costs more than the memory that it saves.
            "spark.sql.inMemoryColumnarStorage.compressed": "false",
            "spark.sql.legacy.timeParserPolicy": "CORRECTED",
            "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
            "spark.driver.extraJavaOptions": EQUAL_BYTES,
            "spark.executor.extraJavaOptions": EQUAL_BYTES,
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.memory": f"{int(memory_gb * 1024)}m",
            "spark.local.dir": str(work / "spill"),
            "spark.sql.warehouse.dir": str(work / "warehouse"),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
            **conf,
        }
        builder = SparkSession.builder.master(os.environ.get("NIGHTMARKET_SPARK_MASTER", master)).appName("nightmarket")
        for key, value in settings.items():
            builder = builder.config(key, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")

    def close(self) -> None:
        self.session.stop()

    def read(self, files: Sequence[Path]) -> DataFrame:
        return self.session.read.parquet(*[str(path) for path in files])

    def rows(self, columns: dict[str, str], values: Sequence[tuple[Any, ...]]) -> DataFrame:
        schema = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return self.session.createDataFrame(list(values), schema)

    def hold(self, frame: DataFrame) -> DataFrame:
        return frame.persist()

    def fetch(self, frame: DataFrame) -> list[dict[str, Any]]:
        return [row.asDict(recursive=True) for row in frame.collect()]

    def cluster(self, frame: DataFrame, key: str) -> DataFrame:
        return frame.repartition(self.partitions, key)

    def write(self, frame: DataFrame, folder: Path, sort_by: Sequence[str], *, clustered: bool = False) -> int:
        written = folder.with_name(f"{folder.name}.spark")
        order = [self.functions.col(name).asc_nulls_first() for name in sort_by]
        ordered = frame.sortWithinPartitions(*order) if clustered else frame.orderBy(*order)
        ordered.write.parquet(str(written), mode="overwrite")
        folder.mkdir(parents=True, exist_ok=True)
        # Spark names files by chance; ours are numbered in the order of rows. Empty ones go, but for one that keeps the schema.
        import pyarrow.parquet as pq

        n_rows, kept = 0, 0
        files = sorted(written.glob("part-*.parquet"))
        for at, path in enumerate(files):
            n = pq.ParquetFile(path).metadata.num_rows
            if n or (at == len(files) - 1 and not kept):
                path.rename(folder / f"part-{kept:05d}.parquet")
                kept += 1
                n_rows += n
        shutil.rmtree(written)
        return n_rows

    def try_cast(self, column: Column, kind: str) -> Column:
        return column.try_cast(kind)

    def timestamp_of_micros(self, micros: Column) -> Column:
        return self.functions.timestamp_micros(micros)

    def micros_of_timestamp(self, timestamp: Column) -> Column:
        return self.functions.unix_micros(timestamp)

    def local_timestamp(self, timestamp: Column, zone: str) -> Column:
        return self.functions.from_utc_timestamp(timestamp, zone)

    def split_on(self, text: Column, separator: str) -> Column:
        # Java has a quick path for one escaped character; a longer pattern would be compiled again for every row.
        return self.functions.split(text, f"\\{separator}" if len(separator) == 1 else f"\\Q{separator}\\E")

    def parse_json(self, text: Column, keys: Sequence[str]) -> Column:
        return json_text.parse_on_spark(self.functions, text)

    def parsed_text(self, parsed: Column, at: int, key: str) -> Column:
        return parsed.getItem(key)

    def nested_text(self, cell: Column) -> Column:
        return json_text.nested_on_spark(self.functions, cell)


def _arrow_type(kind: str, kinds: dict[str, Any]) -> Any:
    import pyarrow as pa

    return pa.list_(pa.float64()) if kind == "array<double>" else kinds[kind]


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


@contextmanager
def open_engine(
    name: str,
    work: Path,
    *,
    threads: int = 0,
    memory_gb: float = 4.0,
    partitions: int = 8,
    master: str = "local[*]",
    conf: dict[str, str] | None = None,
) -> Iterator[Engine]:
    """Opens `duckdb` or `spark` for the transformations of this process; spills under `work`."""
    global _current
    work.mkdir(parents=True, exist_ok=True)
    before = _current
    if name == "duckdb":
        _current = DuckDB(work, threads, memory_gb)
    elif name == "spark":
        _current = Spark(work, threads, memory_gb, partitions, master, conf or {})
    else:
        raise ValueError(f"unknown engine '{name}'; known are duckdb and spark")
    try:
        yield _current
    finally:
        _current.close()
        _current = before
