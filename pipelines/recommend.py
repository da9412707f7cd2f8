"""The recommend stage: items for tomorrow, per customer (recommendations) and per segment (segment_recommendations), and what
goes with each item (item_relations, bundles).

    nightmarket night --shop demo --date 2026-03-15

The work is training/recommend_night.py, started as a process; settings are `recommend` of the shop's file. The champion of
task recommender ranks; without one, or where the registry does not answer, own history and popularity do. On the shop's own
pages nobody is written to, so no message's consent is needed; but who closed every channel objected to being marketed to,
and has no list by name. Pictures that the catalogue names are read from the landing folder, where they are.
"""

from datetime import date

from pipelines.core import pictures
from pipelines.core.columns import Columns as C
from pipelines.core.errors import RegistryError
from pipelines.core.reading import read
from pipelines.core.registry import Registry
from pipelines.core.storage import sources_digest, window
from pipelines.launch import launch
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of, engine_spec

TABLES = ("recommendations", "segment_recommendations", "item_relations", "bundles")
TASK = "recommender"
_MODEL = "model/"  # lineage of the model: "model/NAME/VERSION" -> digest of its files
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
    model = {"folder": None, "name": f"{shop.shop}-{TASK}-baseline", "version": "none"}
    told = "no champion: own history and popularity rank"
    config_hash = digest_of(
        shop.recommend, shop.timezone, shop.features, [channel.id for channel in shop.strategy.channels],
        shop.strategy.margin_floor_percent, shop.strategy.default_margin_percent,
        sources_digest("training", "pipelines/strategy"),
    )  # fmt: skip
    kept = None if context.force else store.manifest(TABLES[0], night)
    try:
        registry = Registry(shop.shop, store.root, context.machine.mlflow_uri)
        champion = registry.champion(TASK, night) if TASK in shop.models.tasks else None
        if champion:
            model = {"folder": str(registry.fetch(champion)), "name": champion.name, "version": champion.version}
            inputs |= {f"{_MODEL}{champion.name}/{champion.version}": champion.content_sha256}
            told = "champion"
    except RegistryError as error:
        context.progress(f"the model registry failed: {error}")
        told = "the model registry does not answer: own history and popularity rank"
        before = {name: digest for name, digest in kept.inputs.items() if name.startswith(_MODEL)} if kept else {}
        if all(store.is_current(table, night, inputs | before, config_hash) for table in TABLES):
            inputs |= before  # a registry that is down changes no list made before
    if kept and all(store.is_current(table, night, inputs, config_hash) for table in TABLES):
        result.counts = kept.counts
        for table in TABLES:
            manifest = store.manifest(table, night)
            assert manifest is not None
            result.add(manifest, made=False)
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
                "model": model,
                "pictures": {item: [str(path), content] for item, (path, content) in shown.files.items()},
            },
            context.machine,
            staging,
            store.folder / "logs",
            submit=context.submit,
        )
        result.counts = made["counts"] | {"model": model["name"], "version": model["version"], "why": told}
        if shown.refused:
            result.counts["pictures_not_read"] = dict(shown.refused)
        staged = [
            Staged(
                table, night, staging / table, rows, inputs, config_hash, result.counts if table == TABLES[0] else {}
            )
            for table, rows in made["rows"].items()
        ]
        audit_and_publish(staged, store, context.machine, result)
    return result
