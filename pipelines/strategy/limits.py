"""The limits of a night beyond budget and channels, as rows of the knapsack: send windows, minimums, fairness.

Windows are hard limits: the lots keep to them too, so the choices get what the lots leave. Minimums and fairness are
asked of the choices, in expectation over who draws a lot: a minimum counts what the lots send anyway, fairness compares
the choices alone. Spend is counted as the budget is, with order values rounded up.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.core.limits import Minimum
from pipelines.core.shop import Strategy
from pipelines.strategy.allocation import capacities
from pipelines.strategy.constraints import Customers
from pipelines.strategy.explore import Setting
from pipelines.strategy.problem import Linear

_ONE = 1.0  # customer: a bound between groups may be missed by so little, as customers are whole


@dataclass(frozen=True)
class Limit:
    """One limit of the knapsack: what it is called in a plan, in the configuration, and in words."""

    name: str  # binding constraint of whom it stops
    setting: str  # where the configuration sets it
    text: str  # what it asks for
    minimum: Minimum | None = None


@dataclass(frozen=True)
class Limits:
    """All limits of the knapsack in its order, and those that are not budget or channels as numbers."""

    told: tuple[Limit, ...]
    budget: float
    capacity: np.ndarray  # (c,) float64, of channels
    more: Linear | None


def limits_of(
    customers: Customers, inside: np.ndarray, given: Setting, strategy: Strategy, share: float, slack: float
) -> Limits:
    """What the choices of the customers `inside` (k positions) may and must use, as if nobody drew lots, where the
    lottery has `share` of them. `slack`: of the budget, kept back for single precision."""
    room, lottery, groups = given.room, given.lottery, given.groups
    rest = max(1 - share, 1e-9)
    drawn = [groups.size @ (lottery.cells * weight).sum(axis=1) for weight in lottery.weights]
    limits = capacities(strategy, given.deck)
    left = np.full(len(limits), np.inf)
    for i, messages, use in zip(room.scarce, room.messages, drawn, strict=False):  # the budget, last, is not theirs
        # Messages are whole, and so is the limit but for a millionth that the lottery keeps.
        left[i] = max(np.floor((np.ceil(messages) - share * use) / rest), 0)
    kept = room.budget_cents
    budget = np.inf if kept is None else max((kept * (1 - slack) - share * drawn[-1]) / rest, 0)
    told = [
        Limit("budget", "nightly_budget_cents", f"at most {strategy.nightly_budget_cents} cents in all"),
        *(
            Limit(
                limit.name, "channels", f"at most {limit.messages} messages on {limit.name.removeprefix('capacity:')}"
            )
            for limit in limits
        ),
    ]
    n_channels = len(strategy.channels)
    frequency = np.array([arm.frequency for arm in given.deck], dtype=np.float64)
    rows = _Rows(len(inside), len(given.deck))
    for limit, most in zip(limits[n_channels:], left[n_channels:].tolist(), strict=True):
        rows.add(rate=np.where(limit.is_mine, frequency, 0.0), most=most)
    if share < 1:  # else nobody's choice counts
        for minimum in strategy.minimums:
            told.append(_ask(minimum, customers, inside, given, share, rows))
        told += _compare(strategy, customers, inside, rows)
    return Limits(tuple(told), budget, left[:n_channels], rows.linear())


class _Rows:
    """Limits gathered one by one, whose customers count by a factor that few values tell."""

    def __init__(self, n: int, n_arms: int) -> None:
        self.n, self.n_arms = n, n_arms
        self.factors: list[np.ndarray | None] = []  # per limit (n,) float64; None: all count once
        self.rates: list[np.ndarray] = []  # (a,)
        self.of_cost: list[float] = []
        self.most: list[float] = []

    def add(
        self, *, most: float, rate: np.ndarray | None = None, of_cost: float = 0.0, factor: np.ndarray | None = None
    ) -> None:
        self.factors.append(factor)
        self.rates.append(np.zeros(self.n_arms) if rate is None else rate)
        self.of_cost.append(of_cost)
        self.most.append(most)

    def linear(self) -> Linear | None:
        if not self.most:
            return None
        kind, first = np.zeros(self.n, dtype=np.int64), np.zeros(min(self.n, 1), dtype=np.int64)
        for factor in {id(factor): factor for factor in self.factors if factor is not None}.values():
            values, place = np.unique(factor, return_inverse=True)
            _, first, kind = np.unique(kind * len(values) + place, return_index=True, return_inverse=True)
        by_kind = np.array([np.ones(len(first)) if factor is None else factor[first] for factor in self.factors])
        rate = by_kind[:, :, None] * np.array(self.rates)[:, None, :]
        return Linear(kind, rate, by_kind * np.array(self.of_cost)[:, None], np.array(self.most))


def _ask(
    minimum: Minimum, customers: Customers, inside: np.ndarray, given: Setting, share: float, rows: _Rows
) -> Limit:
    """A minimum as a row: what is left to the choices after what the lottery brings in the mean."""
    labels = customers.labels[minimum.column]
    code = labels.names.index(minimum.value) if minimum.value in labels.names else len(labels.names)
    mine = labels.code[inside] == code
    members = np.bincount(given.groups.group_of[inside][mine], minlength=len(given.groups.size))
    chance = given.lottery.cells[:, : len(given.deck)]
    if minimum.spend_cents is not None:
        drawn = float(members @ (chance * given.lottery.cost_cents).sum(axis=1))
        asked, of_cost, rate, unit = minimum.spend_cents, -1.0, None, "cents"
    else:
        drawn = float(members @ chance.sum(axis=1))
        asked, of_cost, rate, unit = minimum.customers or 0, 0.0, -np.ones(len(given.deck)), "customers"
    most = min(-(asked - share * drawn) / (1 - share), 0.0)
    rows.add(most=most, rate=rate, of_cost=of_cost, factor=mine.astype(np.float64))
    name = f"minimum:{minimum.column}={minimum.value}"
    where = f"customers whose {minimum.column} is {minimum.value}"
    text = f"at least {asked} {unit} on {where}" if unit == "cents" else f"at least {asked} {where}"
    return Limit(name, "minimums", text, minimum)


def _compare(strategy: Strategy, customers: Customers, inside: np.ndarray, rows: _Rows) -> list[Limit]:
    """Fairness as two rows per group: neither above nor below the share of all that is written to."""
    fairness = strategy.fair_share
    if fairness is None:
        return []
    labels = customers.labels[fairness.column]
    code, found = labels.code[inside], []
    size = np.bincount(code[code >= 0], minlength=len(labels.names))
    for group in np.flatnonzero(size):
        apart = (code == group) - size[group] / len(inside)
        name = f"{fairness.column}={labels.names[group]}"
        for sign, side in ((1, "above"), (-1, "below")):
            most = fairness.within_points / 100 * size[group] + _ONE
            rows.add(most=most, rate=np.full(rows.n_arms, float(sign)), factor=apart)
            text = f"customers whose {name} are written to at most {fairness.within_points:g} points {side} all"
            found.append(Limit(f"fairness:{name}", "fairness", text))
    return found
