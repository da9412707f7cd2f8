"""The prices at which the Lagrangian of a knapsack is least, by cutting planes (Kelley 1960), each between the best
prices so far and the cuts' own (Ben-Ameur and Neto 2007).

Every choice x is a cut: L(p) >= value(x) + p . (limits - use(x)) at all prices. So the least point of all cuts tells how
much lower L can be, and a cut that was found under some limits holds, with another slope, under any others.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.strategy.problem import Problem, blocks, pick

_CLOSE = 1e-5  # of the bound: prices are good enough
_MAX_CUTS = 200
_HIGHEST = 1e4  # prices of limits from below have no bound by themselves: so many times what is usual
_SAMPLE = 20_000  # customers who tell what is usual
_HOLDS = 1e-7  # weight in the linear programme from which a cut holds at the best prices


@dataclass(frozen=True)
class Cut:
    """A choice: the prices that make it, its value and what it uses of each limit."""

    prices: np.ndarray | None  # (k,) float64; None: nothing for anybody
    value: float
    use: np.ndarray  # (k,) float64


@dataclass(frozen=True)
class Dual:
    """The best prices, and the cuts that hold there with their weights: the solution of the linear relaxation."""

    prices: np.ndarray  # (k,) float64, value per unit of each limit
    points: list[np.ndarray | None]  # of the cuts that hold, as in Cut
    weights: np.ndarray  # (len(points),) float64, add up to 1
    least: float  # L at these prices, in the precision of the choices
    use: np.ndarray  # (k,) float64, of each limit, by the cuts so weighed


def minimise(
    problem: Problem, cuts: list[Cut], free: np.ndarray, close: float = _CLOSE, floor: float = -np.inf
) -> Dual:
    """Prices at which L is least, nearly. `free` (n,): the choice at no price. `cuts` are used and added to.

    Ends early where L is below `floor`, which no choice within the limits would be.
    """
    from scipy.optimize import linprog

    limited = np.flatnonzero(np.isfinite(problem.limits))  # what is not limited has no price
    limits = problem.limits[limited]
    scale, ceiling = _units(problem, limited)

    def cut_of(option: np.ndarray, prices: np.ndarray | None) -> Cut:
        return Cut(prices, *problem.totals(option))

    def slope(cut: Cut) -> np.ndarray:
        return (limits - cut.use[limited]) * scale

    if not cuts:
        cuts += [cut_of(free, np.zeros(len(problem.limits))), cut_of(np.full(len(free), -1), None)]
    slopes = [slope(cut) for cut in cuts]
    unpriced = np.isinf(problem.limits)
    # At its own prices a cut is L itself, so that the best of them is where to start; not one that went by the price of
    # what is not limited here.
    least, best = min(
        (
            (cut.value + cut.prices[limited] / scale @ s, cut.prices[limited] / scale)
            for cut, s in zip(cuts, slopes, strict=True)
            if cut.prices is not None and not cut.prices[unpriced].any()
        ),
        key=lambda known: known[0],
    )
    unit = abs(cuts[0].value) or 1.0
    weights = np.zeros(len(cuts))
    for _ in range(_MAX_CUTS):
        # Variables: L, then the prices, all in units that make them about 1.
        found = linprog(
            np.eye(1 + len(limits))[0],
            A_ub=np.array([[-1.0, *(s / unit)] for s in slopes]),
            b_ub=np.array([-cut.value / unit for cut in cuts]),
            bounds=[(None, None), *((0, top) for top in ceiling)],
            method="highs",
        )
        if found.status != 0:
            break
        weights = np.maximum(-found.ineqlin.marginals, 0)
        if least - found.fun * unit <= close * abs(least) or least < floor:
            break
        told = np.clip(found.x[1:], 0, ceiling)  # the solver's own prices may lie a rounding error below 0
        for share in (0.5, 1.0):  # the cuts' own least point only where the one between tells nothing new
            tried = best + share * (told - best)
            known = max(cut.value + tried @ s for cut, s in zip(cuts, slopes, strict=True))
            prices = _spread(tried * scale, limited, problem)
            cuts.append(cut_of(pick(problem, prices), prices))
            slopes.append(slope(cuts[-1]))
            reached = cuts[-1].value + tried @ slopes[-1]
            if reached < least:
                best, least = tried, reached
            if reached > known + 0.1 * close * abs(least):
                break
    hold = np.flatnonzero(weights > _HOLDS).tolist()
    part = weights[hold] / (weights[hold].sum() or 1)
    use = part @ np.array([cuts[i].use for i in hold]) if hold else np.zeros(len(problem.limits))
    points = [cuts[i].prices for i in hold]
    return Dual(_spread(best * scale, limited, problem), points, part, float(least), use)


def _spread(prices: np.ndarray, limited: np.ndarray, problem: Problem) -> np.ndarray:
    """(k,): prices of limits that are some, 0 elsewhere."""
    result = np.zeros(len(problem.limits))
    result[limited] = prices
    return result


def _units(problem: Problem, limited: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Units that make prices of the limited about 1, and the highest price in these units, (len(limited),) each."""
    if problem.is_signed:
        return usual_prices(problem)[limited], np.full(len(limited), _HIGHEST)
    highest = highest_prices(problem)[limited]
    return np.where(highest > 0, highest, 1.0), (highest > 0).astype(np.float64)


def usual_prices(problem: Problem) -> np.ndarray:
    """(1 + c + k,) float64: what options are worth, over what those that use a limit use of it, in the mean."""
    n, a = problem.worth.shape
    rows = np.arange(0, n, max(1, n // _SAMPLE))
    worth = problem.worth[rows]
    value = np.abs(worth[np.isfinite(worth)]).mean(dtype=np.float64) if np.isfinite(worth).any() else 0.0
    total, times = np.zeros(len(problem.limits)), np.zeros(len(problem.limits))
    for option in range(a):
        allowed = rows[np.isfinite(worth[:, option])]
        use = np.abs(problem.use_of(allowed, np.full(len(allowed), option)))
        total += use.sum(axis=0)
        times += (use > 0).sum(axis=0)
    return np.where(total > 0, (value or 1.0) * times / np.where(total > 0, total, 1), 1.0)


def highest_prices(problem: Problem) -> np.ndarray:
    """(1 + c + k,) float64, for limits on use that is not negative: beyond these a limit alone prices out everything
    that uses it, so no best price is higher."""
    highest = np.zeros(len(problem.limits))
    n_own = 1 + len(problem.capacity)
    most = problem.worth.max(axis=0, initial=0)
    np.maximum.at(highest[1:n_own], problem.channel, most / np.maximum(problem.messages, 1))
    for block in blocks(len(problem.worth)):
        worth, cost = problem.worth[block], problem.cost[block]
        paid = (cost > 0) & (worth > 0)
        highest[0] = max(highest[0], (worth[paid] / cost[paid]).max(initial=0))
    if problem.more is not None:
        for k, (rate, of_cost) in enumerate(zip(problem.more.rate, problem.more.of_cost, strict=True)):
            per_unit = np.where(rate > 0, most / np.where(rate > 0, rate, 1), 0).max(initial=0)
            paid = of_cost[of_cost > 0]
            highest[n_own + k] = max(per_unit, highest[0] / paid.min() if len(paid) else 0)
    return highest
