"""What another budget or capacity would earn tonight, answered from the night's scores. Publishes nothing.

    nightmarket plan --shop demo --date 2026-03-21 --what-if budget=+20% --what-if capacity:email=500

The night's plan is solved again as configured and as asked, and around the latter for a handful of budgets.
"""

import re
from dataclasses import asdict
from datetime import date
from typing import Any

from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.shop import Strategy
from pipelines.plan import read_customers
from pipelines.plan_limits import paced
from pipelines.plan_scores import TABLE, read_scores
from pipelines.stage import Context
from pipelines.strategy.budget_curve import budget_curve
from pipelines.strategy.dual import Cut
from pipelines.strategy.exploit import choose, pose, price_of, value_of
from pipelines.strategy.holdout import night_draws

_CHANGE = re.compile(r"([+-]?)(\d+(?:\.\d+)?)(%?)")


def newest_night(context: Context) -> date:
    """The newest night that a model has scored. Raises NoDataError where there is none."""
    nights = context.store.nights(TABLE)
    if not nights:
        raise NoDataError(f"shop {context.shop.shop}: no night has scores yet; run `nightmarket night` first")
    return nights[-1]


def what_if(night: date, changes: list[str], context: Context) -> dict[str, Any]:
    """The plan of the night as configured and as asked, and the curve of profit against budget around the latter.

    Raises WrongUseError for a change that names no limit, NoDataError without features or scores, InfeasibleError.
    """
    shop, store = context.shop, context.store
    strategy, _ = paced(night, shop, store)
    asked = changed(strategy, changes)
    keys, _, customers = read_customers(night, shop, store)
    scores = read_scores(night, store, keys, customers.margin_percent, strategy)
    if scores is None:
        raise NoDataError(
            f"shop {shop.shop}, {night}: {TABLE} is missing, so all customers draw lots and no budget earns more; "
            "score the night first: nightmarket night"
        )
    value = value_of(scores.profit_cents, scores.sd_cents, strategy, night)
    tie = night_draws(customers.user_keys, strategy.seed, night, 4)[:, 3]
    told: dict[str, Any] = {"shop": shop.shop, "night": night.isoformat(), "what_if": changes}
    told["counts_later_nights"] = scores.later_cents is not None
    for name, limits in (("as_configured", strategy), ("as_asked", asked)):
        posed = pose(customers, value, limits)
        cuts: list[Cut] = []
        choice = choose(posed, limits, tie[posed.inside], cuts)
        option = choice.option[choice.option >= 0]
        told[name] = {
            "budget_cents": limits.nightly_budget_cents,
            "profit_cents": round((1 - posed.share) * choice.value, 2),
            "gap": round(choice.gap, 9),
            "customers": len(option),
            "messages": {
                channel.id: int(posed.problem.messages[option][posed.problem.channel[option] == i].sum())
                for i, channel in enumerate(limits.channels)
            },
            "prices": price_of(posed, choice.prices),
        }
    told["curve"] = [asdict(point) for point in budget_curve(posed, asked, cuts)]
    return told


def changed(strategy: Strategy, changes: list[str]) -> Strategy:
    """The strategy with `NAME=CHANGE` done to it, one after the other: NAME is budget, capacity:CHANNEL or
    capacity:CHANNEL.WINDOW; CHANGE is a new number, or with a sign what is added, or with % a share of what it is."""
    for change in changes:
        name, _, text = change.partition("=")
        match = _CHANGE.fullmatch(text)
        if not match or (match[3] and not match[1]):
            raise WrongUseError(
                f"--what-if {change}: '{text}' is no change; expected +20%, -10%, +500 or a new number such as 20000"
            )
        if name == "budget":
            budget = _apply(strategy.nightly_budget_cents, match)
            strategy = strategy.model_copy(update={"nightly_budget_cents": budget})
            continue
        channels = {f"capacity:{channel.id}": (i, "") for i, channel in enumerate(strategy.channels)}
        for i, channel in enumerate(strategy.channels):
            channels |= {f"capacity:{channel.id}.{window}": (i, window) for window in channel.window_capacity}
        if name not in channels:
            raise WrongUseError(f"--what-if {change}: unknown limit '{name}'; known are budget, {', '.join(channels)}")
        i, window = channels[name]
        channel = strategy.channels[i]
        if window:
            capacity = channel.window_capacity | {window: _apply(channel.window_capacity[window], match)}
            channel = channel.model_copy(update={"window_capacity": capacity})
        else:
            channel = channel.model_copy(update={"capacity_per_night": _apply(channel.capacity_per_night, match)})
        parts = (*strategy.channels[:i], channel, *strategy.channels[i + 1 :])
        strategy = strategy.model_copy(update={"channels": parts})
    return strategy


def _apply(now: int, change: re.Match[str]) -> int:
    sign, number, percent = change[1], float(change[2]), change[3]
    if not sign:
        return round(number)
    by = now * number / 100 if percent else number
    return max(round(now + by if sign == "+" else now - by), 0)
