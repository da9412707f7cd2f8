import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ttest_ind
from statsmodels.stats.proportion import confint_proportions_2indep

from pipelines.strategy.fairness import (
    OTHER,
    UNKNOWN,
    difference_of_means,
    group_means,
    groups_by,
    judge_preferences,
    preferred,
    widest_gap,
)


def shares(*counts: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Groups g0, g1, ... and whether each customer is treated, from (treated, customers) of each group."""
    group = np.repeat([f"g{i}" for i in range(len(counts))], [n for _, n in counts]).astype(object)
    return group, np.concatenate([np.arange(n) < k for k, n in counts])


def test_texts_are_groups_the_rare_ones_together_and_missing_ones_apart() -> None:
    values = [*(f"c{i}" for i in range(12) for _ in range(3)), "rare", "rarer", None]
    assert groups_by("x", pa.array(values)).tolist() == [*values[:-3], OTHER, OTHER, UNKNOWN]


def test_numbers_are_cut_at_their_median() -> None:
    found = groups_by("n_purchases", pa.array([0, 0, 1, 5, None]))
    assert found.tolist() == [*["n_purchases up to 0.5"] * 2, *["n_purchases above 0.5"] * 2, UNKNOWN]
    assert set(groups_by("x", pa.array([3.0] * 4)).tolist()) == {"x up to 3"}


def test_means_per_group_come_with_intervals_unless_the_group_is_small() -> None:
    group, treated = shares((30, 40), (3, 5))
    large, small = group_means(group, {"treated": treated, "cents": np.where(treated, 2.0, 0.0)})
    assert (large.name, large.customers, large.is_judged) == ("g0", 40, True)
    assert (small.name, small.customers, small.is_judged) == ("g1", 5, False)
    assert large.means["treated"].value == 0.75
    assert 0.59 < large.means["treated"].low < 0.61 < 0.85 < large.means["treated"].high < 0.87  # Wilson's, by tables
    assert (large.means["cents"].value, small.means["cents"].value) == (1.5, 1.2)
    assert np.isnan(small.means["treated"].low)


@pytest.mark.parametrize(("one", "other"), [((56, 70), (48, 80)), ((10, 10), (0, 20)), ((9, 10), (3, 10))])
def test_the_difference_of_shares_is_newcombe_s(one: tuple[int, int], other: tuple[int, int]) -> None:
    found = difference_of_means(shares(one)[1], shares(other)[1])
    low, high = confint_proportions_2indep(*one, *other, compare="diff", method="newcomb")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_the_difference_of_numbers_is_welch_s() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(3, 1, 40), rng.normal(2, 4, 70)
    found = difference_of_means(one, other, level=0.9)
    expected = ttest_ind(one, other, equal_var=False).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert difference_of_means(np.full(40, 2.0), np.zeros(40)).low == 2.0
    assert np.isnan(difference_of_means(one, other[:1]).low)


def test_the_widest_gap_names_both_groups_and_its_ratio() -> None:
    group, treated = shares((80, 100), (40, 100), (75, 100), (0, 20))
    found = widest_gap("treated", group, treated)
    assert found is not None
    assert (found.highest, found.lowest) == ("g0", "g1")  # g3 is too small to be judged
    assert (found.difference.value, found.ratio) == (pytest.approx(0.4), 0.5)
    assert found.difference.low < difference_of_means(treated[:100], treated[100:200]).low  # three pairs are looked at
    assert found.breaks(0.2)
    assert not found.breaks(0.35)


def test_one_group_alone_has_no_gap() -> None:
    group, treated = shares((80, 100), (1, 29))
    assert widest_gap("treated", group, treated) is None


def alarms(rates: tuple[float, ...], n: int, bound: float, repetitions: int = 400) -> float:
    """How often plans that treat groups of n customers at these rates break the bound."""
    rng = np.random.default_rng(5)
    group = np.repeat([f"g{i}" for i in range(len(rates))], n).astype(object)
    gaps = (widest_gap("treated", group, rng.random(len(group)) < np.repeat(rates, n)) for _ in range(repetitions))
    return float(np.mean([gap is not None and gap.breaks(bound) for gap in gaps]))


@pytest.mark.parametrize("rates", [(0.5, 0.5, 0.5, 0.5), (0.6, 0.6, 0.5, 0.5), (0.97, 0.97, 0.87, 0.87)])
@pytest.mark.parametrize("n", [30, 300])
def test_a_plan_within_the_bound_is_stopped_by_chance_in_less_than_one_night_of_twenty(
    rates: tuple[float, ...], n: int
) -> None:
    assert alarms(rates, n, bound=0.1) <= 0.05


def test_a_planted_bias_is_found_the_surer_the_larger_the_groups_are() -> None:
    assert alarms((0.6, 0.6, 0.3), 300, bound=0.1) > 0.95
    assert alarms((0.6, 0.6, 0.3), 30, bound=0.1) < 0.5


def preferences(one: float, other: float, seed: int, n: int = 300) -> np.ndarray:
    """Whom a model prefers of n customers with two rows each, group by group at these rates."""
    return np.random.default_rng(seed).random(2 * n) < np.where(np.arange(2 * n) < n, one, other)


N_ROWS = 600
GROUP = np.repeat(["a", "b"], N_ROWS // 2).astype(object)
CUSTOMER = np.arange(N_ROWS) // 2


@pytest.mark.parametrize(
    ("challenger", "champion", "passed"),
    [
        ((0.8, 0.2), (0.5, 0.5), False),  # a bias that the champion has not
        ((0.2, 0.8), (0.8, 0.2), False),  # the other way round is another bias, and as wide
        ((0.8, 0.2), (0.8, 0.2), True),  # the champion is as biased: not what this challenger is refused for
        ((0.55, 0.45), (0.5, 0.5), True),  # within the bound
    ],
)
def test_a_model_is_refused_for_a_preference_that_the_champion_has_not(
    challenger: tuple[float, float], champion: tuple[float, float], passed: bool
) -> None:
    ours, theirs = preferences(*challenger, seed=1), preferences(*champion, seed=2)
    found = judge_preferences("price_band", GROUP, CUSTOMER, ours, theirs, bound=0.2)
    assert found.passed is passed
    assert found.check == "fairness"
    assert "by price_band, at most 0.2: 'a' above 'b' by 0." in found.text.replace("'b' above 'a'", "'a' above 'b'")


def test_equal_models_are_not_refused_however_little_is_judged() -> None:
    same = preferences(0.9, 0.1, seed=1)
    assert judge_preferences("x", GROUP, CUSTOMER, same, same, bound=0.0).passed
    few = judge_preferences("x", GROUP[:40], CUSTOMER[:40], same[:40], ~same[:40], bound=0.0)
    assert few.passed
    assert "fewer than two groups have 30 judged customers" in few.text


def test_the_half_of_the_largest_lifts_is_preferred() -> None:
    assert preferred(np.array([3.0, 1.0, 2.0, 9.0])).tolist() == [True, False, False, True]
