"""Makes conversations: what customers asked the service desk, how they felt, and whether it was settled.

    nightmarket night --shop demo --date 2026-03-15

Part of the listen stage; settings are `service` of the shop's file, what the desk knows is conf/knowledge/. The work is
training/converse_night.py, started as a process where anybody wrote tonight. The champion of task sentiment helps to tell moods;
without one, or where the registry does not answer, rules do. The plan reads the table: who is unhappy gets no promotion
(plan_limits.py).
"""

from datetime import date
from pathlib import Path

from pipelines.champion import Batch
from pipelines.core.config import PROJECT, load_knowledge
from pipelines.core.labelling import INTENT, digest_of_labels
from pipelines.core.listening import TASK
from pipelines.core.storage import file_hash, sources_digest, window
from pipelines.launch import launch
from pipelines.stage import Context, StageResult, digest_of

TABLE = "conversations"
_JOB = PROJECT / "training" / "converse_night.py"


def run(night: date, context: Context, result: StageResult) -> StageResult:
    """Publishes conversations of the night and adds it to the listen stage's `result`; takes it back where the shop has no
    desk, or nobody wrote. Raises ConfigError for a knowledge that cannot be read, JobError, AuditError."""
    shop, store = context.shop, context.store
    if shop.service is None:
        store.retract(TABLE, night)
        return result
    result.idle = ""
    knowledge = load_knowledge(shop.service.knowledge)
    inputs = store.inputs("messages", window(night, shop.service.window_nights))
    said = digest_of_labels(store, INTENT)
    config_hash = digest_of(shop.service, knowledge, sources_digest("training/language"), file_hash(_JOB), said)
    if not _wrote(store.files("messages", [night])):
        store.retract(TABLE, night)
        return result
    server, batch = Batch((TABLE,), night, inputs, config_hash).served(TASK, "rules alone tell moods", context)
    if kept := batch.keep(context, result):
        result.counts |= {TABLE: kept.counts}
        return result
    with store.staging() as staging:
        made = launch(
            "training.converse_night",
            {
                "shop": shop.model_dump(mode="json"),
                "knowledge": knowledge.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "model": server.job,
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )
        counts = made["counts"] | server.told
        batch.publish(staging, {TABLE: int(made["rows"])}, counts, context, result)
    result.counts |= {TABLE: counts}
    return result


def _wrote(files: list[Path]) -> bool:
    import pyarrow.parquet as pq

    return any(pq.read_metadata(file).num_rows for file in files)
