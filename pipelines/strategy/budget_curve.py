"""What other budgets would earn: the night's expected profit against its budget, and what one more cent is worth.

By the bound of the relaxation (knapsack.py), which the plan itself reaches to within its gap: concave in the budget, its
slope the budget's price. A cut that was found for one budget holds for all, so each further budget costs a few passes.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.core.shop import Strategy
from pipelines.strategy.allocation import design, room
from pipelines.strategy.dual import Cut, minimise
from pipelines.strategy.exploit import Posed
from pipelines.strategy.problem import least_worth, pick

SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # of tonight's budget
_CLOSE = 1e-4


@dataclass(frozen=True)
class Point:
    """One budget."""

    budget_cents: int
    profit_cents: float  # of the choices, over sending nothing, as the model expects it
    price: float  # cents of profit of one more cent


def budget_curve(posed: Posed, strategy: Strategy, cuts: list[Cut]) -> list[Point]:
    """Points at shares of tonight's budget and, where that does not bind, of what the choices would use of any; dearest
    last, without those at which limits contradict each other.

    `cuts`: what solving tonight's problem has learnt; more are added.
    """
    problem, rest, tonight = posed.problem, 1 - posed.share, strategy.nightly_budget_cents
    if not tonight or rest <= 0 or not problem.value.size:
        return []
    free = pick(problem, np.zeros(len(problem.limits)))
    floor = least_worth(problem)
    used = rest * minimise(replace(problem, budget=np.inf), cuts, free, _CLOSE, floor).use[0]
    used += posed.share * _kept_and_drawn(posed, strategy)[1]
    budgets = {round(share * tonight) for share in SHARES}
    if used < tonight:
        budgets |= {round(share * used) for share in SHARES if share <= 1}
    points = []
    for budget in sorted(budgets - {0}):
        kept, drawn = _kept_and_drawn(posed, strategy.model_copy(update={"nightly_budget_cents": budget}))
        left = np.inf if kept is None else max(kept - posed.share * drawn, 0.0) / rest
        dual = minimise(replace(problem, budget=left), cuts, free, close=_CLOSE, floor=floor)
        if dual.least >= floor:
            points.append(Point(budget, round(rest * dual.least, 2), round(float(dual.prices[0]), 6)))
    return points


def _kept_and_drawn(posed: Posed, strategy: Strategy) -> tuple[float | None, float]:
    """What lots and choices may use of a budget, None: as much as they like, and what all would if all drew lots."""
    groups, deck = posed.given.groups, posed.given.deck
    space = room(groups, strategy, deck)
    lottery = design(groups, strategy, deck, space)
    return space.budget_cents, float(groups.size @ (lottery.cells[:, : len(deck)] * lottery.cost_cents).sum(axis=1))
