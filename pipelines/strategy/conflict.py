"""Which limits cannot hold together: an irreducible infeasible subset, by a deletion filter (Chinneck and Dravnieks 1991).

Whether limits can hold at all is asked of the linear relaxation, in which nothing is worth anything: by Farkas they
cannot exactly where some prices make L negative (knapsack.py). Those prices name the limits that take part; then each of
them is left out in turn, and stays out where the others contradict each other without it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core.shop import Strategy
from pipelines.strategy.dual import minimise
from pipelines.strategy.problem import Problem, bound_at, pick

if TYPE_CHECKING:
    from pipelines.strategy.exploit import Posed

_TOLERANCE = 1e-6  # of what the limits ask for
_TAKES_PART = 1e-9


def conflict(problem: Problem) -> list[int]:
    """Positions of limits of which no part can be kept together although all others are dropped; none: all can be."""
    free = replace(problem, value=np.where(np.isfinite(problem.value), np.float32(0), np.float32(np.nan)))
    part = _contradicting(free, np.flatnonzero(np.isfinite(problem.limits)))
    for limit in list(part):
        if limit in part:
            fewer = _contradicting(free, np.array([other for other in part if other != limit], dtype=np.int64))
            part = fewer or part
    return sorted(part)


def _contradicting(free: Problem, among: np.ndarray) -> list[int]:
    """Of the limits `among`, those with a price in a proof that they cannot hold together; none: they can."""
    if not len(among):
        return []
    nothing = np.full(len(free.value), -1)
    problem = _with_limits(free, among)
    dual = minimise(problem, [], nothing, floor=-_TOLERANCE)
    if bound_at(problem, dual.prices) >= -_TOLERANCE:
        return []
    return [int(limit) for limit in among if dual.prices[limit] > _TAKES_PART * dual.prices.max()]


def _with_limits(problem: Problem, kept: np.ndarray) -> Problem:
    """The problem with no other limits than `kept`."""
    limits = np.full(len(problem.limits), np.inf)
    limits[kept] = problem.limits[kept]
    n_own = 1 + len(problem.capacity)
    more = None if problem.more is None else replace(problem.more, most=limits[n_own:])
    return replace(problem, budget=float(limits[0]), capacity=limits[1:n_own], more=more)


def _most_possible(problem: Problem, limit: int, others: list[int]) -> float:
    """How much of a limit from below can be reached at most while `others` hold, by the linear relaxation."""
    n_own = 1 + len(problem.capacity)
    assert problem.more is not None  # a limit from below is one of them
    more = problem.more
    kind = more.kind
    use = more.rate[limit - n_own][kind] + more.of_cost[limit - n_own][kind, None] * problem.cost
    value = np.where(np.isfinite(problem.value), -use, np.nan).astype(np.float32)
    asked = _with_limits(replace(problem, value=value), np.array(others, dtype=np.int64))
    free = pick(asked, np.zeros(len(asked.limits)))
    if asked.fits(free):
        return asked.totals(free)[0]
    return bound_at(asked, minimise(asked, [], free).prices)


def contradiction(found: list[int], posed: "Posed", strategy: Strategy) -> str:
    """The conflict in one line: what is asked for, how much of it is possible, and what to change."""
    told = [posed.limits.told[limit] for limit in found]
    texts = " and ".join(dict.fromkeys(f"{limit.text} (strategy.{limit.setting})" for limit in told))
    together = "cannot be kept" if len(told) == 1 else "cannot hold together"
    minima = [(limit, one.minimum) for limit, one in zip(found, told, strict=True) if one.minimum is not None]
    advice = "loosen one of them"
    if minima:
        limit, minimum = minima[0]
        others = [other for other in found if other != limit]
        most = _most_possible(posed.problem, limit, others)
        asked = -float(posed.problem.limits[limit])
        given = minimum.spend_cents or minimum.customers or 0
        possible = max(int(np.floor(given + (most - asked) * (1 - posed.share))), 0)
        unit = "cents" if minimum.spend_cents else "customers"
        beside = " beside the others" if others else ", as consent, caps, margins and scores leave no more"
        advice = f"for {minimum.value} at most {possible} {unit} are possible{beside}: lower that minimum"
        advice += " or loosen one of the others" if others else ""
    return f"the plan's limits contradict each other: {texts} {together}; {advice}; nothing was planned"
