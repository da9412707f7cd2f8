import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.strategy.off_policy_slope import slope, tuned


def terms(mean: float, width: float, n: int = 400) -> np.ndarray:
    values = np.tile([-1.0, 1.0], n // 2)
    return mean + values * width * np.sqrt(n) / 1.2837  # Student's 90% point at 399 degrees of freedom


def test_slope_stops_before_the_first_estimator_that_contradicts_a_wider_one() -> None:
    wide, narrow = terms(0.0, 1.0), terms(1.5, 0.1)  # 1.5 <= 0.1 + 1.449 x 1.0
    assert slope([wide, narrow]) == 1
    assert slope([wide, terms(1.6, 0.1)]) == 0  # 1.6 > 1.549
    assert slope([wide, terms(1.6, 0.1), wide]) == 0


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-100, 100), scale=st.floats(0.01, 100), seed=st.integers(0, 999))
def test_slope_knows_no_unit(shift: float, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    some = [rng.normal(k / 5, 3 - k, 50) for k in range(3)]
    assert slope([shift + scale * one for one in some]) == slope(some)


def test_tuning_puts_the_widest_first_whatever_the_order() -> None:
    wide, narrow, wrong = terms(0.0, 1.0), terms(0.5, 0.2), terms(9.0, 0.1)
    for order in ([wide, narrow, wrong], [wrong, narrow, wide], [narrow, wrong, wide]):
        assert tuned(order) is narrow
