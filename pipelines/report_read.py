"""Small sums of the report: grouped rows in a fixed order, counts, shares."""

from typing import Any


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
