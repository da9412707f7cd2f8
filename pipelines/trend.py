"""Makes category_trend: what each category will be asked for in the coming nights, with intervals.

The forecasts are pipelines/strategy/trend.py; this file counts events per category and night, calls it and writes the rows.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.reading import read
from pipelines.core.storage import Store, window
from pipelines.core.tables import BIGINT, DOUBLE, STRING, TABLES
from pipelines.report_read import counts_of
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of
from pipelines.strategy.trend import Trends, forecast

TABLE = "category_trend"
HORIZON, WINDOW = 7, 56  # nights ahead, nights that forecasts look back on
_SEEN_NIGHTS = 28  # a category that nobody looked at for longer has no forecast


def publish(night: date, context: Context, result: StageResult) -> None:
    """Publishes the night's forecasts. Raises NoDataError where no event of the window names a category."""
    store = context.store
    nights = window(night, WINDOW)
    inputs = store.inputs("category_stats", nights) | store.inputs("events", nights)
    config_hash = digest_of(HORIZON, WINDOW)
    manifest = store.manifest(TABLE, night)
    if manifest and not context.force and store.is_current(TABLE, night, inputs, config_hash):
        result.add(manifest, made=False)
        return
    with store.staging() as staging:
        names, counts = history(night, store)
        found = forecast(counts, HORIZON) if names else None
        rows = write(names, found, staging / TABLE)
        told = {"categories": len(names), "methods": dict(sorted(_counted(found).items()))}
        audit_and_publish(
            [Staged(TABLE, night, staging / TABLE, rows, inputs, config_hash, told)], store, context.machine, result
        )


def history(night: date, store: Store) -> tuple[list[str], np.ndarray]:
    """Categories of the last four weeks, sorted, and their events (k, n) on the nights since the first that is known, NaN
    on nights of which nothing is. Raises NoDataError where nothing is known of the night itself."""
    told = {n: found for n in window(night, WINDOW) if (found := category_counts(store, n)) is not None}
    if night not in told:
        raise NoDataError(f"shop {store.shop}, night {night}: no events to forecast from; land and clean them first")
    recent = [n for n in told if n > night - timedelta(days=_SEEN_NIGHTS)]
    names = sorted({name for n in recent for name in told[n]})
    span = window(night, (night - min(told)).days + 1)
    counts = [[told[n].get(name, 0) if n in told else np.nan for n in span] for name in names]
    return names, np.array(counts, dtype=np.float64).reshape(len(names), len(span))


def category_counts(store: Store, night: date) -> dict[str, int] | None:
    """Events per category, bots left out; None without the night. Without category_stats they are counted anew."""
    import pyarrow.compute as pc

    stats = read(store, "category_stats", [night], C.CATEGORY_ID, C.N_EVENTS)
    if stats is not None:
        return {row[C.CATEGORY_ID]: row[C.N_EVENTS] for row in stats.to_pylist() if row[C.CATEGORY_ID] is not None}
    events = read(store, "events", [night], C.CATEGORY_ID, C.IS_BOT)
    if events is None:
        return None
    people = events.filter(pc.invert(pc.fill_null(events[C.IS_BOT], False)))
    return counts_of(people, C.CATEGORY_ID)


def write(names: list[str], found: Trends | None, folder: Path) -> int:
    """Writes the table, rounded to thousandths of an event; returns its rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {STRING: pa.string(), BIGINT: pa.int64(), DOUBLE: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in TABLES[TABLE].columns.items()])
    columns: dict[str, Any] = {name: [] for name in schema.names}
    if found is not None:
        k, h = found.forecast.shape

        def repeated(values: Any) -> Any:
            return np.repeat(np.asarray(values), h)

        columns = {
            C.CATEGORY_ID: repeated(names),
            C.HORIZON_NIGHTS: np.tile(np.arange(1, h + 1), k),
            C.FORECAST: found.forecast.ravel().round(3),
            C.FORECAST_LOW: found.low.ravel().round(3),
            C.FORECAST_HIGH: found.high.ravel().round(3),
            C.METHOD: repeated(found.method),
            C.BACKTEST_ERROR: repeated(found.error.round(3)),
            C.NAIVE_ERROR: repeated(found.naive_error.round(3)),
            C.N_NIGHTS_KNOWN: repeated(found.n_known),
        }
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in schema]
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_arrays(arrays, schema=schema)
    pq.write_table(table, folder / "part-00000.parquet", compression="zstd")
    return int(table.num_rows)


def _counted(found: Trends | None) -> dict[str, int]:
    return {name: found.method.count(name) for name in found.method} if found else {}
