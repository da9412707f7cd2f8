"""Makes conversations: what customers asked the service desk, how they felt, and whether it was settled.

    nightmarket night --shop demo --date 2026-03-15

Part of the listen stage; settings are `service` of the shop's file, what the desk knows is conf/knowledge/. The work is
training/converse_night.py, started as a process where anybody wrote tonight. The plan reads the table: who is unhappy gets no
promotion (plan_limits.py).
"""

from datetime import date
from pathlib import Path

from pipelines.core.config import PROJECT, load_knowledge
from pipelines.core.labelling import INTENT, digest_of_labels
from pipelines.core.storage import file_hash, sources_digest, window
from pipelines.launch import launch
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of

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
    kept = store.manifest(TABLE, night)
    if kept and not context.force and store.is_current(TABLE, night, inputs, config_hash):
        result.add(kept, made=False)
        result.counts |= {TABLE: kept.counts}
        return result
    if not _wrote(store.files("messages", [night])):
        store.retract(TABLE, night)
        return result
    with store.staging() as staging:
        made = launch(
            "training.converse_night",
            {
                "shop": shop.model_dump(mode="json"),
                "knowledge": knowledge.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )
        staged = Staged(TABLE, night, staging / TABLE, int(made["rows"]), inputs, config_hash, made["counts"])
        audit_and_publish([staged], store, context.machine, result)
    result.counts |= {TABLE: made["counts"]}
    return result


def _wrote(files: list[Path]) -> bool:
    import pyarrow.parquet as pq

    return any(pq.read_metadata(file).num_rows for file in files)
