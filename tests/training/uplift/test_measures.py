"""Ranking measures beside scikit-uplift's on the same numbers, ties included; policy values by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.uplift.measures import policy_value, qini_area, qini_coefficient, uplift_at, uplift_coefficient


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 300), st.integers(2, 40))
def test_ranking_measures_are_those_of_scikit_uplift(seed: int, n: int, n_scores: int) -> None:
    metrics = pytest.importorskip("sklift.metrics")
    luck = np.random.default_rng(seed)
    score, treated = luck.integers(n_scores, size=n) / n_scores, (luck.random(n) < 0.5).astype(np.float64)
    y = (luck.random(n) < 0.3 + 0.2 * treated * score).astype(np.float64)
    assert uplift_at(score, treated, y, 0.3) == pytest.approx(
        metrics.uplift_at_k(y, score, treated, strategy="overall", k=0.3), nan_ok=True
    )
    assert qini_coefficient(score, treated, y) == pytest.approx(metrics.qini_auc_score(y, score, treated), abs=1e-12)
    assert uplift_coefficient(score, treated, y) == pytest.approx(
        metrics.uplift_auc_score(y, score, treated), abs=1e-12
    )


def test_the_qini_area_of_two_treated_and_two_controls_by_hand() -> None:
    # From the top: treated 10, control 0, treated 0, control 4. Q = 10, 10, 10, 6 after each; the line ends at 6.
    score, treated, y = np.array([4.0, 3, 2, 1]), np.array([1.0, 0, 1, 0]), np.array([10.0, 0, 0, 4])
    assert qini_area(score, treated, y) == pytest.approx((5 + 10 + 10 + 8 - 12) / (4 * 2))


def test_policy_values_by_hand() -> None:
    policy, arm, y = np.array([1, 1, 0, 0]), np.array([1, 0, 0, 1]), np.array([4.0, 9, 2, 9])
    mean = np.array([[0.0, 1], [0, 1], [1, 0], [1, 0]])
    ips, snips, dr = policy_value(policy, arm, y, np.full(4, 0.5), mean)
    assert ips == pytest.approx((8 + 4) / 4)
    assert snips == pytest.approx((8 + 4) / 4)
    assert dr == pytest.approx(((1 + 2 * 3) + 1 + (1 + 2 * 1) + 1) / 4)
