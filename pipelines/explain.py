"""Makes plan_reasons: of every customer who is sent something by tomorrow's plan, what makes the lift that the model expects.

    nightmarket night --shop demo --date 2026-03-15

Part of the plan stage, after campaign_plan is published, so that the plan's bytes do not depend on it. The work is
training/explain.py, started as a process; `reasons_of` reads one customer's reasons back.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.errors import RegistryError
from pipelines.core.registry import Registry
from pipelines.core.storage import Store, sources_digest
from pipelines.launch import launch
from pipelines.plan_scores import NO_VERSION
from pipelines.score import TASK, campaign_nights
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of

TABLE = "plan_reasons"
INPUTS = ("campaign_plan", "strategy_scores", "user_profiles", "segments", "channel_response", "catalog")


@dataclass(frozen=True)
class Reason:
    """One contribution to the lift of what a customer is sent."""

    rank: int  # 0: the usual customer under the usual message, 1 to 3 the largest contributions, 4: all others
    factor: str
    told: str
    cents: float

    def __str__(self) -> str:
        sign = "+" if self.cents >= 0 else "−"
        return f"{self.told}: {sign}{abs(self.cents):.2f} ct"


def run(night: date, context: Context, result: StageResult) -> StageResult:
    """Publishes plan_reasons of the night's plan and adds it to the plan stage's `result`.

    Nothing where the plan was made without scores or sends nothing, or where the registry does not answer: reasons of
    an earlier plan are taken back then. Raises JobError, NoDataError, AuditError.
    """
    shop, store = context.shop, context.store
    plan, scores = store.manifest("campaign_plan", night), store.manifest("strategy_scores", night)
    model = plan.counts.get("model") if plan else None
    if not plan or not scores or not model or not plan.counts["treated"]:
        store.retract(TABLE, night)
        return result
    inputs = {name: digest for table in INPUTS for name, digest in store.inputs(table, [night]).items()}
    config_hash = digest_of(shop.strategy, shop.features, shop.currency, sources_digest("training"))
    kept = store.manifest(TABLE, night)
    if kept and not context.force and store.is_current(TABLE, night, inputs, config_hash):
        result.add(kept, made=False)
        return result
    try:
        spec = _model(model, night, context)
    except RegistryError as error:
        context.progress(f"no reasons for the plan, the model registry failed: {error}")
        store.retract(TABLE, night)
        return result
    with store.staging() as staging:
        made = launch(
            "training.explain",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "threads": context.machine.threads,
                **spec,
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )
        staged = Staged(TABLE, night, staging / TABLE, int(made["rows"]), inputs, config_hash, {"model": model["name"]})
        audit_and_publish([staged], store, context.machine, result)
    return result


def reasons_of(user_key: str, night: date, store: Store) -> list[Reason]:
    """The reasons of one customer by rank; none where the plan sends nothing or was made without scores."""
    import pyarrow.parquet as pq

    columns = [C.RANK, C.FACTOR, C.TOLD, C.CONTRIBUTION_CENTS]
    found: list[dict[str, Any]] = []
    for file in store.files(TABLE, [night]):
        mine = pq.read_table(file, columns=columns, filters=[(C.USER_KEY, "=", user_key)], partitioning=None)
        found += mine.to_pylist()
    return sorted((Reason(*(row[name] for name in columns)) for row in found), key=lambda reason: reason.rank)


def _model(model: dict[str, Any], night: date, context: Context) -> dict[str, Any]:
    """`model` and `baseline_nights` of the job's spec: those by which the plan's scores were made."""
    folder, campaigns = None, []
    if model["version"] == NO_VERSION:
        campaigns = campaign_nights(night, context)
    else:
        registry = Registry(context.shop.shop, context.store.root, context.machine.mlflow_uri)
        folder = str(registry.fetch(registry.get(TASK, model["version"])))
    return {
        "model": {"folder": folder, "name": model["name"], "version": model["version"]},
        "baseline_nights": [campaign.isoformat() for campaign in campaigns],
    }
