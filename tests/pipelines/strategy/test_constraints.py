"""Which limit stops which strategy for whom, on customers that fit in the head."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.core.shop import Channel, Offer, Strategy
from pipelines.strategy.candidates import arms, candidates
from pipelines.strategy.constraints import (
    RULES,
    Customers,
    Groups,
    allowed_after_discount,
    group_customers,
    main_rule,
)

STRATEGY = Strategy(
    offers=(Offer(id="none"), Offer(id="save20", discount_percent=20)),
    channels=(
        Channel(id="email", cost_cents=1, capacity_per_night=10, cap_messages=2, default_consent=True),
        Channel(id="sms", cost_cents=6, capacity_per_night=10, cap_messages=1, default_consent=False),
    ),
    frequencies=(1, 2),
    margin_floor_percent=5,
)
ARMS = arms(candidates(STRATEGY), STRATEGY)
EMAIL_ALONE = STRATEGY.model_copy(update={"channels": STRATEGY.channels[:1]})
EMAIL = [(1, 0), (2, 0), (1, 20), (2, 20)]  # (frequency, discount) of the arms of email


def customers(**changes: list[object]) -> Customers:
    """One customer per value; columns not named are those of a customer whom nothing limits on email."""
    n = len(next(iter(changes.values())))
    columns = {"order": [3000] * n, "margin": [30.0] * n, "recent": [0] * n, "suppressed": [False] * n}
    columns["complained"] = [False] * n
    columns.update(changes)
    pair = {name: np.array([[value, value] for value in values]) for name, values in columns.items()}
    return Customers(
        tuple(f"user{i}" for i in range(n)),
        np.array(columns["order"]),
        np.array(columns["margin"], dtype=float),
        pair["recent"],
        pair["suppressed"],
        pair["complained"],
    )


def group(who: Customers, left_out: list[bool] | None = None) -> Groups:
    return group_customers(who, np.array(left_out or [False] * len(who.user_keys)), STRATEGY, ARMS)


def allowed(who: Customers) -> list[list[tuple[int, int]]]:
    """Per customer: (frequency, discount) of what email may send."""
    groups = group(who)
    return [
        [(arm.frequency, arm.discount_percent) for arm, may in zip(ARMS, groups.allowed[g], strict=True) if may]
        for g in groups.group_of
    ]


def rules(who: Customers, strategy: Strategy = STRATEGY) -> list[str]:
    """Per customer: the rule that stopped most."""
    mine = arms(candidates(strategy), strategy)
    groups = group_customers(who, np.zeros(len(who.user_keys), bool), strategy, mine)
    return [(*RULES, "nothing")[rule] for rule in groups.main_rule]


def test_a_customer_whom_nothing_limits_may_get_everything_the_channel_may_send() -> None:
    assert allowed(customers(recent=[0])) == [EMAIL]
    assert rules(customers(recent=[0]), EMAIL_ALONE) == ["nothing"]


def test_a_channel_without_default_consent_sends_nothing() -> None:
    on_sms = [a for a, arm in enumerate(ARMS) if arm.channel == 1]
    assert not group(customers(recent=[0])).allowed[:, on_sms].any()
    assert rules(customers(recent=[0])) == ["no_consent"]


def test_the_cap_counts_what_was_delivered_and_what_would_be_sent() -> None:
    who = customers(recent=[0, 1, 2, 9])
    assert allowed(who) == [EMAIL, [(1, 0), (1, 20)], [], []]
    assert rules(who, EMAIL_ALONE) == ["nothing", "frequency_cap", "frequency_cap", "frequency_cap"]


def test_the_suppressed_rest_after_a_complaint_or_have_unsubscribed() -> None:
    who = customers(suppressed=[True, True], complained=[True, False])
    assert allowed(who) == [[], []]
    assert rules(who, EMAIL_ALONE) == ["complaint_rest", "no_consent"]


def test_an_old_complaint_alone_stops_nothing() -> None:
    assert allowed(customers(complained=[True])) == [EMAIL]


def test_the_floor_stops_the_discounts_that_leave_too_little() -> None:
    # 24% margin: 100 sold at 80 costs 76, so 5% is left; 23.9% leaves less. 4% is too little without any discount.
    who = customers(margin=[24.0, 23.9, 4.0])
    assert allowed(who) == [EMAIL, [(1, 0), (2, 0)], []]
    assert rules(who, EMAIL_ALONE) == ["nothing", "margin_floor", "margin_floor"]


@pytest.mark.parametrize(("margin", "discount", "left"), [(30, 20, 12.5), (50, 50, 0.0), (10, 20, -12.5)])
def test_the_margin_after_a_discount_is_of_the_discounted_price(margin: float, discount: float, left: float) -> None:
    assert allowed_after_discount(np.array([margin]), discount, left - 0.01).tolist() == [True]
    assert allowed_after_discount(np.array([margin]), discount, left + 0.01).tolist() == [False]


def test_groups_hold_customers_alike_and_leave_out_whom_they_are_told_to() -> None:
    who = customers(recent=[0, 1, 0, 0], order=[3100, 3100, 3101, 3100])
    groups = group(who, [False, False, False, True])
    assert groups.group_of[0] == groups.group_of[2]  # 3100 and 3101 cents are rounded up to the same step
    assert groups.group_of[0] != groups.group_of[1]
    assert groups.group_of[3] == -1
    assert sorted(groups.size) == [1, 2]


def test_customers_stopped_by_different_rules_share_a_group_where_the_same_is_left() -> None:
    groups = group(customers(recent=[9, 0], suppressed=[False, True]))
    assert groups.size.tolist() == [2]
    assert not groups.allowed.any()
    assert groups.main_rule.tolist() == [RULES.index("no_consent")] * 2


def test_order_values_are_rounded_up_by_less_than_a_fifth() -> None:
    orders = [0, 1, 7, 999, 3000, 123_456_789]
    groups = group(customers(order=orders))
    rounded = groups.order_cents[groups.group_of]
    assert rounded[0] == 0
    assert rounded[4] == 3000  # the default, which most customers of a new shop have, is kept
    assert (rounded >= orders).all()
    assert (rounded <= np.array(orders) * 2**0.25 + 1).all()


def test_an_order_value_that_is_no_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="order values"):
        group(customers(order=[-1]))


def test_the_unhappy_get_nothing_on_any_channel_and_consent_is_named_before() -> None:
    who = customers(order=[3000] * 4, suppressed=[False, False, True, True], complained=[False, False, False, True])
    who = replace(who, is_unhappy=np.array([False, True, True, True]))
    assert allowed(who) == [EMAIL, [], [], []]
    assert rules(who, EMAIL_ALONE) == ["nothing", "unhappy", "no_consent", "complaint_rest"]


def test_the_main_rule_stops_most_strategies_and_ties_go_to_the_first() -> None:
    free, consent, cap, margin = len(RULES), *map(RULES.index, ("no_consent", "frequency_cap", "margin_floor"))
    stopped_by = np.array([[free, free], [consent, margin], [cap, margin], [free, cap]])
    assert main_rule(stopped_by, np.array([1, 1])).tolist() == [free, consent, cap, cap]
    assert main_rule(stopped_by, np.array([1, 5])).tolist() == [free, margin, margin, cap]
