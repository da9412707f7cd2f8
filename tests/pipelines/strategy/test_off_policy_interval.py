from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.strategy.off_policy import Feedback
from pipelines.strategy.off_policy_interval import (
    bernstein,
    bootstrap_t,
    effective_events,
    freedom,
    interval,
    per_cluster,
    student_t,
)


def test_bernstein_is_the_formula_of_maurer_and_pontil() -> None:
    terms = np.array([0.0, 1.0] * 50)
    found = bernstein(terms, spread=1.0)
    much = np.log(4 / 0.05)
    half = np.sqrt(2 * (25 / 99) * much / 100) + 7 * much / (3 * 99)
    assert (found.low, found.value, found.high) == pytest.approx((0.5 - half, 0.5, 0.5 + half))


def test_bernstein_holds_where_a_reward_is_seen_once_in_a_thousand() -> None:
    rng = np.random.default_rng(1)
    covered = [bernstein((rng.random(500) < 0.001).astype(float), 1.0) for _ in range(400)]
    assert np.mean([one.low <= 0.001 <= one.high for one in covered]) >= 0.95


def test_bootstrap_and_t_cover_a_normal_mean() -> None:
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(300, 60))
    for method in (student_t, lambda terms: bootstrap_t(terms, n_draws=400)):
        found = [method(terms) for terms in samples]
        assert 0.91 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.985


def test_bootstrap_t_is_wider_on_the_side_of_the_long_tail() -> None:
    terms = np.random.default_rng(3).exponential(size=80) ** 2
    found = bootstrap_t(terms)
    assert found.high - found.value > 1.3 * (found.value - found.low)


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
def test_intervals_follow_the_unit_of_their_terms(shift: float, scale: float) -> None:
    terms = np.random.default_rng(4).normal(size=30)
    for method in (lambda one: bootstrap_t(one, n_draws=100), student_t):
        plain, moved = method(terms), method(shift + scale * terms)
        assert (moved.low, moved.high) == pytest.approx(
            (shift + scale * plain.low, shift + scale * plain.high), abs=1e-6
        )


def test_one_row_and_equal_rows_have_their_intervals() -> None:
    for method in (student_t, bootstrap_t, lambda one: bernstein(one, 1.0)):
        one = method(np.array([3.0]))
        assert (one.value, one.low, one.high) == (3.0, -np.inf, np.inf)
    assert bootstrap_t(np.full(5, 2.0)).high == 2.0


def test_rows_of_a_customer_count_once() -> None:
    terms = np.array([1.0, 1.0, 1.0, 5.0])
    customer = np.array(["a", "a", "a", "b"])
    assert per_cluster(terms, customer) == pytest.approx([2 - 3 * 2 / 4, 2 + 3 * 2 / 4])
    assert per_cluster(terms, None) is terms
    doubled, twice = np.repeat(terms, 2), np.repeat(np.arange(4), 2)
    assert student_t(per_cluster(doubled, twice)).low == pytest.approx(student_t(terms).low)
    assert student_t(doubled).low > student_t(terms).low  # what is wrong about counting them twice


def test_freedom_counts_what_the_variance_rests_on() -> None:
    assert freedom(np.random.default_rng(7).normal(size=20_000)) == pytest.approx(20_000, rel=0.1)
    assert freedom(np.repeat([1.0, 0.0], [5, 995])) == pytest.approx(10, rel=0.03)
    assert freedom(np.tile([-1.0, 1.0], 10)) == 19
    assert freedom(np.ones(8)) == 7
    assert freedom(np.array([0.0] * 99 + [1.0])) == pytest.approx(2.04, rel=0.03)


def rare_log(n: int, seed: int) -> Feedback:
    """Three actions by lot; the policy takes the last, which is rewarded in 1 of 50."""
    rng = np.random.default_rng(seed)
    action = rng.integers(0, 3, n)
    reward = (rng.random(n) < np.array([0.01, 0.01, 0.02])[action]).astype(float)
    policy = np.tile([0.1, 0.1, 0.8], (n, 1))
    return Feedback(action, reward, np.full(n, 1 / 3), policy, np.full((n, 3), 0.01))


def test_few_rewards_are_left_to_bernstein_and_more_to_the_bootstrap() -> None:
    few, many = rare_log(200, 1), rare_log(4_000, 1)
    assert effective_events(few) < 10 < effective_events(many)
    assert interval(few)[1] == "empirical Bernstein"
    assert interval(many)[1] == "bootstrap-t and t"
    assert effective_events(replace(few, reward=np.zeros(200))) == 0


def test_intervals_hold_where_rewards_are_rare() -> None:
    truth, covered = 0.8 * 0.02 + 0.2 * 0.01, []
    for seed in range(60):
        found, _ = interval(rare_log(1_000, seed), seed=seed)
        covered.append(found.low <= truth <= found.high)
    assert np.mean(covered) >= 0.93
