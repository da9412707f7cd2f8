"""How the report reads the store: columns of partitions, grouped rows in a fixed order, shares."""

from datetime import date
from typing import Any

from pipelines.core.storage import Store


def read(store: Store, table: str, nights: list[date], *columns: str) -> Any:
    """A pyarrow table of those partitions that exist, or None where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # ParquetFile, not read_table: that one imports pandas and turns the folder's name into a column.
    parts = [pq.ParquetFile(file).read(columns=list(columns)) for file in store.files(table, nights)]
    return pa.concat_tables(parts) if parts else None


def rows_by(table: Any, keys: list[str], *aggregates: tuple[str, str]) -> list[dict[str, Any]]:
    """Grouped rows, sorted by their keys; one thread, so that sums do not depend on the order of threads."""
    grouped = table.group_by(keys, use_threads=False).aggregate(list(aggregates))
    return sorted(grouped.to_pylist(), key=lambda row: [str(row[key]) for key in keys])


def ranked(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Largest first, equals by name."""
    return [{"name": name, "n": n} for name, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def counts_of(table: Any, column: str) -> dict[str, int]:
    """value -> rows; rows without a value are left out."""
    import pyarrow.compute as pc

    return {row["values"]: row["counts"] for row in pc.value_counts(table[column].drop_null()).to_pylist()}


def share(part: float, whole: float) -> float:
    """part / whole to 6 digits; a share of nothing is 0."""
    return round(part / whole, 6) if whole else 0.0
