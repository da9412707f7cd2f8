"""Words for the messages of tonight's plan (creatives), and which of them each customer gets (plan_copy).

    nightmarket night --shop demo --date 2026-03-15

Part of the plan stage. The work is training/write_night.py, started as a process; settings are `write` of the shop's file.
The champion of task copywriter words what most customers are sent; templates word the rest, and all where there is no
champion or the registry does not answer. Every text is moderated; only what is clean or was approved by a person reaches a
customer.
"""

import hashlib
import json
from datetime import date

from pipelines.core.config import PROJECT
from pipelines.core.errors import RegistryError
from pipelines.core.moderating import moderation_folder
from pipelines.core.registry import Registry, folder_hash
from pipelines.core.storage import file_hash, sources_digest, window
from pipelines.launch import launch
from pipelines.review_ledger import decisions
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of

TABLES = ("creatives", "plan_copy")
TASK = "copywriter"
GENERATION = "generation"  # in the counts of creatives: digest of all but the brief that decides what a model writes
REUSED_NIGHTS = 28  # that texts are looked for in before a model is asked again
_MODEL = "model/"
_JOB = PROJECT / "training" / "write_night.py"


def run(night: date, context: Context, result: StageResult) -> StageResult:
    """Publishes creatives and plan_copy of the night and adds them to the plan stage's `result`; takes them back where none
    are wanted. Raises AuditError."""
    shop, store = context.shop, context.store
    if shop.write is None:
        for table in TABLES:
            store.retract(table, night)
        return result
    inputs = {
        name: digest
        for table in ("campaign_plan", "catalog", "segments")
        for name, digest in store.inputs(table, [night]).items()
    }
    for table in ("reviews", "messages"):
        inputs |= store.inputs(table, window(night, shop.features.window_nights))
    decided = decisions(store)
    inputs["review/decisions"] = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    inputs["moderation/rules"] = folder_hash(moderation_folder())
    model = {"folder": None, "name": f"{shop.shop}-{TASK}-templates", "version": "none"}
    told, model_digest = "no champion: templates", ""
    config_hash = digest_of(
        shop.write, shop.strategy, shop.timezone, shop.currency, shop.title,
        sources_digest("training/creatives", "training/language"), file_hash(_JOB),
    )  # fmt: skip
    kept = None if context.force else store.manifest(TABLES[0], night)
    try:
        registry = Registry(shop.shop, store.root, context.machine.mlflow_uri)
        champion = registry.champion(TASK, night) if TASK in shop.models.tasks else None
        if champion:
            model = {"folder": str(registry.fetch(champion)), "name": champion.name, "version": champion.version}
            model_digest, told = champion.content_sha256, "champion"
            inputs |= {f"{_MODEL}{champion.name}/{champion.version}": model_digest}
    except RegistryError as error:
        context.progress(f"the model registry failed: {error}")
        told = "the model registry does not answer: templates"
        before = {name: digest for name, digest in kept.inputs.items() if name.startswith(_MODEL)} if kept else {}
        if all(store.is_current(table, night, inputs | before, config_hash) for table in TABLES):
            inputs |= before  # a registry that is down changes no text made before
    if kept and all(store.is_current(table, night, inputs, config_hash) for table in TABLES):
        result.counts |= {TABLES[0]: kept.counts}
        for table in TABLES:
            manifest = store.manifest(table, night)
            assert manifest is not None
            result.add(manifest, made=False)
        return result
    generation = digest_of(model_digest, shop.write.variants, shop.write.seed, sources_digest("training/creatives"))
    with store.staging() as staging:
        made = launch(
            "training.write_night",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "threads": context.machine.threads,
                "model": model,
                "reusable": _reusable(night, context, generation) if model["folder"] else [],
                "decisions": decided,
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )
        counts = made["counts"] | {
            "model": model["name"], "version": model["version"], "why": told, GENERATION: generation,
        }  # fmt: skip
        result.counts |= {TABLES[0]: counts}
        staged = [
            Staged(table, night, staging / table, rows, inputs, config_hash, counts if table == TABLES[0] else {})
            for table, rows in made["rows"].items()
        ]
        audit_and_publish(staged, store, context.machine, result)
    return result


def _reusable(night: date, context: Context, generation: str) -> list[str]:
    """Files of creatives of nights before that the same model made in the same way, the newest first."""
    found = []
    for before in reversed(window(night, REUSED_NIGHTS)[:-1]):
        manifest = context.store.manifest(TABLES[0], before)
        if manifest and manifest.counts.get(GENERATION) == generation:
            found += [str(path) for path in context.store.files(TABLES[0], [before])]
    return found
