"""Intervals for daily looking: the formula, its dual p value, and how often nothing is taken for something."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from pipelines.strategy.sequential import LEVEL, half_width, looks_needed, p_value, rho_of


@pytest.mark.parametrize(("effect", "error", "rho"), [(3.0, 1.0, 1.0), (0.5, 0.11, 9.0), (-4.0, 1.5, 0.05)])
def test_the_p_value_is_one_over_the_likelihood_ratio_mixed_over_the_prior(
    effect: float, error: float, rho: float
) -> None:
    def mixed(truth: float) -> float:
        ratio = norm.pdf(effect, truth, error) / norm.pdf(effect, 0, error)
        return float(ratio * norm.pdf(truth, 0, rho**-0.5))

    evidence, _ = quad(mixed, -30, 30, points=[effect])
    assert float(p_value(effect, error, rho)) == pytest.approx(min(1, 1 / evidence), rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(effect=st.floats(-9, 9), error=st.floats(0.01, 5), rho=st.floats(1e-3, 1e3), level=st.floats(0.001, 0.2))
def test_an_interval_leaves_out_zero_exactly_where_p_is_below_its_level(
    effect: float, error: float, rho: float, level: float
) -> None:
    p, half = float(p_value(effect, error, rho)), float(half_width(error, rho, level))
    if abs(p - level) > 1e-9:
        assert (abs(effect) > half) == (p < level)
    assert half > norm.isf(level / 2) * error  # wider than for one look


def test_at_the_first_look_it_is_3_7_errors_wide_and_later_about_3() -> None:
    rho = rho_of(2.0)
    assert float(half_width(2.0, rho)) / 2 == pytest.approx(3.66, abs=0.01)
    widths = half_width(2 / np.sqrt(np.arange(1, 31)), rho) * np.sqrt(np.arange(1, 31)) / 2
    assert widths.min() == pytest.approx(3.03, abs=0.02)


def test_thirty_looks_raise_a_false_alarm_in_less_than_one_in_twenty_where_peeking_does_in_one_in_four() -> None:
    random = np.random.default_rng(3)
    n = np.arange(1, 31)
    means = random.normal(size=(2_000, 30)).cumsum(axis=1) / n
    errors = 1 / np.sqrt(n)
    ours = (np.abs(means) > half_width(errors, rho_of(1.0))).any(axis=1).mean()
    assert ours < LEVEL
    assert (np.abs(means) > 1.96 * errors).any(axis=1).mean() > 0.25
    persistent = 0.7 * random.normal(size=(2_000, 1)) + means  # the same customers: their own difference stays
    total = np.sqrt(0.49 + errors**2)
    assert (np.abs(persistent) > half_width(total, rho_of(total[0]))).any(axis=1).mean() < LEVEL


def test_looks_needed_is_the_first_look_that_would_settle_it() -> None:
    rho = float(rho_of(1.0))
    looks = looks_needed(0.8, 1.0, rho, 1)
    assert looks is not None
    assert half_width(1 / np.sqrt(looks), rho) < 0.8 <= half_width(1 / np.sqrt(looks - 1), rho)
    assert looks_needed(0.8, 0.1, rho, 5) == 5  # settled already
    assert looks_needed(1e-9, 1.0, rho, 1) is None
    assert looks_needed(0.0, 1.0, rho, 1) is None
    assert looks_needed(0.8, float("nan"), rho, 1) is None
