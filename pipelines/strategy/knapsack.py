"""The most valuable choice of at most one option per customer within limits that all customers share.

A multiple-choice knapsack. Its Lagrangian relaxation prices the limits: at prices p each customer takes the option of
the highest value less priced use, or nothing. The best prices minimise

    L(p) = p . limits + sum over customers of max(0, max over options of (value - p . use)),

which is convex, never below the optimum, and at its least equal to the bound of the linear relaxation (dual.py). A
choice within all limits is made from there (filling.py); L says how far from the best it can be.

Limits from below (a minimum for a brand, a bound between groups) are limits from above of use that is negative. With
them, and where many customers are alike, no prices need give a choice that fits and is good. Then it starts as a mix:
the cuts that hold at the best prices, each the choice of everybody at some prices, are dealt to the customers by their
weights in the linear programme (Dantzig and Wolfe 1960). Limits on use that is not negative always hold; of one from
below what whole customers cannot reach is told.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.strategy.core import chosen_in_core
from pipelines.strategy.dual import Cut, Dual, minimise
from pipelines.strategy.filling import KEPT, filled, repaired, size_of, within_limits
from pipelines.strategy.problem import Linear, Problem, bound_at, least_worth, pick

__all__ = ["Choice", "Linear", "Problem", "solve"]

_WIDE = 1e-3  # gap from which more is tried: a second start, then the core
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Choice:
    """What each customer gets, and how far from the best that may be."""

    option: np.ndarray  # (n,) int64, -1: nothing
    value: float  # of all options chosen
    bound: float  # no choice within the limits is worth more
    prices: np.ndarray  # (1 + c + k,) float64, value per unit of the budget, of each channel's messages, of the others
    missing: np.ndarray  # (1 + c + k,) float64, by how much a limit is not kept; 0 but for limits from below

    @property
    def gap(self) -> float:
        """Share of the bound that the choice falls short of it; of what was chosen where the bound is 0."""
        return max(0.0, self.bound - self.value) / (abs(self.bound) or abs(self.value) or 1.0)


def solve(problem: Problem, tie: np.ndarray, cuts: list[Cut] | None = None) -> Choice:
    """The choice and its bound. `tie` (n,) float64: lower comes first among customers who lose the same. `cuts`: what
    was learnt of the same customers and options under other limits; what is learnt now is added to it.

    Same problem and ties, same choice. Limits on use that is not negative are never crossed.
    """
    n_limits = len(problem.limits)
    free = pick(problem, np.zeros(n_limits))
    if problem.fits(free):
        value = problem.totals(free)[0]
        return Choice(free, value, value, np.zeros(n_limits), np.zeros(n_limits))
    dual = minimise(problem, [] if cuts is None else cuts, free, floor=least_worth(problem))
    bound = bound_at(problem, dual.prices)
    best = None
    start = within_limits(problem, dual.prices)
    if start is not None:
        best = _choice(problem, filled(problem, start, dual.prices, bound, tie), bound, dual.prices)
    if best is None or best.gap > _WIDE:
        mixed = repaired(problem, _dealt(problem, dual, tie), dual.prices, tie)
        other = _choice(problem, filled(problem, mixed, dual.prices, bound, tie), bound, dual.prices)
        if best is None or (other.value > best.value and not other.missing.any()):
            best = other
    if best.gap > _WIDE or best.missing.any():
        shortfall = np.inf if best.missing.any() else bound - best.value
        option = chosen_in_core(problem, best.option, dual.prices, shortfall, tie)
        best = _choice(problem, option, bound, dual.prices)
    return best


def _choice(problem: Problem, option: np.ndarray, bound: float, prices: np.ndarray) -> Choice:
    value, use = problem.totals(option)
    over = use - problem.limits
    return Choice(option, value, bound, prices, np.where(over > KEPT * size_of(problem.limits), over, 0.0))


def _dealt(problem: Problem, dual: Dual, tie: np.ndarray) -> np.ndarray:
    """(n,) int64: everybody's option in one of the cuts that hold at the best prices, each cut for as many as it weighs.

    Customers whose option is the same in all of them have it. The others are taken in the order of what they get where,
    then of their ties, and a sequence of low discrepancy says which cut is theirs, so that equal customers are divided
    as the weights say.
    """
    options = np.stack([np.full(len(tie), -1) if at is None else pick(problem, at) for at in dual.points])
    option = options[0].copy()
    undecided = np.flatnonzero((options != options[0]).any(axis=0))
    order = undecided[np.lexsort((tie[undecided], *options[:, undecided]))]
    part = (0.5 + _GOLDEN * np.arange(len(order))) % 1
    cut = np.minimum(np.searchsorted(np.cumsum(dual.weights), part), len(options) - 1)
    option[order] = options[cut, order]
    return option
