"""How Spark cuts a table into files: by its rows alone, in order, equal keys together."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spark_jobs.engine_spark import _bounds
from spark_jobs.session import Engine

on_spark = pytest.mark.parametrize("engine", ["spark"], indirect=True)


@pytest.mark.parametrize(
    ("counted", "n_files", "bounds"),
    [
        ([], 3, []),
        ([("a", 1)], 3, []),
        ([("a", 1), ("b", 1), ("c", 1), ("d", 1)], 2, ["c"]),
        ([("a", 1), ("b", 1), ("c", 1)], 3, ["b", "c"]),
        ([("a", 98), ("b", 1), ("c", 1)], 2, ["b"]),
        ([("a", 1), ("b", 98), ("c", 1)], 2, ["c"]),
        ([(1, 5), (2, 5), (3, 5), (4, 5)], 4, [2, 3, 4]),
    ],
)
def test_bounds_cut_keys_into_parts_of_about_equal_rows(
    counted: list[tuple[object, int]], n_files: int, bounds: list[object]
) -> None:
    assert _bounds(counted, n_files) == bounds


@on_spark
def test_files_are_ranges_of_the_first_key_nulls_first_and_hold_every_row(engine: Engine, tmp_path: Path) -> None:
    values = [(key, at) for at, key in enumerate(["c", None, "a", "b", "a", "d", None, "é", "b"])]
    frame = engine.rows({"key": "string", "at": "bigint"}, values).repartition(3)
    assert engine.write(frame, tmp_path / "table", ["key", "at"]) == len(values)
    files = [pq.read_table(path).to_pylist() for path in sorted((tmp_path / "table").iterdir())]
    assert len(files) == 2  # as the tests' engine is told
    found = [(row["key"], row["at"]) for rows in files for row in rows]
    assert found == sorted(values, key=lambda row: (row[0] is not None, row[0] or "", row[1]))
    assert not {row["key"] for row in files[0]} & {row["key"] for row in files[1]}


@on_spark
def test_no_row_at_all_is_one_file_that_keeps_the_schema(engine: Engine, tmp_path: Path) -> None:
    assert engine.write(engine.rows({"key": "string"}, []), tmp_path / "table", ["key"]) == 0
    (file,) = (tmp_path / "table").iterdir()
    assert pq.read_schema(file).names == ["key"]
