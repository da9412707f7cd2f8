"""Which model serves a stage tonight: the champion of its task, or what stands in for one; and what the stage makes by it.

    batch = Batch(TABLES, night, inputs, config_hash)
    server, batch = batch.served(TASK, "templates word", context)
    if not (kept := batch.keep(context, result)):
        ...  # the job, by server.job
        batch.publish(staging, rows, counts, context, result)

A registry that is down changes nothing that was made before: what a champion made stays until the registry answers again.
"""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import RegistryError
from pipelines.core.registry import Registry
from pipelines.core.storage import Manifest, Store
from pipelines.stage import Context, Staged, StageResult, audit_and_publish

_MODEL = "model/"  # lineage of the model: "model/NAME/VERSION" -> digest of its files


@dataclass(frozen=True)
class Server:
    """What serves."""

    name: str
    version: str
    why: str
    folder: Path | None = None  # None: what stands in for a champion
    content_sha256: str = ""

    @property
    def job(self) -> dict[str, Any]:
        """As a job of training/ takes it."""
        return {"folder": str(self.folder) if self.folder else None, "name": self.name, "version": self.version}

    @property
    def told(self) -> dict[str, str]:
        """As the counts of a table tell it."""
        return {"model": self.name, "version": self.version, "why": self.why}


@dataclass(frozen=True)
class Batch:
    """Tables of a night that one job makes and that are published together; the first of them carries the counts."""

    tables: tuple[str, ...]
    night: date
    inputs: dict[str, str]
    config_hash: str

    def served(self, task: str, stand_in: str, context: Context) -> tuple[Server, "Batch"]:
        """Who serves, and the batch with the champion in its lineage. `stand_in`: who does what without one."""
        shop, store = context.shop, context.store
        why, model = f"no champion: {stand_in}", {}
        try:
            registry = Registry(shop.shop, store.root, context.machine.mlflow_uri)
            champion = registry.champion(task, self.night) if task in shop.models.tasks else None
            if champion:
                name, version, content = champion.name, champion.version, champion.content_sha256
                server = Server(name, version, "champion", registry.fetch(champion), content)
                return server, self._with({f"{_MODEL}{name}/{version}": content})
        except RegistryError as error:
            context.progress(f"the model registry failed: {error}")
            why = f"the model registry does not answer: {stand_in}"
            kept = store.manifest(self.tables[0], self.night)
            before = {name: digest for name, digest in kept.inputs.items() if name.startswith(_MODEL)} if kept else {}
            if not context.force and self._with(before)._is_current(store):
                model = before
        return Server(f"{shop.shop}-{task}-baseline", "none", why), self._with(model)

    def keep(self, context: Context, result: StageResult) -> Manifest | None:
        """The manifest of the first table, where all are up to date: all are the stage's result as they are."""
        if context.force or not self._is_current(context.store):
            return None
        kept = [context.store.manifest(table, self.night) for table in self.tables]
        for manifest in kept:
            assert manifest is not None
            result.add(manifest, made=False)
        return kept[0]

    def publish(
        self, staging: Path, rows: dict[str, int], counts: dict[str, Any], context: Context, result: StageResult
    ) -> None:
        """Audits and publishes what the job left in `staging`. Raises AuditError."""
        staged = [
            Staged(
                table, self.night, staging / table, n_rows, self.inputs, self.config_hash,
                counts if table == self.tables[0] else {},
            )
            for table, n_rows in rows.items()
        ]  # fmt: skip
        audit_and_publish(staged, context.store, context.machine, result)

    def _with(self, more: dict[str, str]) -> "Batch":
        return replace(self, inputs=self.inputs | more)

    def _is_current(self, store: Store) -> bool:
        return all(store.is_current(table, self.night, self.inputs, self.config_hash) for table in self.tables)
