"""DuckDB behind PySpark's DataFrame API, by SQLFrame: inside this process, no Java."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from spark_jobs import json_text
from spark_jobs.session import Engine

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
else:
    Column = DataFrame = Any

_ROW_GROUP_ROWS = 122_880


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

    def write(
        self,
        frame: DataFrame,
        folder: Path,
        sort_by: Sequence[str],
        *,
        n_rows: int | None = None,
        clustered: bool = False,
    ) -> int:
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


def _arrow_type(kind: str, kinds: dict[str, Any]) -> Any:
    import pyarrow as pa

    return pa.list_(pa.float64()) if kind == "array<double>" else kinds[kind]


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
