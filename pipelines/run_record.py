"""The run record: one JSON file a run, <root>/<shop>/runs/<run_id>.json, that binds what a night read, made, judged and cost.

A night in one process writes it once; a night in Airflow opens it again in each task.
"""

import json
import re
import resource
import secrets
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from pipelines.core.errors import StorageError, WrongUseError
from pipelines.core.storage import Store, code_version, write_atomic

STAGES: Final = (
    "land", "clean", "features", "learn", "listen", "market", "recommend", "score", "plan", "publish",
    "report", "retain",
)  # in order  # fmt: skip
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,199}")


def new_run_id() -> str:
    """Start of the run in UTC and eight random hex digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


@dataclass
class RunRecord:
    """`stages` maps name -> {seconds, made, idle, counts, tables, audits}; `error` is the line of the stage that failed last."""

    shop: str
    night: date
    engine: str
    run_id: str = field(default_factory=new_run_id)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None
    links: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    peak_memory_mb: int = 0

    def write(self, store: Store, config: dict[str, str]) -> Path:
        """Replaces the file atomically. Raises StorageError."""
        path = record_path(store, self.run_id)
        peak_kb = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        self.peak_memory_mb = max(self.peak_memory_mb, round(peak_kb / 1024))
        record = {
            "run_id": self.run_id,
            "shop": self.shop,
            "night": self.night.isoformat(),
            "engine": self.engine,
            "code_version": code_version(),
            "config": config,
            "stages": self.stages,
            "error": self.error,
            "links": self.links,
            "peak_memory_mb": self.peak_memory_mb,
            "summary": self.summary,
        }
        with store.staging() as staging:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(record, indent=1, sort_keys=True) + "\n", staging)
        return path


def record_path(store: Store, run_id: str) -> Path:
    """Raises WrongUseError for an id that is no file name."""
    if not _RUN_ID.fullmatch(run_id):
        raise WrongUseError(f"'{run_id:.80}' is no run id: expected letters, digits, '_', '.' and '-'")
    return store.folder / "runs" / f"{run_id}.json"


def open_record(store: Store, night: date, engine: str, run_id: str) -> RunRecord:
    """The record of a run that goes on in another process, or a new one. Raises StorageError where it is damaged."""
    path = record_path(store, run_id)
    try:
        found = json.loads(path.read_text())
        known = {name: found[name] for name in ("stages", "error", "links", "summary", "peak_memory_mb")}
    except FileNotFoundError:
        known = {}
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path}: damaged run record ({error}); delete it and run the night again") from error
    return RunRecord(store.shop, night, engine, run_id, **known)
