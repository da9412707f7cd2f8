"""Makes experiment_readout: what the plans and experiments did, as known at the end of a night, and prints it.

    nightmarket readout --shop demo --date 2026-03-15

Held against each other: the plan and the holdout, recommendations and who was held out from them, the arms of the shop's
experiments, and among the customers who drew lots a message and nothing, the offers, the channels; and where a model
chooses, its choice and the lot. Intervals hold however often one looks. Beside them the answers per channel and strategy and
those to what was recommended, as in the night's report.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.core.tables import BIGINT, STRING, TABLES
from pipelines.readout_compare import experiments, plans_lived
from pipelines.readout_recommend import brought
from pipelines.report_audience import measured
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "experiment_readout"
_DAY = timedelta(days=1)


def readout(night: date, context: Context) -> dict[str, Any]:
    """{shop, night, answers, effect, period, experiments, anomalies, notes, recommendations, table}; publishes the table.

    Raises NoDataError without the night's events, AuditError.
    """
    shop, store = context.shop, context.store
    if store.manifest("events", night) is None:
        known = store.nights("events")
        nearest = f"nights with events: {known[0]} to {known[-1]}" if known else "run `nightmarket night` first"
        raise NoDataError(f"shop {shop.shop}, night {night}: no events, so nothing to read out; {nearest}")
    found = experiments(night, shop, store)
    result = publish(night, context, found)
    manifest = result.manifests[f"{TABLE}/{night}"]
    table = {"rows": manifest.rows, "hash": manifest.content_hash}
    told = {"shop": shop.shop, "night": night.isoformat(), **measured(night, store), **found}
    return told | {"recommendations": brought(night, shop, store, found["experiments"]), "table": table}


def publish(night: date, context: Context, found: dict[str, Any]) -> StageResult:
    """Writes, audits and publishes the night's rows, unless they are up to date."""
    import pyarrow.parquet as pq

    store, result = context.store, StageResult("readout")
    inputs, config_hash = inputs_of(night, context.shop, store), digest_of(context.shop)
    manifest = store.manifest(TABLE, night)
    if manifest and not context.force and store.is_current(TABLE, night, inputs, config_hash):
        result.add(manifest, made=False)
        return result
    rows = table_of(found)
    counts = {"anomalies": {one["name"]: one["n"] for one in found["anomalies"]}}
    with store.staging() as staging:
        folder = staging / TABLE
        folder.mkdir()
        pq.write_table(rows, folder / "part-00000.parquet", compression="zstd")
        staged = Staged(TABLE, night, folder, len(rows), inputs, config_hash, counts)
        audit_and_publish([staged], store, context.machine, result)
    return result


def table_of(found: dict[str, Any]) -> "pa.Table":
    """The rows of experiment_readout."""
    import pyarrow as pa

    kinds = {STRING: pa.string(), BIGINT: pa.int64()}
    columns = TABLES[TABLE].columns
    schema = pa.schema([(name, kinds.get(kind, pa.float64())) for name, kind in columns.items()])
    rows = [{C.EXPERIMENT: one["experiment"], **row} for one in found["experiments"] for row in one["readings"]]
    rows.sort(key=lambda row: [row[name] for name in TABLES[TABLE].sort_by])
    return pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows], schema=schema)


def inputs_of(night: date, shop: Shop, store: Store) -> dict[str, str]:
    """Lineage of the read-out: every night's plan before, and what was told of the nights on which they were lived."""
    made = plans_lived(night, store)
    lived = [one + _DAY for one in made]
    found = store.inputs("campaign_plan", made)
    for table in ("user_profiles", "segments", "recommendations"):
        found |= store.inputs(table, made)
    for table in ("events", "catalog", "quarantine"):
        found |= store.inputs(table, lived)
    back = [lived[0] - n * _DAY for n in range(shop.cleaning.late_nights, 0, -1)] if lived else []
    for table in ("deliveries", "outcomes"):
        found |= store.inputs(table, [*back, *lived])
    return found
