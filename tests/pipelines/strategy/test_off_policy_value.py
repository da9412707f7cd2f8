from dataclasses import replace

import numpy as np
import pytest

from pipelines.strategy.off_policy import Feedback
from pipelines.strategy.off_policy_value import Evaluation, evaluate_policy

GOOD, BAD = np.array([0.05, 0.9, 0.05]), np.array([0.9, 0.05, 0.05])
CHANCE = np.array([0.2, 0.6, 0.4])


def log_of(policy: np.ndarray, n: int = 1_500, seed: int = 1, logging: tuple[float, ...] = (0.4, 0.3, 0.3)) -> Feedback:
    """Three actions, one context that adds to every action's chance."""
    rng = np.random.default_rng(seed)
    context = rng.random((n, 1))
    action = rng.choice(3, p=logging, size=n)
    reward = (rng.random(n) < CHANCE[action] * (0.5 + context[:, 0])).astype(float)
    return Feedback(action, reward, np.array(logging)[action], np.tile(policy, (n, 1)), context=context)


def test_a_better_and_a_worse_policy_are_told_with_intervals_around_the_truth() -> None:
    for policy, verdict in ((GOOD, "better"), (BAD, "worse")):
        found = evaluate_policy(log_of(policy))
        assert found.verdict == verdict
        assert found.value.low <= policy @ CHANCE <= found.value.high
        assert found.value.value == pytest.approx(policy @ CHANCE, abs=0.05)
        assert found.value.low <= found.value.value <= found.value.high
        assert 0 < found.kept <= 1
        assert found.reward_model != "given"


def test_the_logging_policy_itself_is_a_tie_at_its_mean() -> None:
    log = log_of(np.array([0.4, 0.3, 0.3]))
    found = evaluate_policy(log)
    assert found.verdict == "tie"
    assert found.value.value == pytest.approx(log.reward.mean(), abs=0.01)
    assert found.overlap.effective_rows == pytest.approx(len(log))


def test_the_same_log_and_seed_give_the_same_numbers() -> None:
    assert evaluate_policy(log_of(GOOD), seed=3) == evaluate_policy(log_of(GOOD), seed=3)


def refused(log: Feedback) -> Evaluation:
    found = evaluate_policy(log)
    assert found.verdict == "refused"
    assert "\n" not in found.refusal
    return found


def test_actions_that_were_never_logged_are_refused_by_number() -> None:
    log = log_of(np.array([0.2, 0.2, 0.6]), logging=(0.5, 0.5, 0.0))
    assert refused(log).refusal.startswith("60% of what the policy would do was never logged (actions 2); at most 5%")


def test_a_log_without_any_shared_action_is_refused_with_its_reason() -> None:
    found = refused(log_of(np.array([0.0, 0.0, 1.0]), logging=(0.5, 0.5, 0.0)))
    assert "100% of what the policy would do was never logged" in found.refusal
    assert np.isnan(found.value.value)


def test_too_little_overlap_is_refused_with_how_much_there_is() -> None:
    found = refused(log_of(np.array([0.0, 0.0, 1.0]), logging=(0.498, 0.498, 0.004)))
    assert "tell as much as" in found.refusal
    assert found.overlap.effective_rows < 20


def test_propensities_that_were_not_used_are_noticed_by_their_weights() -> None:
    log = log_of(GOOD)
    assert "the logged propensities are not those used" in refused(replace(log, propensity=log.propensity / 3)).refusal


def test_rewards_that_are_all_alike_tell_nothing() -> None:
    log = log_of(GOOD)
    assert "all 1500 rewards are 0: nothing to tell" in refused(replace(log, reward=np.zeros(1_500))).refusal


def test_a_customer_s_many_rows_make_the_interval_wider() -> None:
    log = log_of(GOOD, 300)
    four = {
        name: np.repeat(getattr(log, name), 4, axis=0)
        for name in ("action", "reward", "propensity", "policy", "context")
    }
    naive, honest = Feedback(**four), Feedback(**four, cluster=np.repeat(np.arange(300), 4))
    wide, narrow = evaluate_policy(honest).value, evaluate_policy(naive).value
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
