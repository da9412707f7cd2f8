"""From prices to a choice within all limits, and from there, move by move, up to the bound.

Where no limit is from below, the choice at prices a little too high is filled up, smallest loss at the best prices first
(in the spirit of Sinha and Zoltners 1979). Otherwise a choice that nearly fits is repaired first: limit by limit, the
customers are moved who lose least per unit that the limit is broken by.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.strategy.dual import highest_prices
from pipelines.strategy.problem import Problem, blocks, net_of, pick

_FILLED = 1e-6  # of the bound: not worth filling further
_MAX_FILLS = 30
_FEW = 64  # customers moved together where every move loses something
_MAX_REPAIRS = 40
_MANY = 1 << 16  # customers looked at together when moved one by one
KEPT = 1e-9  # of a limit from below: as good as kept, as adding up its parts in another order may change so much


@dataclass(frozen=True)
class _Now:
    """What the customers (n) have: their options' worth, cost, use of the other limits, and net worth at prices."""

    worth: np.ndarray  # (n,) float32
    cost: np.ndarray  # (n,) float32
    channel: np.ndarray  # (n,) int64, -1: nothing
    messages: np.ndarray  # (n,) int64
    net: np.ndarray  # (n,) float32
    option: np.ndarray  # (n,) int64


def within_limits(problem: Problem, prices: np.ndarray) -> np.ndarray | None:
    """(n,): a choice within all limits, at prices raised until it is, and no more than needed; None where a limit is
    from below, as higher prices then need not help."""
    option = pick(problem, prices)
    if problem.fits(option):
        return option
    if problem.is_signed:
        return None
    step = np.maximum(prices, 1e-3 * np.where(np.isfinite(problem.limits), highest_prices(problem), 0))
    low, high = 0.0, 1e-6
    while not problem.fits(option := pick(problem, prices + high * step)):
        low, high = high, high * 4
    for _ in range(8):
        middle = (low + high) / 2
        tried = pick(problem, prices + middle * step)
        if problem.fits(tried):
            option, high = tried, middle
        else:
            low = middle
    return option


def filled(problem: Problem, option: np.ndarray, prices: np.ndarray, bound: float, tie: np.ndarray) -> np.ndarray:
    """(n,): the choice with customers moved to options that still fit, until hardly anything is to be gained.

    First all moves that pay at the prices, as often as one makes room for another; then, a few at a time, those that
    lose there but use what would be left over.
    """
    pays = True
    for _ in range(_MAX_FILLS):
        value, use = problem.totals(option)
        if bound - value <= _FILLED * abs(bound):
            break
        room = np.maximum(problem.limits - use, 0)
        target, loss = _moves(problem, option, prices, room, pays)
        movers = np.flatnonzero(target >= 0)
        movers = movers[np.lexsort((tie[movers], loss[movers]))][: None if pays else _FEW]
        moved = _moved(problem, option, target, movers, room)
        if np.array_equal(moved, option):
            if not pays:
                break
            pays = False
        option = moved
    return option


def repaired(problem: Problem, option: np.ndarray, prices: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """(n,): the choice with customers moved until limits hold: those that nothing can break always, those from below as
    far as single moves lead.

    A limit is mended by moves that break no other as far as there are any, then by others, whose damage is mended next.
    """
    limits = problem.limits
    size = size_of(limits)
    is_hard = _holds_with_nothing(problem)
    best, least = option, np.inf
    for _ in range(_MAX_REPAIRS):
        over = np.where(np.isfinite(limits), (problem.totals(option)[1] - limits) / size, 0.0)
        broken = np.maximum(over, 0).sum() + 1e6 * np.maximum(over[is_hard], 0).sum()
        if broken < least:
            best, least = option, broken
        over = np.where(is_hard | (over > KEPT), over, 0.0)
        if over.max() <= 0:
            return option
        worst = int(over.argmax())
        for is_guarded in (True, False):
            moved = _mended(problem, option, prices, worst, tie, limits if is_guarded else None)
            if not np.array_equal(moved, option):
                break
        if np.array_equal(moved, option):
            break
        option = moved
    for limit in np.flatnonzero(is_hard).tolist():
        best = _without_some(problem, best, prices, limit, tie)
    return best


def size_of(limits: np.ndarray) -> np.ndarray:
    """(k,): what breaking a limit is measured by."""
    return np.where(np.isfinite(limits), np.maximum(np.abs(limits), 1.0), 1.0)


def _holds_with_nothing(problem: Problem) -> np.ndarray:
    """(k,) bool: limits on use that is not negative, which fewer choices never break."""
    n_own = 1 + len(problem.capacity)
    hard = np.ones(len(problem.limits), dtype=bool)
    if problem.more is not None:
        more = problem.more
        hard[n_own:] = (more.rate.min(axis=(1, 2), initial=0) >= 0) & (more.of_cost.min(axis=1, initial=0) >= 0)
        hard[n_own:] &= more.most >= 0
    return hard


def _without_some(problem: Problem, option: np.ndarray, prices: np.ndarray, limit: int, tie: np.ndarray) -> np.ndarray:
    """(n,): the choice without those who earn least per unit of `limit`, until it holds."""
    excess = problem.totals(option)[1][limit] - problem.limits[limit]
    used = problem.use_of(np.arange(len(option)), option)[:, limit]
    users = np.flatnonzero(used > 0)
    users = users[np.lexsort((tie[users], _now(problem, option, prices).net[users] / used[users]))]
    n_out = int(np.searchsorted(np.cumsum(used[users]), excess * (1 + KEPT))) + 1 if excess > 0 else 0
    result = option.copy()
    result[users[:n_out]] = -1
    return result


def _mended(
    problem: Problem, option: np.ndarray, prices: np.ndarray, limit: int, tie: np.ndarray, guard: np.ndarray | None
) -> np.ndarray:
    """(n,): the choice after the moves that lose least per unit of `limit`, until it holds or none is left.

    `guard` (k,): no other limit is crossed, or crossed further, than these; None: they may be.
    """
    use = problem.totals(option)[1]
    excess = use[limit] - problem.limits[limit]
    if excess <= 0:
        return option
    room = np.full(len(use), np.inf) if guard is None else np.maximum(guard - use, 0)
    room[limit] = np.inf
    now = _now(problem, option, prices)
    bars = _Bars(problem, now, room)
    only = np.zeros(len(use))
    only[limit] = 1.0
    priced, unit = problem.priced(prices), problem.priced(only)
    n = len(option)
    target, ratio = np.full(n, -1, dtype=np.int64), np.full(n, np.inf)
    used = problem.use_of(np.arange(n), option)[:, limit]
    for block in blocks(n):
        net = net_of(problem, block, priced)
        per_option, per_cost = unit.of(block)
        saved = used[block, None] - (per_cost * problem.cost[block] + per_option)
        loss = now.net[block, None] - net
        per_unit = np.where((saved > 0) & np.isfinite(net), loss / np.where(saved > 0, saved, 1), np.inf)
        per_unit[bars.of(block)] = np.inf
        best = per_unit.argmin(axis=1)
        top = per_unit[np.arange(len(best)), best]
        nothing = np.where(used[block] > 0, now.net[block] / np.where(used[block] > 0, used[block], 1), np.inf)
        stops = nothing < top
        target[block] = np.where(stops, -1, best)
        ratio[block] = np.where(stops, nothing, top)
    movers = np.flatnonzero(np.isfinite(ratio))
    movers = movers[np.lexsort((tie[movers], ratio[movers]))]
    result = option.copy()
    for start in range(0, len(movers), _MANY):
        some = movers[start : start + _MANY]
        change = problem.use_of(some, target[some]) - problem.use_of(some, option[some])
        for i, more in zip(some.tolist(), change, strict=True):
            if excess <= 0:
                return result
            if (more > room).any():
                continue
            room -= np.where(np.isfinite(room), more, 0)
            excess += more[limit]
            result[i] = target[i]
    return result


def _now(problem: Problem, option: np.ndarray, prices: np.ndarray) -> _Now:
    n = len(option)
    has, current, everyone = option >= 0, np.maximum(option, 0), np.arange(n)
    if not problem.worth.shape[1]:
        nothing = np.zeros(n, dtype=np.float32)
        return _Now(nothing, nothing, np.full(n, -1), np.zeros(n, np.int64), nothing, option)
    worth = np.where(has, problem.worth[everyone, current], np.float32(0))
    cost = np.where(has, problem.cost[everyone, current], np.float32(0))
    priced = problem.priced(prices)
    kind = np.zeros(n, dtype=np.int64) if priced.kind is None else priced.kind
    per_option, per_cost = priced.per_option.astype(np.float32), priced.per_cost.astype(np.float32)
    net = worth - per_cost[kind] * cost - np.where(has, per_option[kind, current], np.float32(0))
    channel, messages = np.where(has, problem.channel[current], -1), np.where(has, problem.messages[current], 0)
    return _Now(worth, cost, channel, messages, net, option)


class _Bars:
    """Which moves need more of a limit than there is room (k,)."""

    def __init__(self, problem: Problem, now: _Now, room: np.ndarray) -> None:
        self.problem, self.now, self.room = problem, now, room
        n_own = 1 + len(problem.capacity)
        # Messages that an option needs beyond what is left, unless the customer's own free them.
        self.missing = problem.messages - room[1:n_own][problem.channel]
        self.short = np.flatnonzero(self.missing > 0).tolist()
        self.by_kind: np.ndarray | None = None  # (m, a + 1, a) bool: from an option, the first is nothing, to an option
        self.by_cost: list[int] = []  # limits on cost, which differs from customer to customer
        if problem.more is None:
            return
        for k, left in enumerate(room[n_own:].tolist()):
            rate = problem.more.rate[k]
            if problem.more.of_cost[k].any():
                self.by_cost.append(k)
            elif rate.max(initial=0) - rate.min(initial=0) > left:
                own = np.concatenate([np.zeros((len(rate), 1)), rate], axis=1)
                crossed = rate[:, None, :] - own[:, :, None] > left
                self.by_kind = crossed if self.by_kind is None else self.by_kind | crossed

    def of(self, block: slice) -> np.ndarray:
        """(block, a) bool."""
        problem, now = self.problem, self.now
        more_cost = problem.cost[block] - now.cost[block, None]
        barred: np.ndarray = more_cost > self.room[0]
        for k in self.short:
            barred[:, k] |= (now.channel[block] != problem.channel[k]) | (now.messages[block] < self.missing[k])
        if problem.more is None:
            return barred
        kind, option = problem.more.kind[block], now.option[block]
        if self.by_kind is not None:
            barred |= self.by_kind[kind, option + 1]
        for k in self.by_cost:
            rate, of_cost = problem.more.rate[k], problem.more.of_cost[k]
            counts = np.flatnonzero(of_cost[kind])
            mine, has = kind[counts], option[counts] >= 0
            own = np.where(has, rate[mine, np.maximum(option[counts], 0)], 0.0)
            use = rate[mine] - own[:, None] + of_cost[mine, None] * more_cost[counts]
            barred[counts] |= use > self.room[1 + len(problem.capacity) + k]
        return barred


def _moves(
    problem: Problem, option: np.ndarray, prices: np.ndarray, room: np.ndarray, pays: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Each customer's best move that alone would fit: option (n,), -1 for none, and what it loses at the prices (n,).

    `pays`: moves that lose nothing there, whatever they are worth; else moves to options that are worth more.
    """
    n = len(option)
    now, priced = _now(problem, option, prices), problem.priced(prices)
    bars = _Bars(problem, now, room)
    target, loss = np.full(n, -1, dtype=np.int64), np.full(n, np.inf)
    for block in blocks(n):
        net = net_of(problem, block, priced)
        if not pays:
            net[problem.worth[block] <= now.worth[block, None]] = -np.inf
        net[bars.of(block)] = -np.inf
        best = net.argmax(axis=1)
        at = np.arange(len(best))
        top, net_now = net[at, best], now.net[block]
        found = (top > net_now) | (np.isfinite(top) & (problem.worth[block][at, best] > now.worth[block]))
        if pays:
            found &= top >= net_now
        target[block] = np.where(found, best, -1)
        loss[block] = np.where(found, net_now - top, np.inf)
    return target, loss


def _moved(problem: Problem, option: np.ndarray, target: np.ndarray, order: np.ndarray, room: np.ndarray) -> np.ndarray:
    """(n,): the choice after the customers in `order` moved to their targets, one by one, where that still fits."""
    result = option.copy()
    if problem.more is not None:
        for start in range(0, len(order), _MANY):
            some = order[start : start + _MANY]
            change = problem.use_of(some, target[some]) - problem.use_of(some, option[some])
            for i, more in zip(some.tolist(), change, strict=True):
                if (more <= room).all():
                    room = room - more
                    result[i] = target[i]
        return result
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
