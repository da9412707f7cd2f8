"""The knapsack: within its limits always, as good as its bound says, and the bound is that of the linear relaxation."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.sparse import csr_array, vstack

from pipelines.strategy.conflict import conflict
from pipelines.strategy.dual import minimise
from pipelines.strategy.knapsack import Choice, Linear, Problem, solve


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


# -- limits of any kind


def with_limits(p: Problem, kind: list[int], *limits: tuple[object, object, float]) -> Problem:
    """The problem with more limits, each (rate per kind and option, share of the cost per kind, most)."""
    m, a = max(kind) + 1, p.value.shape[1]
    rate = np.array([np.broadcast_to(np.asarray(one[0], dtype=float).reshape(m, -1), (m, a)) for one in limits])
    of_cost = np.array([np.broadcast_to(np.asarray(one[1], dtype=float), (m,)) for one in limits])
    return replace(p, more=Linear(np.array(kind), rate, of_cost, np.array([one[2] for one in limits])))


@st.composite
def tiny_with_limits(draw: st.DrawFn) -> Problem:
    """A tiny problem with up to three limits more, from above and below, some of which cannot hold together."""
    p = draw(tiny().filter(lambda p: len(p.value) > 0))
    m, k = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    n, a = p.value.shape
    rates = st.sampled_from([-1.0, -0.5, 0.0, 0.0, 1.0])
    kind = draw(st.lists(st.integers(0, m - 1), min_size=n, max_size=n))
    rate = draw(st.lists(rates, min_size=k * m * a, max_size=k * m * a))
    of_cost = draw(st.lists(st.sampled_from([-1.0, 0.0, 0.0]), min_size=k * m, max_size=k * m))
    most = draw(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0]), min_size=k, max_size=k))
    more = Linear(np.array(kind), np.array(rate).reshape(k, m, a), np.array(of_cost).reshape(k, m), np.array(most))
    return replace(p, more=more)


def best_that_fits(p: Problem) -> float | None:
    best = None
    for options in product(range(-1, p.value.shape[1]), repeat=len(p.value)):
        option = np.array(options, dtype=np.int64)
        taken = np.flatnonzero(option >= 0)
        if np.isfinite(p.value[taken, option[taken]]).all() and p.fits(option):
            best = max(p.totals(option)[0], -np.inf if best is None else best)
    return best


@settings(max_examples=100, deadline=None)
@given(tiny_with_limits())
def test_limits_of_any_kind_hold_or_are_told_and_the_bound_is_one(p: Problem) -> None:
    found, best = solve(p, np.arange(len(p.value), dtype=float)), best_that_fits(p)
    value, used = p.totals(found.option)
    assert p.more is not None
    own = 1 + len(p.capacity)
    hard = np.ones(len(used), dtype=bool)
    hard[own:] = (p.more.rate >= 0).all(axis=(1, 2)) & (p.more.of_cost >= 0).all(axis=1) & (p.more.most >= 0)
    assert (used[hard] <= p.limits[hard]).all()
    assert found.missing == pytest.approx(np.maximum(used - p.limits, 0), abs=1e-8)
    assert not found.missing[hard].any()
    assert found.missing.any() == (best is None)
    if best is not None:
        assert found.bound >= best - 1e-4 * max(1.0, abs(best))
        assert best - 1e-3 * abs(found.bound) - 1e-5 <= value <= best + 1e-6
    together = conflict(p)
    if together:  # what the relaxation cannot keep, whole customers cannot
        assert best is None
        assert all(not conflict(_without(p, one, together)) for one in together)


def test_a_limit_that_the_solver_crosses_by_its_tolerance_is_asked_for_again() -> None:
    nan = np.nan  # 4 and 1.5 would cost the whole 5.5, of which a budget keeps back a billionth for rounding
    value = np.array([[nan, 0], [-1, nan], [2, nan]], dtype=np.float32)
    cost = np.array([[0, 4], [0, 0], [1.5, 0]], dtype=np.float32)
    others = Linear(
        np.array([0, 0, 1]), np.full((2, 2, 2), -1.0), np.array([[-1.0, -1.0], [-1.0, 0.0]]), np.full(2, -2.0)
    )
    options, messages = np.zeros(2, np.int64), np.ones(2, np.int64)
    found = solve(Problem(value, cost, options, messages, 5.5, np.array([3.0]), others), np.arange(3.0))
    assert found.option.tolist() == [-1, 0, 0]
    assert not found.missing.any()


def _without(p: Problem, limit: int, kept: list[int]) -> Problem:
    """The problem with the limits `kept` but one."""
    limits = np.full(len(p.limits), np.inf)
    rest = [one for one in kept if one != limit]
    limits[rest] = p.limits[rest]
    own = 1 + len(p.capacity)
    assert p.more is not None
    return replace(p, budget=limits[0], capacity=limits[1:own], more=replace(p.more, most=limits[own:]))


def a_market_with_limits(n: int, a: int, seed: int, tight: float) -> Problem:
    """The market with a window's capacity, a minimum spend for one brand of two and shares of three groups bounded."""
    p, random = a_market(n, a, seed, tight), np.random.default_rng(seed + 50)
    group, brand = random.integers(0, 3, n), random.integers(0, 2, n)
    group[: n // 10] = 2
    kind = group * 2 + brand
    size = np.bincount(group, minlength=3)
    limits: list[tuple[object, object, float]] = [
        (np.tile(np.where(np.arange(a) < a // 2, p.messages, 0), (6, 1)), 0.0, float(p.capacity[0]) / 2),
        (np.zeros((6, 1)), -np.array([0.0, 1.0] * 3), -0.65 * p.budget),
    ]
    for one in range(3):
        apart = (np.repeat(np.arange(3), 2) == one) - size[one] / n
        limits += [((sign * apart)[:, None], 0.0, 0.02 * size[one] + 1) for sign in (1, -1)]
    return with_limits(p, kind.tolist(), *limits)


def programme_of(p: Problem) -> tuple[np.ndarray, csr_array, np.ndarray]:
    """As `constraints_of`, all limits included."""
    i, k = np.nonzero(np.isfinite(p.value))
    at = np.arange(len(i))
    once = csr_array((np.ones(len(i)), (i, at)), shape=(len(p.value), len(i)))
    assert p.more is not None
    kind = p.more.kind[i]
    use = np.zeros((len(p.limits), len(i)))
    use[0] = p.cost[i, k]
    use[1 + p.channel[k], at] = p.messages[k]
    use[1 + len(p.capacity) :] = p.more.rate[:, kind, k] + p.more.of_cost[:, kind] * p.cost[i, k]
    rows = vstack([once, csr_array(use)]).tocsr()
    return -p.value[i, k].astype(float), rows, np.concatenate([np.ones(len(p.value)), p.limits])


@pytest.mark.parametrize("seed", range(3))
def test_with_windows_minimums_and_fairness_the_bound_is_still_that_of_the_linear_relaxation(seed: int) -> None:
    p = a_market_with_limits(1_500, 8, seed, [1.0, 0.3, 0.1][seed])
    assert not p.fits(solve(replace(p, more=None), np.arange(1_500.0)).option)  # they do ask for something
    found = solve(p, np.random.default_rng(seed).random(1_500))
    objective, rows, right = programme_of(p)
    relaxed = linprog(objective, A_ub=rows, b_ub=right, bounds=(0, 1), method="highs")
    assert found.bound == pytest.approx(-relaxed.fun, rel=1e-4)
    assert not found.missing.any()
    assert p.fits(found.option)
    assert found.gap < 0.01


def test_a_minimum_takes_from_those_it_costs_least_even_at_a_loss() -> None:
    p = problem([[9], [4], [3], [-1], [-5]], [[1]] * 5, channel=[0], messages=[1], budget=2.01, capacity=[np.inf])
    alone = solved(p)
    assert alone.option.tolist() == [0, 0, -1, -1, -1]
    brand = with_limits(p, [0, 0, 0, 1, 1], ([[0.0], [-1.0]], 0.0, -1.0))
    found = solve(brand, np.arange(5.0))
    assert found.option.tolist() == [0, -1, -1, 0, -1]
    assert found.value == 8
    assert found.prices[2] == pytest.approx(5, abs=1.01)  # 4 is given up and 1 lost


def test_a_bound_between_groups_evens_out_what_is_sent() -> None:
    value = [[10.0 - i] for i in range(6)] + [[1.0]] * 6
    p = problem(value, [[0]] * 12, channel=[0], messages=[1], capacity=[6])
    assert solved(p).option.tolist() == [0] * 6 + [-1] * 6
    fair = with_limits(p, [0] * 6 + [1] * 6, ([[0.5], [-0.5]], 0.0, 1.0), ([[-0.5], [0.5]], 0.0, 1.0))
    found = solve(fair, np.arange(12.0))
    assert np.flatnonzero(found.option[:6] == 0).tolist() == [0, 1, 2, 3]
    assert (found.option[6:] == 0).sum() == 2


def test_equal_customers_are_divided_so_that_all_of_a_scarce_limit_is_used() -> None:
    p = problem([[3, 2]] * 1000, [[2, 1]] * 1000, channel=[0, 0], messages=[1, 1], budget=1500.5, capacity=[np.inf])
    found = solved(p)
    assert np.bincount(found.option).tolist() == [500, 500]
    assert found.gap < 3e-4  # half a unit of the budget is left


def test_what_was_learnt_of_one_budget_tells_the_price_of_another() -> None:
    p, cuts = a_market(3_000, 12, seed=8), []
    solve(p, np.arange(3_000.0), cuts)
    n_cuts = len(cuts)
    more = replace(p, budget=1.2 * p.budget)
    warm = minimise(more, cuts, np.full(3_000, -1))
    cold = solve(more, np.arange(3_000.0))
    assert warm.least == pytest.approx(cold.bound, rel=1e-4)
    assert len(cuts) - n_cuts < n_cuts / 2
