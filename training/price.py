"""Suggests tomorrow's price of every item in a night's catalogue.

    python -m training.price SPEC.json

The spec is written by pipelines/price.py: `shop`, `root`, `night`, `out`, `threads`; `model` {folder, name, version} of the
champion, its folder null where there is none: then the task's baseline is fitted on `baseline_nights`. Rows go to
<out>/price_suggestions/part-00000.parquet, the result {rows, counts} to <out>/result.json.
"""

from collections import Counter
from datetime import date
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError, WrongUseError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.pricing import LEVEL, WHYS, Items, Suggestions, suggest
from training.job import run_job
from training.table_files import schema_of, write
from training.task import Fitting
from training.tasks.pricing import ELASTICITY, ELASTICITY_SD, TASK, UNITS_SD, PricingModel
from training.tasks.pricing_examples import N_UNITS, UNITS, Panel, catalog_of, list_prices, panel_of

TABLE = "price_suggestions"
_ALL_ITEMS = 1 << 62
_NO_SALES = PricingModel({}, 0.0, 1.0, 0.0, (1.0,) * 7)  # where nothing was ever sold: nothing is expected
SCHEMA = schema_of(TABLE)


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Writes the night's price_suggestions under spec["out"]. Raises NoDataError where there is no catalogue."""
    shop, night = Shop.model_validate(spec["shop"]), date.fromisoformat(spec["night"])
    if shop.pricing is None:
        raise WrongUseError(f"shop {shop.shop}: no 'pricing' in its configuration; add its guardrails")
    store = Store(Path(spec["root"]), shop.shop)
    shelf = catalog_of(store, night).sort_by(C.ITEM_ID)
    panel = panel_of(shop, store, [night], _ALL_ITEMS)
    model = _model(spec, shop, store) if panel.units.any() else _NO_SALES
    told = _cents(shelf, C.UNIT_COST_CENTS)
    items = items_of(model, panel, _cents(shelf, C.PRICE_CENTS), told, list_prices(shelf), shop)
    found = suggest(items, shop.pricing, night)
    table = _rows(shelf, items, found, spec["model"]["name"], spec["model"]["version"])
    write(Path(spec["out"]), TABLE, table)
    return {"rows": table.num_rows, "counts": counts(items, found)}


def _model(spec: dict[str, Any], shop: Shop, store: Store) -> PricingModel:
    if spec["model"]["folder"]:
        return TASK.load(Path(spec["model"]["folder"]))
    nights = tuple(date.fromisoformat(text) for text in spec["baseline_nights"])
    return TASK.baseline(TASK.examples(shop, store, nights), Fitting(threads=int(spec["threads"])))


def items_of(
    model: PricingModel, panel: Panel, price: np.ndarray, unit_cost: np.ndarray, list_price: np.ndarray, shop: Shop
) -> Items:
    """The items of the panel on its last night, with what the model expects of the night after at tonight's price.

    (i,) cents each, NaN where unknown: an unknown cost is what the shop's default margin leaves, an unknown list price
    the median of the item's prices in the panel.
    """
    place = len(panel.nights)
    rows, which = panel.rows(place, price)
    told = model.predict(rows)

    def spread(values: pa.ChunkedArray) -> np.ndarray:
        found = np.full(len(panel.items), np.nan)
        found[which] = values.to_numpy()
        return found

    known = np.where(np.isfinite(panel.price), panel.price, np.nan)
    known = np.concatenate([known, np.where(price > 0, price, np.nan)[:, None]], axis=1)
    with np.errstate(all="ignore"):
        usual = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in known])
    reference = np.where(np.isfinite(list_price), list_price, usual)
    default = price * (1 - shop.strategy.default_margin_percent / 100)
    e = model.predict(pa.table({C.CATEGORY_ID: pa.array(panel.category, pa.string())}))
    return Items(
        item_ids=panel.items.tolist(),
        price=price,
        unit_cost=np.where(np.isfinite(unit_cost), unit_cost, default),
        reference=reference,
        units=spread(told[UNITS]),
        units_sd=spread(told[UNITS_SD]),
        has_sold=np.nan_to_num(spread(rows[N_UNITS])) > 0,
        elasticity=e[ELASTICITY].to_numpy(),
        elasticity_sd=e[ELASTICITY_SD].to_numpy(),
    )


def counts(items: Items, found: Suggestions) -> dict[str, Any]:
    """For the manifest, the summary and the report: items by reason and guardrail, what is expected to be gained."""
    changed = np.isfinite(found.price) & (found.price != items.price)
    gains = found.gain[:, changed].sum(axis=1)
    if not np.isfinite(gains).all():
        raise TrainingError("prices: an expected gain is no number; train the pricing model again")
    return {
        "items": len(items.price),
        "raised": int((found.price > items.price).sum()),
        "lowered": int((found.price < items.price).sum()),
        "by_reason": dict(sorted(Counter(found.why.tolist()).items())),
        "by_guardrail": dict(sorted(Counter(found.guardrail.tolist()).items())),
        "gain_cents": round(float(gains[0]), 2),
    }


def _cents(shelf: pa.Table, name: str) -> np.ndarray:
    return pc.cast(shelf[name], pa.float64()).to_numpy()


def _rows(shelf: pa.Table, items: Items, found: Suggestions, name: str, version: str) -> pa.Table:
    """The table in the declared columns, order and types; NaN becomes null."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    columns: dict[str, Any] = {
        **{column: shelf[column] for column in (C.ITEM_ID, C.CATEGORY_ID, C.PRICE_CENTS, C.UNIT_COST_CENTS)},
        C.REFERENCE_CENTS: np.round(items.reference),
        C.SUGGESTED_CENTS: found.price,
        C.ELASTICITY: items.elasticity,
        C.ELASTICITY_LOW: items.elasticity - z * items.elasticity_sd,
        C.ELASTICITY_HIGH: items.elasticity + z * items.elasticity_sd,
        C.GUARDRAIL: found.guardrail,
        C.REASON_CODE: found.why,
        C.WHY: [WHYS[code] for code in found.why],
        C.MODEL_NAME: [name] * len(items.price),
        C.MODEL_VERSION: [version] * len(items.price),
    }
    for values, names in (
        (found.units, (C.EXPECTED_UNITS, C.EXPECTED_UNITS_LOW, C.EXPECTED_UNITS_HIGH)),
        (found.profit, (C.PROFIT_CENTS, C.PROFIT_LOW_CENTS, C.PROFIT_HIGH_CENTS)),
        (found.gain, (C.GAIN_CENTS, C.GAIN_LOW_CENTS, C.GAIN_HIGH_CENTS)),
    ):
        columns |= dict(zip(names, values, strict=True))
    arrays = []
    for field in SCHEMA:
        values = columns[field.name]
        if isinstance(values, np.ndarray) and values.dtype != object:
            values = pa.array(values, from_pandas=True)
        arrays.append((values if isinstance(values, pa.ChunkedArray) else pa.array(values)).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


if __name__ == "__main__":
    run_job(run)
