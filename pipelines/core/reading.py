"""Reads columns of published partitions; what all who decide and learn start from."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from pipelines.core.storage import Store


def read(store: Store, table: str, nights: Sequence[date], *columns: str) -> Any:
    """A pyarrow table of those partitions that exist, or None where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # ParquetFile, not read_table: that one imports pandas and turns the folder's name into a column.
    parts = [pq.ParquetFile(file).read(columns=list(columns)) for file in store.files(table, nights)]
    return pa.concat_tables(parts) if parts else None
