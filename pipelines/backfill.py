"""Backfill: many nights of one shop. Lands all that they look back on, then runs them; their order changes no table."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from pipelines import clean
from pipelines import night as one_night
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.shop import Shop
from pipelines.core.storage import window
from pipelines.night import Progress
from pipelines.stage import Context


def nights_between(first: date, last: date) -> list[date]:
    if first > last:
        raise WrongUseError(f"--from {first} is after --to {last}; swap them")
    return window(last, (last - first).days + 1)


def run(
    nights: list[date],
    context: Context,
    *,
    skip_empty: bool = False,
    progress: Progress | None = None,
    started: Callable[[date], None] = lambda night: None,
) -> list[dict[str, Any]]:
    """Runs the given nights; returns their summaries.

    A night without events raises NoDataError, unless `skip_empty`: of nights that nobody named, those without are left out.
    """
    if not nights:
        return []
    for night in _landings(nights, context.shop):
        one_night.arrive(night, context)
    if skip_empty:
        clean.judge(max(nights), context)
        nights = [night for night in nights if (events := context.store.manifest("events", night)) and events.rows]
    summaries = []
    for night in nights:
        started(night)
        summaries.append(one_night.run(night, context, fetch=False, progress=progress))
    return summaries


def _landings(nights: list[date], shop: Shop) -> list[date]:
    """Nights to land, each of which brings the drops of its own window, so that together they bring all that `nights` look at."""
    first, last = min(nights), max(nights)
    if shop.landing["events"].is_archive:
        return [last]
    step = timedelta(days=shop.features.window_nights + shop.cleaning.late_nights)
    found = [last]
    while found[-1] - step > first:
        found.append(found[-1] - step)
    return sorted({first, *found})


def stale(context: Context) -> list[date]:
    """Nights whose inputs have changed since they were made; exactly those are run by `backfill --stale`."""
    context.store.mark_stale()  # a killed run may not have come to it
    found = context.store.stale_nights()
    planned = set(context.store.nights("campaign_plan"))
    return [night for night in found if night in planned]


def choose(context: Context, first: date | None, last: date | None) -> list[date]:
    """The nights from `first` to `last`; what is not given is the first and last night that has data."""
    shop = context.shop
    source = shop.landing["events"]
    if source.first_night and source.last_night:
        known = (source.first_night, source.last_night)
    elif shop.simulator:
        known = (shop.simulator.first_night, one_night.default_night(shop))
    elif landed := context.store.nights("raw_events"):
        known = (landed[0], landed[-1])
    elif first and last:
        known = (first, last)
    else:
        raise NoDataError(
            f"shop {shop.shop}: nothing landed yet, so the nights are not known; name them with --from and --to"
        )
    return nights_between(first or known[0], last or known[1])
