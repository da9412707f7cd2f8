from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.strategy.off_policy import Feedback, direct, doubly_robust
from pipelines.strategy.off_policy_choice import calibrated, choose, credible


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


def told_apart(n: int, spread: float, seed: int) -> Feedback:
    """Five actions, logged by lot, whose chances differ by `spread`; a reward model that knows them; a policy of the best."""
    rng = np.random.default_rng(seed)
    chance = 0.1 + spread * np.arange(-2, 3)
    action = rng.integers(0, 5, n)
    reward = (rng.random(n) < chance[action]).astype(float)
    policy = np.tile([0.05, 0.05, 0.05, 0.05, 0.8], (n, 1))
    return Feedback(action, reward, np.full(n, 0.2), policy, np.tile(chance, (n, 1)))


def test_a_correction_is_kept_where_the_model_tells_rewards_apart_and_not_where_they_are_all_alike() -> None:
    apart = [credible(calibrated(told_apart(3_000, 0.045, seed))) for seed in range(20)]
    alike = [credible(calibrated(told_apart(500, 0.0, seed))) for seed in range(20)]
    assert min(apart) > 0.9
    assert np.median(alike) < 0.25


def test_a_model_whose_differences_no_reward_confirms_is_not_corrected_by_them() -> None:
    log = told_apart(3_000, 0.045, 1)
    assert credible(replace(log, q=log.model[:, ::-1])) == 0


def test_what_is_kept_lies_between_the_model_as_it_was_and_the_calibrated_one() -> None:
    log, _ = biased_log(400)
    found = choose(log)
    full = calibrated(log)
    assert 0 < found.kept < 1
    ends = [doubly_robust(one, 1.0).mean() for one in (log, full)]
    assert found.value == pytest.approx(ends[0] + found.kept * (ends[1] - ends[0]))


def test_shrinking_saves_where_noise_is_all_there_is() -> None:
    """Forty rewards in 4,000 rows, actions all alike: corrections add noise to the mean of all rows."""
    errors = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        action = rng.integers(0, 20, 4_000)
        reward = (rng.random(4_000) < 0.01).astype(float)
        policy = np.tile(rng.dirichlet(np.full(20, 0.3)), (4_000, 1))
        log = Feedback(action, reward, np.full(4_000, 0.05), policy, np.full((4_000, 20), reward.mean()))
        errors.append([choose(log).value - 0.01, doubly_robust(log).mean() - 0.01])
    ours, corrected = (np.array(errors) ** 2).mean(axis=0)
    assert ours < corrected / 3


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 999))
def test_the_rule_knows_no_unit(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    action = rng.integers(0, 3, 200)
    reward = action + rng.normal(size=200)
    q = np.tile([0.2, 0.5, 0.8], (200, 1)) + rng.normal(size=(200, 3)) / 10
    log = Feedback(action, reward, np.full(200, 1 / 3), np.tile([0.1, 0.1, 0.8], (200, 1)), q)
    found, scaled = choose(log), choose(replace(log, reward=scale * reward, q=scale * q))
    assert scaled.kept == pytest.approx(found.kept)
    assert scaled.value == pytest.approx(scale * found.value)


def test_rows_of_one_customer_tell_as_much_as_one() -> None:
    log = told_apart(400, 0.045, 2)
    rows = np.repeat(np.arange(400), 5)
    five = Feedback(log.action[rows], log.reward[rows], log.propensity[rows], log.policy[rows], log.model[rows])
    assert credible(five) > credible(replace(five, cluster=rows)) == pytest.approx(credible(log))
