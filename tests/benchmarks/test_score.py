"""The benchmark of scoring, on small sizes: it streams all pairs, and a grid that differs from its rows ends it."""

from typing import Any

import numpy as np
import pytest

import score


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "N_TRAIN", 3_000)
    monkeypatch.setattr(score, "N_COMPARED", 50)
    monkeypatch.setattr(score, "BLOCK", 64)
    monkeypatch.setitem(score.TREES, "rounds", 5)


def test_every_pair_is_scored_and_the_streams_are_the_same_each_time() -> None:
    first, again = score.stream(150), score.stream(150)
    assert first["scores"] == 150 * 72
    assert first["mean_spend_cents"] == again["mean_spend_cents"] > 0


def test_rates_are_told_after_the_grid_was_found_equal_to_its_rows() -> None:
    found = score.speed(1)
    assert found["deviation_from_rows"] < 1e-6
    assert found["score_grid"]["per_cpu_second"] > 0


def test_a_grid_that_differs_from_its_rows_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score.BoostedEffect.score_grid

    def wrong(*given: Any) -> dict[str, np.ndarray]:
        return {name: values + 0.01 for name, values in whole(*given).items()}

    monkeypatch.setattr(score.BoostedEffect, "score_grid", wrong)
    with pytest.raises(SystemExit, match="differs from the rows"):
        score.speed(1)


def test_scikit_uplift_gives_the_same_lifts() -> None:
    pytest.importorskip("sklift")
    assert score.peer(1)["largest_deviation"] < 1e-6
