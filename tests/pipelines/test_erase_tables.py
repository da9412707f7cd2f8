"""Cutting a partition: the rows of others, in their order, with the same columns and types."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.erase_tables import cut_file

ROW = st.tuples(
    st.sampled_from(["erased", "you", "they"]),
    st.one_of(st.none(), st.integers(-(2**60), 2**60)),
    st.one_of(st.none(), st.text(max_size=5)),
    st.lists(st.floats(allow_nan=False), max_size=3),
    st.datetimes(datetime(1970, 1, 1), datetime(2099, 1, 1)),
)
SCHEMA = pa.schema(
    [
        ("user_key", pa.string()),
        ("n", pa.int64()),
        ("text", pa.string()),
        ("vector", pa.list_(pa.float64())),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)


def table(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table(
        [pa.array(list(values), field.type) for values, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


@settings(deadline=None)
@given(rows=st.lists(ROW, max_size=40), group=st.integers(1, 50))
def test_rows_of_others_stay_unchanged_and_in_their_order(
    rows: list[tuple[object, ...]], group: int, tmp_path_factory: object
) -> None:
    folder = Path(tmp_path_factory.mktemp("cut"))  # type: ignore[attr-defined]
    rows = [(*row[:4], row[4].replace(tzinfo=UTC)) for row in rows]  # type: ignore[attr-defined]
    pq.write_table(table(rows), folder / "a.parquet", row_group_size=group)

    def mine(found: pa.Table) -> np.ndarray:
        return np.array([key == "erased" for key in found["user_key"].to_pylist()], dtype=bool)

    for out in ("b.parquet", "c.parquet"):
        cut_file(folder / "a.parquet", folder / out, mine)
    assert pq.read_table(folder / "b.parquet").equals(table([row for row in rows if row[0] != "erased"]))
    assert pq.read_schema(folder / "b.parquet").equals(pq.read_schema(folder / "a.parquet"))
    assert (folder / "b.parquet").read_bytes() == (folder / "c.parquet").read_bytes()
    assert b"erased" not in (folder / "b.parquet").read_bytes()
