import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pipelines.strategy import judgement as j
from pipelines.strategy.judgement import Interval

N = 40


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class codes (n,), probabilities (n, 3) with many ties, whole weights (n,) of which some are 0."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, N))
    target = rng.integers(0, draw(st.integers(1, 3)), n)
    grid = rng.integers(0, draw(st.integers(1, 12)) + 1, (n, 3)) + 0.5
    weight = rng.integers(0, 4, n).astype(float)
    weight[rng.integers(n)] = 1.0
    return target, grid / grid.sum(axis=1, keepdims=True), weight


@settings(max_examples=150, deadline=None)
@given(judged())
def test_class_metrics_equal_sklearn_with_weights(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, probability, weight = case
    guess = probability.argmax(axis=1)
    assert j.accuracy(target, guess, weight) == pytest.approx(sk.accuracy_score(target, guess, sample_weight=weight))
    assert j.macro_f1(target, guess, 3, weight) == pytest.approx(
        sk.f1_score(target, guess, labels=range(3), average="macro", sample_weight=weight, zero_division=0)
    )
    assert j.log_loss(target, probability, weight) == pytest.approx(
        sk.log_loss(target, probability, labels=range(3), sample_weight=weight)
    )


@settings(max_examples=150, deadline=None)
@given(judged())
def test_ranking_and_error_metrics_equal_sklearn_with_weights(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, probability, weight = case
    is_one, score = target == 1, probability[:, 1]
    counts = {one: weight[is_one == one].sum() for one in (True, False)}
    if counts[True]:
        assert j.pr_auc(is_one, score, weight) == pytest.approx(
            sk.average_precision_score(is_one, score, sample_weight=weight)
        )
    if counts[True] and counts[False]:
        assert j.roc_auc(is_one, score, weight) == pytest.approx(sk.roc_auc_score(is_one, score, sample_weight=weight))
    assert j.brier(is_one, score, weight) == pytest.approx(
        sk.brier_score_loss(is_one, score, sample_weight=weight, labels=[False, True])
    )
    assert j.log_loss(is_one, score, weight) == pytest.approx(
        sk.log_loss(is_one, score, labels=[False, True], sample_weight=weight)
    )
    assert j.rmse(target, score, weight) == pytest.approx(
        sk.root_mean_squared_error(target, score, sample_weight=weight)
    )


@settings(max_examples=60, deadline=None)
@given(judged(), st.integers(1, 5))
def test_many_weights_at_once_give_what_each_gives_alone(case: tuple[np.ndarray, ...], n_draws: int) -> None:
    target, probability, _ = case
    weights = np.random.default_rng(n_draws).integers(0, 3, (n_draws, len(target))).astype(float)
    guess, is_one, score = probability.argmax(axis=1), target == 1, probability[:, 1]
    for metric in (
        lambda w: j.accuracy(target, guess, w),
        lambda w: j.macro_f1(target, guess, 3, w),
        lambda w: j.log_loss(target, probability, w),
        lambda w: j.pr_auc(is_one, score, w),
        lambda w: j.roc_auc(is_one, score, w),
        lambda w: j.brier(is_one, score, w),
        lambda w: j.ece(target, probability, w),
        lambda w: j.rmse(target, score, w),
        lambda w: j.bias(target, score, w),
    ):
        together = metric(weights)
        assert together.shape == (n_draws,)
        np.testing.assert_allclose(together, [metric(weight) for weight in weights], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(judged())
def test_a_whole_weight_counts_as_that_many_rows(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, probability, weight = case
    rows = np.repeat(np.arange(len(target)), weight.astype(int))
    score = probability[:, 1]
    assert j.bias(target, score, weight) == pytest.approx(
        j.bias(target[rows], score[rows], np.ones(len(rows))), nan_ok=True
    )


def test_calibration_error_by_hand() -> None:
    probability = np.array([0.1, 0.1, 0.9, 0.9])
    target = np.array([0, 1, 0, 0])
    # two bins of two rows: products of the gaps 0.1 and -0.9, and of 0.9 and 0.9; the mean is 0.36
    assert j.ece(target, probability, np.ones(4), n_bins=2) == pytest.approx(0.6)
    # a row that was drawn twice is no second witness: 2 * 0.9 * 0.9 of 9 - 5 pairs
    assert j.ece(target, probability, np.array([0, 0, 2.0, 1.0]), n_bins=2) == pytest.approx(0.9)
    assert j.ece(target, probability, np.array([1.0, 1.0, 0, 0]), n_bins=2) == 0  # no more than chance


def test_calibration_error_finds_a_known_gap_and_none_where_there_is_none() -> None:
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.1, 0.7, 20_000)
    target = rng.random(20_000) < truth
    assert j.ece(target, truth, np.ones(20_000)) == pytest.approx(0, abs=0.01)
    assert j.ece(target, truth + 0.1, np.ones(20_000)) == pytest.approx(0.1, abs=0.01)


def test_a_fine_calibrated_model_is_not_called_worse_calibrated_than_a_constant() -> None:
    rng = np.random.default_rng(6)
    clearly_worse = 0
    for _ in range(20):
        truth = rng.uniform(0, 1, 400)
        target = (rng.random(400) < truth).astype(float)
        constant = np.full(400, 0.5)
        drawn = j.resampled(
            {
                "fine": lambda w, y=target, p=truth: j.ece(y, p, w),
                "flat": lambda w, y=target, p=constant: j.ece(y, p, w),
            },
            np.arange(400),
            n_draws=200,
        )
        clearly_worse += not j.judge_calibration({"ece": Interval.of(drawn["fine"] - drawn["flat"])}).passed
    assert clearly_worse <= 2


def test_bias_is_the_share_that_totals_are_off() -> None:
    assert j.bias(np.array([10.0, 0.0]), np.array([8.0, 0.5]), np.ones(2)) == pytest.approx(-0.15)


def test_what_is_not_defined_is_no_number() -> None:
    ones, zeros = np.ones(3), np.zeros(3)
    assert math.isnan(j.roc_auc(ones, zeros, ones))
    assert math.isnan(j.pr_auc(zeros, zeros, ones))
    assert math.isnan(j.bias(zeros, ones, ones))
    assert math.isnan(j.accuracy(ones, ones, zeros))


def mean_of(values: np.ndarray) -> Any:
    return lambda weight: weight @ values / weight.sum(axis=-1)


def test_intervals_of_a_mean_are_those_of_theory() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(5, 2, 400)
    found = Interval.of(j.resampled({"mean": mean_of(values)}, np.arange(400))["mean"])
    error = values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_rows_of_one_customer_are_drawn_together() -> None:
    values = np.repeat(np.random.default_rng(2).normal(size=50), 20)  # each customer's 20 rows are equal
    together = Interval.of(j.resampled({"m": mean_of(values)}, np.repeat(np.arange(50), 20))["m"])
    apart = Interval.of(j.resampled({"m": mean_of(values)}, np.arange(1000))["m"])
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(math.sqrt(20), rel=0.15)


def test_draws_are_the_same_for_both_models_and_from_run_to_run() -> None:
    values, customer = np.random.default_rng(3).normal(size=300), np.arange(300) % 70
    one = j.resampled({"m": mean_of(values)}, customer)["m"]
    other = j.resampled({"m": mean_of(values + 0.5)}, customer)["m"]
    np.testing.assert_allclose(other - one, 0.5)  # a constant gain is certain, however noisy each of the two is
    np.testing.assert_array_equal(one, j.resampled({"m": mean_of(values)}, customer)["m"])
    assert (one != j.resampled({"m": mean_of(values)}, customer, seed=4)["m"]).any()


def test_draws_come_in_blocks_that_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values, customer = np.arange(60.0), np.arange(60) % 7
    sizes: list[int] = []

    def metric(weight: np.ndarray) -> np.ndarray:
        sizes.append(len(weight))
        return mean_of(values)(weight)

    at_once = j.resampled({"m": metric}, customer, n_draws=100)["m"]
    assert sizes == [1, 100]
    sizes.clear()
    monkeypatch.setattr(j, "_BLOCK_VALUES", 60 * 32)
    np.testing.assert_array_equal(j.resampled({"m": metric}, customer, n_draws=100)["m"], at_once)
    assert sizes == [1, 32, 32, 32, 4]


def test_no_rows_give_no_numbers() -> None:
    found = Interval.of(j.resampled({"m": mean_of(np.zeros(0))}, np.zeros(0))["m"])
    assert all(math.isnan(number) for number in (found.value, found.low, found.high))


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "expected"),
    [
        (0.01, 0.03, True, "better"),
        (0.01, 0.03, False, "worse"),
        (-0.03, -0.01, True, "worse"),
        (-0.03, -0.01, False, "better"),
        (-0.01, 0.03, True, "tie"),
        (0.0, 0.03, True, "tie"),
        (0.0, 0.0, False, "tie"),
        (math.nan, math.nan, True, "tie"),
    ],
)
def test_only_an_interval_on_one_side_of_zero_decides(
    low: float, high: float, higher_is_better: bool, expected: str
) -> None:
    difference = Interval((low + high) / 2, low, high)
    assert j.outcome(difference, higher_is_better=higher_is_better) == expected
    finding = j.judge_metric("macro_f1", difference, higher_is_better=higher_is_better)
    assert finding.passed == (expected == "better")
    assert f"macro_f1 {expected}" in finding.text


@pytest.mark.parametrize(
    ("difference", "passed"),
    [
        (Interval(0.05, 0.02, 0.08), False),
        (Interval(0.05, -0.01, 0.11), True),  # by chance
        (Interval(0.005, 0.002, 0.008), True),  # within the margin
        (Interval(-0.05, -0.08, -0.02), True),
    ],
)
def test_calibration_may_not_get_worse_by_more_than_its_margin(difference: Interval, passed: bool) -> None:
    assert j.judge_calibration({"ece": difference}).passed == passed


def test_one_segment_that_is_clearly_worse_refuses_and_is_named() -> None:
    better, worse, unsure = Interval(0.1, 0.05, 0.15), Interval(-0.1, -0.2, -0.02), Interval(-0.3, -0.7, 0.1)
    refused = j.judge_segments({"loyal": better, "sleepers": worse, "new": unsure}, higher_is_better=True)
    assert not refused.passed
    assert "sleepers" in refused.text
    assert "new" not in refused.text
    assert j.judge_segments({"loyal": better, "new": unsure}, higher_is_better=True).passed
    assert not j.judge_segments({"loyal": better}, higher_is_better=False).passed
    assert j.judge_segments({}, higher_is_better=True).passed


def test_intervals_of_segments_widen_with_their_number() -> None:
    assert j.segment_level(1) == pytest.approx(0.95)
    assert j.segment_level(5) == pytest.approx(0.99)


def test_an_interval_survives_json_where_it_is_not_defined_too() -> None:
    for told in (Interval(0.5, 0.25, 0.75), Interval(math.nan, math.nan, math.nan)):
        assert str(Interval.from_dict(json.loads(json.dumps(told.as_dict(), allow_nan=False)))) == str(told)
    assert str(Interval(0.5, 0.25, 0.75)) == "0.5 [0.25, 0.75]"
    assert str(Interval(math.nan, math.nan, math.nan)) == "not defined"


def policies(new: Interval, old: Interval, gap: Interval, **told: float) -> dict[str, Any]:
    found = {"rows": 500, "disagree": 0.4, "effective_rows": 60.0} | told
    return found | {"challenger": new.as_dict(), "champion": old.as_dict(), "difference": gap.as_dict()}


@pytest.mark.parametrize(
    ("new", "old", "gap", "passed"),
    [
        (Interval(5, 4, 6), Interval(4, 3, 5), Interval(1, 0.5, 1.5), True),  # more
        (Interval(4, 3, 5), Interval(4.2, 3.2, 5.2), Interval(-0.2, -0.6, 0.2), True),  # a little less, within noise
        (Interval(3, 2, 4), Interval(4, 3, 5), Interval(-1, -1.5, -0.5), False),  # the whole difference below 0
        (Interval(4.5, 1, 8), Interval(4, 3, 5), Interval(0.5, -1, 2), False),  # more, but far less certain
    ],
)
def test_a_policy_s_lower_bound_may_not_lie_below_the_champion_s_by_more_than_noise(
    new: Interval, old: Interval, gap: Interval, passed: bool
) -> None:
    assert j.judge_policy(policies(new, old, gap)).passed == passed


def test_logs_that_cannot_tell_policies_apart_say_so_and_block_nothing() -> None:
    worse = (Interval(3, 2, 4), Interval(4, 3, 5), Interval(-1, -1.5, -0.5))
    found = j.judge_policy(policies(*worse, effective_rows=19.0))
    assert found.passed
    assert "cannot tell: 500 logged choices tell the policies apart as 19.0 would, at least 20" in found.text
    assert j.judge_policy({"rows": 0, "disagree": 0.0, "effective_rows": 0.0}).text.startswith("cannot tell: 0 logged")
