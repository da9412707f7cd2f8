"""The exploration plan: propensities are exact, limits are never crossed, every row says why."""

from collections import Counter
from datetime import date, timedelta
from fractions import Fraction
from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.config import load_shop
from pipelines.core.shop import Channel, Offer, SendWindow, Strategy
from pipelines.strategy.constraints import Customers
from pipelines.strategy.explore import Decisions, explore
from pipelines.strategy.holdout import is_holdout

NIGHT = date(2026, 3, 1)


def some_customers(n: int, n_channels: int, seed: int, first: int = 0) -> Customers:
    """Customers of all kinds: with and without history, complaints, thin margins, dear orders."""
    random = np.random.default_rng(seed)
    return Customers(
        user_keys=tuple(f"{i:064x}" for i in range(first, first + n)),
        order_cents=random.choice([0, 900, 3_000, 20_000], n),
        margin_percent=random.choice([2.0, 12.0, 30.0, 60.0], n),
        n_recent=random.integers(0, 3, (n, n_channels)),
        is_suppressed=random.random((n, n_channels)) < 0.15,
        has_complained=random.random((n, n_channels)) < 0.5,
    )


def scaled(strategy: Strategy, factor: float) -> Strategy:
    """The strategy with capacity and budget for `factor` times the customers."""
    channels = tuple(
        c.model_copy(update={"capacity_per_night": int(c.capacity_per_night * factor)}) for c in strategy.channels
    )
    budget = int(strategy.nightly_budget_cents * factor)
    return strategy.model_copy(update={"channels": channels, "nightly_budget_cents": budget})


DEMO = scaled(load_shop("demo").strategy, 0.06)  # 120 customers with too little push, text messages and money
TIGHT = DEMO.model_copy(update={"nightly_budget_cents": 300, "seed": 11})


def allowed_by_hand(strategy: Strategy, customers: Customers, i: int) -> dict[str, tuple[int, int, int]]:
    """Strategy id -> (channel position, frequency, discount) customer i may get, from the rules' words alone."""
    found = {}
    for (c, channel), offer, window, frequency, style in product(
        enumerate(strategy.channels),
        strategy.offers,
        strategy.send_windows,
        strategy.frequencies,
        strategy.creative_styles,
    ):
        parts = {
            "offers": offer.id,
            "channels": channel.id,
            "send_windows": window.id,
            "frequencies": frequency,
            "creative_styles": style,
        }
        if any(all(not getattr(r, f) or v in getattr(r, f) for f, v in parts.items()) for r in strategy.forbid):
            continue
        kept = Fraction(1) - Fraction(offer.discount_percent, 100)
        unit_cost = 1 - Fraction(float(customers.margin_percent[i])) / 100
        margin_left = (kept - unit_cost) / kept
        if (
            channel.default_consent
            and not customers.is_suppressed[i, c]
            and customers.n_recent[i, c] + frequency <= channel.cap_messages
            and margin_left >= Fraction(strategy.margin_floor_percent) / 100
        ):
            name = f"{channel.id}.{offer.id}.{window.id}.x{frequency}.{style}"
            found[name] = (c, frequency, offer.discount_percent)
    return found


def propensities_by_hand(strategy: Strategy, customers: Customers) -> list[dict[str, float]]:
    """Per customer: strategy id -> probability, customer by customer and strategy by strategy, holdout apart."""
    held = is_holdout(customers.user_keys, strategy.seed, strategy.holdout_percent)
    allowed = [{} if held[i] else allowed_by_hand(strategy, customers, i) for i in range(len(customers.user_keys))]
    steps = sorted({ceil(2 ** (k / 4)) for k in range(120)} | {strategy.default_order_cents})
    chance, cost = [], []
    for i, mine in enumerate(allowed):
        order = next((step for step in steps if step >= customers.order_cents[i]), 0) if customers.order_cents[i] else 0
        chance.append({name: (1 - strategy.control_percent / 100) / len(mine) for name in mine})
        cost.append(
            {
                name: f * (strategy.channels[c].cost_cents + strategy.redemption_percent / 100 * d / 100 * order)
                for name, (c, f, d) in mine.items()
            }
        )
    everything = [(i, name, *parts) for i, mine in enumerate(allowed) for name, parts in mine.items()]

    def at_most(c: int) -> int:
        return sum(max((f for at, f, _ in mine.values() if at == c), default=0) for mine in allowed)

    scarce = [c for c, channel in enumerate(strategy.channels) if at_most(c) > channel.capacity_per_night]
    most_cost = sum(max(mine.values(), default=0) for mine in cost)
    is_budget_scarce = most_cost > strategy.nightly_budget_cents
    scarce.sort(key=lambda c: -strategy.channels[c].capacity_per_night)
    for rank, c in enumerate(scarce):
        capacity = strategy.channels[c].capacity_per_night
        on_it = [(i, name, f) for i, name, at, f, _ in everything if at == c]
        dear = max(f for _, _, f in on_it)
        assert dear <= capacity
        keep_back = (len(scarce) + is_budget_scarce - rank) * dear - 1
        use = sum(chance[i][name] * f for i, name, f in on_it)
        for i, name, _ in on_it:
            chance[i][name] *= min(1, (capacity - keep_back) / use)
    if not is_budget_scarce:
        return chance
    budget = strategy.nightly_budget_cents
    cheapest = min(v for mine in cost for v in mine.values() if v > 0)
    for i, name, *_ in everything:
        if cost[i][name] > max(budget / 10, cheapest):
            chance[i][name] = 0
    dearest = max(cost[i][name] for i, name, *_ in everything if chance[i][name] > 0)
    spent = sum(chance[i][name] * cost[i][name] for i, name, *_ in everything)
    for i, name, *_ in everything:
        chance[i][name] *= min(1, (budget - dearest) / spent)
    return chance


def chosen_ids(decisions: Decisions) -> list[str]:
    return [decisions.candidates[k].strategy_id if k >= 0 else "none" for k in decisions.strategy]


@pytest.mark.parametrize("strategy", [DEMO, TIGHT], ids=["capacity binds", "budget binds"])
def test_the_logged_propensities_follow_from_configuration_and_inputs_alone(strategy: Strategy) -> None:
    customers = some_customers(120, 3, seed=1)
    by_hand = propensities_by_hand(strategy, customers)
    decisions = explore(customers, strategy, NIGHT)
    assert (decisions.strategy >= 0).sum() > 20
    for i, name in enumerate(chosen_ids(decisions)):
        expected = 1 - sum(by_hand[i].values()) if name == "none" else by_hand[i][name]
        # capacity and budget keep a millionth of a message back, no more
        assert decisions.propensity[i] == pytest.approx(expected, rel=1e-5), (i, name)
        assert decisions.n_allowed[i] == len(by_hand[i])


@pytest.mark.parametrize("strategy", [DEMO, TIGHT], ids=["capacity binds", "budget binds"])
def test_over_many_nights_each_strategy_comes_as_often_as_logged(strategy: Strategy) -> None:
    customers = some_customers(60, 3, seed=2)
    strategy = scaled(strategy, 0.5)
    n_nights = 600
    times: Counter[tuple[int, str]] = Counter()
    logged: dict[tuple[int, str], float] = {}
    inverse = np.zeros(n_nights)
    for k in range(n_nights):
        decisions = explore(customers, strategy, NIGHT + timedelta(days=k))
        inverse[k] = (1 / decisions.propensity[decisions.strategy >= 0]).sum()
        for i, name in enumerate(chosen_ids(decisions)):
            times[i, name] += 1
            before = logged.setdefault((i, name), float(decisions.propensity[i]))
            assert before == decisions.propensity[i]
    # Nights are independent, so each count is binomial: no z beyond 5, and their squares are 1 on average.
    z = np.array(
        [(times[key] - n_nights * p) / np.sqrt(n_nights * p * (1 - p)) for key, p in logged.items() if 0 < p < 1]
    )
    common = np.array([n_nights * p > 5 for p in logged.values() if 0 < p < 1])
    assert common.sum() > 500
    assert np.abs(z[common]).max() < 5
    assert 0.85 < (z[common] ** 2).mean() < 1.15
    # And what inverse propensities are for: each possible pair counts for 1 on average.
    possible = sum(name != "none" for _, name in logged)
    assert abs(inverse.mean() - possible) < 5 * inverse.std() / np.sqrt(n_nights)
    # A propensity that is 15% off is seen by the same test, so the test can fail.
    wrong = np.array([(times[key] - n_nights * 1.15 * p) / np.sqrt(n_nights * p) for key, p in logged.items() if p < 1])
    assert (wrong**2).mean() > 1.3


@st.composite
def nights(draw: st.DrawFn) -> tuple[Strategy, Customers, date]:
    n_channels = draw(st.integers(1, 3))
    strategy = Strategy(
        offers=tuple(
            Offer(id=f"o{d}", discount_percent=d)
            for d in draw(st.lists(st.sampled_from([0, 5, 20, 50, 90]), min_size=1, unique=True))
        ),
        channels=tuple(
            Channel(
                id=f"c{i}",
                cost_cents=draw(st.integers(0, 9)),
                capacity_per_night=draw(st.integers(0, 60)),
                cap_messages=draw(st.integers(1, 4)),
                default_consent=draw(st.sampled_from([True, True, True, False])),
            )
            for i in range(n_channels)
        ),
        send_windows=tuple(SendWindow(id=f"w{i}", from_hour=i, to_hour=24) for i in range(draw(st.integers(1, 2)))),
        frequencies=tuple(draw(st.lists(st.integers(1, 3), min_size=1, unique=True))),
        creative_styles=("plain", "warm")[: draw(st.integers(1, 2))],
        nightly_budget_cents=draw(st.integers(0, 600)),
        holdout_percent=draw(st.sampled_from([0, 10, 50])),
        control_percent=draw(st.sampled_from([0, 10, 100])),
        margin_floor_percent=draw(st.sampled_from([-100, 5, 30])),
        redemption_percent=draw(st.sampled_from([0, 2, 100])),
        seed=draw(st.integers(0, 10**6)),
    )
    customers = some_customers(draw(st.integers(0, 80)), n_channels, draw(st.integers(0, 10**6)))
    return strategy, customers, NIGHT + timedelta(days=draw(st.integers(0, 1000)))


@settings(max_examples=150, deadline=None)
@given(nights())
def test_no_limit_is_ever_crossed_and_every_row_explains_itself(case: tuple[Strategy, Customers, date]) -> None:
    strategy, customers, night = case
    decisions = explore(customers, strategy, night)
    held = is_holdout(customers.user_keys, strategy.seed, strategy.holdout_percent)
    messages = [0] * len(strategy.channels)
    cost = 0.0
    for i in range(len(customers.user_keys)):
        allowed = {} if held[i] else allowed_by_hand(strategy, customers, i)
        k, second = decisions.strategy[i], decisions.runner_up[i]
        bound = decisions.constraint_texts[decisions.constraint[i]]
        why = decisions.why_texts[decisions.why[i]]
        name = decisions.candidates[k].strategy_id if k >= 0 else "none"
        runner_up = decisions.candidates[second].strategy_id if second >= 0 else "none"
        assert 0 < decisions.propensity[i] <= 1
        assert decisions.is_holdout[i] == held[i]
        assert decisions.n_allowed[i] == len(allowed)
        assert runner_up in allowed or (runner_up == "none" and len(allowed) <= (name != "none"))
        if held[i]:
            assert (name, runner_up, bound, decisions.propensity[i]) == ("none", "none", "holdout", 1)
        elif name == "none":
            assert (decisions.propensity[i] == 1) >= (not allowed)
            if allowed:
                assert bound in ("control", "budget") or bound.startswith("capacity:")
            else:
                assert bound in ("no_consent", "complaint_rest", "frequency_cap", "margin_floor")
        else:
            channel, frequency, discount = allowed[name]
            assert runner_up != name
            assert f"1 of {len(allowed)} allowed" in why
            messages[channel] += frequency
            discounts = strategy.redemption_percent / 100 * discount / 100 * customers.order_cents[i]
            cost += frequency * (strategy.channels[channel].cost_cents + discounts)
    assert all(m <= c.capacity_per_night for m, c in zip(messages, strategy.channels, strict=True))
    assert cost <= strategy.nightly_budget_cents + 1e-6
    assert decisions.expected_cost_cents.sum() == pytest.approx(cost)


def one_channel(**changes: object) -> Strategy:
    email = Channel(id="email", cost_cents=1, capacity_per_night=100, cap_messages=3, default_consent=True)
    values: dict[str, object] = {
        "channels": (email.model_copy(update=changes.pop("email", {})),),
        "nightly_budget_cents": 10_000,
        "holdout_percent": 0,
        "control_percent": 10,
    }
    return Strategy(**{**values, **changes})  # type: ignore[arg-type]


def equal_customers(n: int) -> Customers:
    zeros = np.zeros((n, 1))
    keys = tuple(f"{i:064x}" for i in range(n))
    return Customers(
        keys, np.full(n, 3000), np.full(n, 30.0), zeros.astype(int), zeros.astype(bool), zeros.astype(bool)
    )


@pytest.mark.parametrize("night", [NIGHT + timedelta(days=k) for k in range(5)])
def test_a_scarce_channel_is_used_to_the_last_message(night: date) -> None:
    decisions = explore(equal_customers(400), one_channel(), night)
    assert (decisions.strategy >= 0).sum() in (99, 100)
    assert decisions.propensity[decisions.strategy >= 0] == pytest.approx(100 / 400, rel=1e-6)
    bound = Counter(decisions.constraint_texts[k] for k in decisions.constraint)
    assert bound["capacity:email"] in range(260, 262)  # 400 x 0.9 wished for it, 100 got it
    assert bound["control"] in range(39, 42)


def test_a_scarce_budget_is_used_to_the_last_customer() -> None:
    strategy = one_channel(email={"capacity_per_night": 10_000}, nightly_budget_cents=50)
    decisions = explore(equal_customers(400), strategy, NIGHT)
    assert (decisions.strategy >= 0).sum() in (49, 50)
    assert "budget" in {decisions.constraint_texts[k] for k in decisions.constraint}


def test_one_dear_customer_does_not_use_up_the_margin_of_all() -> None:
    customers = equal_customers(400)
    customers.order_cents[0] = 10**9
    strategy = one_channel(offers=(Offer(id="save10", discount_percent=10),), nightly_budget_cents=1_000)
    decisions = explore(customers, strategy, NIGHT)
    assert decisions.strategy[0] == -1
    assert decisions.constraint_texts[decisions.constraint[0]] in ("budget", "control", "capacity:email")
    assert (decisions.strategy >= 0).sum() > 90


def test_without_budget_only_what_costs_nothing_is_sent() -> None:
    paid = explore(equal_customers(50), one_channel(nightly_budget_cents=0), NIGHT)
    assert (paid.strategy < 0).all()
    free = explore(equal_customers(50), one_channel(email={"cost_cents": 0}, nightly_budget_cents=0), NIGHT)
    assert (free.strategy >= 0).sum() in (44, 45, 46)


def test_a_shop_without_strategies_plans_nothing_and_says_so() -> None:
    decisions = explore(equal_customers(5), Strategy(holdout_percent=0), NIGHT)
    assert (decisions.strategy == -1).all()
    assert {decisions.constraint_texts[k] for k in decisions.constraint} == {"no_strategy"}
    assert decisions.propensity.tolist() == [1.0] * 5


def test_no_customers_are_no_decisions() -> None:
    assert explore(some_customers(0, 3, seed=1), DEMO, NIGHT).strategy.shape == (0,)


def test_the_same_night_decides_the_same_in_whatever_order_customers_come() -> None:
    customers = some_customers(120, 3, seed=5)
    back = np.arange(120)[::-1]
    turned = Customers(
        customers.user_keys[::-1],
        customers.order_cents[back],
        customers.margin_percent[back],
        customers.n_recent[back],
        customers.is_suppressed[back],
        customers.has_complained[back],
    )
    first, second = explore(customers, DEMO, NIGHT), explore(turned, DEMO, NIGHT)
    assert chosen_ids(first) == chosen_ids(second)[::-1]
    assert np.array_equal(first.propensity, second.propensity[back])
    assert np.array_equal(first.runner_up, second.runner_up[back])


def test_another_night_draws_other_lots_but_holds_out_the_same_customers() -> None:
    customers = some_customers(120, 3, seed=5)
    first, second = explore(customers, DEMO, NIGHT), explore(customers, DEMO, NIGHT + timedelta(days=1))
    assert chosen_ids(first) != chosen_ids(second)
    assert np.array_equal(first.is_holdout, second.is_holdout)


def test_strategies_of_the_same_limits_are_told_apart_by_an_even_draw() -> None:
    styles = ("a", "b", "c", "d")
    decisions = explore(
        equal_customers(4_000),
        one_channel(creative_styles=styles, email={"capacity_per_night": 10**6}, control_percent=0),
        NIGHT,
    )
    counts = np.bincount(decisions.strategy, minlength=4)
    assert counts.sum() == 4_000
    assert ((counts - 1000) ** 2 / 1000).sum() < 21.1  # chi-square, 3 degrees of freedom, p = 0.0001
    pairs = Counter(zip(decisions.strategy.tolist(), decisions.runner_up.tolist(), strict=True))
    assert len(pairs) == 12
    assert all(a != b for a, b in pairs)
    assert min(pairs.values()) > 250
