"""Shrunken effects against a known truth: intervals hold, cold strategies borrow and admit it, rare events do not break it."""

import numpy as np
import pytest

from pipelines.core.errors import TrainingError
from training.uplift.shrinkage import Cells, rate_cells, shrink

N_STRATEGIES, N_SEGMENTS = 12, 4


def drawn(seed: int, n: float = 400.0) -> tuple[Cells, np.ndarray, np.ndarray]:
    """Cells of all but the last two strategies, attributes, and the true effects (S, G)."""
    luck = np.random.default_rng(seed)
    attributes = np.column_stack([luck.integers(0, 4, N_STRATEGIES) * 10.0, luck.integers(0, 2, N_STRATEGIES)])
    true = 0.02 + 0.001 * attributes[:, 0] + 0.01 * attributes[:, 1] + luck.normal(0, 0.01, N_STRATEGIES)
    effects = true[:, None] + luck.normal(0, 0.005, (N_STRATEGIES, N_SEGMENTS))
    strategy, segment = (at.ravel() for at in np.indices((N_STRATEGIES - 2, N_SEGMENTS)))
    variance = np.full(len(strategy), 0.15**2 / n) * luck.uniform(0.5, 3, len(strategy))
    seen = effects[strategy, segment] + luck.normal(0, np.sqrt(variance))
    return Cells(strategy, segment, seen, variance, np.zeros(len(seen))), attributes, effects


def test_nineteen_of_twenty_intervals_hold_the_truth_for_tried_and_for_cold_strategies() -> None:
    tried, cold, closer = [], [], []
    for seed in range(40):
        cells, attributes, truth = drawn(seed)
        found = shrink(cells, attributes, N_SEGMENTS)
        inside = (found.low <= truth) & (truth <= found.high)
        tried.append(inside[:-2].mean())
        cold.append(inside[-2:].mean())
        raw = cells.effect.reshape(-1, N_SEGMENTS)
        closer.append(np.mean((found.mean[:-2] - truth[:-2]) ** 2) / np.mean((raw - truth[:-2]) ** 2))
    assert np.mean(tried) >= 0.93
    assert np.mean(cold) >= 0.93
    assert np.mean(closer) < 0.8, "shrunken effects must be nearer to the truth than raw ones"


def test_a_cold_strategy_has_the_effect_of_its_attributes_and_a_wider_interval() -> None:
    cells, attributes, _ = drawn(3, n=4_000)
    attributes[-2], attributes[-1] = (30, 1), (0, 0)
    found = shrink(cells, attributes, N_SEGMENTS)
    assert found.mean[-2].mean() > found.mean[-1].mean() + 0.01, "the deep offer borrows from deep offers"
    assert (found.sd[-2:] > found.sd[:-2].max()).all()


def test_rare_events_give_finite_intervals_that_hold_the_truth() -> None:
    luck, inside, widths = np.random.default_rng(1), [], []
    attributes = np.arange(6.0)[:, None]
    truth = np.repeat(0.009 * np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])[:, None], 3, axis=1)
    for _ in range(40):
        n_treated, n_control = np.full((6, 3), 150), np.full(3, 300)
        events = luck.binomial(n_treated, 0.009 + truth)
        found = shrink(rate_cells(events, n_treated, luck.binomial(n_control, 0.009), n_control), attributes, 3)
        inside.append(((found.low <= truth) & (truth <= found.high)).mean())
        widths.append(found.sd)
    assert np.isfinite(widths).all()
    assert np.mean(inside) >= 0.93


def test_no_event_at_all_is_not_known_for_certain() -> None:
    found = shrink(rate_cells(np.zeros((2, 2)), np.full((2, 2), 50), np.zeros(2), np.full(2, 50)), np.eye(2), 2)
    assert found.mean == pytest.approx(np.zeros((2, 2)), abs=1e-9)
    assert (found.sd > 0).all()


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (Cells(np.array([], int), np.array([], int), np.array([]), np.array([]), np.array([])), "no cell"),
        (Cells(np.array([5]), np.array([0]), np.array([0.1]), np.array([0.1]), np.array([0.0])), "outside 0 to 1"),
        (Cells(np.array([0]), np.array([0]), np.array([0.1]), np.array([0.0]), np.array([0.0])), "above 0"),
        (Cells(np.array([0]), np.array([0]), np.array([np.nan]), np.array([0.1]), np.array([0.0])), "must be numbers"),
    ],
)
def test_what_cannot_be_shrunken_is_one_clear_line(cells: Cells, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        shrink(cells, np.eye(2), 2)


def test_more_events_than_customers_are_refused() -> None:
    with pytest.raises(TrainingError, match="more events than customers"):
        rate_cells(np.array([[3]]), np.array([[2]]), np.array([0]), np.array([5]))
