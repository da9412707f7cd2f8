"""One night of one shop, from landing to plan and report, with a run record that binds it all together."""

import contextlib
import json
import resource
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from pipelines import accounting, clean, features, land, learn, plan, publish, report, score
from pipelines.audit import build_docs, warm_up
from pipelines.core.config import PROJECT, Machine, Shop
from pipelines.core.errors import ConfigError, NightmarketError, StorageError, WrongUseError
from pipelines.core.storage import Store, code_version, default_root, storage_error, write_atomic
from pipelines.launch import Submit, require_spark
from pipelines.stage import Context, StageResult, docs_folder


class Progress(Protocol):
    """How a night tells where it is; see pipelines/show.py."""

    def stage(self, name: str) -> None: ...
    def note(self, text: str) -> None: ...
    def done(self, name: str, seconds: float, made: int, idle: str) -> None: ...


class Quiet:
    """Tells nothing."""

    def stage(self, name: str) -> None:
        """The stage `name` begins."""

    def note(self, text: str) -> None:
        """What it works on."""

    def done(self, name: str, seconds: float, made: int, idle: str) -> None:
        """It ended, having made so many partitions; or why it had nothing to do."""


@dataclass
class Run:
    """The run record: <root>/<shop>/runs/<run_id>.json."""

    shop: str
    night: date
    engine: str
    run_id: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}")
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    def write(self, store: Store, config: dict[str, str]) -> None:
        path = store.folder / "runs" / f"{self.run_id}.json"
        record = {
            "run_id": self.run_id,
            "shop": self.shop,
            "night": self.night.isoformat(),
            "engine": self.engine,
            "code_version": code_version(),
            "config": config,
            "stages": self.stages,
            "error": self.error,
            "peak_memory_mb": round(
                max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
                / 1024
            ),
            "summary": self.summary,
        }
        with store.staging() as staging:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(record, indent=1, sort_keys=True) + "\n", staging)


def open_context(
    shop: Shop,
    machine: Machine,
    landing: Path | None,
    *,
    force: bool = False,
    note: Callable[[str], None] = lambda text: None,
    submit: Submit | None = None,
) -> Context:
    """Checks that the store can be written and Spark can start; says where files land. Raises in one line before any work."""
    if machine.engine == "spark" and submit is None:
        require_spark(machine)
    connectors = sorted(path.stem for path in (PROJECT / "spark_jobs" / "connectors").glob("[a-z]*.py"))
    for feed, source in shop.landing.items():
        if source.connector not in connectors:
            raise ConfigError(
                f"shop {shop.shop}, landing.{feed}: unknown connector '{source.connector}'; known: {', '.join(connectors)}; "
                f"mend conf/shops/{shop.shop}.yaml or add spark_jobs/connectors/{source.connector}.py"
            )
    store = Store(default_root(), shop.shop)
    with store.staging():  # whether it can be written is found out before any work
        pass
    free_mb = shutil.disk_usage(store.folder).free >> 20
    if free_mb < machine.min_free_disk_mb:
        raise StorageError(
            f"{store.folder}: {free_mb} MB free, {machine.min_free_disk_mb} MB needed (min_free_disk_mb in conf/local.yaml); "
            "free some space or set NIGHTMARKET_ROOT to another disk"
        )
    folder = landing or (Path(shop.landing_folder) if shop.landing_folder else store.folder / "landing")
    return Context(shop, machine, store, folder.resolve(), force, note, submit)


def default_night(shop: Shop) -> date:
    """The demo's last night of history, an archive's last night, or yesterday in the shop's zone."""
    if shop.simulator:
        return shop.simulator.first_night + timedelta(days=shop.simulator.history_nights - 1)
    return shop.landing["events"].last_night or datetime.now(shop.zone).date() - timedelta(days=1)


def run(
    night: date,
    context: Context,
    *,
    fetch: bool = True,
    replay_quarantine: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Runs every stage of one night and returns its summary (the keys of `--json`). One run per shop and night at a time.

    `fetch` False: all has landed already. `replay_quarantine`: the night's lines are judged again, whatever the manifests say.
    """
    progress = progress or Quiet()
    record = Run(context.shop.shop, night, context.machine.engine)
    results: list[StageResult] = []
    started = time.perf_counter()
    with context.store.lock(f"night-{night}", wait=False):
        warm_up()  # the audits' library takes seconds to import: meanwhile files land
        try:
            if fetch:
                with _timed("land", record, progress):
                    record.stages["land"] |= arrive(night, context)
            for name, stage in (
                ("clean", clean),
                ("features", features),
                ("learn", learn),
                ("score", score),
                ("plan", plan),
                ("publish", publish),
                ("report", report),
            ):
                with _timed(name, record, progress):
                    again = replay_quarantine and name == "clean"
                    result = stage.run(night, replace(context, force=True) if again else context)
                    results.append(result)
                    record.stages[name] |= {"made": result.n_made, "idle": result.idle, "counts": result.counts}
            audits = [found for result in results for found in result.audits if found.night == night]
            if audits:
                build_docs(audits, docs_folder(context.store) / night.isoformat())
            context.store.mark_stale()
            record.summary = _summary(night, context, record.run_id, results, time.perf_counter() - started)
        except NightmarketError as error:
            record.error = str(error)
            raise
        except OSError as error:
            record.error = str(error)
            raise storage_error(Path(error.filename or context.store.folder), error) from error
        finally:
            with contextlib.suppress(OSError, StorageError):  # the cause matters more than its record on a full disk
                if record.error:
                    context.store.mark_stale()  # some stages may have published
                record.write(context.store, {"shop": context.shop.digest, "machine": context.machine.digest})
    return record.summary


def arrive(night: date, context: Context) -> dict[str, Any]:
    """Simulates or fetches what is missing of the landing folder, then lands it. Returns counts."""
    shop, store = context.shop, context.store
    counts: dict[str, Any] = {}
    with store.lock("landing", wait=True):
        if shop.simulator and context.landing == (store.folder / "landing").resolve():
            counts["simulated_nights"] = len(simulate_until(night, context))
        elif shop.s3 and shop.s3.landing:
            from pipelines.s3_fetch import fetch

            patterns = [
                source.pattern.replace("{night}", arrival.isoformat())
                for feed, source in shop.landing.items()
                for arrival in land.arrivals_of(shop, feed, night)
            ]
            fetched = fetch(
                shop.s3, patterns, context.landing, lambda name, n_bytes: context.progress(f"fetching {name}")
            )
            counts |= {"fetched_objects": len(fetched.fetched), "unverified_objects": list(fetched.unverified)}
        landed = land.run(
            night, shop, store, context.landing, machine=context.machine, force=context.force, progress=context.progress
        )
    return counts | {"made": landed.n_files, "lines_read": landed.n_lines_read}


def simulate_until(night: date, context: Context) -> list[date]:
    """Writes the demo shop's missing nights into its landing folder; each answers the plan of the night before."""
    from pipelines.core.privacy import load_key
    from pipelines.simulator.simulate import simulate

    shop, store = context.shop, context.store

    def plan_of(before: date) -> Path | None:
        return store.partition("plan_export", before) if store.manifest("plan_export", before) else None

    return simulate(
        shop, context.landing, night, plan_of, load_key(store.root), lambda made: context.progress(f"simulating {made}")
    )


@contextlib.contextmanager
def _timed(name: str, record: Run, progress: Progress) -> Iterator[None]:
    progress.stage(name)
    record.stages[name] = {}
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    record.stages[name]["seconds"] = round(seconds, 3)
    stage = record.stages[name]
    progress.done(name, seconds, int(stage.get("made", 0)), str(stage.get("idle", "")))


def _summary(night: date, context: Context, run_id: str, results: list[StageResult], seconds: float) -> dict[str, Any]:
    """The object that `nightmarket night --json` prints."""
    shop, store = context.shop, context.store
    manifests = {name: manifest for result in results for name, manifest in result.manifests.items()}
    tonight = {m.table: m for m in manifests.values() if m.partition == night.isoformat()}
    lines = accounting.of_arrival(store, shop.arrival_of("events", night))
    of_night = accounting.of_night(store, night)
    planned = tonight["campaign_plan"].counts
    audits = [m.audit for m in manifests.values() if m.audit]
    return {
        "shop": shop.shop,
        "night": night.isoformat(),
        "run_id": run_id,
        **lines.as_dict(),
        "night_lines": of_night.as_dict(),
        "tables": {name: {"rows": m.rows, "hash": m.content_hash} for name, m in sorted(tonight.items())},
        "audits": {
            "tables": len(audits),
            "expectations": sum(a["n_expectations"] for a in audits),
            "failed": sum(a["n_failed"] for a in audits),
            "docs": str(docs_folder(store) / night.isoformat() / "index.html"),
        },
        "models": _models(results),
        "segments": tonight["segments"].counts,
        "plan": {
            "rows": planned["treated"],
            "customers": tonight["campaign_plan"].rows,
            "cost": planned["cost_cents"] / 100,
            "holdout": planned["holdout"],
        },
        "report": str(store.partition("nightly_report", night) / "report.html"),
        "stale_nights": [stale.isoformat() for stale in store.stale_nights()],
        "seconds": round(seconds, 2),
    }


def _models(results: list[StageResult]) -> dict[str, Any]:
    """What each task's night brought, and which model serves."""
    counts = {result.stage: result.counts for result in results}
    models = {task: dict(told) for task, told in counts["learn"].items()}
    if "effect" in models:
        scored = counts["score"]
        serves = "nothing" if scored["model"] == "none" else f"{scored['model']} {scored['version']}"
        models["effect"] |= {"serves": serves, "why": scored["why"]}
    return models


def check_night(text: str) -> date:
    """A date from the command line. Raises WrongUseError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongUseError(f"'{text}' is no date: expected YYYY-MM-DD, such as 2017-12-03") from None
