"""Profit against budget: that of plans made with each budget, concave, its slope the price."""

from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from pipelines.core.config import load_shop
from pipelines.core.limits import Minimum
from pipelines.strategy.budget_curve import budget_curve
from pipelines.strategy.candidates import candidates
from pipelines.strategy.constraints import Customers, Labels
from pipelines.strategy.exploit import choose, exploit, pose

NIGHT, N = date(2026, 3, 8), 800
TIGHT = load_shop("demo").strategy.model_copy(update={"nightly_budget_cents": 250})


def some_customers() -> Customers:
    random = np.random.default_rng(1)
    no = np.zeros((N, 3), dtype=bool)
    brands = Labels(("acme", "brio"), random.integers(-1, 2, N))
    return Customers(
        tuple(f"{i:064x}" for i in range(N)), random.choice([900, 3_000, 20_000], N), np.full(N, 40.0),
        np.zeros((N, 3), dtype=np.int64), no, no, None, {"top_brand": brands},
    )  # fmt: skip


def some_profits() -> np.ndarray:
    random = np.random.default_rng(2)
    shape = (N, len(candidates(TIGHT)))
    return (random.gamma(1, 8, (N, 1)) + random.normal(0, 6, shape) - 5).astype(np.float32)


def test_the_curve_is_what_plans_with_these_budgets_expect_and_its_slope_is_the_price() -> None:
    customers, profit = some_customers(), some_profits()
    done = exploit(customers, profit, TIGHT, NIGHT)
    points = budget_curve(done.posed, TIGHT, done.cuts)
    assert [point.budget_cents for point in points] == [62, 125, 188, 250, 312, 375, 500]
    profits, prices = [point.profit_cents for point in points], [point.price for point in points]
    assert profits == sorted(profits)
    assert prices == sorted(prices, reverse=True)
    for point in points[::3]:
        anew = pose(customers, profit, TIGHT.model_copy(update={"nightly_budget_cents": point.budget_cents}))
        choice = choose(anew, TIGHT, np.arange(float(len(anew.inside))), [])
        assert (1 - anew.share) * choice.value == pytest.approx(point.profit_cents, rel=0.02)  # customers are whole
    for left, right in pairwise(points):
        slope = (right.profit_cents - left.profit_cents) / (right.budget_cents - left.budget_cents)
        # Of a larger budget more is kept back for rounding, as dearer options are open: not each cent is the choices'.
        assert 0.8 * right.price <= slope <= 1.05 * left.price


def test_a_budget_that_does_not_bind_has_no_price_and_the_curve_shows_where_it_would() -> None:
    rich = TIGHT.model_copy(update={"nightly_budget_cents": 10**6})
    done = exploit(some_customers(), some_profits(), rich, NIGHT)
    points = budget_curve(done.posed, rich, done.cuts)
    assert {point.price for point in points if point.budget_cents >= 10**5} == {0.0}
    assert points[0].price > 0.1
    assert points[0].budget_cents < 5_000
    profits = [point.profit_cents for point in points]
    assert all(right >= left * (1 - 1e-4) for left, right in pairwise(profits))
    unbound = (1 - done.posed.share) * choose(done.posed, rich, np.arange(float(len(done.posed.inside))), []).value
    assert profits[-1] == pytest.approx(unbound, rel=1e-3)


def test_budgets_below_what_a_minimum_asks_for_are_left_out() -> None:
    asks = TIGHT.model_copy(update={"minimums": (Minimum(column="top_brand", value="acme", spend_cents=150),)})
    done = exploit(some_customers(), some_profits(), asks, NIGHT)
    points = budget_curve(done.posed, asks, done.cuts)
    assert [point.budget_cents for point in points] == [188, 250, 312, 375, 500]


def test_no_budget_and_no_customers_have_no_curve() -> None:
    none = TIGHT.model_copy(update={"nightly_budget_cents": 0})
    assert budget_curve(exploit(some_customers(), some_profits(), none, NIGHT).posed, none, []) == []
