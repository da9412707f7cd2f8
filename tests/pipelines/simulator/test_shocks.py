"""Shocks change the truth, for all policies alike, and nothing where there are none."""

from datetime import date, timedelta

import numpy as np
import pytest

from pipelines.core.config import load_shop
from pipelines.core.shop import Shock, Shop, Simulator
from pipelines.simulator.response import Tonight, Treatment, respond, tonight
from pipelines.simulator.world import World, build_world

FIRST = date(2026, 3, 1)
WAR = Shock(kind="price_war", first_night=FIRST + timedelta(days=3), nights=2)
OUTAGE = Shock(kind="channel_outage", first_night=FIRST + timedelta(days=3), nights=2, channel="push")
CATEGORY = Shock(kind="new_category", first_night=FIRST + timedelta(days=3), nights=5)


def world(*shocks: Shock) -> World:
    simulator = Simulator(customers=1_500, items=200, shocks=shocks)
    shop: Shop = load_shop("demo").model_copy(update={"simulator": simulator})
    return build_world(shop)


def night(place: World, days: int) -> Tonight:
    return tonight(place, FIRST.toordinal() + days)


def bought(place: World, days: int, discount: int | None) -> float:
    who = np.arange(place.customers.size)
    treatment = None if discount is None else Treatment(discount, "email", 18, 21)
    return float(respond(place, night(place, days), who, treatment, np.zeros(len(who))).purchase.mean())


def test_a_price_war_costs_purchases_and_makes_discounts_worth_more_while_it_lasts() -> None:
    peace, war = world(), world(WAR)
    for days in (2, 5):
        assert bought(war, days, None) == bought(peace, days, None)
        assert bought(war, days, 20) == bought(peace, days, 20)
    for days in (3, 4):
        assert bought(war, days, None) < 0.8 * bought(peace, days, None)
        lift = bought(war, days, 20) / bought(war, days, None), bought(peace, days, 20) / bought(peace, days, None)
        assert lift[0] > 1.05 * lift[1]
        assert bought(war, days, 0) / bought(war, days, None) == pytest.approx(
            bought(peace, days, 0) / bought(peace, days, None), rel=0.05
        )


def test_in_an_outage_one_channel_hardly_delivers() -> None:
    place = world(OUTAGE)
    assert night(place, 3).bounces("push").mean() > 0.85
    assert night(place, 3).bounces("email").mean() < 0.05
    assert night(place, 5).bounces("push").mean() < 0.05


def test_a_new_category_is_wished_for_only_once_it_is_open_and_most_while_it_is_news() -> None:
    place = world(CATEGORY)
    new = place.catalogue.new_category
    assert new >= 0

    def share(days: int) -> float:
        return float((place.catalogue.category[night(place, days).wish_items] == new).mean())

    assert share(2) == 0
    assert not (place.catalogue.launch[place.catalogue.category == new] < CATEGORY.first_night.toordinal()).any()
    assert share(7) > 0.15
    assert share(30) < 0.15
    assert share(30) > 0.02


def test_a_shock_leaves_the_rest_of_the_world_s_luck_alone() -> None:
    calm, shaken = night(world(), 3), night(world(WAR, OUTAGE), 3)
    assert all(np.array_equal(calm.luck[name], shaken.luck[name]) for name in calm.luck)
    assert np.array_equal(calm.basket, shaken.basket)


@pytest.mark.parametrize(
    "told",
    [{"kind": "channel_outage"}, {"kind": "price_war", "channel": "push"}, {"kind": "strike"}],
)
def test_a_shock_that_makes_no_sense_is_refused(told: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"channel|kind"):
        Shock.model_validate({"first_night": FIRST, "nights": 1, **told})
    with pytest.raises(ValueError, match="one new_category"):
        Simulator(shocks=(CATEGORY, CATEGORY))
