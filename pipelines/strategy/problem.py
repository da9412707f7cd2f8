"""The knapsack as numbers: n customers, at most one of a options each, and limits that all customers share.

Budget and channel capacities are written as they are; every other limit (a send window's capacity, a minimum for a
brand, a bound between groups) is one row of `Linear`: what it counts depends on the customer only through a kind, of
which there are few, so that memory stays that of the values. A limit from below is one from above with its sign turned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_BLOCK = 1 << 12  # customers looked at together, so that what a pass holds stays in the processor's cache
_ROUNDING = 1e-9  # of the budget: what adding up costs in another order may change


@dataclass(frozen=True)
class Linear:
    """k limits on n customers of m kinds. Option o of a customer of kind j counts rate[l, j, o] + of_cost[l, j] x its
    cost towards limit l, and all together count `most[l]` at most."""

    kind: np.ndarray  # (n,) int64, position among the m kinds
    rate: np.ndarray  # (k, m, a) float64
    of_cost: np.ndarray  # (k, m) float64
    most: np.ndarray  # (k,) float64; infinite: none

    @property
    def is_signed(self) -> bool:
        """Whether some limit can be broken by choosing too little."""
        return bool(min(self.rate.min(initial=0), self.of_cost.min(initial=0), self.most.min(initial=0)) < 0)


@dataclass(frozen=True)
class Priced:
    """What prices make of the options: per option and per unit of cost, for each of m kinds."""

    per_option: np.ndarray  # (m, a) float64
    per_cost: np.ndarray  # (m,) float64
    kind: np.ndarray | None  # (n,) int64; None: all are of one kind

    def of(self, block: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Per option (b or 1, a) and per unit of cost (b or 1, 1), of the customers of a block."""
        if self.kind is None:
            return self.per_option, self.per_cost[:, None]
        return self.per_option[self.kind[block]], self.per_cost[self.kind[block], None]


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
    more: Linear | None = None

    def __post_init__(self) -> None:
        if min(self.cost.min(initial=0), self.messages.min(initial=0), self._own_limits.min()) < 0:
            raise ValueError("costs, messages and limits must not be negative")

    @cached_property
    def _own_limits(self) -> np.ndarray:
        return np.concatenate([[self.budget * (1 - _ROUNDING)], np.asarray(self.capacity, dtype=np.float64)])

    @cached_property
    def limits(self) -> np.ndarray:
        """(1 + c + k,) float64: budget, capacities, then the others."""
        return self._own_limits if self.more is None else np.concatenate([self._own_limits, self.more.most])

    @cached_property
    def is_signed(self) -> bool:
        return self.more is not None and self.more.is_signed

    @cached_property
    def worth(self) -> np.ndarray:
        """(n, a) float32: the value of options that may be chosen, else minus infinity.

        What is worth no more than nothing may be chosen only where a limit asks for something to be chosen.
        """
        useful = np.isfinite(self.value)
        if not self.is_signed:
            useful &= self.value > 0
        return np.where(useful, self.value, np.float32(-np.inf)).astype(np.float32, copy=False)

    def message_prices(self, prices: np.ndarray) -> np.ndarray:
        """(a,) float64: what each option's messages cost at the prices of the channels."""
        return prices[1 : 1 + len(self.capacity)][self.channel] * self.messages

    def priced(self, prices: np.ndarray) -> Priced:
        """What prices (1 + c + k,) make of the options."""
        per_option, per_cost = self.message_prices(prices)[None, :], prices[:1]
        if self.more is not None:
            others = prices[len(self._own_limits) :]
            per_option = per_option + np.tensordot(others, self.more.rate, axes=1)
            per_cost = per_cost + others @ self.more.of_cost
        return Priced(per_option, per_cost, self.more.kind if self.more and len(per_cost) > 1 else None)

    def totals(self, option: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and use (1 + c + k,) of a choice (n,), in double precision."""
        rows = np.flatnonzero(option >= 0)
        chosen = option[rows]
        cost = self.cost[rows, chosen]
        spent = cost.sum(dtype=np.float64)
        sent = np.bincount(self.channel[chosen], self.messages[chosen], len(self.capacity))
        use = np.concatenate([[spent], sent])
        if self.more is not None:
            _, m, a = self.more.rate.shape
            kind = self.more.kind[rows]
            times = np.bincount(kind * a + chosen, minlength=m * a).reshape(m, a)
            paid = np.bincount(kind, cost.astype(np.float64), m)
            use = np.concatenate([use, np.tensordot(self.more.rate, times, axes=2) + self.more.of_cost @ paid])
        return float(self.value[rows, chosen].sum(dtype=np.float64)), use

    def use_of(self, rows: np.ndarray, option: np.ndarray) -> np.ndarray:
        """(len(rows), 1 + c + k) float64: what each of these customers would use with these options, -1: nothing."""
        use = np.zeros((len(rows), len(self.limits)))
        sent = np.flatnonzero(option >= 0)
        rows, chosen = rows[sent], option[sent]
        use[sent, 0] = self.cost[rows, chosen]
        use[sent, 1 + self.channel[chosen]] = self.messages[chosen]
        if self.more is not None:
            kind = self.more.kind[rows]
            use[sent, len(self._own_limits) :] = (
                self.more.rate[:, kind, chosen] + self.more.of_cost[:, kind] * use[sent, 0]
            ).T
        return use

    def fits(self, option: np.ndarray) -> bool:
        return bool((self.totals(option)[1] <= self.limits).all())


def blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def net_of(problem: Problem, block: slice, priced: Priced) -> np.ndarray:
    """(block, a) float32: worth less priced use."""
    per_option, per_cost = priced.of(block)
    net = problem.cost[block] * (-per_cost).astype(np.float32)
    net += problem.worth[block]
    net -= per_option.astype(np.float32)
    return net


def pick(problem: Problem, prices: np.ndarray) -> np.ndarray:
    """(n,) int64: each customer's best option at these prices, -1 where none is worth its price."""
    n, a = problem.worth.shape
    option = np.full(n, -1, dtype=np.int64)
    priced = problem.priced(prices)
    for block in blocks(n) if a else ():
        net = net_of(problem, block, priced)
        best = net.argmax(axis=1)
        option[block] = np.where(net[np.arange(len(best)), best] > 0, best, -1)
    return option


def least_worth(problem: Problem) -> float:
    """A little less than any choice can be worth, and 0 at most."""
    total = -1e-6 * float(np.abs(problem.worth[np.isfinite(problem.worth)]).max(initial=0))
    for block in blocks(len(problem.worth)) if problem.is_signed else ():
        worth = problem.worth[block]
        total += float(np.where(np.isfinite(worth), worth, 0).min(axis=1, initial=0).sum(dtype=np.float64))
    return total * (1 + 1e-6)


def bound_at(problem: Problem, prices: np.ndarray) -> float:
    """L(prices) in double precision: no choice within the limits is worth more."""
    limited = np.isfinite(problem.limits)
    total = float(prices[limited] @ problem.limits[limited])
    priced = problem.priced(prices)
    for block in blocks(len(problem.worth)):
        per_option, per_cost = priced.of(block)
        net = problem.worth[block].astype(np.float64) - per_cost * problem.cost[block] - per_option
        total += float(net.max(axis=1, initial=0).sum())
    return total
