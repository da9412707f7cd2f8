"""The features stage: profiles, items, pairs, channel response and segments of one night, from what was known at its end.

Segments are fitted on anchor nights only (the first night with events and every Monday since); a night whose anchor has no
model yet runs the anchor's features first, so the same tables come out whatever the order of nights.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.storage import window
from pipelines.launch import launch
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of, engine_spec

TABLES = (
    "sessions", "user_profiles", "channel_response", "hour_response", "item_stats", "item_pairs", "category_stats",
    "segments",
)  # fmt: skip
MODELS = ("profile_projection", "segment_models")


def run(night: date, context: Context) -> StageResult:
    """Publishes TABLES of the night, and MODELS too if it is an anchor. Raises NoDataError without events."""
    result = StageResult("features")
    nights = context.store.nights("events")
    if night not in nights:
        raise NoDataError(
            f"shop {context.shop.shop}, night {night}: no events to make features of; land and clean them first"
        )
    first = context.shop.first_runnable(context.store.kept_from("clean"))
    for anchor in anchors(nights, night):
        if first <= anchor != night:  # models of anchors before are kept as they are: their events are kept no longer
            _make(anchor, nights, context, result, only_models=True)
    _make(night, nights, context, result)
    return result


def anchors(nights: list[date], night: date) -> list[date]:
    """Nights up to `night` on which segments are fitted: the first with events, then of each week the first from Monday on."""
    found: list[date] = []
    for candidate in nights:
        if candidate <= night and (not found or _week(candidate) > _week(found[-1])):
            found.append(candidate)
    return found


def _week(night: date) -> int:
    """Number of the Monday-to-Sunday week."""
    return (night.toordinal() - 1) // 7


def _make(night: date, nights: list[date], context: Context, result: StageResult, *, only_models: bool = False) -> None:
    store = context.store
    fitted = anchors(nights, night)
    anchor, previous = fitted[-1], fitted[-2] if len(fitted) > 1 else None
    is_anchor = anchor == night
    inputs = _inputs(night, nights, anchor, previous, context)
    config_hash = digest_of(
        context.shop.timezone,
        context.shop.features,
        context.shop.strategy.channels,
        context.shop.strategy.complaint_rest_nights,
    )
    tables = (*TABLES, *(MODELS if is_anchor else ()))
    needed = MODELS if only_models else tables
    force = context.force and not only_models
    if not force and all(store.is_current(table, night, inputs, config_hash) for table in needed):
        for table in tables:
            manifest = store.manifest(table, night)
            if manifest and not only_models:
                result.add(manifest, made=False)
        return
    context.progress(f"features {night}")
    with store.lock(f"features-{night}", wait=True), store.staging() as staging:
        made = launch(
            "spark_jobs.features",
            _spec(night, nights, anchor, previous, context),
            context.machine,
            staging,
            store.folder / "logs",
            submit=context.submit,
        )
        staged = [
            Staged(table, night, staging / table, int(made["tables"][table]), inputs, config_hash) for table in tables
        ]
        staged = [
            replace(part, counts=made["counts"] | _sizes(part.folder)) if part.table == "segments" else part
            for part in staged
        ]
        audit_and_publish(staged, store, context.machine, result)


def _sizes(segments: Path) -> dict[str, Any]:
    """Customers per segment name, largest first."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    counted = pc.value_counts(pq.read_table(segments, columns=[C.SEGMENT_NAME])[C.SEGMENT_NAME]).to_pylist()
    return {
        "segments": {
            row["values"]: row["counts"] for row in sorted(counted, key=lambda row: (-row["counts"], row["values"]))
        }
    }


def _inputs(night: date, nights: list[date], anchor: date, previous: date | None, context: Context) -> dict[str, str]:
    """Everything that the night's features read: all nights' events for consent, the window for the rest."""
    store = context.store
    known = [n for n in nights if n <= night]
    inputs = store.inputs(
        "events", sorted({*known, *(n for n in window(night, context.shop.features.window_nights) if n >= known[0])})
    )
    for feed in ("deliveries", "outcomes"):
        inputs |= store.inputs(feed, [n for n in store.nights(feed) if n <= night])
    for table in MODELS:
        if anchor != night:
            inputs |= store.inputs(table, [anchor])
        elif previous:
            inputs |= store.inputs(table, [previous])
    return inputs


def _spec(night: date, nights: list[date], anchor: date, previous: date | None, context: Context) -> dict[str, Any]:
    store, shop = context.store, context.shop
    in_window = [n for n in window(night, shop.features.window_nights) if n in nights]

    def files(table: str, wanted: list[date]) -> dict[str, list[str]]:
        return {n.isoformat(): [str(path) for path in store.files(table, [n])] for n in wanted}

    def model(table: str, at: date | None) -> list[str]:
        return [str(path) for path in store.files(table, [at])] if at else []

    return {
        "engine": engine_spec(context),
        "shop": shop.model_dump(mode="json"),
        "night": night.isoformat(),
        "first_night": nights[0].isoformat(),
        "is_anchor": anchor == night,
        "events": files("events", in_window),
        "history": files("events", [n for n in nights if n < in_window[0]]),
        **{feed: files(feed, [n for n in store.nights(feed) if n <= night]) for feed in ("deliveries", "outcomes")},
        "projection": model("profile_projection", None if anchor == night else anchor),
        "segment_models": model("segment_models", None if anchor == night else anchor),
        "previous_projection": model("profile_projection", previous if anchor == night else None),
        "previous_models": model("segment_models", previous if anchor == night else None),
    }
