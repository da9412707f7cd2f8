"""What every stage is given and gives back, and the one way from a staged folder to a published table: audit, then rename."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core import sizing
from pipelines.core.errors import AuditError
from pipelines.core.machine import Machine
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Manifest, Store
from pipelines.core.tables import ARTEFACTS
from pipelines.launch import Submit


@dataclass(frozen=True)
class Context:
    """One run of one night: the shop, where it runs, its store and landing folder."""

    shop: Shop
    machine: Machine
    store: Store
    landing: Path
    force: bool = False  # compute again what is up to date
    progress: Callable[[str], None] = lambda text: None
    submit: Submit | None = None  # runs Spark jobs in place of children of this process; see pipelines/launch.py


@dataclass
class StageResult:
    """What a stage published (or found up to date): table states by "name", audits, counts of its own."""

    stage: str
    manifests: dict[str, Manifest] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    n_made: int = 0  # partitions made anew; 0: all was up to date
    idle: str = ""  # why there was nothing to do, where that is so
    audits: list[Any] = field(default_factory=list)  # AuditResult of each partition made, for the page of the night

    def add(self, manifest: Manifest, *, made: bool = True) -> None:
        self.manifests[f"{manifest.table}/{manifest.partition}"] = manifest
        self.n_made += made


@dataclass(frozen=True)
class Staged:
    """A partition that waits for its audit."""

    table: str
    night: date
    folder: Path
    rows: int
    inputs: dict[str, str]
    config_hash: str
    counts: dict[str, Any] = field(default_factory=dict)


def digest_of(*parts: Any) -> str:
    """Short hash of the configuration that a stage depends on, and of nothing else."""
    return _Parts(parts=[part.model_dump(mode="json") if isinstance(part, Settings) else part for part in parts]).digest


class _Parts(Settings):
    parts: list[Any]


def docs_folder(store: Store) -> Path:
    """Pages of audits, one folder a night; pages of raw tables show rules and counts, never values."""
    return store.folder / "reports" / "audits"


def audit_and_publish(staged: list[Staged], store: Store, machine: Machine, result: StageResult) -> None:
    """Audits all staged partitions of a stage, then publishes all; one failing audit and none is published."""
    from pipelines.audit import audit, explain

    reports = {}
    for part in staged:
        if part.table in ARTEFACTS:
            continue
        on_spark = machine.engine == "spark" and part.rows > machine.audit_on_spark_above_rows
        reports[(part.table, part.night)] = audit(
            part.table,
            sorted(part.folder.glob("part-*.parquet")),
            docs=docs_folder(store) / part.night.isoformat(),
            failures=store.folder / "raw" / "failing_rows",  # in the raw layer: rows of raw tables hold raw text
            engine="spark" if on_spark else "duckdb",
            spark=_spark_session(machine) if on_spark else None,
            night=part.night,
        )
    broken = [report for report in reports.values() if not report.success]
    if broken:
        raise AuditError(explain(broken))
    result.audits += reports.values()
    for part in staged:
        report = reports.get((part.table, part.night))
        outcome = (
            {"suite": report.suite, "success": True, "n_expectations": report.n_expectations, "n_failed": 0}
            if report
            else {}
        )
        result.add(
            store.publish(
                part.table,
                part.night,
                part.folder,
                rows=part.rows,
                inputs=part.inputs,
                config_hash=part.config_hash,
                audit=outcome,
                counts=part.counts,
            )
        )


def _spark_session(machine: Machine) -> Any:
    """For audits of partitions that outgrow one machine's memory."""
    from pyspark.sql import SparkSession

    spec = sizing.engine_spec(machine)
    return sizing.build_session(SparkSession.builder.appName("nightmarket audit"), spec, sizing.spark_settings(spec))


def engine_spec(context: Context) -> dict[str, Any]:
    """The `engine` entry of a job's spec."""
    return sizing.engine_spec(context.machine)
