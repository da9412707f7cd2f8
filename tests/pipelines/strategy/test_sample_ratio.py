"""The sample-ratio check: scipy's chi-square, quiet where the design is uneven, loud where customers are lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from pipelines.strategy.sample_ratio import of_counts, of_weights


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=5), seed=st.integers(0, 999))
def test_it_is_the_chi_square_of_scipy(counts: list[int], seed: int) -> None:
    shares = np.random.default_rng(seed).uniform(0.1, 1, len(counts))
    found = of_counts(np.array(counts), shares)
    theirs = chisquare(counts, sum(counts) * shares / shares.sum())
    assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-300)


def test_a_designed_split_of_95_to_5_is_quiet_and_the_same_counts_of_two_halves_are_not() -> None:
    counts = np.array([95_120, 4_880])
    assert not of_counts(counts, np.array([0.95, 0.05])).is_broken
    broken = of_counts(counts, np.array([1, 1]))
    assert broken.is_broken
    assert (broken.worst, broken.observed, broken.designed) == (0, 95_120, 50_000)


def test_what_is_certain_but_too_small_to_matter_is_quiet() -> None:
    found = of_counts(np.array([5_020_000, 4_980_000]), np.array([1, 1]))
    assert found.p_value < 1e-30
    assert found.deviation == pytest.approx(0.004)
    assert not found.is_broken


def test_one_in_ten_lost_from_the_small_arm_is_found() -> None:
    assert of_counts(np.array([95_000, 4_500]), np.array([95, 5])).is_broken


def test_nobody_at_all_is_no_finding_and_shares_must_be_there() -> None:
    assert not of_counts(np.array([0, 0]), np.array([1, 1])).is_broken
    for counts, shares in (([1, 2], [1, 0]), ([1], [1]), ([1, 2], [1])):
        with pytest.raises(ValueError, match="expected a share above 0"):
            of_counts(np.array(counts), np.array(shares))


def test_lots_with_known_chances_are_quiet_and_wrong_chances_are_found() -> None:
    random, n, quiet = np.random.default_rng(1), 4_000, []
    chance = random.uniform(0.1, 0.7, n)
    for _ in range(200):
        treated = random.random(n) < chance
        quiet.append(of_weights(*_sums(treated, chance), n).p_value)
    assert 0.01 < np.mean(np.array(quiet) < 0.05) < 0.09
    wrong = _sums(random.random(n) < np.minimum(1.3 * chance, 1), chance)
    assert of_weights(*wrong, n).is_broken


def _sums(treated: np.ndarray, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weights = [1 / chance[treated], 1 / (1 - chance[~treated])]
    return np.array([w.sum() for w in weights]), np.array([(w * (w - 1)).sum() for w in weights])
