"""What other budgets would earn: the night's expected profit against its budget, and what one more cent is worth.

By the bound of the relaxation (knapsack.py), which the plan itself reaches to within its gap: concave in the budget, its
slope the budget's price. A cut that was found for one budget holds for all, so each further budget costs a few passes.
Lots cost what they cost tonight, or what their share of a smaller budget is.
"""

from dataclasses import dataclass, replace

import numpy as np

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


def budget_curve(posed: Posed, budget_cents: int, cuts: list[Cut]) -> list[Point]:
    """Points at shares of tonight's budget and, where the budget does not bind, of what the choices would use of any;
    dearest last, without those at which limits contradict each other.

    `cuts`: what solving tonight's problem has learnt; more are added.
    """
    problem, given, rest = posed.problem, posed.given, 1 - posed.share
    if not budget_cents or rest <= 0 or not problem.value.size:
        return []
    kept, n_arms = given.room.budget_cents, len(given.deck)
    drawn = float(given.groups.size @ (given.lottery.cells[:, :n_arms] * given.lottery.cost_cents).sum(axis=1))
    free = pick(problem, np.zeros(len(problem.limits)))
    floor = least_worth(problem)
    used = rest * minimise(replace(problem, budget=np.inf), cuts, free, _CLOSE, floor).use[0] + posed.share * drawn
    budgets = {round(share * budget_cents) for share in SHARES}
    if used < budget_cents:
        budgets |= {round(share * used) for share in SHARES if share <= 1}
    points = []
    for budget in sorted(budgets - {0}):
        left = max((budget_cents if kept is None else kept) + budget - budget_cents, 0.0)
        asked = replace(problem, budget=(left - posed.share * min(drawn, left)) / rest)
        dual = minimise(asked, cuts, free, close=_CLOSE, floor=floor)
        if dual.least >= floor:
            points.append(Point(budget, round(rest * dual.least, 2), round(float(dual.prices[0]), 6)))
    return points
