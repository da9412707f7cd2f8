"""The work of Airflow's tasks: each function is one fat task, called inside the worker and importing what it needs there.

A failure that trying again cannot mend (a broken table, a wrong configuration) fails the task at once; all others are
retried, which is safe.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pipelines.core.config import load_machine, load_shop
from pipelines.core.errors import AuditError, NightmarketError, NoDataError, WrongUseError
from pipelines.core.shop import Shop
from pipelines.schedule.names import record_id

if TYPE_CHECKING:
    from pipelines.stage import Context

_TALKATIVE = ("great_expectations", "mlflow", "alembic", "matplotlib", "py4j")
_log = logging.getLogger(__name__)


def run_stage(stage: str, shop: str) -> dict[str, Any]:
    """One stage of the run's night: {seconds, made, idle}."""
    from pipelines.night import run_task

    airflow = get_current_context()
    with _one_line():
        context = _open(shop)
        night = night_of(airflow, context.shop)
        run_id = record_id(airflow["dag_run"].run_id)
        _log.info("night %s, stage %s; the night's page: %s", night, stage, page(shop, f"runs/{run_id}"))
        links = {f"log of {stage}": getattr(airflow["ti"], "log_url", "")}
        with _audit_link(shop, night):
            done = run_task(stage, night, context, run_id, links)
        return {name: done[name] for name in ("seconds", "made", "idle")}


def watch_drift(shop: str) -> dict[str, float]:
    """Skipped, so that no asset event is sent, where the night is like those before it."""
    from pipelines.drift import measure

    with _one_line():
        context = _open(shop)
        found = measure(night_of(get_current_context(), context.shop), context.store)
    if not found.has_drifted:
        raise AirflowSkipException(found.told)
    _log.warning("%s", found.told)
    return {"distance": found.distance, "limit": found.limit}


def train(task: str, shop: str) -> dict[str, Any]:
    """Registers a challenger from the newest nights; skipped where an equal one is registered."""
    from pipelines import train as training

    with _one_line():
        context = _open(shop)
        night = training.newest_night(task, context)
        training.make_features(task, night, context)
        made = training.train(task, night, context)
    if not made["made"]:
        raise AirflowSkipException(f"{made['name']} version {made['version']} was learnt from the same data already")
    return made


def judge(task: str, shop: str) -> dict[str, Any]:
    """Decides about the challenger, or says that it waits for a person: {name, version, verdict, champion, reasons}."""
    from pipelines import promote as promotion

    with _one_line():
        context = _open(shop)
        verdict = promotion.promote(task, promotion.next_night(context), context)
    for reason in verdict.reasons:
        _log.info("%s", reason)
    _log.info("%s version %s: %s", verdict.name, verdict.version, verdict.verdict)
    return verdict.as_dict()


def read_out(shop: str) -> dict[str, Any]:
    """What campaigns and experiments did, as known at the end of the newest night; publishes experiment_readout."""
    from pipelines.readout import readout

    with _one_line():
        context = _open(shop)
        reported = context.store.nights("nightly_report")
        if not reported:
            raise NoDataError(f"shop {shop}: no night has a report yet; run nightly_marketing_{shop} first")
        return readout(reported[-1], context)


def replay_quarantine(shop: str) -> dict[str, Any]:
    """Judges the chosen night's lines again, then runs the nights that this made stale."""
    from pipelines import backfill
    from pipelines import night as nights

    with _one_line():
        context = _open(shop)
        night = night_of(get_current_context(), context.shop)
        nights.run(night, context, replay_quarantine=True)
        again = backfill.stale(context)
        backfill.run(again, context)
        return {"night": night.isoformat(), "stale_nights": [one.isoformat() for one in again]}


def erase(shop: str) -> dict[str, Any]:
    """Carries out the request that the run names; returns the certificate, which names nobody."""
    from pipelines.erase import open_erasure, run_request

    with _one_line():
        context = open_erasure(load_shop(shop), load_machine(), note=_log.info)
        return run_request(str(get_current_context()["params"]["request"]), context)


def night_of(airflow: Mapping[str, Any], shop: Shop) -> date:
    """The night named by hand, else that of the schedule or backfill; else the shop's newest when the run began: one night
    for all tasks of a run, whatever the clock says meanwhile. Raises WrongUseError.
    """
    from pipelines.night import check_night, default_night

    named = airflow["params"].get("night")
    if named:
        return check_night(str(named))
    run = airflow["dag_run"]
    start = run.data_interval_start
    if start is None or getattr(run.run_type, "value", run.run_type) == "manual":
        return default_night(shop, run.run_after)
    night: date = start.astimezone(shop.zone).date()
    return night


def page(shop: str, path: str) -> str:
    """Address of one of our pages in Airflow (pipelines/schedule/pages.py)."""
    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}/nightmarket/{shop}/{path}"


def _open(shop: str) -> "Context":
    from pipelines.night import open_context
    from pipelines.schedule.submit import submitter

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    machine = load_machine()
    return open_context(load_shop(shop), machine, None, note=_log.info, submit=submitter(machine))


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """The line that a person can act on stands in the log; what trying again cannot mend is not tried again."""
    try:
        yield
    except (AuditError, WrongUseError) as error:
        raise AirflowFailException(str(error)) from None
    except NightmarketError as error:
        _log.error("%s", error)
        raise
    except OSError as error:  # as the command line tells it
        from pipelines.core.storage import default_root, storage_error

        told = storage_error(Path(error.filename or default_root()), error)
        _log.error("%s", told)
        raise told from error


@contextlib.contextmanager
def _audit_link(shop: str, night: date) -> Iterator[None]:
    try:
        yield
    except AuditError:
        _log.error("what broke, page by page: %s", page(shop, f"audits/{night}/"))
        raise
