"""Bundles on counts that can be checked by hand: what keeps the rules, what few sessions may not claim, what it brings."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.strategy.bundles import BundleItems, BundleRules, bundles, lift_low, why

N = 1_000  # sessions
RULES = BundleRules(
    discount_percent=10, margin_floor_percent=20, min_stock=5, min_sessions=2, max_per_item=1, uptake=1.0
)


def shop(**changed: list[float]) -> BundleItems:
    """Camera and bag, lamp and bulb, a second bag; each pair sells 20 times together, 40 and 30 times at all."""
    base = BundleItems(
        names=["camera", "bag", "lamp", "bulb", "other bag"],
        category=np.array([0, 1, 2, 3, 1]),
        price=np.array([10_000.0, 5_000, 4_000, 1_500, 5_000]),
        unit_cost=np.array([4_000.0, 2_000, 2_000, 300, 2_000]),
        stock=np.array([50, 60, 70, 80, 90]),
        sessions=np.array([40, 30, 40, 30, 30]),
    )
    return replace(base, **{name: np.array(values) for name, values in changed.items()})


def names(
    items: BundleItems, rules: BundleRules = RULES, both: tuple[int, ...] = (20, 20, 20)
) -> list[tuple[str, str]]:
    found = bundles(items, np.array([0, 2, 0]), np.array([1, 3, 4]), np.array(both), N, rules)
    return [(items.names[a], items.names[b]) for a, b in zip(found.a, found.b, strict=True)]


def test_a_bundle_s_figures_are_those_of_its_counts() -> None:
    items = shop()
    found = bundles(items, np.array([0]), np.array([1]), np.array([20]), N, RULES)
    assert found.lift == pytest.approx([20 * 1_000 / (40 * 30)])
    assert found.price == 13_500
    assert found.margin_percent == pytest.approx([100 * 7_500 / 13_500])
    of_camera, of_bag = 0.338018, 0.471880  # the least chances that 20 of 40 and 20 of 30 leave possible
    assert found.lift_low == pytest.approx([min(of_camera / 0.0425514, of_bag / 0.0540727)], rel=1e-5)
    drawn = 20 * of_camera * (7_500 - 6_000) + 10 * of_bag * (7_500 - 3_000)  # one alone becomes both
    lost = 20 * 1_500  # the discount for those who take both anyway
    assert found.extra_per_1000 == pytest.approx([drawn - lost], abs=0.1)
    assert found.break_even == pytest.approx([lost / drawn], rel=1e-5)


def test_at_its_break_even_uptake_a_bundle_brings_nothing() -> None:
    some = np.array([0]), np.array([1]), np.array([20])
    point = float(bundles(shop(), *some, N, RULES).break_even[0])
    assert bundles(shop(), *some, N, replace(RULES, uptake=point * 1.001)).extra_per_1000 == pytest.approx([0], abs=40)
    assert len(bundles(shop(), *some, N, replace(RULES, uptake=point * 0.999)).a) == 0


def test_few_sessions_do_not_claim_a_high_lift() -> None:
    one, half, all_of_it = np.array([1, 2, 200]), np.array([2, 4, 400]), np.array([2, 4, 400])
    points = one * 10_000 / (half * all_of_it)
    lows = lift_low(one, half, all_of_it, 10_000)
    assert points[0] > points[1] > points[2] == 12.5
    assert lows[2] / points[2] > 0.7
    assert lows[0] / points[0] < 0.01
    certain = lift_low(np.array([2]), np.array([2]), np.array([2]), 10_000)
    most = 1 - (1 - 7.22e-4)  # two of 10,000: at most 7.22 in 10,000
    assert certain == pytest.approx([0.025**0.5 / most], rel=1e-3)  # two of two: the square is 0.025


def test_the_bound_of_the_lift_holds_nineteen_times_of_twenty() -> None:
    random = np.random.default_rng(3)
    n, p_a, p_b, p_both = 2_000, 0.03, 0.02, 0.006
    cells = random.multinomial(n, [p_both, p_a - p_both, p_b - p_both, 1 - p_a - p_b + p_both], 2_000)
    lows = lift_low(cells[:, 0], cells[:, 0] + cells[:, 1], cells[:, 0] + cells[:, 2], n)
    assert (lows <= p_both / (p_a * p_b)).mean() > 0.95
    assert (lows > 1).mean() > 0.9  # and it is no empty promise


CAMERA, OTHER, LAMP = ("camera", "bag"), ("camera", "other bag"), ("lamp", "bulb")


@pytest.mark.parametrize(
    ("what", "items", "rules", "left"),
    [
        ("all keep the rules", shop(), RULES, [CAMERA, LAMP]),
        ("two for the camera", shop(), replace(RULES, max_per_item=2), [CAMERA, OTHER, LAMP]),
        ("stock of one is low", shop(stock=[50, 4, 70, 80, 90]), RULES, [OTHER, LAMP]),
        ("the margin would fall below the floor", shop(), replace(RULES, margin_floor_percent=54), [CAMERA]),
        ("a price is missing", shop(price=[10_000.0, 5_000, np.nan, 1_500, 5_000]), RULES, [CAMERA]),
        ("both of one category", shop(category=[0, 1, 2, 2, 1]), RULES, [CAMERA]),
        ("that is allowed", shop(category=[0, 1, 2, 2, 1]), replace(RULES, same_category=True), [CAMERA, LAMP]),
        ("no category is no common one", shop(category=[0, 1, -1, -1, 1]), RULES, [CAMERA, LAMP]),
        ("too few sessions", shop(), replace(RULES, min_sessions=21), []),
        ("it would not pay", shop(), replace(RULES, uptake=0.1), []),
    ],
)
def test_only_pairs_that_keep_every_rule_are_offered(
    what: str, items: BundleItems, rules: BundleRules, left: list[tuple[str, str]]
) -> None:
    assert names(items, rules) == left, what


def test_pairs_that_meet_as_by_chance_are_no_bundle() -> None:
    often = shop(sessions=[600, 500, 600, 500, 500])
    assert names(often, both=(300, 300, 300)) == []


def test_the_words_tell_the_numbers_of_the_row() -> None:
    items = shop()
    found = bundles(items, np.array([0]), np.array([1]), np.array([20]), N, RULES)
    (text,) = why(items, found, RULES)
    assert text == (
        "20 of 40 sessions with camera also had bag, 16.7 times as many as by chance (at least 7.9 times, 95% sure). "
        "Together 135.00 instead of 150.00, which leaves a margin of 55.6% (floor 20%); 50 and 60 in stock. If of those "
        "with one alone the offer wins 100% of the share that takes both unasked, 1,000 sessions bring 13.75 more; it pays "
        "from 96% on."
    )


def test_without_candidates_there_are_no_bundles() -> None:
    none = np.zeros(0, np.int64)
    assert len(bundles(shop(), none, none, none, N, RULES).a) == 0
