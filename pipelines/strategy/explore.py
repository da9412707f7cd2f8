"""The plan of a shop without campaign history: strategies drawn by lot among those allowed, exact propensities logged.

1. The holdout is left out, by stable hash.
2. Customers whom no limit tells apart form a group; a group's wish is uniform over its allowed strategies.
3. Channels and budget scale the wishes down before any lot is drawn (allocation.py).
4. A group's expected counts become whole numbers, without bias and within all limits (rounding.py).
5. These are dealt to the group's customers in the order of their own random numbers, so that every customer of a group
   is as likely as any other to get each card: P(strategy | customer) is the group's probability exactly.

Lots of different customers are not independent (a card dealt to one is gone for the others), which narrows the
variance of averages; each customer's own propensity is exact.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from pipelines.core.errors import NightmarketError
from pipelines.core.shop import Strategy
from pipelines.strategy.allocation import Design, Room, capacities, design, room
from pipelines.strategy.candidates import Arm, Candidate, arms, candidates
from pipelines.strategy.constraints import RULES, Customers, Groups, group_customers
from pipelines.strategy.holdout import is_holdout, night_draws, night_generator
from pipelines.strategy.rounding import round_unbiased

_BLOCK = 1 << 14

HOLDOUT, UNBOUND, NO_STRATEGY = "holdout", "none", "no_strategy"


@dataclass(frozen=True)
class Decisions:
    """One decision per customer, n of them; texts are told once and referred to by position."""

    candidates: tuple[Candidate, ...]
    strategy: np.ndarray  # (n,) int64, position in candidates, -1: nothing
    runner_up: np.ndarray  # (n,) int64, position in candidates, -1: none
    is_holdout: np.ndarray  # (n,) bool
    propensity: np.ndarray  # (n,) float64, of what the customer got, nothing included
    lot_nothing: np.ndarray  # (n,) float64, probability that the lottery gives nothing; 1 for the holdout
    n_allowed: np.ndarray  # (n,) int64 strategies, before capacity and budget; 0 for the holdout
    constraint: np.ndarray  # (n,) int64, position in constraint_texts
    constraint_texts: tuple[str, ...]
    why: np.ndarray  # (n,) int64, position in why_texts
    why_texts: tuple[str, ...]
    expected_cost_cents: np.ndarray  # (n,) float64, messages and expected discounts
    expected_profit_cents: np.ndarray  # (n,) float64, over sending nothing, as the model expects it; NaN: no model


@dataclass(frozen=True)
class Setting:
    """What a night's lots are drawn from."""

    found: list[Candidate]
    deck: list[Arm]
    held: np.ndarray  # (n,) bool, the holdout
    groups: Groups  # of the customers not held out
    room: Room
    lottery: Design
    is_repeat: np.ndarray | None  # (n, s) bool, as in Customers

    @property
    def arm_of(self) -> np.ndarray:
        """(s,) int64: each candidate's arm."""
        arm_of = np.zeros(len(self.found), dtype=np.int64)
        for a, arm in enumerate(self.deck):
            arm_of[list(arm.members)] = a
        return arm_of

    def may_get(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), s) bool: the candidates allowed to these customers, who are not held out."""
        may: np.ndarray = self.groups.allowed[self.groups.group_of[rows]][:, self.arm_of]
        return may if self.is_repeat is None else may & ~self.is_repeat[rows]


def setting(customers: Customers, strategy: Strategy) -> Setting:
    """Candidates, holdout, groups, and the lottery that the limits leave; nothing of it depends on the night's lots."""
    found = candidates(strategy)
    deck = arms(found, strategy)
    held = is_holdout(customers.user_keys, strategy.seed, strategy.holdout_percent)
    groups = group_customers(customers, held, strategy, deck)
    space = room(groups, strategy, deck)
    return Setting(found, deck, held, groups, space, design(groups, strategy, deck, space), customers.is_repeat)


def explore(customers: Customers, strategy: Strategy, night: date) -> Decisions:
    """Draws the night's lots. Same customers (in any order), strategy and night: same decisions."""
    given = setting(customers, strategy)
    draws = night_draws(customers.user_keys, strategy.seed, night)
    cell = deal(
        given.groups.group_of, given.groups.size, given.lottery.cells, given.lottery.weights, draws, strategy, night
    )
    check_limits(cell, given, strategy)
    return decisions(customers, given, cell, draws)


def deal(
    group_of: np.ndarray,
    size: np.ndarray,
    cells: np.ndarray,
    weights: tuple[np.ndarray, ...],
    draws: np.ndarray,
    strategy: Strategy,
    night: date,
) -> np.ndarray:
    """(n,) int64: the cell that each customer gets, -1 where left out; within a group, lowest first draws come first.

    group_of (n,) -1 for customers left out; size (g,); cells (g, j) probabilities; weights as in Design; draws (n, 1+).
    """
    random = night_generator(strategy.seed, night)
    counts = round_unbiased(size[:, None] * cells, weights, lambda chance: bool(random.random() < chance))
    if not np.array_equal(counts.sum(axis=1), size):
        raise NightmarketError("a group has not one card per customer; nothing is planned, report this fault")
    cell = np.full(len(draws), -1, dtype=np.int64)
    order = np.lexsort((draws[:, 0], group_of))
    order = order[group_of[order] >= 0]
    cell[order] = np.repeat(np.tile(np.arange(counts.shape[1]), len(counts)), counts.ravel())
    return cell


def check_limits(arm: np.ndarray, given: Setting, strategy: Strategy) -> None:
    """What allocation and rounding promise, held against whole customers; a failure is a fault of this program.

    arm (n,) int64: what each customer gets; below 0 or from the number of arms on: nothing.
    """
    groups, deck = given.groups, given.deck
    sent = np.zeros(groups.allowed.shape, dtype=np.int64)
    treated = np.flatnonzero((arm >= 0) & (arm < len(deck)))
    np.add.at(sent, (groups.group_of[treated], arm[treated]), 1)
    wrong = []
    if sent[~groups.allowed].any():
        wrong.append("a strategy that is not allowed")
    for limit in capacities(strategy, deck):
        use = sum(arm.frequency * int(sent[:, a].sum()) for a, arm in enumerate(deck) if limit.is_mine[a])
        if use > limit.messages:
            wrong.append(f"{use} messages on {limit.name.removeprefix('capacity:')}, capacity {limit.messages}")
    cost = float((sent * given.lottery.cost_cents).sum())
    if cost > strategy.nightly_budget_cents + 1e-6:
        wrong.append(f"{cost:.0f} cents, budget {strategy.nightly_budget_cents}")
    if wrong:
        raise NightmarketError(
            f"the plan broke its own limits: {'; '.join(wrong)}; nothing is planned, report this fault"
        )


def decisions(customers: Customers, given: Setting, cell: np.ndarray, draws: np.ndarray) -> Decisions:
    """Turns cells of the lottery into strategies, runners-up and reasons; `cell` (n,) is -1 for the holdout."""
    found, deck, held, groups, lottery = given.found, given.deck, given.held, given.groups, given.lottery
    n_members = np.array([len(arm.members) for arm in deck], dtype=np.int64)
    members = np.array([member for arm in deck for member in arm.members], dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(n_members)])  # where an arm's members start
    group = np.maximum(groups.group_of, 0)
    inside = ~held
    sent = inside & (cell < len(deck))
    arm = np.where(sent, cell, 0)

    chosen = np.full(len(cell), -1, dtype=np.int64)
    runner_up = np.full(len(cell), -1, dtype=np.int64)
    propensity = np.ones(len(cell))
    n_allowed = np.zeros(len(cell), dtype=np.int64)
    expected_cost = np.zeros(len(cell))
    if len(groups.size):
        n_allowed[inside] = lottery.n_allowed[group[inside]]
        propensity[inside] = lottery.nothing[group[inside]]
    lot_nothing = propensity.copy()
    if sent.any():
        size = n_members[arm[sent]]
        within = np.minimum((draws[sent, 1] * size).astype(np.int64), size - 1)
        chosen[sent] = members[before[arm[sent]] + within]
        propensity[sent] = lottery.cells[group[sent], arm[sent]] / size
        cost = np.array([c.message_cost_cents for c in found])[chosen[sent]]
        share = np.array([c.discount_share for c in found])[chosen[sent]]
        expected_cost[sent] = cost + share * customers.order_cents[sent]

    # The runner-up: the next card of the same shuffled deck, so uniform over the allowed strategies not chosen.
    starts = np.concatenate([np.zeros((len(groups.size), 1), np.int64), (groups.allowed * n_members).cumsum(axis=1)], 1)
    left = n_allowed - sent
    second = left > 0
    rank = np.minimum((draws[:, 2] * left).astype(np.int64), left - 1)
    if sent.any():
        own = starts[group[sent], arm[sent]] + within
        rank[sent] += rank[sent] >= own
    if second.any():
        rows = group[second]
        next_arm = sum((rank[second] >= starts[rows, a + 1]).astype(np.int64) for a in range(len(deck)))
        runner_up[second] = members[before[next_arm] + rank[second] - starts[rows, next_arm]]
    if given.is_repeat is not None:
        rows = np.flatnonzero(inside & given.is_repeat.any(axis=1))
        _without_repeats(rows, cell, given, draws, chosen, runner_up, propensity, n_allowed)
        changed = rows[chosen[rows] >= 0]
        expected_cost[changed] = [found[k].message_cost_cents for k in chosen[changed]]
        share = np.array([c.discount_share for c in found])[chosen[changed]]
        expected_cost[changed] += share * customers.order_cents[changed]

    names = (UNBOUND, HOLDOUT, *RULES, NO_STRATEGY, *lottery.causes[len(deck) :])
    constraint = np.full(len(cell), 1, dtype=np.int64)
    if len(groups.size):
        by_cell = cell[inside] - len(deck) + names.index(NO_STRATEGY) + 1
        rule = groups.main_rule[inside]
        by_rule = np.where(rule < len(RULES), rule + 2, 0) if deck else names.index(NO_STRATEGY)
        constraint[inside] = np.where(sent[inside] | (n_allowed[inside] == 0), by_rule, by_cell)

    # A reason depends on group, cell and constraint alone, so it is worded once for all who share it.
    key = np.where(inside, (group * len(lottery.causes) + cell) * len(names) + constraint, -1)
    _, first, why = np.unique(key, return_index=True, return_inverse=True)
    why_texts = tuple(
        reason(bool(sent[i]), names[constraint[i]], int(n_allowed[i]), float(propensity[i])) for i in first
    )
    return Decisions(
        candidates=tuple(found),
        strategy=chosen,
        runner_up=runner_up,
        is_holdout=held,
        propensity=propensity,
        lot_nothing=lot_nothing,
        n_allowed=n_allowed,
        constraint=constraint,
        constraint_texts=names,
        why=why.astype(np.int64),
        why_texts=why_texts,
        expected_cost_cents=expected_cost,
        expected_profit_cents=np.full(len(cell), np.nan),
    )


def _without_repeats(
    rows: np.ndarray,
    cell: np.ndarray,
    given: Setting,
    draws: np.ndarray,
    chosen: np.ndarray,
    runner_up: np.ndarray,
    propensity: np.ndarray,
    n_allowed: np.ndarray,
) -> None:
    """Draws again, in place, for customers some of whose candidates would come again too soon: uniformly among those
    of the arm that would not, and the runner-up among all others allowed."""
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        at = np.arange(len(some))
        may = given.may_get(some)
        n_allowed[some] = may.sum(axis=1)
        sent = cell[some] < len(given.deck)
        mine = may & (given.arm_of == np.where(sent, cell[some], -1)[:, None])
        chosen[some] = _nth(mine, draws[some, 1])
        chance = given.lottery.cells[given.groups.group_of[some], np.where(sent, cell[some], 0)]
        propensity[some[sent]] = (chance / np.maximum(mine.sum(axis=1), 1))[sent]
        may[at[sent], chosen[some][sent]] = False
        runner_up[some] = _nth(may, draws[some, 2])


def _nth(among: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """(b,) int64: of the true columns of each row (b, s) the one that a draw (b,) in [0, 1) falls on, -1 for none."""
    count = among.sum(axis=1)
    nth = np.minimum((draw * count).astype(np.int64), count - 1)
    return np.where(count > 0, (among.cumsum(axis=1) > nth[:, None]).argmax(axis=1), -1)


_NOT_ALLOWED = {
    "no_consent": "there is no consent",
    "complaint_rest": "the customer rests after a complaint",
    "unhappy": "the customer is unhappy with the shop of late",
    "frequency_cap": "the customer got as many messages as the cap allows",
    "margin_floor": "too little margin would be left",
    "repeat": "all would come again too soon",
    "experiment": "the arms of the experiments leave none",
    NO_STRATEGY: "the shop configured no channel",
}


def reason(is_sent: bool, constraint: str, n_allowed: int, propensity: float) -> str:
    if is_sent:
        return f"explore: 1 of {n_allowed} allowed strategies, propensity {propensity:.4g}"
    if constraint == HOLDOUT:
        return "holdout: gets nothing, so that what the plan does can be measured"
    if n_allowed == 0:
        return f"no strategy is allowed, chiefly because {_NOT_ALLOWED[constraint]}"
    if constraint == "control":
        cause = "the lot fell on sending nothing"
    elif constraint == "budget":
        cause = "the lot fell on a strategy that the budget could not carry"
    else:
        cause = f"the lot fell on {constraint.removeprefix('capacity:')}, which cannot carry all who may get it"
    return f"explore: {cause}, propensity of nothing {propensity:.4g}"
