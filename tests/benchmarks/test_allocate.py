"""The benchmark of the knapsack, on tiny sizes: contenders agree, and one that crosses a limit ends it."""

import numpy as np
import pytest

import allocate
from pipelines.strategy.knapsack import Problem


def test_all_contenders_are_measured_and_ours_comes_close_to_the_bound_of_highs() -> None:
    found = allocate.compare(allocate.market(300, 8, 0.5), 1)
    assert set(found["contenders"]) == {"nightmarket", "greedy", "highs_linear", "highs_whole"}
    shares = {name: run["of_bound"] for name, run in found["contenders"].items()}
    assert shares["greedy"] < shares["nightmarket"] <= 1 + 1e-6
    assert 0 <= found["gap"] < 0.02


def test_a_contender_that_crosses_a_limit_ends_the_benchmark() -> None:
    def everybody(problem: Problem) -> tuple[np.ndarray, float]:
        return np.zeros(len(problem.value), dtype=np.int64), 0.0

    with pytest.raises(SystemExit, match="everybody crosses a limit"):
        allocate.measure(everybody, allocate.market(300, 8, 0.1), 1)
