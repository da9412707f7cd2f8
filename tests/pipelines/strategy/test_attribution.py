from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.strategy.attribution import Value, largest, shapley


def exact(value: Value, n_factors: int) -> np.ndarray:
    """Shapley's formula (1953), all coalitions one by one: (n, f)."""

    def told(members: tuple[int, ...]) -> np.ndarray:
        return value(np.isin(np.arange(n_factors), members))

    found = []
    for factor in range(n_factors):
        others = [one for one in range(n_factors) if one != factor]
        total = np.zeros(len(told(())))
        for size in range(n_factors):
            weight = factorial(size) * factorial(n_factors - size - 1) / factorial(n_factors)
            for members in combinations(others, size):
                total += weight * (told((*members, factor)) - told(members))
        found.append(total)
    return np.stack(found, axis=1)


def pairs(weights: np.ndarray) -> Value:
    """A game (n, f, f) in which factors act alone (the diagonal) and in pairs."""
    return lambda coalition: 5.0 + np.einsum("nij,i,j->n", weights, coalition.astype(float), coalition.astype(float))


def test_factors_that_act_alone_get_what_they_bring() -> None:
    brings = np.array([[1.0, -2.0, 0.0], [4.0, 0.5, 3.0]])
    found = shapley(lambda coalition: 7.0 + brings @ coalition, 3)
    np.testing.assert_allclose(found.base, [7, 7])
    np.testing.assert_allclose(found.shares, brings, atol=1e-12)


def test_two_that_only_work_together_share_alike() -> None:
    found = shapley(lambda coalition: np.array([6.0 * (coalition[0] and coalition[1]), 0.0]), 3)
    np.testing.assert_allclose(found.shares, [[3, 3, 0], [0, 0, 0]], atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_one_permutation_and_its_reverse_are_exact_where_factors_act_in_pairs(seed: int, n_factors: int) -> None:
    value = pairs(np.random.default_rng(seed).normal(size=(2, n_factors, n_factors)))
    np.testing.assert_allclose(shapley(value, n_factors, n_pairs=1).shares, exact(value, n_factors), atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_whatever_the_function_the_shares_add_up_to_what_it_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers = {bytes(map(int, f"{code:05b}")): rng.normal(size=3) for code in range(32)}
    found = shapley(lambda coalition: answers[coalition.tobytes()], 5, n_pairs=2)
    np.testing.assert_allclose(found.total, answers[bytes([1] * 5)], atol=1e-9)
    np.testing.assert_allclose(found.base, answers[bytes(5)])


def test_permutations_come_near_the_formula_where_many_act_together() -> None:
    rng = np.random.default_rng(3)
    slope = rng.normal(scale=0.5, size=(50, 8))
    value: Value = lambda coalition: 1 / (1 + np.exp(2 - slope @ coalition))  # noqa: E731
    error = np.abs(shapley(value, 8).shares - exact(value, 8)).mean()
    assert error < 0.03 * np.abs(exact(value, 8)).mean()
    assert error < 0.6 * np.abs(shapley(value, 8, n_pairs=1).shares - exact(value, 8)).mean()


def test_what_three_do_only_together_is_shared_about_evenly_between_all_threes() -> None:
    threes = list(combinations(range(9), 3))
    found = shapley(lambda coalition: np.array([float(coalition[list(three)].all()) for three in threes]), 9).shares
    error = np.array([np.abs(found[row, list(three)] - 1 / 3).mean() for row, three in enumerate(threes)])
    assert error.mean() < 0.052  # of eight random permutations about 0.058
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_row_s_shares_do_not_depend_on_the_other_rows() -> None:
    slope = np.random.default_rng(3).normal(size=(20, 6))
    all_rows = shapley(lambda coalition: np.tanh(slope @ coalition), 6).shares
    one = shapley(lambda coalition: np.tanh(slope[4:5] @ coalition), 6).shares
    np.testing.assert_allclose(one[0], all_rows[4], rtol=1e-12)


def test_the_largest_come_first_whatever_their_sign_and_equals_in_the_order_of_factors() -> None:
    assert largest(np.array([[1.0, -3.0, 2.0, 0.0], [1.0, 1.0, -1.0, 1.0]]), 3).tolist() == [[1, 2, 0], [0, 1, 2]]


def test_without_a_factor_nothing_is_shared() -> None:
    found = shapley(lambda coalition: np.array([2.0, 3.0]), 0)
    assert found.shares.shape == (2, 0)
    assert found.total.tolist() == pytest.approx([2, 3])
