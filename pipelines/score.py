"""The score stage: what the champion expects of every candidate strategy for every customer, as table strategy_scores.

The champion is resolved once, and every row names it. Where there is none, or the registry does not answer, the task's
baseline is fitted on the spot and scores; before `explore_nights` nights of campaigns there are no scores, and the plan
explores. Where the champion of task `policy` is one that thinks of later nights, its column says what they bring or cost.
"""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from pipelines.core.errors import RegistryError
from pipelines.core.registry import Registry
from pipelines.core.storage import Manifest, Store, sources_digest, window
from pipelines.launch import launch
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of, engine_spec

TABLE = "strategy_scores"
TASK = "effect"
POLICY, GREEDY = "policy", "greedy"  # the task, and the kind of its baseline: nothing thought of later nights
INPUTS = ("user_profiles", "segments", "channel_response", "catalog", "recommendations")
LOOKED_BACK_NIGHTS = 28  # of messages and answers, for a policy's states: as far as nights of rest can reach
_MODEL = "model/"  # lineage of the model: "model/NAME/VERSION" -> digest of its files


@dataclass(frozen=True)
class Scorer:
    """Which model scores."""

    name: str
    version: str
    folder: Path | None  # None: the baseline, fitted on the spot
    inputs: dict[str, str]
    why: str


def run(night: date, context: Context) -> StageResult:
    """Publishes strategy_scores of the night, or nothing where no campaign was ever delivered. Raises AuditError."""
    shop, store = context.shop, context.store
    result = StageResult("score")
    if TASK not in shop.models.tasks:
        return _nothing(night, store, result, "no effect model configured")
    campaigns = campaign_nights(night, context)
    if len(campaigns) < shop.strategy.explore_nights:
        return _nothing(
            night,
            store,
            result,
            f"exploring: {len(campaigns)} of {shop.strategy.explore_nights} nights of campaigns told",
        )
    inputs = {name: digest for table in INPUTS for name, digest in store.inputs(table, [night]).items()}
    config_hash = digest_of(shop.strategy, sources_digest("training"))
    kept = None if context.force else store.manifest(TABLE, night)
    try:
        scorer = _champion(night, context) or _baseline(campaigns, context, "no champion: the baseline scores")
        policy = _policy(night, context)
    except RegistryError as error:
        context.progress(f"the model registry failed: {error}")
        before = {name: digest for name, digest in kept.inputs.items() if name.startswith(_MODEL)} if kept else {}
        if kept and POLICY in kept.counts:
            before |= _looked_back(night, store)
        if kept and before and store.is_current(TABLE, night, inputs | before, config_hash):
            return _unchanged(kept, result)  # a registry that is down changes no plan made before
        scorer = _baseline(campaigns, context, "the model registry does not answer: the baseline scores")
        policy = None
    result.counts = {"model": scorer.name, "version": scorer.version, "why": scorer.why}
    inputs |= scorer.inputs
    if policy:
        result.counts[POLICY] = f"{policy.name} version {policy.version}"
        inputs |= policy.inputs
    if kept and store.is_current(TABLE, night, inputs, config_hash):
        return _unchanged(kept, result)
    with store.staging() as staging:
        made = launch(
            "training.predict",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "engine": engine_spec(context),
                "threads": context.machine.threads,
                "model": {
                    "folder": str(scorer.folder) if scorer.folder else None,
                    "name": scorer.name,
                    "version": scorer.version,
                },
                "policy": str(policy.folder) if policy else None,
                "baseline_nights": [campaign.isoformat() for campaign in campaigns],
            },
            context.machine,
            staging,
            store.folder / "logs",
            submit=context.submit,
        )
        staged = Staged(TABLE, night, staging / TABLE, int(made["rows"]), inputs, config_hash, result.counts)
        audit_and_publish([staged], store, context.machine, result)
    return result


def campaign_nights(night: date, context: Context) -> list[date]:
    """Nights of the training window, up to `night`, for which deliveries were told."""
    store = context.store
    found = []
    for candidate in window(night, context.shop.models.train_nights):
        manifest = store.manifest("deliveries", candidate)
        if manifest and manifest.rows:
            found.append(candidate)
    return found


def _champion(night: date, context: Context, task: str = TASK) -> Scorer | None:
    registry = Registry(context.shop.shop, context.store.root, context.machine.mlflow_uri)
    champion = registry.champion(task, night)
    if champion is None or champion.kind == GREEDY:
        return None
    inputs = {f"{_MODEL}{champion.name}/{champion.version}": champion.content_sha256}
    return Scorer(champion.name, champion.version, registry.fetch(champion), inputs, "champion")


def _policy(night: date, context: Context) -> Scorer | None:
    """The policy that thinks of later nights, if one has beaten the optimum of a single night."""
    found = _champion(night, context, POLICY) if POLICY in context.shop.models.tasks else None
    return replace(found, inputs=found.inputs | _looked_back(night, context.store)) if found else None


def _looked_back(night: date, store: Store) -> dict[str, str]:
    nights = window(night, LOOKED_BACK_NIGHTS)
    return store.inputs("deliveries", nights) | store.inputs("outcomes", nights)


def _baseline(campaigns: list[date], context: Context, why: str) -> Scorer:
    store = context.store
    inputs = {
        name: digest
        for table in ("deliveries", "outcomes", "events")
        for name, digest in store.inputs(table, campaigns).items()
    }
    return Scorer(f"{context.shop.shop}-{TASK}-baseline", "none", None, inputs, why)


def _nothing(night: date, store: Store, result: StageResult, why: str) -> StageResult:
    """Without scores, those of an earlier configuration too: the plan would choose by them."""
    store.retract(TABLE, night)
    result.idle = why
    result.counts = {"model": "none", "version": "none", "why": why}
    return result


def _unchanged(manifest: Manifest, result: StageResult) -> StageResult:
    result.counts = manifest.counts
    result.add(manifest, made=False)
    return result
