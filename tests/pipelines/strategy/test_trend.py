"""Forecasts per category: right where the truth is simple, honest where little is known, never worse than last week's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.strategy.trend import MEAN, NAIVE, forecast

WEEK = np.array([100.0, 80, 90, 100, 120, 200, 180])


def test_a_week_that_repeats_itself_is_forecast_as_it_is() -> None:
    found = forecast(np.tile(WEEK, 5)[None, :], 10)
    assert found.forecast[0] == pytest.approx(np.resize(WEEK, 10), rel=1e-3)
    assert (found.low < found.forecast).all()
    assert (found.forecast < found.high).all()
    assert found.naive_error[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("n", "method"), [(1, MEAN), (6, MEAN), (7, NAIVE), (14, NAIVE)])
def test_with_fewer_than_two_weeks_and_a_night_it_says_so(n: int, method: str) -> None:
    counts = np.tile(WEEK, 2)[None, :n]
    found = forecast(counts, 7)
    expected = np.full(7, np.sqrt(counts + 0.375).mean() ** 2 - 0.375) if method == MEAN else counts[0, -7:]
    assert found.method == (method,)
    assert found.forecast[0] == pytest.approx(expected)
    assert np.isnan(found.error[0])
    assert found.n_known[0] == n


def test_noise_is_averaged_where_last_week_repeats_it_and_the_interval_covers() -> None:
    rng = np.random.default_rng(3)
    truth = np.tile(WEEK, 7) * np.exp(rng.normal(0, 0.5, 8))[:, None]
    counts = rng.poisson(truth).astype(np.float64)
    found = forecast(counts[:, :42], 7)
    came = truth[:, 42:]
    naive = np.abs(counts[:, 35:42] - came).mean()
    assert np.abs(found.forecast - came).mean() < 0.8 * naive
    assert ((counts[:, 42:] >= found.low) & (counts[:, 42:] <= found.high)).mean() > 0.85
    assert (found.error <= found.naive_error + 1e-9).all()


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=15, max_size=24), st.integers(1, 14), st.sets(st.integers(0, 23)))
def test_whatever_came_the_method_was_never_worse_than_last_week_and_bounds_are_in_order(
    values: list[int], horizon: int, unknown: set[int]
) -> None:
    counts = np.array([values, values[::-1]], dtype=np.float64)
    counts[0, [at for at in unknown if at < len(values)]] = np.nan
    found = forecast(counts, horizon)
    assert found.forecast.shape == (2, horizon)
    assert ((found.low >= 0) & (found.low <= found.forecast) & (found.forecast <= found.high)).all()
    tested = np.isfinite(found.error)
    assert (found.error[tested] <= found.naive_error[tested] + 1e-6).all()
    assert found.n_known.tolist() == np.isfinite(counts).sum(axis=1).tolist()


def test_a_category_that_nobody_asks_for_any_more_is_expected_to_stay_so() -> None:
    found = forecast(np.vstack([np.tile(WEEK, 4), np.zeros(28)]), 7)
    assert found.forecast[1] == pytest.approx(np.zeros(7), abs=0.2)


def test_the_same_counts_give_the_same_bytes() -> None:
    counts = np.random.default_rng(1).poisson(np.tile(WEEK, 4), (2, 28)).astype(np.float64)
    one, other = forecast(counts, 7), forecast(counts, 7)
    assert one.forecast.tobytes() == other.forecast.tobytes()
    assert one.low.tobytes() == other.low.tobytes()


@pytest.mark.parametrize(("counts", "horizon"), [(np.ones((1, 0)), 7), (np.ones((1, 9)), 0), (-np.ones((1, 9)), 7)])
def test_what_is_no_series_is_refused(counts: np.ndarray, horizon: int) -> None:
    with pytest.raises(ValueError, match="none below zero"):
        forecast(counts, horizon)
