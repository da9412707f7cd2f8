import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.strategy.off_policy import Feedback, direct
from pipelines.strategy.off_policy_choice import calibrated, family, name_of, slope, tuned


def biased_log(n: int = 4_000, rare: float = 1.0) -> tuple[Feedback, float]:
    """Two actions logged 9 to 1, the other way round in the judged policy; a reward model that knows no difference."""
    rng = np.random.default_rng(2)
    truth = rare * np.array([0.2, 0.6])
    action = (rng.random(n) < 0.1).astype(int)
    reward = (rng.random(n) < truth[action]).astype(float)
    logging, policy = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    log = Feedback(action, reward, logging[action], np.tile(policy, (n, 1)), np.full((n, 2), reward.mean()))
    return log, float(policy @ truth)


def test_calibration_takes_the_bias_out_of_a_reward_model_that_knows_no_actions() -> None:
    log, truth = biased_log()
    assert abs(direct(log).mean() - truth) > 0.25
    assert direct(calibrated(log)).mean() == pytest.approx(truth, abs=0.04)
    assert ((calibrated(log).model > 0) & (calibrated(log).model < 1)).all()


def test_calibration_of_other_rewards_is_linear_and_follows_their_unit() -> None:
    rng = np.random.default_rng(3)
    action = rng.integers(0, 2, 500)
    reward = 10.0 * action + rng.normal(size=500)
    policy = np.tile([0.2, 0.8], (500, 1))
    log = Feedback(action, reward, np.full(500, 0.5), policy, np.full((500, 2), 5.0))
    found = direct(calibrated(log)).mean()
    assert found == pytest.approx(8.0, abs=0.3)
    cents = Feedback(action, 100 * reward, np.full(500, 0.5), policy, np.full((500, 2), 500.0))
    assert direct(calibrated(cents)).mean() == pytest.approx(100 * found)


def test_a_reward_model_that_is_right_is_hardly_moved() -> None:
    rng = np.random.default_rng(4)
    q = np.clip(rng.random((20_000, 3)), 0.05, 0.95)
    action = rng.integers(0, 3, 20_000)
    reward = (rng.random(20_000) < q[np.arange(20_000), action]).astype(float)
    log = Feedback(action, reward, np.full(20_000, 1 / 3), rng.dirichlet(np.ones(3), 20_000), q)
    assert np.abs(calibrated(log).model - q).max() < 0.05


def test_without_any_reward_calibration_says_little_is_to_be_had() -> None:
    log = Feedback(
        np.zeros(50, dtype=int), np.zeros(50), np.full(50, 0.5), np.tile([0.5, 0.5], (50, 1)), np.full((50, 2), 0.1)
    )
    assert 0 < direct(calibrated(log)).mean() < 0.1


def test_the_family_goes_from_unbiased_to_the_model_alone() -> None:
    log, _ = biased_log(400)
    found = family(log)
    assert next(iter(found)) == "calibrated SNDR"
    assert list(found)[-1] == name_of(0.0) == "calibrated DM"
    assert name_of(20.0) in found
    assert found["calibrated DM"] == pytest.approx(direct(log))


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


def test_rows_of_one_customer_widen_the_intervals_that_are_compared() -> None:
    wide, narrow = terms(0.0, 1.0), terms(1.6, 0.1)
    assert slope([wide, narrow]) == 0
    assert slope([wide, narrow], cluster=np.repeat(np.arange(100), 4)) == 0  # +1 and -1 of a customer cancel out
    blocks = np.arange(400) // 2 % 2 * 200 + np.arange(400) % 2
    assert slope([wide, narrow], cluster=np.where(wide > 0, 0, 1) * 10 + blocks // 200) == 1
