"""How probable each strategy is for each group, so that the night's capacity and budget hold for every lot drawn.

The wish is: nothing with the control's probability, else every allowed strategy alike. Where the expected use of a
channel, then of one of its send windows, is above its capacity, its probabilities are scaled down; then, where the
expected cost is above the budget, those of everything that costs. What is taken away becomes 'nothing', under the name of what took it. The
limits are lowered beforehand by what rounding whole customers can add (see pipelines/strategy/rounding.py).
"""

from dataclasses import dataclass

import numpy as np

from pipelines.core.shop import Strategy
from pipelines.strategy.candidates import Arm
from pipelines.strategy.constraints import Groups

_SLACK = 1e-6  # messages, or the dearest strategies: far above what floating point adds up to
_DEAR_SHARE = 0.1  # one customer may not cost more of the budget than this


@dataclass(frozen=True)
class Capacity:
    """Messages that a channel, or one of its send windows, carries in a night."""

    name: str  # the binding constraint of whom it stops
    messages: int
    is_mine: np.ndarray  # (a,) bool, the arms that use it


@dataclass(frozen=True)
class Design:
    """The lottery of a night: g groups, a arms, then control, budget, and c capacities."""

    cells: np.ndarray  # (g, a + 2 + c) float64: probability of each arm, then of nothing by cause; rows add up to 1
    causes: tuple[str, ...]  # a + 2 + c: "" for arms, else the binding constraint of that cell
    weights: tuple[np.ndarray, ...]  # scarce limits, first given up first: each (g, a + 2 + c), one customer's use
    cost_cents: np.ndarray  # (g, a) float64, messages and expected discounts of one customer, order value rounded up
    n_allowed: np.ndarray  # (g,) int64 strategies

    @property
    def nothing(self) -> np.ndarray:
        """(g,) probability of getting nothing."""
        return np.minimum(self.cells[:, [cause != "" for cause in self.causes]].sum(axis=1), 1.0)


@dataclass(frozen=True)
class Room:
    """What the lots of one night may use on average, so that no lot crosses a limit: k scarce limits, capacities, then
    the budget, in the order in which rounding gives them up.

    A limit that no lot could cross needs nothing kept back and is none of these.
    """

    scarce: tuple[int, ...]  # positions in `capacities`; the largest first
    messages: tuple[float, ...]  # of each of these
    budget_cents: float | None  # None: not scarce
    is_open: np.ndarray  # (g, a) bool: allowed, and small enough beside each limit
    cost_cents: np.ndarray  # (g, a) float64, messages and expected discounts of one customer, order value rounded up


def capacities(strategy: Strategy, arms: list[Arm]) -> list[Capacity]:
    """The channels' in the order of the configuration, then those of send windows."""
    channel_of = np.array([arm.channel for arm in arms], dtype=np.int64)
    windows = np.array([arm.send_window for arm in arms], dtype=object)
    found = [
        Capacity(f"capacity:{channel.id}", channel.capacity_per_night, channel_of == i)
        for i, channel in enumerate(strategy.channels)
    ]
    return found + [
        Capacity(f"capacity:{channel.id}.{window}", messages, (channel_of == i) & (windows == window))
        for i, channel in enumerate(strategy.channels)
        for window, messages in channel.window_capacity.items()
    ]


def room(groups: Groups, strategy: Strategy, arms: list[Arm]) -> Room:
    """What is left of capacities and budget for expectations, after what rounding whole customers can add.

    Of the scarce limits, the later one is given up in rounding, the less it keeps back: the budget, where the pieces
    are largest, is last, after the smallest capacity.
    """
    limits, budget = capacities(strategy, arms), strategy.nightly_budget_cents
    frequency = np.array([arm.frequency for arm in arms], dtype=np.float64)
    cost = np.array([arm.message_cost_cents for arm in arms]) + np.outer(
        groups.order_cents, np.array([arm.discount_share for arm in arms])
    )
    most = np.where(groups.allowed, frequency, 0.0)
    scarce = [i for i, limit in enumerate(limits) if _at_most(groups, most * limit.is_mine) > limit.messages]
    scarce.sort(key=lambda i: (-limits[i].messages, i))
    is_budget_scarce = _at_most(groups, cost * groups.allowed) > budget
    n_limits = len(scarce) + is_budget_scarce

    is_open = groups.allowed.copy()
    messages = []
    for rank, i in enumerate(scarce):
        mine = limits[i].is_mine
        fits = mine & (frequency <= limits[i].messages)
        # Rounding adds less than (limits not yet given up) x (messages of one customer), and messages are whole.
        kept_back = (n_limits - rank) * frequency[fits].max(initial=0) - 1
        messages.append(max(limits[i].messages - max(kept_back, 0) - _SLACK, 0))
        is_open[:, mine & ~fits if messages[-1] else mine] = False
    if not is_budget_scarce:
        return Room(tuple(scarce), tuple(messages), None, is_open, cost)
    is_open &= _affordable(cost, groups.allowed, budget)
    left = max(budget - cost[is_open].max(initial=0) * (1 + _SLACK), 0)
    return Room(tuple(scarce), tuple(messages), left, is_open, cost)


def design(groups: Groups, strategy: Strategy, arms: list[Arm], space: Room) -> Design:
    """The night's probabilities. Groups that may be sent nothing at all get 'control' with probability 1."""
    limits = capacities(strategy, arms)
    frequency = np.array([arm.frequency for arm in arms], dtype=np.float64)
    n_members = np.array([len(arm.members) for arm in arms], dtype=np.int64)
    cost = space.cost_cents
    n_allowed = (groups.allowed * n_members).sum(axis=1)
    wish = (1 - strategy.control_percent / 100) * groups.allowed * n_members / np.maximum(n_allowed, 1)[:, None]

    send = wish.copy()
    lost = [np.zeros((len(wish), 1)) for _ in limits]
    allowance = dict(zip(space.scarce, space.messages, strict=True))
    for i in sorted(allowance):  # channels first: what a window takes away comes on top
        mine, before = limits[i].is_mine, send.copy()
        send[:, mine & (frequency > limits[i].messages)] = 0
        use = (groups.size @ send[:, mine]) @ frequency[mine]
        send[:, mine] *= min(1.0, allowance[i] / use) if use > 0 else 1.0
        lost[i] = (before - send)[:, mine].sum(axis=1, keepdims=True)

    paid = send
    if space.budget_cents is not None:
        paid = np.where(space.is_open, send, 0.0)
        total = groups.size @ (paid * cost).sum(axis=1)
        if total > space.budget_cents:
            paid = np.where(cost > 0, paid * (space.budget_cents / total), paid)
    by_budget = send - paid

    control = np.zeros((len(paid), 1))
    cells = np.concatenate([paid, control, by_budget.sum(axis=1, keepdims=True), *lost], axis=1)
    cells[:, len(arms)] = np.maximum(1 - cells.sum(axis=1), 0)  # control, free of rounding error in the sum
    causes = ("",) * len(arms) + ("control", "budget", *(limit.name for limit in limits))
    padding = len(causes) - len(arms)
    weights = [
        np.broadcast_to(np.pad(np.where(limits[i].is_mine, frequency, 0.0), (0, padding)), cells.shape)
        for i in space.scarce
    ]
    if space.budget_cents is not None:
        weights.append(np.pad(cost, ((0, 0), (0, padding))))
    return Design(cells, causes, tuple(weights), cost, n_allowed)


def _at_most(groups: Groups, use: np.ndarray) -> float:
    """What all customers together could use of a limit: `use` (g, a) of one customer per arm."""
    return float(groups.size @ use.max(axis=1, initial=0))


def _affordable(cost: np.ndarray, allowed: np.ndarray, budget_cents: int) -> np.ndarray:
    """(g, a) bool: costs no more than a tenth of the budget, or as little as the cheapest that costs anything.

    Without this one outlier's order value would set the margin that the whole budget keeps for rounding.
    """
    cheapest = cost[allowed & (cost > 0)].min(initial=np.inf)
    return cost <= min(max(budget_cents * _DEAR_SHARE, cheapest if np.isfinite(cheapest) else 0), budget_cents)
