"""Searches the newest catalogue of a shop, as its customers would.

    nightmarket search "red shoes" --shop demo --filter "price<50" --filter brand=Lumo

The work is training/search_items.py, started as a process. The champion of task search ranks, where there is one.
"""

import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import RegistryError, WrongUseError
from pipelines.core.registry import Registry
from pipelines.launch import launch
from pipelines.stage import Context

TASK = "search"
MOST = 1_000


def search(query: str, context: Context, *, filters: Sequence[str] = (), k: int = 10) -> dict[str, Any]:
    """What was found, the best first. Raises WrongUseError for a wrong filter, NoDataError without a catalogue."""
    if not 1 <= k <= MOST:
        raise WrongUseError(f"--k {k}: expected 1 to {MOST}")
    store, machine = context.store, context.machine
    model = None
    if TASK in context.shop.models.tasks:
        try:
            registry = Registry(store.shop, store.root, machine.mlflow_uri)
            nights = store.nights("catalog")
            champion = registry.champion(TASK, nights[-1] if nights else date.max)
            model = str(registry.fetch(champion)) if champion else None
        except RegistryError as error:
            context.progress(f"the model registry failed: {error}; words and vectors rank")
    with tempfile.TemporaryDirectory(prefix="nightmarket-search-") as folder:
        return launch(
            "training.search_items",
            {
                "root": str(store.root),
                "shop": store.shop,
                "query": query,
                "filters": list(filters),
                "k": k,
                "threads": machine.threads,
                "weights": str(store.root / "weights"),
                "model": model,
            },
            machine.without_spark,
            Path(folder),
            store.folder / "logs",
        )
