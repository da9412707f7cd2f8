"""How a job writes a table of the night: its declared columns and types, one part, the same bytes for the same rows."""

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.tables import BIGINT, BOOLEAN, DOUBLE, STRING, TABLES, TIMESTAMP, VECTOR

PART: Final = "part-00000.parquet"
_KINDS: Final = {
    STRING: pa.string(), BIGINT: pa.int64(), DOUBLE: pa.float64(), BOOLEAN: pa.bool_(), TIMESTAMP: pa.timestamp("us"),
    VECTOR: pa.list_(pa.float64()),
}  # fmt: skip


def schema_of(table: str) -> pa.Schema:
    """The declared columns of a table, as Arrow has them."""
    return pa.schema([(name, _KINDS[kind]) for name, kind in TABLES[table].columns.items()])


def writer(path: Path, table: str) -> pq.ParquetWriter:
    """Of one file of the table, for rows that come batch by batch. The folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(path, schema_of(table), compression="zstd", store_schema=False)


def write(out: Path, table: str, rows: pa.Table) -> None:
    """Writes all rows, in the order given, to <out>/<table>/; of columns that are not declared nothing is written."""
    with writer(out / table / PART, table) as file:
        file.write_table(rows.select(file.schema.names).cast(file.schema))
