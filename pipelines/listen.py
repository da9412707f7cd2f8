"""The listen stage: what reviews say of which aspect (review_opinions), what they suddenly blame (opinion_alerts), what stands
for the reviews of an item (review_summaries), and what items say of themselves (item_attributes).

    nightmarket night --shop demo --date 2026-03-15

The work is training/listen_night.py, started as a process; settings are `listen` of the shop's file. The champion of task
sentiment judges each clause; without one, or where the registry does not answer, words do whose weight the stars teach.
"""

from datetime import date

from pipelines.core.errors import RegistryError
from pipelines.core.listening import TASK
from pipelines.core.registry import Registry
from pipelines.core.shop import Shop
from pipelines.core.storage import sources_digest, window
from pipelines.launch import launch
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of

TABLES = ("review_opinions", "opinion_alerts", "review_summaries", "item_attributes")
_MODEL = "model/"  # lineage of the model: "model/NAME/VERSION" -> digest of its files


def run(night: date, context: Context) -> StageResult:
    """Publishes the tables of the night, or takes them back where nobody wants to listen. Raises AuditError."""
    shop, store = context.shop, context.store
    result = StageResult("listen")
    if shop.listen is None:
        for table in TABLES:
            store.retract(table, night)
        result.idle = "nothing to listen to configured"
        return result
    inputs = store.inputs("reviews", window(night, shop.listen.window_nights)) | store.inputs("catalog", [night])
    config_hash = digest_of(shop.listen, sources_digest("training/language", "training/recommend"))
    kept = None if context.force else store.manifest(TABLES[0], night)
    model = {"folder": None, "name": f"{shop.shop}-{TASK}-baseline", "version": "none"}
    told = "no champion: words weighed by stars judge"
    try:
        registry = Registry(shop.shop, store.root, context.machine.mlflow_uri)
        champion = registry.champion(TASK, night) if is_judged_by_model(shop) else None
        if champion:
            model = {"folder": str(registry.fetch(champion)), "name": champion.name, "version": champion.version}
            inputs |= {f"{_MODEL}{champion.name}/{champion.version}": champion.content_sha256}
            told = "champion"
    except RegistryError as error:
        context.progress(f"the model registry failed: {error}")
        told = "the model registry does not answer: words weighed by stars judge"
        before = {name: digest for name, digest in kept.inputs.items() if name.startswith(_MODEL)} if kept else {}
        if all(store.is_current(table, night, inputs | before, config_hash) for table in TABLES):
            inputs |= before  # a registry that is down changes nothing made before
    if kept and all(store.is_current(table, night, inputs, config_hash) for table in TABLES):
        result.counts = kept.counts
        for table in TABLES:
            manifest = store.manifest(table, night)
            assert manifest is not None
            result.add(manifest, made=False)
        return result
    with store.staging() as staging:
        made = launch(
            "training.listen_night",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "threads": context.machine.threads,
                "model": model,
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )
        result.counts = made["counts"] | {"model": model["name"], "version": model["version"], "why": told}
        staged = [
            Staged(
                table, night, staging / table, rows, inputs, config_hash, result.counts if table == TABLES[0] else {}
            )
            for table, rows in made["rows"].items()
        ]
        audit_and_publish(staged, store, context.machine, result)
    return result


def is_judged_by_model(shop: Shop) -> bool:
    """Whether the shop trains a model of sentiment."""
    return TASK in {str(task) for task in shop.models.tasks}
