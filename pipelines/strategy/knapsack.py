"""The most valuable choice of at most one option per customer under a budget and channel capacities.

A multiple-choice knapsack with a few limits that all customers share. Its Lagrangian relaxation prices the limits: at
prices p each customer takes the option of the highest value less priced use, or nothing. The best prices minimise

    L(p) = p . limits + sum over customers of max(0, max over options of (value - p . use)),

which is convex, never below the optimum, and at its least equal to the bound of the linear relaxation. It is found by
cutting planes (Kelley 1960), each between the best prices so far and the cuts' own (Ben-Ameur and Neto 2007). A choice
within all limits is then made at prices a little too high and filled up, smallest loss at the best prices first (in the
spirit of Sinha and Zoltners 1979); L says how far from the best it can be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_BLOCK = 1 << 12  # customers looked at together, so that what a pass holds stays in the processor's cache
_CLOSE = 1e-5  # of the bound: prices are good enough
_MAX_CUTS = 200
_FILLED = 1e-6  # of the bound: not worth filling further
_MAX_FILLS = 30
_FEW = 64  # customers moved together where every move loses something
_ROUNDING = 1e-9  # of the budget: what adding up costs in another order may change


@dataclass(frozen=True)
class Problem:
    """n customers with a options each. Option k uses `cost` of the budget and `messages[k]` of channel `channel[k]`.

    Raises ValueError for costs, limits or messages that are negative.
    """

    value: np.ndarray  # (n, a) float32, of an option over nothing; one that is not finite is not allowed
    cost: np.ndarray  # (n, a) float32
    channel: np.ndarray  # (a,) int64, position in `capacity`
    messages: np.ndarray  # (a,) int64
    budget: float  # infinite: none
    capacity: np.ndarray  # (c,) float64, messages; infinite: none

    def __post_init__(self) -> None:
        if min(self.cost.min(initial=0), self.messages.min(initial=0), self.limits.min()) < 0:
            raise ValueError("costs, messages and limits must not be negative")

    @cached_property
    def limits(self) -> np.ndarray:
        """(1 + c,) float64: budget, then capacities."""
        return np.concatenate([[self.budget * (1 - _ROUNDING)], np.asarray(self.capacity, dtype=np.float64)])

    @cached_property
    def worth(self) -> np.ndarray:
        """(n, a) float32: the value of options that may be chosen and are better than nothing, else minus infinity."""
        useful = np.isfinite(self.value) & (self.value > 0)
        return np.where(useful, self.value, np.float32(-np.inf)).astype(np.float32, copy=False)

    def message_prices(self, prices: np.ndarray) -> np.ndarray:
        """(a,) float32: what each option's messages cost at prices (1 + c,)."""
        return (prices[1:][self.channel] * self.messages).astype(np.float32)

    def totals(self, option: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and use (1 + c,) of a choice (n,), in double precision."""
        rows = np.flatnonzero(option >= 0)
        chosen = option[rows]
        spent = self.cost[rows, chosen].sum(dtype=np.float64)
        sent = np.bincount(self.channel[chosen], self.messages[chosen], len(self.limits) - 1)
        return float(self.value[rows, chosen].sum(dtype=np.float64)), np.concatenate([[spent], sent])

    def fits(self, option: np.ndarray) -> bool:
        return bool((self.totals(option)[1] <= self.limits).all())


@dataclass(frozen=True)
class Choice:
    """What each customer gets, and how far from the best that may be."""

    option: np.ndarray  # (n,) int64, -1: nothing
    value: float  # of all options chosen
    bound: float  # no choice within the limits is worth more
    prices: np.ndarray  # (1 + c,) float64, value per unit of the budget and of each channel's messages

    @property
    def gap(self) -> float:
        """Share of the bound that the choice falls short of it; 0 where nothing is worth anything."""
        return max(0.0, 1 - self.value / self.bound) if self.bound > 0 else 0.0


def solve(problem: Problem, tie: np.ndarray) -> Choice:
    """The choice and its bound. `tie` (n,) float64: lower comes first among customers who lose the same.

    Same problem and ties, same choice; a choice never crosses a limit.
    """
    free = _pick(problem, np.zeros(len(problem.limits)))
    if problem.fits(free):
        value = problem.totals(free)[0]
        return Choice(free, value, value, np.zeros(len(problem.limits)))
    prices = _best_prices(problem, free)
    bound = _bound(problem, prices)
    option = _filled(problem, _within_limits(problem, prices), prices, bound, tie)
    return Choice(option, problem.totals(option)[0], bound, prices)


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def _net(problem: Problem, block: slice, prices: np.ndarray, message_prices: np.ndarray) -> np.ndarray:
    """(block, a) float32: worth less priced use."""
    net = problem.cost[block] * np.float32(-prices[0])
    net += problem.worth[block]
    net -= message_prices
    return net


def _pick(problem: Problem, prices: np.ndarray) -> np.ndarray:
    """(n,) int64: each customer's best option at these prices, -1 where none is worth its price."""
    n, a = problem.worth.shape
    option = np.full(n, -1, dtype=np.int64)
    message_prices = problem.message_prices(prices)
    for block in _blocks(n) if a else ():
        net = _net(problem, block, prices, message_prices)
        best = net.argmax(axis=1)
        option[block] = np.where(net[np.arange(len(best)), best] > 0, best, -1)
    return option


def _bound(problem: Problem, prices: np.ndarray) -> float:
    """L(prices) in double precision: no choice within the limits is worth more."""
    limited = np.isfinite(problem.limits)
    total = float(prices[limited] @ problem.limits[limited])
    message_prices = prices[1:][problem.channel] * problem.messages
    for block in _blocks(len(problem.worth)):
        net = problem.worth[block].astype(np.float64) - prices[0] * problem.cost[block] - message_prices
        total += float(net.max(axis=1, initial=0).sum())
    return total


def _best_prices(problem: Problem, free: np.ndarray) -> np.ndarray:
    """(1 + c,) float64: prices at which L is least, nearly. `free` (n,): the choice at no price.

    Every choice x is a cut, L(p) >= value(x) + p . (limits - use(x)), so the least point of all cuts tells how much
    lower L can be.
    """
    from scipy.optimize import linprog

    limited = np.flatnonzero(np.isfinite(problem.limits))  # what is not limited has no price
    limits = problem.limits[limited]
    highest = _highest_prices(problem)[limited]
    scale = np.where(highest > 0, highest, 1.0)

    def cut_of(option: np.ndarray) -> tuple[float, np.ndarray]:
        value, use = problem.totals(option)
        return value, (limits - use[limited]) * scale

    cuts = [cut_of(free), cut_of(np.full(len(free), -1))]
    best, least = np.zeros(len(limits)), cuts[0][0]  # prices in units of their highest
    unit = cuts[0][0]
    for _ in range(_MAX_CUTS):
        # Variables: L, then the prices, all in units that make them about 1.
        found = linprog(
            np.eye(1 + len(limits))[0],
            A_ub=np.array([[-1.0, *(slope / unit)] for _, slope in cuts]),
            b_ub=np.array([-value / unit for value, _ in cuts]),
            bounds=[(None, None), *((0, top / by) for top, by in zip(highest, scale, strict=True))],
            method="highs",
        )
        if found.status != 0 or least - found.fun * unit <= _CLOSE * least:
            break
        for share in (0.5, 1.0):  # the cuts' own least point only where the one between tells nothing new
            tried = best + share * (found.x[1:] - best)
            known = max(value + tried @ slope for value, slope in cuts)
            cuts.append(cut_of(_pick(problem, _spread(tried * scale, limited, problem))))
            reached = cuts[-1][0] + tried @ cuts[-1][1]
            if reached < least:
                best, least = tried, reached
            if reached > known + 0.1 * _CLOSE * least:
                break
    return _spread(best * scale, limited, problem)


def _spread(prices: np.ndarray, limited: np.ndarray, problem: Problem) -> np.ndarray:
    """(1 + c,): prices of limits that are some, 0 elsewhere."""
    result = np.zeros(len(problem.limits))
    result[limited] = prices
    return result


def _highest_prices(problem: Problem) -> np.ndarray:
    """(1 + c,) float64: beyond these a limit alone prices out everything that uses it, so no best price is higher."""
    highest = np.zeros(len(problem.limits))
    per_message = problem.worth.max(axis=0, initial=0) / np.maximum(problem.messages, 1)
    np.maximum.at(highest[1:], problem.channel, per_message)
    for block in _blocks(len(problem.worth)):
        worth, cost = problem.worth[block], problem.cost[block]
        paid = (cost > 0) & (worth > 0)
        highest[0] = max(highest[0], (worth[paid] / cost[paid]).max(initial=0))
    return highest


def _within_limits(problem: Problem, prices: np.ndarray) -> np.ndarray:
    """(n,): a choice within all limits, at prices raised until it is, and no more than needed."""
    step = np.maximum(prices, 1e-3 * np.where(np.isfinite(problem.limits), _highest_prices(problem), 0))
    low, high = 0.0, 1e-6
    option = _pick(problem, prices)
    if problem.fits(option):
        return option
    while not problem.fits(option := _pick(problem, prices + high * step)):
        low, high = high, high * 4
    for _ in range(8):
        middle = (low + high) / 2
        tried = _pick(problem, prices + middle * step)
        if problem.fits(tried):
            option, high = tried, middle
        else:
            low = middle
    return option


def _filled(problem: Problem, option: np.ndarray, prices: np.ndarray, bound: float, tie: np.ndarray) -> np.ndarray:
    """(n,): the choice with customers moved to options that still fit, until hardly anything is to be gained.

    First all moves that pay at the prices, as often as one makes room for another; then, a few at a time, those that
    lose there but use what would be left over.
    """
    pays = True
    for _ in range(_MAX_FILLS):
        value, use = problem.totals(option)
        if bound - value <= _FILLED * bound:
            break
        target, loss = _moves(problem, option, prices, problem.limits - use, pays)
        movers = np.flatnonzero(target >= 0)
        movers = movers[np.lexsort((tie[movers], loss[movers]))][: None if pays else _FEW]
        moved = _moved(problem, option, target, movers, problem.limits - use)
        if np.array_equal(moved, option):
            if not pays:
                break
            pays = False
        option = moved
    return option


def _moves(
    problem: Problem, option: np.ndarray, prices: np.ndarray, room: np.ndarray, pays: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Each customer's best move that alone would fit: option (n,), -1 for none, and what it loses at the prices (n,).

    `pays`: moves that lose nothing there, whatever they are worth; else moves to options that are worth more.
    """
    n = len(option)
    has, current = option >= 0, np.maximum(option, 0)
    everyone = np.arange(n)
    worth = np.where(has, problem.worth[everyone, current], np.float32(0))
    cost = np.where(has, problem.cost[everyone, current], np.float32(0))
    channel, messages = np.where(has, problem.channel[current], -1), np.where(has, problem.messages[current], 0)
    message_prices = problem.message_prices(prices)
    net_now = worth - np.float32(prices[0]) * cost - np.where(has, message_prices[current], np.float32(0))
    missing = problem.messages - room[1:][problem.channel]  # messages that an option needs beyond what is left
    target, loss = np.full(n, -1, dtype=np.int64), np.full(n, np.inf)
    for block in _blocks(n):
        net = _net(problem, block, prices, message_prices)
        if not pays:
            net[problem.worth[block] <= worth[block, None]] = -np.inf
        net[problem.cost[block] - cost[block, None] > room[0]] = -np.inf
        for k in np.flatnonzero(missing > 0):
            net[(channel[block] != problem.channel[k]) | (messages[block] < missing[k]), k] = -np.inf
        best = net.argmax(axis=1)
        at = np.arange(len(best))
        top = net[at, best]
        found = (top > net_now[block]) | (np.isfinite(top) & (problem.worth[block][at, best] > worth[block]))
        if pays:
            found &= top >= net_now[block]
        target[block] = np.where(found, best, -1)
        loss[block] = np.where(found, net_now[block] - top, np.inf)
    return target, loss


def _moved(problem: Problem, option: np.ndarray, target: np.ndarray, order: np.ndarray, room: np.ndarray) -> np.ndarray:
    """(n,): the choice after the customers in `order` moved to their targets, one by one, where that still fits."""
    result = option.copy()
    left = room.tolist()
    place, messages = (problem.channel + 1).tolist(), problem.messages.tolist()
    new, old = target[order], option[order]
    paid = np.where(old >= 0, problem.cost[order, np.maximum(old, 0)].astype(np.float64), 0.0)
    more = (problem.cost[order, new].astype(np.float64) - paid).tolist()
    for i, to, back, cost in zip(order.tolist(), new.tolist(), old.tolist(), more, strict=True):
        freed = messages[back] if back >= 0 else 0
        is_same = back >= 0 and place[back] == place[to]
        if cost > left[0] or messages[to] - (freed if is_same else 0) > left[place[to]]:
            continue
        left[0] -= cost
        left[place[to]] -= messages[to]
        if back >= 0:
            left[place[back]] += freed
        result[i] = to
    return result
