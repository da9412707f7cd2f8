"""Suggested prices: the best one where the response is known, never across a guardrail, kept where little is known."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.pricing import Pricing
from pipelines.strategy.pricing import Items, outlook, suggest

NIGHT = date(2026, 3, 14)
WIDE = Pricing(max_step_percent=50, parity_percent=90, explore_percent=0, ending_cents=0, ending_unit_cents=1)


def items(n: int = 1, **given: Any) -> Items:
    """Items at 1000 cents that cost 500, sell one a night, and answer with an elasticity of -2, surely."""
    values = {
        "price": 1000.0, "unit_cost": 500.0, "reference": 1000.0, "units": 1.0, "units_sd": 0.2, "has_sold": True,
        "elasticity": -2.0, "elasticity_sd": 0.01,
    } | given  # fmt: skip
    return Items([f"i{k}" for k in range(n)], **{name: np.full(n, value) for name, value in values.items()})


def only(of: Items, rules: Pricing) -> tuple[float, str, str]:
    found = suggest(of, rules, NIGHT)
    return float(found.price[0]), str(found.guardrail[0]), str(found.why[0])


@pytest.mark.parametrize(("elasticity", "best"), [(-1.7, 1214), (-2.5, 833), (-3, 750)])
def test_with_a_known_response_it_is_the_monopoly_price(elasticity: float, best: int) -> None:
    price, guardrail, why = only(items(elasticity=elasticity), WIDE)  # cost e / (1 + e)
    assert price == pytest.approx(best, rel=0.02)
    assert (guardrail, why) == ("none", "optimum")


@pytest.mark.parametrize(
    ("changed", "rules", "expected"),
    [
        ({"elasticity": -1.2}, {"max_step_percent": 5}, (1050, "step", "bound")),
        ({"elasticity": -1.2}, {"parity_percent": 3}, (1030, "parity", "bound")),
        ({"elasticity": -5.0}, {"max_step_percent": 5}, (950, "step", "bound")),
        ({"elasticity": -8.0, "unit_cost": 700}, {"margin_floor_percent": 20}, (875, "margin_floor", "bound")),
        ({"elasticity": -0.5}, {"max_step_percent": 5}, (1050, "step", "bound")),  # inelastic: no price is too high
    ],
)
def test_the_guardrail_that_bound_it_is_told(
    changed: dict[str, float], rules: dict[str, float], expected: tuple[float, str, str]
) -> None:
    assert only(items(**changed), WIDE.model_copy(update=rules)) == expected


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"elasticity_sd": 2.0}, "uncertain"),
        ({"elasticity_sd": np.nan}, "uncertain"),
        ({"has_sold": False}, "never_sold"),
        ({"elasticity": -2.0}, "no_gain"),  # tonight's price is the best
        ({"reference": 400.0}, "conflict"),  # the band ends below what the item costs
    ],
)
def test_a_price_is_kept_and_the_reason_told(changed: dict[str, float], why: str) -> None:
    rules = Pricing(explore_percent=0)
    assert only(items(price=999.0, **changed), rules)[::2] == (999, why)


@pytest.mark.parametrize("price", [np.nan, 0.0, -5.0])
def test_an_item_without_a_price_has_a_row_that_says_so(price: float) -> None:
    found = suggest(items(price=price), Pricing(), NIGHT)
    assert found.why.tolist() == ["no_price"]
    assert np.isnan([found.price[0], found.units[0, 0], found.profit[0, 0], found.gain[0, 0]]).all()


def test_a_unit_cost_above_the_price_raises_it_step_by_step_to_the_floor() -> None:
    price, seen = 899.0, []
    for _ in range(10):
        found = suggest(items(price=price, unit_cost=1000.0), Pricing(explore_percent=0), NIGHT)
        assert found.price[0] <= 1.05 * price
        price = float(found.price[0])
        seen.append(str(found.why[0]))
    assert seen[:3] == ["to_floor"] * 3
    assert price >= 1000 / 0.95
    assert seen[-1] != "to_floor"


def test_a_price_outside_of_the_band_goes_back_by_steps() -> None:
    assert only(items(price=1499.0), Pricing()) == (1429, "parity", "to_parity")  # a step of 5% ends at 1424.05
    assert only(items(price=1209.0), Pricing()) == (1199, "parity", "to_parity")


def test_lots_move_about_as_many_prices_as_wanted_within_their_band_the_same_way_each_time() -> None:
    rules = Pricing(explore_percent=25, explore_band_percent=4)
    many = items(4_000, price=1999.0, reference=1999.0, elasticity_sd=2.0)
    found, again, other = (suggest(many, rules, night) for night in (NIGHT, NIGHT, date(2026, 3, 15)))
    moved = found.price != 1999
    assert set(found.why[moved]) == {"lot"}
    assert 0.19 < moved.mean() < 0.25  # a lot may fall on tonight's price
    assert (np.abs(found.price / 1999 - 1) < 0.0425).all()
    assert (found.price == again.price).all()
    assert (found.price != other.price).any()


def test_the_outlook_is_of_the_lognormal_and_the_expected_lies_within() -> None:
    one = items(units=2.0, units_sd=0.0, elasticity_sd=0.5)
    units, profit, gain = outlook(one, np.array([1100.0]))
    x = np.log(1.1)
    assert units[0, 0] == pytest.approx(2 * np.exp(-2 * x + (0.5 * x) ** 2 / 2))
    assert units[1, 0] == pytest.approx(2 * np.exp(-2 * x - 1.95996 * 0.5 * x))
    assert profit[0, 0] == pytest.approx(600 * units[0, 0])
    assert gain[0, 0] == pytest.approx(profit[0, 0] - 1000)
    assert (gain[1] <= gain[0]).all()
    assert (gain[0] <= gain[2]).all()


PRICES = st.floats(5, 500_000)
ITEM = st.tuples(
    PRICES, st.floats(0, 2), st.floats(0.3, 3), st.floats(-8, 1), st.floats(0.01, 1.5), st.booleans(), st.floats(0, 50)
)
RULES = st.builds(
    Pricing,
    margin_floor_percent=st.floats(-20, 60), max_step_percent=st.floats(5, 30), parity_percent=st.floats(1, 60),
    explore_percent=st.floats(0, 100), explore_band_percent=st.floats(0.5, 5), min_confidence=st.floats(0.5, 0.95),
    ending_cents=st.sampled_from([0, 9]), ending_unit_cents=st.sampled_from([10, 100]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(ITEM, min_size=1, max_size=6), RULES)
def test_no_guardrail_is_ever_crossed(rows: list[tuple[float, ...]], rules: Pricing) -> None:
    price, cost, reference, e, sd, sold, units = (
        np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)
    )
    of = Items(
        [str(k) for k in range(len(rows))], np.round(price), np.round(price * cost), np.round(price * reference), units,
        units / 4, sold > 0, e, sd,
    )  # fmt: skip
    found = suggest(of, rules, NIGHT)
    now, asked, tiny = of.price, found.price, 1e-6
    floor = of.unit_cost / (1 - rules.margin_floor_percent / 100)
    least = np.maximum(floor, of.reference * (1 - rules.parity_percent / 100))
    most = of.reference * (1 + rules.parity_percent / 100)
    assert (asked > 0).all()
    assert (np.abs(asked - now) <= rules.max_step_percent / 100 * now + tiny).all()
    assert ((asked >= least - tiny) | (asked >= now)).all()
    assert ((asked <= most + tiny) | (asked <= now)).all()
    changed = asked != now
    assert (asked[changed] % rules.ending_unit_cents == rules.ending_cents).all()
    assert set(found.why[~of.has_sold & changed]) <= {"to_floor", "to_parity"}
    for low, high in zip((found.units[1], found.gain[1]), (found.units[2], found.gain[2]), strict=True):
        assert (low <= high).all()
    again = suggest(replace(of, price=now.copy()), rules, NIGHT)
    assert (again.price == asked).all()


def test_guardrails_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="explore_band_percent is above max_step_percent"):
        Pricing(max_step_percent=2, explore_band_percent=3)
    with pytest.raises(ValueError, match="ending_cents is not below ending_unit_cents"):
        Pricing(ending_cents=99)
