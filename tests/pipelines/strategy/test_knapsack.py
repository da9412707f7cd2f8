"""The knapsack: within its limits always, as good as its bound says, and the bound is that of the linear relaxation."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.sparse import csr_array, vstack

from pipelines.strategy.knapsack import Choice, Problem, solve


def problem(
    value: list[list[float]],
    cost: list[list[float]],
    *,
    channel: list[int],
    messages: list[int],
    budget: float = np.inf,
    capacity: list[float],
) -> Problem:
    return Problem(
        np.array(value, dtype=np.float32),
        np.array(cost, dtype=np.float32),
        np.array(channel),
        np.array(messages),
        budget,
        np.array(capacity, dtype=np.float64),
    )


def solved(p: Problem, seed: int = 0) -> Choice:
    """The choice, after what every choice must keep to."""
    found = solve(p, np.random.default_rng(seed).random(len(p.value)))
    value, used = p.totals(found.option)
    assert (used <= [p.budget, *p.capacity]).all()
    assert np.isfinite(value)
    assert value == found.value <= found.bound * (1 + 1e-6)
    rows = np.flatnonzero(found.option >= 0)
    assert (p.value[rows, found.option[rows]] > 0).all()
    return found


def a_market(n: int, a: int, seed: int, tight: float = 1.0) -> Problem:
    """Customers who differ in what they are worth, three channels, one or two messages; a fifth is not allowed."""
    random = np.random.default_rng(seed)
    channel, messages = np.arange(a) % 3, 1 + np.arange(a) // 3 % 2
    cost = messages * (1 + random.gamma(2.0, 4.0, (n, 1)) * (np.arange(a) % 2))
    value = random.gamma(0.6, 20, (n, 1)) * np.exp(0.5 * random.normal(size=(n, a))) - 2
    value[random.random((n, a)) < 0.2] = np.nan
    capacity = np.floor(np.array([0.3, 0.2, 0.05]) * n * tight)
    return Problem(value.astype(np.float32), cost.astype(np.float32), channel, messages, 2.5 * n * tight, capacity)


def best_by_hand(p: Problem) -> float:
    """The best of all choices within the limits, one by one."""
    best = 0.0
    for options in product(range(-1, p.value.shape[1]), repeat=len(p.value)):
        taken = [(i, k) for i, k in enumerate(options) if k >= 0]
        if any(not np.isfinite(p.value[i, k]) for i, k in taken):
            continue
        spent = sum(float(p.cost[i, k]) for i, k in taken)
        sent = [sum(int(p.messages[k]) for _, k in taken if p.channel[k] == c) for c in range(len(p.capacity))]
        if spent <= p.budget and all(n <= limit for n, limit in zip(sent, p.capacity, strict=True)):
            best = max(best, sum(float(p.value[i, k]) for i, k in taken))
    return best


def constraints_of(p: Problem) -> tuple[np.ndarray, csr_array, np.ndarray]:
    """Objective, rows and right sides of the same knapsack as a linear programme, one variable per pair allowed."""
    i, k = np.nonzero(np.isfinite(p.value))
    at = np.arange(len(i))
    once = csr_array((np.ones(len(i)), (i, at)), shape=(len(p.value), len(i)))
    sent = csr_array((p.messages[k].astype(float), (p.channel[k], at)), shape=(len(p.capacity), len(i)))
    rows = vstack([once, sent, csr_array(p.cost[i, k].astype(float)[None, :])]).tocsr()
    return -p.value[i, k].astype(float), rows, np.concatenate([np.ones(len(p.value)), p.capacity, [p.budget]])


@st.composite
def tiny(draw: st.DrawFn) -> Problem:
    n, a, c = draw(st.integers(0, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    numbers = st.sampled_from([float("nan"), -1.0, 0.0, 1.0, 2.0, 2.5, 7.0])
    costs = st.sampled_from([0.0, 1.0, 1.5, 4.0])
    table = st.lists(st.lists(numbers, min_size=a, max_size=a), min_size=n, max_size=n)
    prices = st.lists(st.lists(costs, min_size=a, max_size=a), min_size=n, max_size=n)
    return Problem(
        np.array(draw(table), dtype=np.float32).reshape(n, a),
        np.array(draw(prices), dtype=np.float32).reshape(n, a),
        np.array(draw(st.lists(st.integers(0, c - 1), min_size=a, max_size=a))),
        np.array(draw(st.lists(st.integers(1, 2), min_size=a, max_size=a))),
        draw(st.sampled_from([0.0, 1.0, 3.0, 5.5, np.inf])),
        np.array(draw(st.lists(st.sampled_from([0.0, 1.0, 3.0, np.inf]), min_size=c, max_size=c))),
    )


@settings(max_examples=300, deadline=None)
@given(tiny())
def test_the_best_choice_lies_between_what_is_chosen_and_the_bound(p: Problem) -> None:
    found, best = solved(p), best_by_hand(p)
    assert found.value <= best + 1e-6
    assert best <= found.bound + 1e-5
    # Rounding down a linear solution loses one option per limit at most; so little is lost however small the shop.
    assert best - found.value <= (1 + len(p.capacity)) * np.nanmax(p.value, initial=0) + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_that_of_the_linear_relaxation_and_the_choice_close_to_the_best(seed: int) -> None:
    p = a_market(400, 9, seed, tight=[1.0, 0.3, 3.0, 0.1][seed])
    found = solved(p)
    objective, rows, right = constraints_of(p)
    relaxed = linprog(objective, A_ub=rows, b_ub=right, bounds=(0, 1), method="highs")
    assert found.bound == pytest.approx(-relaxed.fun, rel=1e-4)
    assert found.bound >= -relaxed.fun * (1 - 1e-9)
    exact = milp(
        objective, integrality=np.ones(len(objective)), bounds=(0, 1), constraints=LinearConstraint(rows, ub=right),
        options={"mip_rel_gap": 1e-4},
    )  # fmt: skip
    assert -exact.fun * (1 - 0.01) <= found.value <= found.bound
    assert found.gap < 0.01


def test_the_gap_is_far_below_a_thousandth_where_there_are_many_customers() -> None:
    for tight in (0.1, 1.0):
        found = solved(a_market(20_000, 18, seed=5, tight=tight))
        assert 0 <= found.gap < 2e-4


def test_it_earns_more_than_the_most_valuable_pairs_first() -> None:
    p = a_market(3_000, 9, seed=6, tight=0.5)
    left, room = p.budget, p.capacity.copy()
    taken: dict[int, int] = {}
    worth = np.nan_to_num(p.value, nan=-1)
    for flat in np.argsort(-worth, axis=None):
        i, k = divmod(int(flat), worth.shape[1])
        if i not in taken and worth[i, k] > 0 and p.cost[i, k] <= left and p.messages[k] <= room[p.channel[k]]:
            taken[i], left = k, left - p.cost[i, k]
            room[p.channel[k]] -= p.messages[k]
    greedy = sum(float(p.value[i, k]) for i, k in taken.items())
    assert solved(p).value > 1.02 * greedy


def test_without_scarce_limits_everybody_gets_what_is_best_and_the_gap_is_none() -> None:
    p = replace(a_market(500, 6, seed=1), budget=np.inf, capacity=np.full(3, np.inf))
    found = solved(p)
    worth = np.where(np.isfinite(p.value), p.value, -1)
    assert np.array_equal(found.option, np.where(worth.max(axis=1) > 0, worth.argmax(axis=1), -1))
    assert (found.gap, found.prices.tolist()) == (0, [0, 0, 0, 0])


def test_a_scarce_channel_goes_to_those_it_earns_most_with_and_its_price_is_the_margin() -> None:
    p = problem([[9], [7], [5], [3]], [[0]] * 4, channel=[0], messages=[1], capacity=[2])
    found = solved(p)
    assert found.option.tolist() == [0, 0, -1, -1]
    assert 5 <= found.prices[1] <= 7


def test_the_budget_is_spent_where_a_unit_earns_most_not_where_most_is_earned() -> None:
    p = problem([[10], [6], [6]], [[10], [5], [5]], channel=[0], messages=[1], budget=10.5, capacity=[np.inf])
    assert solved(p).option.tolist() == [-1, 0, 0]


def test_a_second_channel_is_taken_where_the_first_earns_more_with_others() -> None:
    p = problem([[10, 9], [10, 2]], [[0, 0]] * 2, channel=[0, 1], messages=[1, 1], capacity=[1, 5])
    assert solved(p).option.tolist() == [1, 0]


def test_what_is_not_allowed_or_earns_nothing_is_never_chosen() -> None:
    p = problem([[np.nan, -np.inf, 0, -3]], [[0] * 4], channel=[0] * 4, messages=[1] * 4, capacity=[9])
    assert solved(p).option.tolist() == [-1]


@pytest.mark.parametrize(
    ("budget", "capacity"), [(0.0, [np.inf]), (np.inf, [0.0]), (0.0, [0.0])], ids=["budget", "capacity", "both"]
)
def test_limits_of_nothing_leave_nothing(budget: float, capacity: list[float]) -> None:
    p = problem([[5, 6]] * 3, [[1, 2]] * 3, channel=[0, 0], messages=[1, 2], budget=budget, capacity=capacity)
    found = solved(p)
    assert (found.option == -1).all()
    assert found.bound == pytest.approx(0, abs=1e-4)


def test_no_customers_and_no_options_are_fine() -> None:
    nobody = Problem(np.zeros((0, 2)), np.zeros((0, 2)), np.array([0, 0]), np.array([1, 1]), 1.0, np.array([1.0]))
    assert solved(nobody).option.shape == (0,)
    nothing = np.array([], dtype=np.int64)
    assert solved(Problem(np.zeros((2, 0)), np.zeros((2, 0)), nothing, nothing, 1.0, np.array([]))).option.tolist() == [
        -1,
        -1,
    ]


def test_among_equal_customers_the_ties_decide_in_whatever_order_they_come() -> None:
    random = np.random.default_rng(3)
    n = 600
    value = random.choice([3.0, 6.0], (n, 1)) * np.array([[1.0, 1.0, 2.0]])
    p = Problem(
        value.astype(np.float32), np.full((n, 3), 1, np.float32), np.array([0, 1, 1]), np.array([1, 1, 2]),
        250.0, np.array([90.0, 130.0]),
    )  # fmt: skip
    tie, back = random.random(n), np.arange(n)[::-1]
    first = solve(p, tie)
    turned = solve(replace(p, value=p.value[back], cost=p.cost[back]), tie[back])
    assert np.array_equal(first.option, turned.option[back])
    assert np.array_equal(first.option, solve(p, tie).option)
    assert not np.array_equal(first.option, solve(p, 1 - tie).option)
    assert first.gap < 1e-6


@pytest.mark.parametrize("wrong", [{"budget": -1.0}, {"capacity": np.array([-1.0])}, {"cost": np.array([[-1.0]])}])
def test_negative_limits_and_costs_are_refused(wrong: dict[str, object]) -> None:
    p = problem([[1]], [[1]], channel=[0], messages=[1], budget=1, capacity=[1])
    with pytest.raises(ValueError, match="must not be negative"):
        replace(p, **wrong)  # type: ignore[arg-type]
