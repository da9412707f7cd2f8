"""What stood between each customer and what would earn most with it alone, and the reason in words, of chosen rows."""

from dataclasses import replace
from typing import Final

import numpy as np

from pipelines.strategy.constraints import RULES
from pipelines.strategy.explore import Decisions, Setting, reason
from pipelines.strategy.knapsack import Choice, Problem

NO_PROFIT = "no_profit"  # binding constraint where nothing allowed earns more than it costs
_BLOCK = 1 << 16
_TOLD_LATER: Final = 0.1  # share of the expected profit that later nights are, for a reason to say so


def bound_by(
    value: np.ndarray,
    problem: Problem,
    inside: np.ndarray,
    choice: Choice,
    given: Setting,
    told: tuple[str, ...],
    names: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """What stood between each customer and what earns most with it, (n,) position in `names`, and the profit (n,) that
    this would have brought beyond the best choice. `value` (m, a) of the customers `inside`; `told`: names of limits.

    Where it got that one: the rule that stopped most others, as in the lottery. Where nothing earns anything: no profit.
    """
    groups = given.groups
    n = len(groups.group_of)
    constraint, lost = np.full(n, names.index("holdout"), dtype=np.int64), np.zeros(n)
    if not len(inside) or not given.deck:
        constraint[inside] = names.index("no_strategy")
        return constraint, lost
    group, at = groups.group_of[inside], np.arange(len(inside))
    wished = value.argmax(axis=1)
    most = value[at, wished].astype(np.float64)
    got = np.where(choice.option >= 0, value[at, np.maximum(choice.option, 0)], 0.0)
    rule = groups.main_rule[inside]
    bound = np.where(rule < len(RULES), rule + names.index(RULES[0]), names.index("none"))
    bound[groups.allowed[group].any(axis=1) & (most <= 0)] = names.index(NO_PROFIT)

    wished = np.where(most > 0, wished, -1)
    limited = np.flatnonzero(np.maximum(most, 0) > got)
    scarce = _scarce(problem, given)
    positions = np.array([names.index(name) for name in told])
    for start in range(0, len(limited), _BLOCK):
        rows = limited[start : start + _BLOCK]
        more = problem.use_of(rows, wished[rows]) - problem.use_of(rows, choice.option[rows])
        paid = more * choice.prices
        # A limit that has no price stopped it all the same where it is too small, or full, for this one customer.
        unpriced = np.where(wished[rows] >= 0, scarce[wished[rows]], more.argmax(axis=1))
        limit = np.where(paid.max(axis=1, initial=0) > 0, paid.argmax(axis=1), unpriced)
        bound[rows] = positions[limit]
    constraint[inside] = bound
    lost[inside[limited]] = (np.maximum(most, 0) - got)[limited]
    return constraint, lost


def _scarce(problem: Problem, given: Setting) -> np.ndarray:
    """(a,) int64: the first scarce capacity that each arm uses, as a position among the limits; the budget else."""
    found = np.zeros(len(given.deck), dtype=np.int64)
    for i in sorted(given.room.scarce, reverse=True):
        n_channels = len(problem.capacity)
        if i < n_channels:
            uses = problem.channel == i
        elif problem.more is not None:
            uses = problem.more.rate[i - n_channels].max(axis=0) > 0
        found[uses] = 1 + i
    return found


def reasons(
    by_best: np.ndarray,
    held: np.ndarray,
    chosen: np.ndarray,
    constraint: np.ndarray,
    names: tuple[str, ...],
    drawn: Decisions,
    propensity: np.ndarray,
    expected: np.ndarray,
    lost: np.ndarray,
    judged: str,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A reason per customer, worded once for all who share it: position (n,) and texts. `judged`: words for what the
    choice went by, where that is not the expected profit."""
    chooses = by_best & (drawn.n_allowed > 0)
    facts = np.stack(
        [
            chooses,
            chosen >= 0,
            constraint,
            drawn.n_allowed,
            np.where(chooses | held, 0.0, propensity),
            np.where(chooses, np.round(expected, 1), 0.0),
            np.where(chooses, np.round(lost, 1), 0.0),
        ],
        axis=1,
    )
    _, first, why = np.unique(facts, axis=0, return_index=True, return_inverse=True)
    texts = []
    for i in first.tolist():
        name, n_allowed = names[constraint[i]], int(drawn.n_allowed[i])
        if chooses[i]:
            texts.append(_reason(bool(chosen[i] >= 0), name, n_allowed, float(facts[i, 5]), float(facts[i, 6]), judged))
        else:
            texts.append(reason(bool(chosen[i] >= 0), name, n_allowed, float(propensity[i])))
    return why.reshape(-1).astype(np.int64), tuple(texts)


def _reason(is_sent: bool, constraint: str, n_allowed: int, expected: float, lost: float, judged: str) -> str:
    if constraint == NO_PROFIT:
        return f"exploit: nothing, as none of {n_allowed} allowed strategies is expected to earn more than it costs{judged}"
    kind, _, what = constraint.partition(":")
    limit = {
        "budget": "the budget",
        "capacity": f"the capacity of {what}",
        "minimum": f"the minimum for {what}",
        "fairness": f"fairness to {what}",
    }.get(kind)
    does = "earns more with others" if kind in ("budget", "capacity") else "asks for others"
    if not is_sent:
        return f"exploit: nothing, as {limit} {does}; here it would bring {lost:.1f} cents{judged}"
    side = "more" if expected >= 0 else "less"
    told = f"exploit: {abs(expected):.1f} cents {side} profit expected than from sending nothing"
    if limit:
        does = does if kind in ("budget", "capacity") else "asks for this"
        return f"{told}; {lost:.1f} more were possible{judged}, but {limit} {does}"
    return f"{told}, the most of {n_allowed} allowed strategies{judged}"


def telling_later(found: Decisions, is_chosen: np.ndarray, later_cents: np.ndarray) -> Decisions:
    """The decisions, whose reasons say what of the profit lies in later nights, where that is much of it, and, where nothing
    is sent, that later nights were counted. `later_cents` (n,) of `expected_profit_cents`; `is_chosen` (n,): not by lot."""
    later = np.round(later_cents, 1)
    is_told = is_chosen & (np.abs(later) >= np.maximum(0.1, _TOLD_LATER * np.abs(found.expected_profit_cents)))
    is_nothing = is_chosen & (found.strategy < 0)
    facts = np.stack([found.why, np.where(is_told, later, 0.0), is_nothing], axis=1)
    kinds, first, why = np.unique(facts, axis=0, return_index=True, return_inverse=True)
    texts = []
    for row, (_, cents, nothing) in zip(first.tolist(), kinds.tolist(), strict=True):
        text = found.why_texts[found.why[row]]
        if nothing:
            text += "; later nights counted"
        elif cents:
            does = "brings in later nights are counted in" if cents > 0 else "costs in later nights are taken off"
            text += f"; {abs(cents):.1f} cents that it {does}"
        texts.append(text)
    return replace(found, why=why.reshape(-1).astype(np.int64), why_texts=tuple(texts))
