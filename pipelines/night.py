"""One night of one shop, from landing to plan and report, with a run record that binds it all together."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from pipelines import (
    accounting,
    clean,
    converse,
    explain,
    features,
    land,
    learn,
    listen,
    market,
    plan,
    publish,
    recommend,
    report,
    retain,
    score,
    search,
    write,
)
from pipelines.audit import build_docs, warm_up
from pipelines.audit_results import keep, kept_since_built
from pipelines.core.config import PROJECT
from pipelines.core.errors import ConfigError, NightmarketError, StorageError, WrongUseError
from pipelines.core.machine import Machine
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, default_root, storage_error
from pipelines.launch import Submit, require_spark
from pipelines.run_record import STAGES, RunRecord, open_record
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


def default_night(shop: Shop, now: datetime | None = None) -> date:
    """The demo's last night of history, an archive's last night, or yesterday in the shop's zone, as seen from `now`."""
    if shop.simulator:
        return shop.simulator.first_night + timedelta(days=shop.simulator.history_nights - 1)
    today = now.astimezone(shop.zone) if now else datetime.now(shop.zone)
    return shop.landing["events"].last_night or today.date() - timedelta(days=1)


def _land(night: date, context: Context) -> StageResult:
    counts = arrive(night, context)
    return StageResult("land", counts=counts, n_made=counts.pop("made"))


_WITHOUT_AUDIT = ("learn", "publish", "retain")
# A stage is looked up when it runs, so that a test can put another in its place.
_WORK: dict[str, Callable[[date, Context], StageResult]] = {
    "land": lambda night, context: _land(night, context),
    "clean": lambda night, context: clean.run(night, context),
    "features": lambda night, context: features.run(night, context),
    "learn": lambda night, context: learn.run(night, context),
    "listen": lambda night, context: converse.run(night, context, listen.run(night, context)),
    "market": lambda night, context: market.run(night, context),
    "recommend": lambda night, context: search.prepare(night, context, recommend.run(night, context)),
    "score": lambda night, context: score.run(night, context),
    "plan": lambda night, context: write.run(night, context, explain.run(night, context, plan.run(night, context))),
    "publish": lambda night, context: publish.run(night, context),
    "report": lambda night, context: report.run(night, context),
    "retain": lambda night, context: retain.run(night, context),
}


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
    record = RunRecord(context.shop.shop, night, context.machine.engine)
    started = time.perf_counter()
    with context.store.lock(f"night-{night}", wait=False), _recorded(record, context):
        warm_up()  # the audits' library takes seconds to import: meanwhile files land
        for name in STAGES:
            if fetch or name != "land":
                again = replay_quarantine and name == "clean"
                run_stage(name, record, replace(context, force=True) if again else context, progress or Quiet())
        finish(record, context, time.perf_counter() - started)
    return record.summary


def run_task(name: str, night: date, context: Context, run_id: str, links: dict[str, str]) -> dict[str, Any]:
    """Runs one stage of a night whose other stages run in other processes under the same `run_id`; returns its entry in the
    run record. The last stage finishes the night. `links` are added to the record.
    """
    record = open_record(context.store, night, context.machine.engine, run_id)
    record.error = None
    record.links |= links
    with context.store.lock(f"night-{night}", wait=True), _recorded(record, context):
        if name not in _WITHOUT_AUDIT:
            warm_up()
        run_stage(name, record, context, Quiet())
        if name == STAGES[-1]:
            finish(record, context, sum(stage["seconds"] for stage in record.stages.values()))
    return record.stages[name]


def run_stage(name: str, record: RunRecord, context: Context, progress: Progress) -> None:
    """Runs one stage and tells the record what it did. Raises what the stage raises."""
    progress.stage(name)
    started = time.perf_counter()
    result = _WORK[name](record.night, context)
    pages = docs_folder(context.store) / record.night.isoformat()
    keep([found for found in result.audits if found.night == record.night], pages, context.store)
    if name == "report" and (kept := kept_since_built(pages)):  # what comes after it audits nothing
        build_docs(kept, pages)
    seconds = time.perf_counter() - started
    tonight = record.night.isoformat()
    audits = [m.audit for m in result.manifests.values() if m.audit]
    record.stages[name] = {
        "seconds": round(seconds, 3),
        "made": result.n_made,
        "idle": result.idle,
        "counts": result.counts,
        "tables": {
            m.table: {"rows": m.rows, "hash": m.content_hash}
            for m in result.manifests.values()
            if m.partition == tonight
        },
        "audits": {
            "tables": len(audits),
            "expectations": sum(a["n_expectations"] for a in audits),
            "failed": sum(a["n_failed"] for a in audits),
        },
    }
    progress.done(name, seconds, result.n_made, result.idle)


def finish(record: RunRecord, context: Context, seconds: float) -> None:
    """What comes after the last stage: marks on what has become stale, the summary."""
    context.store.mark_stale()
    record.summary = _summary(record, context, seconds)


@contextlib.contextmanager
def _recorded(record: RunRecord, context: Context) -> Iterator[None]:
    """The record is written however the run ends, with the line of what failed."""
    try:
        yield
    except NightmarketError as error:
        record.error = str(error)
        raise
    except OSError as error:
        told = storage_error(Path(error.filename or context.store.folder), error)
        record.error = str(told)
        raise told from error
    finally:
        with contextlib.suppress(OSError, StorageError):  # the cause matters more than its record on a full disk
            if record.error:
                context.store.mark_stale()  # some stages may have published
            record.write(context.store, {"shop": context.shop.digest, "machine": context.machine.digest})


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


def _summary(record: RunRecord, context: Context, seconds: float) -> dict[str, Any]:
    """The object that `nightmarket night --json` prints."""
    shop, store, night = context.shop, context.store, record.night
    tables = {name: state for stage in record.stages.values() for name, state in stage["tables"].items()}
    planned = store.manifest("campaign_plan", night)
    segments = store.manifest("segments", night)
    assert planned  # a run that ended has both
    assert segments
    lines = accounting.of_arrival(store, shop.arrival_of("events", night))
    of_night = accounting.of_night(store, night)
    audits = [stage["audits"] for name, stage in record.stages.items() if name != "land"]
    return {
        "shop": shop.shop,
        "night": night.isoformat(),
        "run_id": record.run_id,
        **lines.as_dict(),
        "night_lines": of_night.as_dict(),
        "tables": dict(sorted(tables.items())),
        "audits": {
            **{key: sum(found[key] for found in audits) for key in ("tables", "expectations", "failed")},
            "docs": str(docs_folder(store) / night.isoformat() / "index.html"),
        },
        "models": _models(record),
        "segments": segments.counts,
        "plan": {
            "rows": planned.counts["treated"],
            "customers": planned.rows,
            "cost": planned.counts["cost_cents"] / 100,
            "holdout": planned.counts["holdout"],
        },
        "report": str(store.partition("nightly_report", night) / "report.html"),
        "stale_nights": [stale.isoformat() for stale in store.stale_nights()],
        "seconds": round(seconds, 2),
    }


def _models(record: RunRecord) -> dict[str, Any]:
    """What each task's night brought, and which model serves."""
    learnt = record.stages["learn"]["counts"] if "learn" in record.stages else {}
    models = {task: dict(told) for task, told in learnt.items()}
    if "effect" in models:
        scored = record.stages["score"]["counts"]
        serves = "nothing" if scored["model"] == "none" else f"{scored['model']} {scored['version']}"
        models["effect"] |= {"serves": serves, "why": scored["why"]}
    return models


def check_night(text: str) -> date:
    """A date from the command line. Raises WrongUseError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongUseError(f"'{text}' is no date: expected YYYY-MM-DD, such as 2017-12-03") from None
