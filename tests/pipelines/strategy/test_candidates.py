"""Candidates: what the configuration allows, under ids that stay, and mistakes told at the door."""

import numpy as np
import pytest

from pipelines.core.config import load_shop
from pipelines.core.errors import ConfigError
from pipelines.core.shop import Channel, Offer, Rule, SendWindow, Strategy
from pipelines.strategy.candidates import arms, candidates

SMALL = Strategy(
    offers=(Offer(id="none"), Offer(id="save10", discount_percent=10)),
    channels=(
        Channel(id="email", cost_cents=1, capacity_per_night=10, default_consent=True),
        Channel(id="sms", cost_cents=6, capacity_per_night=10, default_consent=True),
    ),
    send_windows=(SendWindow(id="evening", from_hour=18, to_hour=21),),
    frequencies=(1, 2),
    creative_styles=("warm",),
    redemption_percent=2,
)


def with_(**changes: object) -> Strategy:
    return SMALL.model_copy(update=changes)


def test_every_combination_is_a_candidate_with_a_stable_id() -> None:
    assert [c.strategy_id for c in candidates(SMALL)] == [
        "email.none.evening.x1.warm",
        "email.none.evening.x2.warm",
        "email.save10.evening.x1.warm",
        "email.save10.evening.x2.warm",
        "sms.none.evening.x1.warm",
        "sms.none.evening.x2.warm",
        "sms.save10.evening.x1.warm",
        "sms.save10.evening.x2.warm",
    ]


def test_a_rule_drops_only_what_matches_all_its_fields() -> None:
    rule = Rule(why="text messages once", channels=("sms",), frequencies=(2,))
    kept = {c.strategy_id for c in candidates(with_(forbid=(rule,)))}
    assert len(kept) == 6
    assert "sms.none.evening.x1.warm" in kept
    assert "email.none.evening.x2.warm" in kept
    assert not any(name.startswith("sms") and ".x2." in name for name in kept)


def test_a_rule_without_fields_forbids_nothing() -> None:
    assert len(candidates(with_(forbid=(Rule(why="empty rule"),)))) == 8


def test_costs_are_messages_plus_the_discounts_expected_to_be_used() -> None:
    by_id = {c.strategy_id: c for c in candidates(SMALL)}
    orders = np.array([0, 5_000])
    assert by_id["sms.none.evening.x2.warm"].expected_cost_cents(orders).tolist() == [12, 12]
    # one message: 2% of them are used, each costs 10% of 5000 cents; two messages: twice that
    assert by_id["email.save10.evening.x1.warm"].expected_cost_cents(orders) == pytest.approx([1, 1 + 10])
    assert by_id["email.save10.evening.x2.warm"].expected_cost_cents(orders) == pytest.approx([2, 2 + 20])


def test_arms_gather_what_no_limit_tells_apart_and_lose_nothing() -> None:
    strategy = load_shop("demo").strategy
    found = candidates(strategy)
    gathered = arms(found, strategy)
    assert sorted(m for arm in gathered for m in arm.members) == list(range(len(found)))
    for arm in gathered:
        for member in arm.members:
            candidate = found[member]
            assert candidate.channel == strategy.channels[arm.channel].id
            assert (candidate.frequency, candidate.discount_percent) == (arm.frequency, arm.discount_percent)
            assert candidate.discount_share == arm.discount_share


@pytest.mark.parametrize("name", ["demo", "taobao", "rees46", "retailrocket", "yoochoose"])
def test_every_shipped_shop_has_candidates_with_unique_ids(name: str) -> None:
    ids = [c.strategy_id for c in candidates(load_shop(name).strategy)]
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"creative_styles": ("=cmd",)}, "creative_styles: '=cmd' is no name"),
        ({"creative_styles": ("a.b",)}, "creative_styles: 'a.b' is no name"),
        ({"creative_styles": ("warm", "warm")}, "has a value twice"),
        ({"frequencies": (0,)}, "frequencies: 0 is below 1"),
        ({"frequencies": (1, 1)}, "has a value twice"),
        ({"offers": (Offer(id="x", text="=1+1"),)}, "text of 'x'"),
        ({"offers": (Offer(id="x", text=" @sum"),)}, "text of 'x'"),
        ({"offers": (Offer(id="x", text="two\nlines"),)}, "text of 'x'"),
        ({"forbid": (Rule(why="misspelt", channels=("smss",)),)}, r"channels \['smss'\] are unknown"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_in_one_line(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        candidates(with_(**changes))
    assert "\n" not in str(caught.value)
