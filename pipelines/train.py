"""Trains one task's model for a night and registers it as challenger.

    nightmarket train effect --shop demo --date 2026-03-14

Nights split by time: the newest with data judge, those before choose, those before are learnt from. The work itself is
training/fit.py, started as a process; what was learnt from the same data with the same settings and code is not fitted
again.
"""

import json
from datetime import date, timedelta
from itertools import chain
from typing import Any, Final

from pipelines import features
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.registry import LINEAGE_FILE, RETRAIN, Registry, Version, training_digest
from pipelines.core.storage import Store, sources_digest
from pipelines.launch import launch
from pipelines.stage import Context, digest_of

SOURCES: Final = {  # task -> table that makes a night
    "behaviour": "events", "copywriter": "events", "effect": "deliveries", "policy": "deliveries", "pricing": "events",
    "recommender": "events", "search": "events", "sentiment": "reviews", "value": "events",
}  # fmt: skip

NEEDS_ENCODER: Final = ("behaviour",)
NEEDS_DECODER: Final = ("copywriter",)


def train(task: str, night: date, context: Context) -> dict[str, Any]:
    """Registers a challenger from what was known at the end of the night: {name, version, kind, made}.

    `made` is False where an equal one is registered. Raises NoDataError, TrainingError, RegistryError, JobError.
    """
    shop, store = context.shop, context.store
    nights = split(task, night, context)
    settings = shop.models.settings.get(task, {})
    if task in NEEDS_ENCODER:
        settings = {"encoder": shop.models.encoder, **settings}
    if task in NEEDS_DECODER:
        settings = {"decoder": shop.models.decoder, "decoder_zh": shop.models.decoder_zh, **settings}
    basis = digest_of(
        task, {part: [one.isoformat() for one in chosen] for part, chosen in nights.items()}, settings,
        shop.timezone, shop.strategy, sources_digest("training", "pipelines/strategy"),
    )  # fmt: skip
    registry = registry_of(context)
    with store.lock(f"train-{task}", wait=True), store.staging() as staging:
        for version in registry.versions(task, basis=basis, role="challenger"):
            if _is_current(version, registry, store):
                return {"name": version.name, "version": version.version, "kind": version.kind, "made": False}
        context.progress(f"training {task} on {len(nights['train'])} nights")
        return launch(
            "training.fit",
            {
                "shop": shop.model_dump(mode="json"),
                "root": str(store.root),
                "mlflow_uri": context.machine.mlflow_uri,
                "task": task,
                "night": night.isoformat(),
                **{part: [one.isoformat() for one in chosen] for part, chosen in nights.items()},
                "basis": basis,
                "settings": settings,
                "threads": context.machine.threads,
                "weights": str(store.root / "weights"),
                "checkpoints": str(store.folder / "checkpoints" / task),
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )


def split(task: str, night: date, context: Context) -> dict[str, list[date]]:
    """Nights with data up to `night`: "judged" the newest, "valid" before, "train" before. Raises NoDataError."""
    check_task(task)
    models, store, table = context.shop.models, context.store, SOURCES[task]
    known = [one for one in store.nights(table) if store.kept_from("clean") <= one <= night]
    found = [one for one in known if (manifest := store.manifest(table, one)) and manifest.rows]
    held = models.judged_nights + models.valid_nights
    if len(found) <= held:
        raise NoDataError(
            f"shop {context.shop.shop}, {task}: {len(found)} nights of {table} up to {night}, {held + 1} are needed "
            f"({models.judged_nights} judge, {models.valid_nights} choose, the rest is learnt from)"
        )
    return {
        "train": found[:-held][-models.train_nights :],
        "valid": found[-held : len(found) - models.judged_nights],
        "judged": found[-models.judged_nights :],
    }


def is_due(task: str, night: date, context: Context) -> bool:
    """True on anchor nights (the first of each week), where the night has no champion, and where the champion learnt from
    a customer who was erased since and nothing was trained after that. Raises RegistryError."""
    if night in features.anchors(context.store.nights("events"), night):
        return True
    registry = registry_of(context)
    champion = registry.champion(task, night)
    if champion is None:
        return True
    return RETRAIN in champion.tags and all(
        RETRAIN in version.tags for version in registry.versions(task, role="challenger")
    )


def make_features(task: str, night: date, context: Context) -> None:
    """Features of the eves of all nights that the task learns from or is judged on, where a young store lacks them."""
    if SOURCES[task] != "deliveries":
        return
    known = context.store.nights("events")
    for one in sorted(chain.from_iterable(split(task, night, context).values())):
        eve = one - timedelta(days=1)
        if eve in known:
            features.run(eve, context)


def check_task(task: str) -> None:
    """Raises WrongUseError."""
    if task not in SOURCES:
        raise WrongUseError(f"unknown task '{task}': expected {', '.join(SOURCES)}")


def newest_night(task: str, context: Context) -> date:
    """The last night that has data for the task. Raises NoDataError, WrongUseError."""
    return split(task, date.max, context)["judged"][-1]


def registry_of(context: Context) -> Registry:
    """The shop's registry, on the machine or the server that conf/ names."""
    return Registry(context.shop.shop, context.store.root, context.machine.mlflow_uri)


def _is_current(version: Version, registry: Registry, store: Store) -> bool:
    """Whether all partitions that the version was learnt from are still the same."""
    lineage: dict[str, str] = json.loads(registry.file(version, LINEAGE_FILE).read_text())
    now: dict[str, str] = {}
    for name in lineage:
        table, _, night = name.partition("/")
        now |= store.inputs(table, [date.fromisoformat(night)])
    return training_digest(version.tags["basis"], now) == version.tags["training_digest"]
