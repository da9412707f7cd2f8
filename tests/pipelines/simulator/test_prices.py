"""The demo shop's prices: as ever unless they are told to move; then by a known rule, and demand answers."""

import json
from datetime import date

import numpy as np
import pytest

from pipelines.core.config import load_shop
from pipelines.core.shop import Shop
from pipelines.simulator.truth import at_prices, expected_units, price_elasticity
from pipelines.simulator.world import World, build_world

SUNDAY = date(2026, 3, 1).toordinal()


def shop(percent: float) -> Shop:
    demo = load_shop("demo")
    assert demo.simulator
    changes = {"customers": 1_500, "items": 60, "price_changes_percent": percent}
    return demo.model_copy(update={"simulator": demo.simulator.model_copy(update=changes)})


@pytest.fixture(scope="module")
def moving() -> World:
    return build_world(shop(15))


def test_as_many_prices_change_a_night_as_configured_and_some_are_lower_at_weekends(moving: World) -> None:
    prices = np.array([moving.catalogue.prices(night) for night in range(SUNDAY + 1, SUNDAY + 43)])
    weekday = [k for k in range(41) if k % 7 < 4]  # changes from Monday to Friday
    assert np.mean([(prices[k] != prices[k + 1]).mean() for k in weekday]) == pytest.approx(1 / 7, abs=0.03)
    share = prices / moving.catalogue.base_price_cents
    weekend = np.arange(42) % 7 >= 5
    assert share[~weekend].mean() == pytest.approx(1, abs=0.02)
    assert share[weekend].mean() < share[~weekend].mean() - 0.015
    assert (share < np.exp(0.21)).all()


def test_without_it_prices_are_as_they_were_and_no_list_price_is_told() -> None:
    still = build_world(shop(0)).catalogue
    assert set(np.round(still.prices(SUNDAY) / still.base_price_cents, 2)) <= {
        0.79,
        0.8,
        0.9,
        0.95,
        1.0,
        1.05,
        0.81,
        0.94,
        0.99,
        1.01,
    }
    assert "list_price" not in json.loads(still.lines([0], still.prices(SUNDAY), still.first_stock)[0])["attributes"]


def test_the_catalogue_tells_the_nights_price_and_the_list_price(moving: World) -> None:
    shelf = moving.catalogue
    told = json.loads(shelf.lines([7], shelf.prices(SUNDAY), shelf.first_stock)[0])
    assert round(100 * told["price"]) == shelf.prices(SUNDAY)[7]
    assert round(100 * told["attributes"]["list_price"]) == shelf.base_price_cents[7]


def test_demand_answers_by_the_categorys_elasticity(moving: World) -> None:
    found = price_elasticity(moving, [SUNDAY + 3], n_parts=6)
    # The truth is a customer's of middling attention to prices; buyers look at them about as much.
    assert found == pytest.approx(moving.catalogue.elasticity(), rel=0.35)
    assert np.corrcoef(found, moving.catalogue.elasticity())[0, 1] > 0.9


def test_a_price_that_is_told_overrules_the_rule_on_its_night_alone(moving: World) -> None:
    cents = np.full(60, 123_456)
    other = at_prices(moving, SUNDAY, cents)
    assert (other.catalogue.prices(SUNDAY) == 123_456).all()
    assert (other.catalogue.prices(SUNDAY + 1) == moving.catalogue.prices(SUNDAY + 1)).all()
    assert expected_units(other, SUNDAY).sum() < expected_units(moving, SUNDAY).sum() / 2
