"""The last per mille of a small problem: the choices that could still change, chosen anew together.

At the best prices an option loses something against its customer's best one, and all losses of a choice add up to what
it falls short of the bound, at least. So an option that loses more than the best choice known falls short of the bound is
in no better choice. What is left, the core (Balas and Zemel 1980), is few pairs of customer and option; HiGHS chooses
among them in whole numbers, within a number of nodes and not of seconds, so that every machine finds the same.
"""

import numpy as np

from pipelines.strategy.problem import Problem, blocks, net_of

_MAX_PAIRS = 1_000
_MAX_NODES = 100
_TOLERANCE = 2e-6  # by which HiGHS may cross a limit; where it did, it is asked again with that much less


def chosen_in_core(
    problem: Problem, option: np.ndarray, prices: np.ndarray, shortfall: float, tie: np.ndarray
) -> np.ndarray:
    """(n,): the choice, or a better one that differs from it in the core. `shortfall`: of the bound, infinite where the
    choice does not keep all limits."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, vstack

    who, what = _core(problem, option, prices, shortfall, tie)
    free = np.unique(who)
    if not len(free):
        return option
    kept = option.copy()
    kept[free] = -1
    place = np.searchsorted(free, who)
    taken = what >= 0
    value = np.where(taken, problem.worth[who, np.maximum(what, 0)], 0.0)
    limited = np.isfinite(problem.limits)
    once = csr_array((np.ones(len(who)), (place, np.arange(len(who)))), shape=(len(free), len(who)))
    rows = vstack([once, csr_array(problem.use_of(who, what).T[limited])]).tocsr()
    left = (problem.limits - problem.totals(kept)[1])[limited]
    size = np.maximum(np.abs(problem.limits[limited]), 1.0)
    low = np.concatenate([np.ones(len(free)), np.full(len(left), -np.inf)])
    for _ in range(1 + len(left)):
        found = milp(
            -value.astype(np.float64),
            integrality=np.ones(len(who)),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(rows, low, np.concatenate([np.ones(len(free)), left])),
            options={"node_limit": _MAX_NODES, "mip_rel_gap": 1e-6},
        )
        if found.x is None:
            return option
        best = np.flatnonzero(found.x > 0.5)
        chosen = kept.copy()
        chosen[who[best]] = what[best]
        if problem.fits(chosen):
            is_better = not np.isfinite(shortfall) or problem.totals(chosen)[0] > problem.totals(option)[0]
            return chosen if is_better else option
        left -= _TOLERANCE * size * (problem.totals(chosen)[1] > problem.limits)[limited]
    return option


def _core(
    problem: Problem, option: np.ndarray, prices: np.ndarray, shortfall: float, tie: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of customers and options (-1: nothing) that lose least, what the customers have included."""
    priced = problem.priced(prices)
    parts = []
    for block in blocks(len(option)):
        net = net_of(problem, block, priced).astype(np.float64)
        net = np.concatenate([np.zeros((len(net), 1)), net], axis=1)
        loss = net.max(axis=1, keepdims=True) - net
        loss[np.arange(len(net)), option[block] + 1] = -1.0  # what they have comes first
        row, column = np.nonzero(loss < shortfall)
        parts.append((row + block.start, column - 1, loss[row, column]))
    who, what, loss = (np.concatenate(part) for part in zip(*parts, strict=True))
    several = np.bincount(who, minlength=len(option)) > 1
    who, what, loss = who[several[who]], what[several[who]], loss[several[who]]
    # In the order of the customers' cheapest change, whole customers only, as many as there is room for.
    change = np.full(len(option), np.inf)
    np.minimum.at(change, who[loss >= 0], loss[loss >= 0])
    order = np.lexsort((loss, who, tie[who], change[who]))[:_MAX_PAIRS]
    order = order[who[order] != who[order[-1]]] if len(who) > _MAX_PAIRS else order
    return who[order], what[order]
