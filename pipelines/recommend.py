"""The recommend stage: items for tomorrow, per customer (recommendations) and per segment (segment_recommendations), and what
goes with each item (item_relations, bundles).

    nightmarket night --shop demo --date 2026-03-15

The work is training/recommend_night.py, started as a process; settings are `recommend` of the shop's file. The champion of
task recommender ranks; without one, or where the registry does not answer, own history and popularity do. On the shop's own
pages nobody is written to, so no message's consent is needed; but who closed every channel objected to being marketed to,
and has no list by name. Pictures that the catalogue names are read from the landing folder, where they are.
"""

from datetime import date

from pipelines.champion import Batch
from pipelines.core import pictures
from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.storage import sources_digest, window
from pipelines.launch import launch
from pipelines.stage import Context, StageResult, digest_of, engine_spec

TABLES = ("recommendations", "segment_recommendations", "item_relations", "bundles")
TASK = "recommender"
_PICTURES = "pictures/landing"  # lineage of what the catalogue's pictures show


def run(night: date, context: Context) -> StageResult:
    """Publishes the tables of the night, or takes them back where none are wanted. Raises AuditError, NoDataError."""
    shop, store = context.shop, context.store
    result = StageResult("recommend")
    if shop.recommend is None:
        for table in TABLES:
            store.retract(table, night)
        result.idle = "no recommendations configured"
        return result
    inputs = store.inputs("events", window(night, shop.features.window_nights))
    for table in ("user_profiles", "segments", "channel_response", "catalog"):
        inputs |= store.inputs(table, [night])
    goods = read(store, "catalog", [night], C.ITEM_ID, C.ATTRIBUTES)
    told_of = zip(*(goods[name].to_pylist() for name in (C.ITEM_ID, C.ATTRIBUTES)), strict=True) if goods else ()
    shown = pictures.find(context.landing, ((str(item), told) for item, told in told_of))
    if shown.files:
        inputs[_PICTURES] = shown.digest
    config_hash = digest_of(
        shop.recommend, shop.timezone, shop.features, [channel.id for channel in shop.strategy.channels],
        shop.strategy.margin_floor_percent, shop.strategy.default_margin_percent,
        sources_digest("training", "pipelines/strategy"),
    )  # fmt: skip
    batch = Batch(TABLES, night, inputs, config_hash)
    server, batch = batch.served(TASK, "own history and popularity rank", context)
    if kept := batch.keep(context, result):
        result.counts = kept.counts
        return result
    with store.staging() as staging:
        made = launch(
            "training.recommend_night",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "engine": engine_spec(context),
                "threads": context.machine.threads,
                "model": server.job,
                "pictures": {item: [str(path), content] for item, (path, content) in shown.files.items()},
            },
            context.machine,
            staging,
            store.folder / "logs",
            submit=context.submit,
        )
        result.counts = made["counts"] | server.told
        if shown.refused:
            result.counts["pictures_not_read"] = dict(shown.refused)
        batch.publish(staging, made["rows"], result.counts, context, result)
    return result
