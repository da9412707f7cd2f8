"""The benchmark of forecasts judges what came after the origin alone."""

import numpy as np
import pytest

import trend


def test_series_that_repeat_themselves_are_forecast_without_error_and_noise_is_not() -> None:
    week = np.tile([[50.0, 60, 70, 80, 90, 120, 110]], (2, 5))
    told = trend.judged([week], [21, 28], 7, 7)
    assert told["forecasts"] == 4
    assert told["mean_absolute_error"]["value"] == pytest.approx(0, abs=0.5)
    assert told["coverage_of_95_percent"]["value"] == 1
    shaken = week.copy()
    shaken[:, 28:] *= 3  # after the last origin but one: only what it is held against changes
    one, other = (trend.judged([counts], [21], 7, 7) for counts in (shaken, week))
    assert one | {"cpu_seconds_per_night": 0} == other | {"cpu_seconds_per_night": 0}
    assert trend.judged([shaken], [28], 7, 7)["mean_absolute_error"]["value"] > 100
