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


def test_the_market_with_all_kinds_of_limits_is_solved_within_them_and_its_curve_is_that_of_each_budget_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allocate, "EXACT_PAIRS", 0)  # takes a minute
    found = allocate.compare(allocate.limited(allocate.market(300, 24, 1.0)), 1)
    assert set(found["contenders"]) >= {"nightmarket", "highs_linear"}
    assert 0 <= found["gap"] < 0.02
    assert allocate.curve(allocate.market(300, 24, 1.0))["differ"] < 1e-3
