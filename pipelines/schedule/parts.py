"""What every DAG shares: one DAG per shop, owners, tags, retries, time tables and assets.

Read when the DAG files are parsed, so nothing here opens a store or imports a heavy library.
"""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable

from pipelines.core.config import load_shop, require_shops, shop_names
from pipelines.core.errors import ConfigError
from pipelines.core.shop import Shop
from pipelines.dag_folder import check_dag_folder
from pipelines.schedule.failure import tell_failure

NIGHTLY_AT: Final = "0 2 * * *"  # shop's local time; the night that ended at midnight
TRAINING_AT: Final = "0 4 * * 1"  # Mondays, after the night
_BEFORE_ANY_NIGHT: Final = date(2015, 1, 1)
_SIMULATED_NIGHTS: Final = 60  # after the simulated history


class Tag(StrEnum):
    """Tags of DAGs; the page filters by them."""

    NIGHTLY = "nightly"
    MODELS = "models"
    RESULTS = "results"
    PRIVACY = "privacy"
    BY_HAND = "by hand"


class Owner(StrEnum):
    """Who is asked when a DAG is red."""

    DATA_ENGINEERING = "data-engineering"
    DATA_SCIENCE = "data-science"
    MARKETING = "marketing"


def defaults(shop: Shop, owner: Owner) -> dict[str, Any]:
    """Of every task. Retries are safe: a stage that is run again makes the same bytes."""
    return {
        "owner": owner.value,
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=4),
        "on_failure_callback": partial(tell_failure, shop.shop),
    }


def dag_per_shop(build: Callable[[Shop], DAG | None]) -> dict[str, DAG]:
    """DAGs by name for a DAG file's namespace; `build` returns None where the shop has no use for it.

    A shop whose file is broken is left out: an error in a DAG file would take the DAGs of all shops with it, so
    dags/broken_shops.py alone tells it.
    """
    dags = {}
    for name in shop_names():
        try:
            dag = build(load_shop(name))
        except ConfigError:
            continue
        if dag is not None:
            dags[dag.dag_id] = dag
    return dags


def check_files() -> None:
    """Raises NightmarketError: DAG files that cannot be read, a line per broken shop, or no shop at all."""
    check_dag_folder()
    broken = []
    for name in require_shops():
        try:
            load_shop(name)
        except ConfigError as error:
            broken.append(str(error))
    if broken:
        raise ConfigError("\n".join(broken))


def nights_of(shop: Shop) -> dict[str, Any]:
    """When a shop's nights run: at NIGHTLY_AT, each for the day before. An archive and a simulated shop end; their nights
    run by backfill."""
    events = shop.landing["events"]
    first, last = events.first_night, events.last_night
    if shop.simulator:
        first = shop.simulator.first_night
        last = first + timedelta(days=shop.simulator.history_nights + _SIMULATED_NIGHTS)
    return {
        "schedule": CronDataIntervalTimetable(NIGHTLY_AT, timezone=shop.timezone),
        "start_date": _midnight(first or _BEFORE_ANY_NIGHT, shop),
        "end_date": _midnight(last + timedelta(days=1), shop) if last else None,
    }


def is_live(shop: Shop) -> bool:
    """False for an archive and for a simulated shop: the clock brings them no new nights."""
    return shop.simulator is None and not shop.landing["events"].is_archive


def by_hand(shop: Shop) -> dict[str, Any]:
    """A DAG that only people start."""
    return {"schedule": None, "start_date": _midnight(_BEFORE_ANY_NIGHT, shop)}


def night_done(shop: Shop) -> Asset:
    """A night's plan and report are published."""
    return Asset(name=f"{shop.shop} night", uri=f"nightmarket://{shop.shop}/night")


def drift(shop: Shop) -> Asset:
    """Customers behave as in no night that the models know."""
    return Asset(name=f"{shop.shop} drift", uri=f"nightmarket://{shop.shop}/drift")


def challenger(shop: Shop, task: str) -> Asset:
    """A new version of a model waits for its judgement."""
    return Asset(name=f"{shop.shop} {task} challenger", uri=f"nightmarket://{shop.shop}/models/{task}/challenger")


def _midnight(day: date, shop: Shop) -> datetime:
    return datetime.combine(day, time(), shop.zone)
