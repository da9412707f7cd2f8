"""What a choice goes by where profits are uncertain, on numbers whose answer is known."""

import numpy as np
import pytest

from pipelines.core.limits import Uncertainty
from pipelines.strategy.uncertainty import judged

MEAN = np.array([[10.0, 12.0], [3.0, -1.0]], dtype=np.float32)
SD = np.array([[1.0, 8.0], [0.0, np.nan]], dtype=np.float32)


def test_the_mean_counts_as_it_is() -> None:
    assert judged(MEAN, SD, Uncertainty(), 1).tolist() == MEAN.tolist()


def test_a_lower_bound_prefers_what_is_known_better_and_an_error_that_is_not_told_counts_as_none() -> None:
    found = judged(MEAN, SD, Uncertainty(rule="lower_bound", confidence_percent=97.5), 1)
    assert found[0] == pytest.approx([10 - 1.959964, 12 - 8 * 1.959964], abs=1e-5)
    assert found[1].tolist() == [3, -1]


def test_a_draw_is_the_same_for_all_customers_in_a_night_and_over_nights_as_spread_as_the_error() -> None:
    rule, same = Uncertainty(rule="thompson"), np.ones((50, 3), dtype=np.float32)
    drawn = np.stack([judged(0 * same, 2 * same, rule, seed) for seed in range(2_000)])
    assert (drawn == drawn[:, :1]).all()
    assert np.array_equal(drawn[5], judged(0 * same, 2 * same, rule, 5))
    assert abs(drawn[:, 0].mean()) < 0.15  # 5.8 standard errors
    assert drawn[:, 0].std() == pytest.approx(2, rel=0.05)
    assert abs(np.corrcoef(drawn[:, 0].T) - np.eye(3)).max() < 0.12
