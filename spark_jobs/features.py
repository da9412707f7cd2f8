"""Features: all feature tables of one night, from the clean events of its window and the feeds told so far.

    python -m spark_jobs.features SPEC.json

The spec is written by pipelines/features.py: `engine`, `work`, `out`, `night`, `shop`; `events` {night: files} of the
window, `history` {night: event files} of all nights before (for consent), `deliveries` and `outcomes` {night: files} of
all nights; `projection`, `segment_models`: the anchor's files, empty where this night is the anchor and to be fitted;
`previous_projection`, `previous_models`: those of the anchor before, empty where there is none.
Tables go to <out>/<table>/part-*.parquet, the result {tables: {name: rows}, counts} to <out>/result.json.
"""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.shop import Features, Shop
from pipelines.core.tables import TABLES
from spark_jobs.channel_response import CONSENT_EVENTS, channel_response
from spark_jobs.event_window import NIGHTS_AGO, EventWindow, event_window, nights_ago
from spark_jobs.hour_response import hour_response
from spark_jobs.item_pairs import item_pairs
from spark_jobs.item_stats import category_stats, item_stats
from spark_jobs.job import paths, run_job
from spark_jobs.segment_fit import Rows, fit_projection, fit_segments
from spark_jobs.segments import add_vector, assign_segments, fit_sample
from spark_jobs.session import DataFrame, Engine, F
from spark_jobs.sessions import sessions
from spark_jobs.user_profiles import user_profiles


def run(engine: Engine, spec: dict[str, Any]) -> dict[str, Any]:
    """Writes the night's tables under spec["out"]. Raises NoDataError where no customer was seen in the window."""
    shop, night, out = Shop.model_validate(spec["shop"]), date.fromisoformat(spec["night"]), Path(spec["out"])
    rules, zone = shop.features, shop.timezone
    window_files, history_files = _told(spec["events"], night), _told(spec["history"], night)
    if not window_files:
        raise NoDataError(
            f"{shop.shop}: no events in the {rules.window_nights} nights up to {night}; land and clean them first"
        )
    window = event_window(engine.read(window_files), night, zone, rules.window_nights)
    deliveries = engine.hold(_feed(engine, spec, "deliveries", C.SENT_AT, night, zone))
    outcomes = engine.hold(_feed(engine, spec, "outcomes", C.OCCURRED_AT, night, zone))
    consent = _consent(engine.read(sorted({*window_files, *history_files})), night, zone)

    tables: dict[str, int] = {}

    def write(name: str, frame: DataFrame) -> None:
        tables[name] = engine.write(frame, out / name, TABLES[name].sort_by)

    profiles = engine.hold(user_profiles(window, deliveries, outcomes))
    projection, models, fitted = _segment_models(engine, spec, profiles, rules)
    profiles = engine.hold(add_vector(profiles, projection))
    write("user_profiles", profiles)
    if not tables["user_profiles"]:
        raise NoDataError(
            f"{shop.shop}: only bots in the {rules.window_nights} nights up to {night}: nobody to plan for"
        )
    for name, rows in fitted.items():
        columns = TABLES[name].columns
        write(name, engine.rows(columns, [tuple(row[column] for column in columns) for row in rows]))
    segments = engine.hold(assign_segments(profiles, models))
    write("segments", segments)
    write("sessions", sessions(window))
    write("item_stats", item_stats(window))
    write("category_stats", category_stats(window))
    write(
        "item_pairs",
        item_pairs(window, rules.pair_half_life_nights, rules.pairs_per_item, rules.pair_max_session_items),
    )
    responses = engine.hold(
        channel_response(consent, deliveries, outcomes, shop.strategy.channels, shop.strategy.complaint_rest_nights)
    )
    write("channel_response", responses)
    write("hour_response", hour_response(window, deliveries, outcomes, zone))
    return {"tables": tables, "counts": _counts(engine, window, responses, segments)}


def _told(files: dict[str, list[str]], night: date) -> list[Path]:
    """The files of nights up to `night`, in the order of nights; a later night is never opened."""
    return [path for key in sorted(files) if date.fromisoformat(key) <= night for path in paths(files[key])]


def _feed(engine: Engine, spec: dict[str, Any], feed: str, at: str, night: date, zone: str) -> DataFrame:
    """All rows of a feed told up to the night, with nights_ago of `at`; none where the shop has no such feed."""
    files = _told(spec[feed], night)
    if files:
        frame = engine.read(files)
    else:
        nothing = engine.rows({C.USER_KEY: "string"}, [])
        frame = nothing.select(*[F.lit(None).cast(kind).alias(name) for name, kind in TABLES[feed].columns.items()])
    return frame.select("*", nights_ago(at, night, zone).alias(NIGHTS_AGO))


def _consent(events: DataFrame, night: date, zone: str) -> DataFrame:
    said = events.where(F.col(C.EVENT_TYPE).isin(*CONSENT_EVENTS)).select(
        C.USER_KEY, C.CHANNEL, C.EVENT_TYPE, nights_ago(C.OCCURRED_AT, night, zone).alias(NIGHTS_AGO)
    )
    return said.where(F.col(NIGHTS_AGO) >= 0)


def _segment_models(
    engine: Engine, spec: dict[str, Any], profiles: DataFrame, rules: Features
) -> tuple[Rows, Rows, dict[str, Rows]]:
    """Projection and segment models that hold tonight, and those of them that were fitted and are to be written."""

    def rows(key: str) -> Rows:
        return engine.fetch(engine.read(paths(spec[key]))) if spec[key] else []

    projection, models = rows("projection"), rows("segment_models")
    if projection and models:
        return projection, models, {}
    values = np.array(fit_sample(profiles, rules.fit_sample_users), dtype=np.float64)
    if not len(values):
        raise NoDataError(f"{spec['shop']['shop']}: only bots in the window up to {spec['night']}: nobody to plan for")
    projection = fit_projection(values, rules.vector_size)
    models = fit_segments(values, projection, rules, rows("previous_projection"), rows("previous_models"))
    return projection, models, {"profile_projection": projection, "segment_models": models}


def _counts(engine: Engine, window: EventWindow, responses: DataFrame, segments: DataFrame) -> dict[str, int]:
    """A few figures for the manifest and the report."""
    tonight = window.events.agg(
        F.count("*").alias("n_window_events"), F.count(F.when(F.col(NIGHTS_AGO) == 0, F.lit(1))).alias("n_night_events")
    )
    closed = responses.agg(F.count(F.when(F.col(C.IS_SUPPRESSED), F.lit(1))).alias("n_suppressed"))
    used = segments.agg(F.countDistinct(C.SEGMENT_ID).alias("n_segments"))
    return {name: int(n) for frame in (tonight, closed, used) for name, n in engine.fetch(frame)[0].items()}


if __name__ == "__main__":
    run_job(run)
