"""Differences between arms: held against scipy and statsmodels on the same numbers, and against known truths."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from pipelines.strategy.cuped import Arm, difference

RNG = np.random.default_rng(5)


def arms(is_treated: np.ndarray, known: np.ndarray, rows: np.ndarray | None = None) -> tuple[Arm, Arm]:
    """Treated and control of n customers with covariates (n, c) that hold on each of their rows."""
    rows = np.ones(len(is_treated)) if rows is None else rows
    both = [Arm(rows * mine, (rows * mine)[:, None] * known) for mine in (is_treated, ~is_treated)]
    return both[0], both[1]


def split(values: np.ndarray, is_treated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values * is_treated, values * ~is_treated


def test_without_covariates_it_is_welchs_t_test() -> None:
    treated = RNG.random(300) < 0.3
    spend = RNG.gamma(0.5, 80, 300) * (1 + treated)
    arm, control = arms(treated, np.zeros((300, 0)))
    found = difference(arm, control, split(spend, treated))
    theirs = ttest_ind(spend[treated], spend[~treated], equal_var=False)
    assert found.effect == pytest.approx(spend[treated].mean() - spend[~treated].mean())
    assert found.effect / found.std_error == pytest.approx(theirs.statistic)
    assert (found.plain_effect, found.plain_error) == (found.effect, found.std_error)


def test_cuped_is_the_weighted_regression_of_statsmodels() -> None:
    n, treated = 400, RNG.random(400) < 0.25
    known = RNG.normal(size=(n, 2))
    spend = known @ [3.0, -1.0] + RNG.normal(size=n) + 0.5 * treated
    arm, control = arms(treated, known)
    found = difference(arm, control, split(spend, treated))
    size = np.where(treated, treated.sum(), (~treated).sum())
    theirs = sm.WLS(spend, np.column_stack([np.ones(n), treated, known]), weights=1 / (size * (size - 1))).fit()
    assert found.effect == pytest.approx(theirs.params[1], rel=1e-9)
    assert found.std_error == pytest.approx(theirs.get_robustcov_results("HC1").bse[1], rel=0.02)
    assert found.variance_cut == pytest.approx(1 - 1 / 11, abs=0.03)  # of variance 9 + 1 + 1 the covariates explain 10


def test_rows_of_one_customer_count_as_one_as_in_statsmodels_clustered_errors() -> None:
    n = 200
    treated = np.arange(n) < n // 2
    rows = RNG.integers(1, 9, n).astype(float)
    customer = np.repeat(np.arange(n), rows.astype(int))
    spend = RNG.normal(size=n)[customer] + RNG.normal(size=len(customer))
    arm, control = arms(treated, np.zeros((n, 0)), rows)
    found = difference(arm, control, split(np.bincount(customer, spend), treated))
    fit = sm.OLS(spend, sm.add_constant(treated[customer].astype(float)))
    theirs = fit.fit(cov_type="cluster", cov_kwds={"groups": customer, "use_correction": False})
    assert found.effect == pytest.approx(theirs.params[1])
    assert found.std_error == pytest.approx(theirs.bse[1] * np.sqrt(100 / 99))
    assert found.std_error > 1.5 * fit.fit().bse[1]  # as if every row were another customer


def test_the_error_of_a_ratio_is_that_of_a_bootstrap_of_customers() -> None:
    n = 1_500
    treated = RNG.random(n) < 0.5
    orders = RNG.poisson(1.2, n).astype(float)
    revenue = orders * RNG.gamma(2, 20, n)
    arm, control = arms(treated, np.zeros((n, 0)))
    found = difference(arm, control, split(revenue, treated), split(orders, treated))
    counts = RNG.multinomial(n, np.full(n, 1 / n), size=1_000).astype(float)
    drawn = [(counts @ (revenue * mine)) / (counts @ (orders * mine)) for mine in (treated, ~treated)]
    assert found.value == pytest.approx(revenue[treated].sum() / orders[treated].sum())
    assert found.std_error == pytest.approx((drawn[0] - drawn[1]).std(), rel=0.07)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shift=st.floats(-50, 50),
    scale=st.floats(0.01, 100),
    offset=st.floats(-100, 100),
    n_covariates=st.integers(1, 3),
)
def test_covariates_never_widen_the_error_and_their_unit_plays_no_part(
    seed: int, shift: float, scale: float, offset: float, n_covariates: int
) -> None:
    random = np.random.default_rng(seed)
    n, known = 120, random.normal(size=(120, n_covariates))
    treated = random.permutation(n) < n // 3
    spend = known[:, 0] * random.normal() + random.normal(size=n)
    arm, control = arms(treated, known)
    found = difference(arm, control, split(spend, treated))
    assert found.std_error <= found.plain_error
    moved = difference(arm, control, split(spend + shift * treated, treated))  # the same for everybody treated
    assert moved.effect == pytest.approx(found.effect + shift, abs=1e-6)
    assert moved.std_error == pytest.approx(found.std_error, rel=1e-6)
    other = difference(*arms(treated, known * scale + offset), split(spend, treated))
    assert other.effect == pytest.approx(found.effect, abs=1e-6)
    swapped = difference(control, arm, split(spend, ~treated))
    assert swapped.effect == pytest.approx(-found.effect, abs=1e-9)


def test_over_all_lots_the_adjusted_effect_is_the_truth_and_varies_less() -> None:
    n, known = 200, RNG.gamma(1, 1, (200, 1))
    without = known[:, 0] * 4 + RNG.normal(size=n)
    found = []
    for _ in range(600):
        treated = RNG.permutation(n) < 60
        spend = without + 1.5 * treated
        found.append(difference(*arms(treated, known), split(spend, treated)))
    effects, plain = np.array([one.effect for one in found]), np.array([one.plain_effect for one in found])
    assert effects.mean() == pytest.approx(1.5, abs=4 * effects.std() / np.sqrt(600))
    assert effects.std() < 0.5 * plain.std()
    assert np.mean([one.std_error for one in found]) == pytest.approx(effects.std(), rel=0.1)


def test_unequal_chances_are_weighed_out() -> None:
    """Who spends much is treated often: the plain means differ although nothing has an effect."""
    n = 20_000
    rich = RNG.random(n) < 0.5
    chance = np.where(rich, 0.8, 0.2)
    treated = RNG.random(n) < chance
    spend = 10 * rich + RNG.normal(size=n)
    weight = np.where(treated, 1 / chance, 1 / (1 - chance))
    arm, control = arms(treated, np.zeros((n, 0)), weight)
    found = difference(arm, control, split(weight * spend, treated))
    assert spend[treated].mean() - spend[~treated].mean() > 5
    assert abs(found.effect) < 3 * found.std_error < 1


def test_an_arm_without_customers_has_no_number_and_few_customers_are_not_adjusted() -> None:
    nobody = np.zeros(30, dtype=bool)
    arm, control = arms(nobody, np.ones((30, 1)))
    assert np.isnan(difference(arm, control, split(np.ones(30), nobody)).std_error)
    few = np.arange(30) < 15
    found = difference(*arms(few, RNG.normal(size=(30, 2))), split(RNG.normal(size=30), few))
    assert (found.effect, found.std_error) == (found.plain_effect, found.plain_error)
