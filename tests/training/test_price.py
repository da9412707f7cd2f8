"""The job that suggests prices: a row per item of the catalogue, whatever is wrong with it."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.pricing import Pricing
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from tests.training.small_pricing import examples
from training.price import SCHEMA, run
from training.task import Fitting
from training.tasks.pricing import TASK

NIGHT = date(2026, 3, 14)
ITEMS: dict[str, list[Any]] = {
    C.ITEM_ID: ["good", "gone", "loss", "new", "worn"],
    C.CATEGORY_ID: ["calm", "keen", "calm", None, "keen"],
    C.PRICE_CENTS: [1999, None, 999, 1499, 1999],
    C.UNIT_COST_CENTS: [800, 500, 1500, None, 1000],
    C.STOCK: [9, 9, 9, 9, None],
    C.ATTRIBUTES: [json.dumps({"list_price": 19.99}), None, None, None, None],
}


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    """Two weeks on which `good`, `loss` and `worn` were sold, a model, and the night's catalogue."""
    shop = Shop(
        shop="small",
        landing={"events": Source(connector="jsonl", pattern="{night}/*")},
        models=Models(tasks=("pricing",)),
        pricing=Pricing(explore_percent=0),
    )
    store = Store(tmp_path / "root", "small")
    for back in range(14):
        sold = ["good", "loss", "worn"]
        rows = {
            C.USER_KEY: ["ann", "ben", "cas"], C.ITEM_ID: sold, C.CATEGORY_ID: ["calm", "calm", "keen"],
            C.EVENT_TYPE: ["purchase"] * 3, C.PRICE_CENTS: [1999, 999, 1999], C.QUANTITY: [2, 1, 2], C.IS_BOT: [False] * 3,
        }  # fmt: skip
        write(store, "events", NIGHT - timedelta(days=back), pa.table(rows))
    write(store, "catalog", NIGHT, pa.table(ITEMS))
    (tmp_path / "model").mkdir()
    TASK.fit(*examples(), Fitting()).save(tmp_path / "model")
    model = {"folder": str(tmp_path / "model"), "name": "small-pricing", "version": "3"}
    return {
        "shop": shop.model_dump(mode="json"), "root": str(store.root), "night": NIGHT.isoformat(), "threads": 1,
        "model": model, "baseline_nights": [], "out": str(tmp_path / "out"),
    }  # fmt: skip


def write(store: Store, table: str, night: date, rows: pa.Table) -> None:
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        pq.write_table(rows, folder / "part-00000.parquet")
        store.publish(table, night, folder, rows=len(rows), inputs={}, config_hash="x")


def rows_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    table = pq.ParquetFile(Path(spec["out"]) / "price_suggestions" / "part-00000.parquet").read()
    assert table.schema.equals(SCHEMA)
    return {row[C.ITEM_ID]: row for row in table.to_pylist()}


def test_every_item_has_its_row_and_one_clear_reason(spec: dict[str, Any]) -> None:
    told = run(spec)
    rows = rows_of(spec)
    assert told["rows"] == len(rows) == 5
    assert {item: row[C.REASON_CODE] for item, row in rows.items()} == {
        "good": "bound",  # elasticity -1: dearer is better, a step at a time
        "gone": "no_price",
        "loss": "conflict",  # its cost is above all that the band around its usual price allows
        "new": "never_sold",
        "worn": "bound",
    }
    assert (rows["good"][C.PRICE_CENTS], rows["good"][C.SUGGESTED_CENTS]) == (1999, 2089)
    assert rows["good"][C.GUARDRAIL] == "step"
    assert rows["good"][C.GAIN_LOW_CENTS] > 0
    assert rows["worn"][C.SUGGESTED_CENTS] < 1999  # elasticity -4: cheaper is better
    assert rows["gone"][C.SUGGESTED_CENTS] is None
    assert rows["gone"][C.EXPECTED_UNITS] is None
    assert rows["good"][C.EXPECTED_UNITS_LOW] < rows["good"][C.EXPECTED_UNITS] < rows["good"][C.EXPECTED_UNITS_HIGH]
    assert {row[C.MODEL_VERSION] for row in rows.values()} == {"3"}
    assert told["counts"]["raised"] == told["counts"]["lowered"] == 1


def test_without_a_champion_the_baseline_keeps_all_prices(spec: dict[str, Any]) -> None:
    nights = [(NIGHT - timedelta(days=back)).isoformat() for back in range(12, -1, -1)]
    told = run(
        spec
        | {"model": {"folder": None, "name": "small-pricing-baseline", "version": "none"}, "baseline_nights": nights}
    )
    rows = rows_of(spec)
    assert told["counts"]["raised"] == told["counts"]["lowered"] == 0
    assert rows["good"][C.REASON_CODE] == "uncertain"
    assert rows["good"][C.EXPECTED_UNITS] == pytest.approx(2, rel=0.4)


def test_the_same_night_gives_the_same_bytes(spec: dict[str, Any], tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        run(spec | {"out": str(tmp_path / name)})
        made.append((tmp_path / name / "price_suggestions" / "part-00000.parquet").read_bytes())
    assert made[0] == made[1]


def test_a_night_without_a_catalogue_or_guardrails_is_one_clear_line(spec: dict[str, Any]) -> None:
    with pytest.raises(NoDataError, match="night 2026-03-13: no catalogue"):
        run(spec | {"night": "2026-03-13"})
    with pytest.raises(WrongUseError, match="no 'pricing' in its configuration"):
        run(spec | {"shop": {**spec["shop"], "pricing": None}})


def test_nothing_ever_sold_keeps_every_price(spec: dict[str, Any]) -> None:
    store = Store(Path(spec["root"]), "small")
    for back in range(14):
        files = store.files("events", [NIGHT - timedelta(days=back)])
        table = pq.ParquetFile(files[0]).read()
        at = table.schema.get_field_index(C.EVENT_TYPE)
        pq.write_table(table.set_column(at, C.EVENT_TYPE, pa.array(["view"] * 3)), files[0])
    run(spec)
    assert {row[C.REASON_CODE] for row in rows_of(spec).values()} == {"never_sold", "no_price", "conflict"}
    assert np.isclose(rows_of(spec)["good"][C.EXPECTED_UNITS], 0)
