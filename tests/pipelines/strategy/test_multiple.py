"""Holm, shrinkage and power: statsmodels on the same numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

from pipelines.strategy.multiple import holm, planned_error, shrink, smallest_detectable


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_that_of_statsmodels_and_every_arm_s_own_level_says_the_same(p: list[float]) -> None:
    adjusted, level = holm(np.array(p))
    reject, theirs, _, _ = multipletests(p, alpha=0.05, method="holm")
    assert adjusted == pytest.approx(theirs)
    near = np.abs(np.array(p) - level) < 1e-12
    assert np.array_equal((np.array(p) <= level)[~near], reject[~near])


def test_an_arm_without_a_p_value_counts_for_nobody() -> None:
    adjusted, level = holm(np.array([np.nan, 0.03]))
    assert np.isnan(adjusted[0])
    assert (adjusted[1], level[1]) == (0.03, 0.05)


def test_of_many_segments_spread_and_mean_are_those_of_statsmodels() -> None:
    random = np.random.default_rng(4)
    error = random.uniform(0.5, 1.5, 150)
    effect = random.normal(3, 2, 150) + random.normal(size=150) * error
    found = shrink(effect, error)
    theirs = combine_effects(effect, error**2, method_re="iterated")  # Paule and Mandel
    assert found.spread == pytest.approx(np.sqrt(theirs.tau2), rel=0.05)
    assert found.mean == pytest.approx(theirs.mean_effect_re, abs=0.02)


def test_segments_are_drawn_to_their_mean_by_as_much_as_they_leave_open() -> None:
    same = shrink(np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 5.0]))
    assert same.effect == pytest.approx([1.7, 2, 2.3], abs=0.3)  # hardly more spread than chance
    sure = shrink(np.array([-50.0, 50.0, 0.0]), np.array([0.01, 0.01, 60.0]))
    assert sure.effect[:2] == pytest.approx([-50, 50], abs=0.01)
    assert shrink(np.array([4.0]), np.array([2.0])).effect == pytest.approx([4])


def test_shrinking_brings_segments_closer_to_their_truth_and_its_intervals_hold_it() -> None:
    random = np.random.default_rng(8)
    truth = random.normal(1, 1, (300, 6))
    error = np.array([0.3, 1, 1, 2, 3, 5])
    seen = truth + random.normal(size=truth.shape) * error
    shrunk = [shrink(one, error) for one in seen]
    effects, errors = np.array([one.effect for one in shrunk]), np.array([one.std_error for one in shrunk])
    assert ((effects - truth) ** 2).mean() < 0.4 * ((seen - truth) ** 2).mean()
    assert 0.93 < (np.abs(effects - truth) < 1.96 * errors).mean() < 0.99


@pytest.mark.parametrize(("n", "share"), [(2_000, 0.1), (500, 0.5)])
def test_the_smallest_effect_found_is_that_of_statsmodels(n: int, share: float) -> None:
    variance = 1_600.0
    mine = smallest_detectable(planned_error(n, share, variance))
    theirs = NormalIndPower().solve_power(nobs1=n * share, ratio=(1 - share) / share, alpha=0.05, power=0.8)
    assert mine == pytest.approx(theirs * 40, rel=1e-4)
    assert smallest_detectable(planned_error(n, share, variance, explained=0.75)) == pytest.approx(mine / 2)
    with pytest.raises(ValueError, match="a share between 0 and 1"):
        planned_error(n, 0, variance)
