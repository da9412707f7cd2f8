from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.tables import TABLES
from training.table_files import PART, schema_of, write, writer

ROWS = pa.table({C.CREATIVE_ID: ["c1", None], "beside": [1, 2], C.PROPENSITY: [1, 0], C.USER_KEY: ["b", "a"],
                 C.STRATEGY_ID: ["s", "s"]})  # fmt: skip


def test_a_table_is_written_in_its_declared_columns_and_types_and_in_the_order_given(tmp_path: Path) -> None:
    write(tmp_path, "plan_copy", ROWS)
    found = pq.ParquetFile(tmp_path / "plan_copy" / PART).read()
    assert found.schema == schema_of("plan_copy")
    assert found[C.USER_KEY].to_pylist() == ["b", "a"]
    assert found[C.PROPENSITY].to_pylist() == [1.0, 0.0]


def test_rows_that_lack_a_declared_column_are_not_written_as_a_table(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=C.PROPENSITY):
        write(tmp_path, "plan_copy", ROWS.drop_columns(C.PROPENSITY))


def test_the_same_rows_are_the_same_bytes_in_batches_or_at_once(tmp_path: Path) -> None:
    rows = ROWS.select(schema_of("plan_copy").names).cast(schema_of("plan_copy"))
    for name in ("one", "two"):
        with writer(tmp_path / name / PART, "plan_copy") as file:
            file.write_table(rows)
    assert (tmp_path / "one" / PART).read_bytes() == (tmp_path / "two" / PART).read_bytes()


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_declared_table_has_a_schema(table: str) -> None:
    assert schema_of(table).names == list(TABLES[table].columns)
