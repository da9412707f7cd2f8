import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import OffPolicyError
from pipelines.strategy.off_policy import (
    Feedback,
    direct,
    doubly_robust,
    dr_shrunken,
    ips,
    overlap,
    self_normalised_dr,
    snips,
    switch_dr,
    usual_clip,
)

# Four decisions between two actions. Weights of the judged policy: .8/.5 = 1.6, .2/.5 = .4, .8/.8 = 1, .2/.2 = 1.
FOUR = Feedback(
    action=np.array([0, 1, 0, 1]),
    reward=np.array([1.0, 0.0, 0.0, 1.0]),
    propensity=np.array([0.5, 0.5, 0.8, 0.2]),
    policy=np.array([[0.8, 0.2]] * 4),
    q=np.array([[0.5, 0.25]] * 4),
)


def log_of(seed: int, n: int = 60, a: int = 3) -> Feedback:
    rng = np.random.default_rng(seed)
    logging, policy = rng.dirichlet(np.ones(a), n), rng.dirichlet(np.ones(a), n)
    action = (logging.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return Feedback(action, rng.normal(size=n), logging[np.arange(n), action], policy, rng.normal(size=(n, a)))


def test_four_decisions_worked_out_by_hand() -> None:
    assert FOUR.weight == pytest.approx([1.6, 0.4, 1.0, 1.0])
    assert FOUR.expected == pytest.approx([0.45] * 4)
    assert FOUR.residual == pytest.approx([0.5, -0.25, -0.5, 0.75])
    assert ips(FOUR).mean() == pytest.approx(2.6 / 4)
    assert ips(FOUR, most=1.0).mean() == pytest.approx(2 / 4)
    assert snips(FOUR).mean() == pytest.approx(2.6 / 4)  # the weights happen to average 1
    assert direct(FOUR).mean() == pytest.approx(0.45)
    assert doubly_robust(FOUR).mean() == pytest.approx(0.45 + (0.8 - 0.1 - 0.5 + 0.75) / 4)
    assert doubly_robust(FOUR, most=1.0).mean() == pytest.approx(0.45 + (0.5 - 0.1 - 0.5 + 0.75) / 4)
    assert self_normalised_dr(FOUR).mean() == pytest.approx(doubly_robust(FOUR).mean())
    assert switch_dr(FOUR, most=1.0).mean() == pytest.approx(0.45 + (-0.1 - 0.5 + 0.75) / 4)
    assert dr_shrunken(FOUR, 1.0).mean() == pytest.approx(
        0.45 + (1.6 / 3.56 * 0.5 - 0.4 / 1.16 * 0.25 - 0.25 + 0.375) / 4
    )


def test_overlap_of_four_decisions() -> None:
    seen = overlap(FOUR)
    assert seen.effective_rows == pytest.approx(16 / (2.56 + 0.16 + 2))
    assert (seen.mean_weight, seen.largest_share, seen.unsupported) == pytest.approx((1.0, 0.4, 0.0))
    never = replace(FOUR, policy=np.array([[0.5, 0.2, 0.3]] * 4), q=None)
    assert overlap(never).unsupported == pytest.approx(0.3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_judging_the_logging_policy_itself_gives_the_mean_reward(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logging = rng.dirichlet(np.ones(4), 30)
    action = (logging.cumsum(axis=1) > rng.random((30, 1))).argmax(axis=1)
    log = Feedback(action, rng.normal(size=30), logging[np.arange(30), action], logging)
    assert ips(log) == pytest.approx(log.reward)
    assert snips(log).mean() == pytest.approx(log.reward.mean())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), most=st.floats(0.01, 100))
def test_a_perfect_reward_model_leaves_nothing_to_correct(seed: int, most: float) -> None:
    log = log_of(seed)
    q = log.model.copy()
    q[np.arange(len(log)), log.action] = log.reward
    log = replace(log, q=q)
    for terms in (
        doubly_robust(log), doubly_robust(log, most), self_normalised_dr(log, most), switch_dr(log, most),
        dr_shrunken(log, most),
    ):  # fmt: skip
        assert terms == pytest.approx(direct(log))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_self_normalised_estimates_follow_the_unit_of_the_reward(seed: int, shift: float, scale: float) -> None:
    log = log_of(seed)
    moved = replace(log, reward=shift + scale * log.reward, q=shift + scale * log.model)
    for estimator in (snips, self_normalised_dr, direct, doubly_robust):
        assert estimator(moved).mean() == pytest.approx(shift + scale * estimator(log).mean(), abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_rows_and_names_of_actions_change_nothing(seed: int) -> None:
    log = log_of(seed)
    rng = np.random.default_rng(seed)
    rows, names = rng.permutation(len(log)), rng.permutation(3)
    back = np.argsort(names)
    other = Feedback(
        back[log.action[rows]],
        log.reward[rows],
        log.propensity[rows],
        log.policy[rows][:, names],
        log.model[rows][:, names],
    )
    for estimator in (ips, snips, direct, doubly_robust, self_normalised_dr):
        assert estimator(other).mean() == pytest.approx(estimator(log).mean())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_families_meet_their_ends(seed: int) -> None:
    log = log_of(seed)
    assert dr_shrunken(log, 0.0) == pytest.approx(direct(log))
    assert dr_shrunken(log, np.inf) == pytest.approx(doubly_robust(log))
    assert switch_dr(log, np.inf) == pytest.approx(doubly_robust(log))
    assert self_normalised_dr(log, 0.0) == pytest.approx(direct(log))
    weight = log.weight
    assert self_normalised_dr(log).mean() == pytest.approx(
        (log.expected + weight * log.residual / weight.mean()).mean()
    )


def test_unclipped_estimators_are_unbiased_where_the_truth_is_known() -> None:
    """4,000 logs of 40 decisions at once: the mean of the estimates lies within 4 standard errors of the truth."""
    rng = np.random.default_rng(5)
    n, repeats = 40, 4_000
    truth, logging, policy = np.array([0.1, 0.5, 0.3]), np.array([0.6, 0.1, 0.3]), np.array([0.1, 0.7, 0.2])
    action = rng.choice(3, p=logging, size=n * repeats)
    reward = (rng.random(n * repeats) < truth[action]).astype(float)
    log = Feedback(
        action, reward, logging[action], np.tile(policy, (n * repeats, 1)), np.tile([0.3, 0.3, 0.0], (n * repeats, 1))
    )
    for terms in (ips(log), doubly_robust(log)):
        values = terms.reshape(repeats, n).mean(axis=1)
        assert abs(values.mean() - policy @ truth) < 4 * values.std() / np.sqrt(repeats)
    assert doubly_robust(log).var() < ips(log).var()


def test_weights_are_cut_at_the_root_of_the_rows() -> None:
    assert usual_clip(400) == 20


def test_a_policy_that_shares_no_logged_action_has_no_self_normalised_value() -> None:
    log = replace(FOUR, action=np.zeros(4, dtype=int), policy=np.array([[0.0, 1.0]] * 4))
    assert np.isnan(snips(log)).all()
    assert self_normalised_dr(log) == pytest.approx(direct(log))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"propensity": np.array([0.5, 0.0, 0.8, 0.2])}, "1 of 4 rows is missing or outside (0, 1], row 1 has 0"),
        ({"propensity": np.array([0.5, 0.5, np.nan, 0.2])}, "row 2 has nan; log the probability of the action"),
        ({"propensity": np.array([0.5, 0.5, 0.8, 1.2])}, "row 3 has 1.2"),
        ({"reward": np.array([np.nan, 0, np.inf, 0])}, "reward is no number in 2 of 4 rows, the first is row 0"),
        ({"action": np.array([0, 1, 2, 0])}, "from 0 to 2, expected whole numbers from 0 to 1"),
        ({"action": np.array([0.0, 1.0, 0.0, 1.0])}, "actions are float64"),
        ({"policy": np.array([[0.8, 0.3]] * 4)}, "do not sum to 1"),
        ({"policy": np.array([[1.2, -0.2]] * 4)}, "are negative"),
        ({"reward": np.zeros(3)}, "reward has shape (3,), expected (4,)"),
        ({"context": np.zeros(4)}, "context has shape (4,), expected (4, d)"),
        ({"key": np.array(["d1", "d2", "d2", "d3"])}, "1 decisions have several outcomes, the first is 'd2'"),
    ],
)
def test_a_log_that_cannot_be_weighed_is_refused_in_one_line(changed: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(OffPolicyError, match=re.escape(told)) as raised:
        replace(FOUR, **changed)
    assert "\n" not in str(raised.value)


def test_an_empty_log_and_a_missing_model_are_said() -> None:
    nothing = np.zeros(0)
    with pytest.raises(OffPolicyError, match="the log has no rows"):
        Feedback(nothing.astype(int), nothing, nothing, np.zeros((0, 2)))
    with pytest.raises(OffPolicyError, match="needs a reward model"):
        direct(replace(FOUR, q=None))
