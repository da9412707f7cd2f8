"""Searches the newest catalogue of a shop, as its customers would.

    nightmarket search "red shoes" --shop demo --filter "price<50" --filter brand=Lumo

The work is training/search_items.py, started as a process. The champion of task search ranks, where there is one. A shop
with that task has the index built by its night; without it the first search after a new catalogue builds it.
"""

import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import JobError, NoDataError, RegistryError, WrongUseError
from pipelines.core.registry import Registry
from pipelines.core.search_index import basis_of, made_of
from pipelines.launch import launch
from pipelines.stage import Context, StageResult

TASK = "search"
MOST = 1_000


def search(query: str, context: Context, *, filters: Sequence[str] = (), k: int = 10) -> dict[str, Any]:
    """What was found, the best first. Raises WrongUseError for a wrong filter, NoDataError without a catalogue."""
    if not 1 <= k <= MOST:
        raise WrongUseError(f"--k {k}: expected 1 to {MOST}")
    store = context.store
    model = None
    if TASK in context.shop.models.tasks:
        try:
            registry = Registry(store.shop, store.root, context.machine.mlflow_uri)
            nights = store.nights("catalog")
            champion = registry.champion(TASK, nights[-1] if nights else date.max)
            model = str(registry.fetch(champion)) if champion else None
        except RegistryError as error:
            context.progress(f"the model registry failed: {error}; words and vectors rank")
    return _ask(context, query=query, filters=list(filters), k=k, model=model)


def prepare(night: date, context: Context, result: StageResult) -> StageResult:
    """Builds the index of the night's catalogue, if it is the newest and the shop has the task, so that the day's first
    search need not. One that cannot be built fails no night: the search builds it then, or says what is wrong."""
    store = context.store
    if TASK not in context.shop.models.tasks or store.nights("catalog")[-1:] != [night]:
        return result
    manifest = store.manifest("catalog", night)
    if manifest is None or basis_of(store).get("made_of") == made_of(manifest.content_hash):
        return result
    try:
        made = _ask(context, query=None)
    except (JobError, NoDataError) as error:
        context.progress(f"no search index: {error}")
        result.counts = result.counts | {"search_index": {"built": False, "why": str(error)}}
        return result
    result.counts = result.counts | {"search_index": {"built": made["built"], "items": made["items"]}}
    return result


def _ask(context: Context, **more: Any) -> dict[str, Any]:
    store, machine = context.store, context.machine
    with tempfile.TemporaryDirectory(prefix="nightmarket-search-") as folder:
        return launch(
            "training.search_items",
            {
                "root": str(store.root),
                "shop": store.shop,
                "threads": machine.threads,
                "weights": str(store.root / "weights"),
                **more,
            },
            machine.without_spark,
            Path(folder),
            store.folder / "logs",
        )
