"""Rounding to whole customers: exactly unbiased (every path of the walk added up), rows kept, limits held."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.strategy.rounding import round_unbiased


class Tosses:
    """A coin that follows a given path and then always says yes, remembering how probable that was."""

    def __init__(self, path: list[bool]) -> None:
        self.given, self.answers, self.probability = path, list[bool](), 1.0

    def __call__(self, chance: float) -> bool:
        place = len(self.answers)
        answer = self.given[place] if place < len(self.given) else True
        self.answers.append(answer)
        self.probability *= chance if answer else 1 - chance
        return answer


def all_paths(expected: np.ndarray, weights: tuple[np.ndarray, ...]) -> list[tuple[float, np.ndarray]]:
    """Every outcome with its probability: each toss is answered both ways, one replay per path."""
    outcomes, waiting = [], [list[bool]()]
    while waiting:
        tosses = Tosses(waiting.pop())
        result = round_unbiased(expected, weights, tosses)
        outcomes.append((tosses.probability, result))
        waiting += [[*tosses.answers[:k], False] for k in range(len(tosses.given), len(tosses.answers))]
    return outcomes


def random_table(n_rows: int, n_columns: int, seed: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    random = np.random.default_rng(seed)
    share = random.dirichlet(np.ones(n_columns), n_rows)
    size = random.integers(1, 5, (n_rows, 1))
    messages = np.tile(np.r_[random.integers(0, 3, n_columns - 1), 0].astype(float), (n_rows, 1))
    cost = random.random((n_rows, n_columns)) * 9
    cost[:, -1] = 0
    return size * share, (messages, cost)


@pytest.mark.parametrize("seed", range(6))
def test_the_mean_over_all_paths_is_the_table_itself(seed: int) -> None:
    expected, weights = random_table(3, 3, seed)
    outcomes = all_paths(expected, weights)
    assert len(outcomes) > 3
    assert sum(p for p, _ in outcomes) == pytest.approx(1, abs=1e-12)
    mean = sum(p * result for p, result in outcomes)
    np.testing.assert_allclose(mean, expected, atol=1e-9)


def test_one_row_of_two_halves_is_a_fair_coin() -> None:
    outcomes = all_paths(np.array([[0.5, 0.5]]), (np.array([[1.0, 0.0]]),))
    assert {(p, tuple(result[0])) for p, result in outcomes} == {(0.5, (1, 0)), (0.5, (0, 1))}


def test_a_limit_whose_expectation_is_whole_is_met_to_the_unit_on_every_path() -> None:
    # Four customers, each sent to with probability 1/2: always two of them.
    expected = np.full((4, 2), 0.5)
    outcomes = all_paths(expected, (np.array([[1.0, 0.0]] * 4),))
    assert {int(result[:, 0].sum()) for _, result in outcomes} == {2}


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12), st.integers(2, 6), st.integers(0, 10**6))
def test_rows_are_kept_cells_are_floor_or_ceiling_and_limits_hold(n_rows: int, n_columns: int, seed: int) -> None:
    expected, weights = random_table(n_rows, n_columns, seed)
    random = np.random.default_rng(seed)
    result = round_unbiased(expected, weights, lambda chance: bool(random.random() < chance))
    assert np.array_equal(result.sum(axis=1), np.rint(expected.sum(axis=1)))
    assert (result >= np.floor(expected - 1e-9)).all()
    assert (result <= np.ceil(expected + 1e-9)).all()
    for k, weight in enumerate(weights):
        above = (result * weight).sum() - (expected * weight).sum()
        assert above < (len(weights) - k) * weight.max() + 1e-6


def test_whole_tables_and_empty_tables_come_back_untouched() -> None:
    def never(chance: float) -> bool:
        raise AssertionError("nothing is left to chance")

    whole = np.array([[2.0, 0.0], [1.0, 3.0]])
    assert np.array_equal(round_unbiased(whole, (np.ones((2, 2)),), never), whole)
    assert round_unbiased(np.zeros((0, 3)), (np.zeros((0, 3)),), never).shape == (0, 3)
