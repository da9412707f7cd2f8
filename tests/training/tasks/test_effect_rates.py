"""The baseline of the effect task: rates and lifts, shrunken where little was seen."""

import numpy as np
import pytest

from pipelines.core.columns import Columns as C
from tests.training.small_effect import STRATEGIES, examples, profiles
from training.task import Fitting
from training.tasks.effect import TASK


def test_baseline_rates_of_little_data_stay_near_the_rate_of_all() -> None:
    train, _ = examples()
    rates = TASK.baseline(train, Fitting())
    owls = rates.segments.index("owls")
    evening, morning = (
        np.mean([rates.rates[C.P_CLICK][owls, at] for at, name in enumerate(rates.strategies) if window in name])
        for window in ("evening", "morning")
    )
    assert evening > 2 * morning
    few = TASK.baseline(train.take(np.arange(40)), Fitting())
    spread = np.ptp(few.rates[C.P_CONVERSION][:, :-1])
    assert spread < 0.5 * few.rates[C.P_CONVERSION][:, :-1].mean()


def test_a_strategy_nobody_was_sent_borrows_from_those_like_it_and_its_error_says_so() -> None:
    train, _ = examples()
    cold, known = STRATEGIES[0], STRATEGIES[1:]
    ids = train.rows[C.STRATEGY_ID].to_pylist()
    without = train.take(np.array([one != cold.strategy_id for one in ids]))
    rates = TASK.baseline(without, Fitting())
    assert cold.strategy_id in rates.strategies, "its offer, channel and window were sent with others"
    grid = rates.score_grid(profiles(50), STRATEGIES)
    lift, error = grid[C.LIFT_CONVERSION], grid[C.LIFT_SPEND_SE_CENTS]
    alike = [at for at, one in enumerate(known, start=1) if one.send_window == cold.send_window]
    assert lift[:, 0] == pytest.approx(lift[:, alike].mean(axis=1), abs=0.6 * np.ptp(lift))
    assert (error > 0).all()
    error = error / np.array([1 - one.discount_percent / 100 for one in STRATEGIES])
    assert (error[:, 0] > error[:, 1:].mean(axis=1)).all(), "it is known less well than those that were sent"


def test_segments_are_thought_of_together_where_strategies_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = examples()
    one_by_one = TASK.baseline(train, Fitting())
    monkeypatch.setattr("training.tasks.effect_rates._MAX_CELLS", len(one_by_one.strategies))
    together = TASK.baseline(train, Fitting())
    lift = together.rates[C.P_CONVERSION][:, :-1] - together.rates[C.P_CONVERSION][:, -1:]
    assert np.ptp(lift, axis=0).max() < 1e-9 < np.ptp(lift, axis=1).max()
    monkeypatch.setattr("training.tasks.effect_rates._MAX_CELLS", 1)
    assert np.ptp(TASK.baseline(train, Fitting()).rates[C.P_CONVERSION][0]) == 0, "too many: nothing is told apart"
