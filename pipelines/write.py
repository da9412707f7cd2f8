"""Words for the messages of tonight's plan (creatives), and which of them each customer gets (plan_copy).

    nightmarket night --shop demo --date 2026-03-15

Part of the plan stage. The work is training/write_night.py, started as a process; settings are `write` of the shop's file.
The champion of task copywriter words what most customers are sent; templates word the rest, and all where there is no
champion or the registry does not answer. Every text is moderated; only what is clean or was approved by a person reaches a
customer. What each kind of wording brought on earlier nights makes the lots lean (training/creatives/worked.py).
"""

import hashlib
import json
from datetime import date

from pipelines.champion import Batch
from pipelines.core.config import PROJECT
from pipelines.core.copywriting import LOOKED_BACK_NIGHTS
from pipelines.core.moderating import moderation_folder
from pipelines.core.registry import folder_hash
from pipelines.core.storage import file_hash, sources_digest, window
from pipelines.launch import launch
from pipelines.review_ledger import decisions
from pipelines.stage import Context, StageResult, digest_of

TABLES = ("creatives", "plan_copy")
TASK = "copywriter"
GENERATION = "generation"  # in the counts of creatives: digest of all but the brief that decides what a model writes
REUSED_NIGHTS = 28  # that texts are looked for in before a model is asked again
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
    for table in ("deliveries", "outcomes"):
        inputs |= store.inputs(table, window(night, LOOKED_BACK_NIGHTS))
    for table in TABLES:
        inputs |= store.inputs(table, window(night, LOOKED_BACK_NIGHTS + 1)[:-1])
    decided = decisions(store)
    inputs["review/decisions"] = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    inputs["moderation/rules"] = folder_hash(moderation_folder())
    config_hash = digest_of(
        shop.write, shop.strategy, shop.timezone, shop.currency, shop.title,
        sources_digest("training/creatives", "training/language"), file_hash(_JOB),
    )  # fmt: skip
    batch = Batch(TABLES, night, inputs, config_hash)
    server, batch = batch.served(TASK, "templates word", context)
    if kept := batch.keep(context, result):
        result.counts |= {TABLES[0]: kept.counts}
        return result
    generation = digest_of(
        server.content_sha256, shop.write.variants, shop.write.seed, sources_digest("training/creatives")
    )
    with store.staging() as staging:
        made = launch(
            "training.write_night",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "threads": context.machine.threads,
                "model": server.job,
                "reusable": _reusable(night, context, generation) if server.folder else [],
                "decisions": decided,
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )
        counts = made["counts"] | server.told | {GENERATION: generation}
        result.counts |= {TABLES[0]: counts}
        batch.publish(staging, made["rows"], counts, context, result)
    return result


def _reusable(night: date, context: Context, generation: str) -> list[str]:
    """Files of creatives of nights before that the same model made in the same way, the newest first."""
    found = []
    for before in reversed(window(night, REUSED_NIGHTS)[:-1]):
        manifest = context.store.manifest(TABLES[0], before)
        if manifest and manifest.counts.get(GENERATION) == generation:
            found += [str(path) for path in context.store.files(TABLES[0], [before])]
    return found
