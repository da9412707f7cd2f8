"""The listen stage: what reviews say of which aspect (review_opinions), what they suddenly blame (opinion_alerts), what stands
for the reviews of an item (review_summaries), and what items say of themselves (item_attributes).

    nightmarket night --shop demo --date 2026-03-15

The work is training/listen_night.py, started as a process; settings are `listen` of the shop's file. The champion of task
sentiment judges each clause; without one, or where the registry does not answer, words do whose weight the stars teach.
"""

from datetime import date

from pipelines.champion import Batch
from pipelines.core.config import PROJECT
from pipelines.core.listening import TASK
from pipelines.core.storage import file_hash, sources_digest, window
from pipelines.launch import launch
from pipelines.stage import Context, StageResult, digest_of

TABLES = ("review_opinions", "opinion_alerts", "review_summaries", "item_attributes")
_JOB = PROJECT / "training" / "listen_night.py"


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
    config_hash = digest_of(shop.listen, sources_digest("training/language", "training/recommend"), file_hash(_JOB))
    batch = Batch(TABLES, night, inputs, config_hash)
    server, batch = batch.served(TASK, "words weighed by stars judge", context)
    if kept := batch.keep(context, result):
        result.counts = kept.counts
        return result
    with store.staging() as staging:
        made = launch(
            "training.listen_night",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "threads": context.machine.threads,
                "model": server.job,
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )
        result.counts = made["counts"] | server.told
        batch.publish(staging, made["rows"], result.counts, context, result)
    return result
