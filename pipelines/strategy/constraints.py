"""What a customer may be sent: consent, rest after complaints and of the unhappy, frequency caps, margin floor, nothing twice
too soon, arms of experiments.

Customers whom no limit tells apart form one group, so that everything after this works on a few thousand groups and
not on millions of customers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipelines.core.shop import Strategy
from pipelines.strategy.candidates import Arm, allows, candidates
from pipelines.strategy.experiments import assign

# What can stop a strategy for a customer, in the order in which it is looked at.
RULES = ("no_consent", "complaint_rest", "unhappy", "frequency_cap", "margin_floor", "repeat", "experiment")

# Order values are rounded up to these, or to the shop's default, for the budget: 19% apart, so that groups are few and
# no more is spent than allowed.
_ORDER_STEPS = np.unique(np.ceil(2.0 ** (np.arange(0, 4 * 44) / 4)).astype(np.int64))


@dataclass(frozen=True)
class Labels:
    """A word per customer, such as the brand that each prefers."""

    names: tuple[str, ...]
    code: np.ndarray  # (n,) int64, position in `names`, -1: none


@dataclass(frozen=True)
class Customers:
    """What the limits need to know of n customers; c channels in the order of Strategy.channels."""

    user_keys: tuple[str, ...]  # n
    order_cents: np.ndarray  # (n,) int64, expected value of an order
    margin_percent: np.ndarray  # (n,) float64, of what the customer usually buys, before a discount
    n_recent: np.ndarray  # (n, c) int64, messages delivered within the channel's cap window
    is_suppressed: np.ndarray  # (n, c) bool, unsubscribed or resting
    has_complained: np.ndarray  # (n, c) bool
    is_repeat: np.ndarray | None = None  # (n, s) bool, what s candidates would send again too soon; None: no such limit
    labels: Mapping[str, Labels] = field(default_factory=dict)  # profile column -> what minimums and fairness go by
    is_unhappy: np.ndarray | None = None  # (n,) bool, who gets no promotion for a while; None: nobody


@dataclass(frozen=True)
class Groups:
    """g groups of customers with the same allowed arms (of a) and about the same order value."""

    group_of: np.ndarray  # (n,) int64, -1 for customers left out (the holdout)
    main_rule: np.ndarray  # (n,) int64, position in RULES of what stopped most strategies, len(RULES): nothing was
    size: np.ndarray  # (g,) int64, customers
    allowed: np.ndarray  # (g, a) bool
    order_cents: np.ndarray  # (g,) int64, rounded up


def allowed_after_discount(margin_percent: np.ndarray, discount_percent: float, floor_percent: float) -> np.ndarray:
    """(n,) bool: the margin left, as a share of the discounted price, is at least the floor.

    Margin m of price p leaves 1 - (1 - m) / (1 - d) after a discount d; compared without the division.
    """
    return (100 - floor_percent) * (100 - discount_percent) >= 100 * (100 - np.asarray(margin_percent)) - 1e-9


def group_customers(customers: Customers, is_left_out: np.ndarray, strategy: Strategy, arms: list[Arm]) -> Groups:
    """The groups of the customers not left out (n,), with what stops each arm for each group."""
    inside = np.flatnonzero(~is_left_out)
    states = [_channel_state(customers, strategy, i, inside) for i in range(len(strategy.channels))]
    discounts = sorted({arm.discount_percent for arm in arms})
    # A deeper discount leaves less margin, so the number of discounts that pass says which ones do.
    margin = customers.margin_percent[inside]
    n_discounts = np.zeros(len(inside), dtype=np.int64)
    for discount in discounts:
        n_discounts += allowed_after_discount(margin, discount, strategy.margin_floor_percent)
    order = _round_up(customers.order_cents[inside], np.union1d(_ORDER_STEPS, strategy.default_order_cents))

    unhappy = np.zeros(len(inside), dtype=bool) if customers.is_unhappy is None else customers.is_unhappy[inside]
    repeated, patterns = _repeated_arms(customers, inside, arms)
    keys = [customers.user_keys[i] for i in inside] if strategy.experiments else []
    tried = [assign(keys, strategy.seed, experiment) for experiment in strategy.experiments]
    found = candidates(strategy) if tried else []

    # Kinds differ in what stops what; groups, fewer, only in what is allowed.
    kind, first = _classes(*states, unhappy, n_discounts, repeated, *tried)
    stopped_by = np.full((len(first), len(arms)), len(RULES), dtype=np.int8)
    for a, arm in enumerate(arms):
        for experiment, drawn in zip(strategy.experiments, tried, strict=True):
            may = np.array([allows(one, found[arm.members[0]]) for one in experiment.arms])
            stopped_by[~may[drawn[first]], a] = RULES.index("experiment")
        state = states[arm.channel][first]
        stopped_by[patterns[repeated[first], a], a] = RULES.index("repeat")
        stopped_by[n_discounts[first] <= discounts.index(arm.discount_percent), a] = RULES.index("margin_floor")
        stopped_by[arm.frequency > state, a] = RULES.index("frequency_cap")
        stopped_by[unhappy[first], a] = RULES.index("unhappy")
        stopped_by[state == _RESTING, a] = RULES.index("complaint_rest")
        stopped_by[state == _NO_CONSENT, a] = RULES.index("no_consent")
    _, pattern = np.unique(np.packbits(stopped_by == len(RULES), axis=1), axis=0, return_inverse=True)
    group, first = _classes(pattern.reshape(-1)[kind], order)

    group_of = np.full(len(is_left_out), -1, dtype=np.int64)
    group_of[inside] = group
    rule_of = np.full(len(is_left_out), len(RULES), dtype=np.int64)
    rule_of[inside] = main_rule(stopped_by, np.array([len(arm.members) for arm in arms], dtype=np.int64))[kind]
    return Groups(
        group_of=group_of,
        main_rule=rule_of,
        size=np.bincount(group, minlength=len(first)),
        allowed=stopped_by[kind[first]] == len(RULES),
        order_cents=order[first],
    )


def _repeated_arms(customers: Customers, inside: np.ndarray, arms: list[Arm]) -> tuple[np.ndarray, np.ndarray]:
    """Which arms would only repeat what a customer had: its pattern (len(inside),), and the patterns (p, a) bool."""
    none = np.zeros(len(inside), dtype=np.int64), np.zeros((1, len(arms)), dtype=bool)
    if customers.is_repeat is None or not arms:
        return none
    whole = np.stack([customers.is_repeat[:, arm.members].all(axis=1) for arm in arms], axis=1)[inside]
    patterns, pattern = np.unique(whole, axis=0, return_inverse=True)
    return (pattern.reshape(-1).astype(np.int64), patterns) if len(inside) else none


def _classes(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes of rows equal in all columns (n,): the class of each row (n,) and a row of each class."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for values in columns:
        levels, level = np.unique(values, return_inverse=True)
        _, first, code = np.unique(code * len(levels) + level, return_index=True, return_inverse=True)
    return code, first


_NO_CONSENT, _RESTING = -2, -1


def _channel_state(customers: Customers, strategy: Strategy, i: int, inside: np.ndarray) -> np.ndarray:
    """(len(inside),) messages that the channel may still carry to the customer, or why it may carry none."""
    channel = strategy.channels[i]
    left = np.clip(channel.cap_messages - customers.n_recent[inside, i], 0, max(strategy.frequencies))
    suppressed = customers.is_suppressed[inside, i]
    left[suppressed] = np.where(customers.has_complained[inside, i][suppressed], _RESTING, _NO_CONSENT)
    if not channel.default_consent:
        left[:] = _NO_CONSENT
    return left


def _round_up(order_cents: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(n,) int64: each order value (cents, not negative) rounded up to one of the steps (sorted); 0 stays 0."""
    values, where = np.unique(np.asarray(order_cents, dtype=np.int64), return_inverse=True)
    if len(values) and (values[0] < 0 or values[-1] > steps[-1]):
        raise ValueError(f"order values must lie in 0 to {steps[-1]} cents, found {values[0]} to {values[-1]}")
    return np.where(values == 0, 0, steps[np.searchsorted(steps, values)])[where]


def main_rule(stopped_by: np.ndarray, n_members: np.ndarray) -> np.ndarray:
    """(k,) int64: the rule that stopped most strategies (ties: the earlier rule), len(RULES) where none did.

    `stopped_by` (k, a): position in RULES, len(RULES) for allowed; `n_members` (a,) strategies per arm.
    """
    weight = np.stack([((stopped_by == rule) * n_members).sum(axis=1) for rule in range(len(RULES))], axis=1)
    return np.where(weight.sum(axis=1) == 0, len(RULES), weight.argmax(axis=1))
