"""Makes price_suggestions: tomorrow's price of every item, as the champion of task pricing expects demand to answer.

The work is training/price.py, started as a process; the decision itself is pipelines/strategy/pricing.py. Without a
champion, or where the registry does not answer, the task's baseline stands in: it does not know the response to prices, so
prices are kept but for the lots that make the response learnable.
"""

from datetime import date, timedelta

from pipelines.core.errors import RegistryError
from pipelines.core.registry import Registry
from pipelines.core.storage import sources_digest, window
from pipelines.launch import launch
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of

TABLE, TASK = "price_suggestions", "pricing"
_HISTORY = 29  # nights that an expectation of tomorrow looks back on, tonight included
_MODEL = "model/"


def publish(night: date, context: Context, result: StageResult) -> None:
    """Publishes the night's suggestions, or nothing where none are wanted or nothing was ever sold. Raises AuditError."""
    shop, store = context.shop, context.store
    why = _why_not(night, context)
    if why:
        store.retract(TABLE, night)
        result.counts["prices"] = why
        return
    known = window(night, _HISTORY)
    model = {"folder": None, "name": f"{shop.shop}-{TASK}-baseline", "version": "none"}
    told = "no champion: prices are kept but for lots"
    inputs = store.inputs("catalog", known) | store.inputs("events", known)
    try:
        registry = Registry(shop.shop, store.root, context.machine.mlflow_uri)
        if champion := registry.champion(TASK, night):
            model = {"folder": str(registry.fetch(champion)), "name": champion.name, "version": champion.version}
            inputs |= {f"{_MODEL}{champion.name}/{champion.version}": champion.content_sha256}
            told = "champion"
    except RegistryError as error:
        context.progress(f"the model registry failed: {error}")
        told = "the model registry does not answer: prices are kept but for lots"
    config_hash = digest_of(shop.pricing, shop.strategy.default_margin_percent, sources_digest("training"))
    kept = store.manifest(TABLE, night)
    if kept and not context.force and store.is_current(TABLE, night, inputs, config_hash):
        result.counts["prices"] = kept.counts
        result.add(kept, made=False)
        return
    with store.staging() as staging:
        made = launch(
            "training.price",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "night": night.isoformat(),
                "threads": context.machine.threads,
                "model": model,
                "baseline_nights": [n.isoformat() for n in known[1:]],
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )
        counts = made["counts"] | {"model": model["name"], "version": model["version"], "why": told}
        staged = Staged(TABLE, night, staging / TABLE, int(made["rows"]), inputs, config_hash, counts)
        audit_and_publish([staged], store, context.machine, result)
    result.counts["prices"] = counts


def _why_not(night: date, context: Context) -> str:
    """Why there is nothing to suggest, "" where there is."""
    shop, store = context.shop, context.store
    if shop.pricing is None or TASK not in shop.models.tasks:
        return "no pricing configured"
    if store.manifest("catalog", night) is None:
        return "no catalogue on this night"
    if store.manifest("events", night - timedelta(days=1)) is None:
        return "no events of the night before: nothing is known of what sells yet"
    return ""
