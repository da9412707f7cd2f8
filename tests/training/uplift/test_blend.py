"""The blend: who is in it, what it finds against a known truth, that intervals hold, and that saving changes nothing."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.core.errors import TrainingError
from tests.training.uplift.simulated import simulated
from training.uplift.blend import CONSTANT, THROUGH, Blend, fit_blend
from training.uplift.calibration import fit_calibration
from training.uplift.selection import confidence_set, slopes
from training.uplift.trial import Trial


@pytest.fixture(scope="module")
def fitted() -> tuple[Blend, Trial, np.ndarray]:
    trial, truth = simulated(11, n=4_000)
    return fit_blend(trial, simple={"first feature": 0}), trial, truth


def test_a_blend_finds_who_is_moved_and_treats_a_constant_effect_as_constant(
    fitted: tuple[Blend, Trial, np.ndarray],
) -> None:
    blend, _, _ = fitted
    new, truth = simulated(12)
    found = blend.effect(new.x)
    assert np.corrcoef(found[:, 0], truth[:, 0])[0, 1] > 0.9
    assert found[:, 1].std() < 0.5 * found[:, 0].std()
    assert blend.weights[CONSTANT][0] == 0, "a constant is clearly worse where effects differ"
    assert blend.weights[CONSTANT][1] > 0, "and is kept where they do not"


def test_intervals_of_lifts_hold_the_mean_lift_of_customers_with_like_scores() -> None:
    inside = []
    for seed in range(200):
        luck = np.random.default_rng(seed)
        score = luck.normal(size=2_000)
        truth = 0.02 + 0.03 * score
        how = fit_calibration(score * 5 + 1, truth + luck.normal(0, 0.7, 2_000) * (1 + score**2 / 4), np.ones(2_000))
        lift = how.lift(score * 5 + 1)
        inside.append(((lift.low <= truth) & (truth <= lift.high)).mean())
    assert np.mean(inside) >= 0.93


def test_lifts_of_a_blend_are_calibrated(fitted: tuple[Blend, Trial, np.ndarray]) -> None:
    blend, trial, truth = fitted
    lift = blend.lift(trial.x)
    low, high = lift.value[:, 0] <= np.median(lift.value[:, 0]), lift.value[:, 0] > np.median(lift.value[:, 0])
    for half in (low, high):
        assert lift.low[half, 0].mean() <= truth[half, 0].mean() <= lift.high[half, 0].mean()


def test_a_saved_blend_says_the_same(fitted: tuple[Blend, Trial, np.ndarray], tmp_path: Path) -> None:
    blend, trial, _ = fitted
    blend.save(tmp_path)
    again = Blend.load(tmp_path)
    np.testing.assert_array_equal(again.effect(trial.x), blend.effect(trial.x))
    np.testing.assert_array_equal(again.lift(trial.x).low, blend.lift(trial.x).low)
    whole = (tmp_path / "blend.json").read_text()
    (tmp_path / "blend.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="no readable effect model"):
        Blend.load(tmp_path)


def test_an_amount_goes_through_its_step_and_keeps_its_mean() -> None:
    trial, truth = simulated(13, n=2_000, is_binary=False)
    blend = fit_blend(trial)
    assert any(name.startswith(THROUGH) for name in blend.weights)
    found = blend.effect(trial.x)
    assert np.corrcoef(found[:, 0], truth[:, 0])[0, 1] > 0.7
    assert found.mean(axis=0) == pytest.approx(truth.mean(axis=0), abs=1.0)
    with pytest.raises(TrainingError, match="same rows"):
        fit_blend(trial, step=trial.take(np.arange(100)))


def test_the_confidence_set_drops_what_is_clearly_worse_and_nothing_else() -> None:
    luck = np.random.default_rng(0)
    truth = luck.normal(size=5_000)
    pseudo = truth + luck.normal(0, 3, 5_000)
    effect = np.column_stack([truth, truth + luck.normal(0, 0.1, 5_000), np.zeros(5_000), -truth])
    np.testing.assert_array_equal(confidence_set(pseudo, effect, np.ones(5_000)), [0.5, 0.5, 0, 0])
    noise = luck.normal(0, 3, 5_000)
    assert confidence_set(noise, effect * 0.5, np.ones(5_000))[2] > 0


def test_slopes_stay_at_their_prior_without_evidence_and_follow_it_with() -> None:
    luck = np.random.default_rng(0)
    families, prior = luck.normal(size=(20_000, 2)), np.array([1.0, 0.0])
    drowned = slopes(luck.normal(0, 1e4, 20_000), families, np.ones(20_000), prior)
    assert drowned == pytest.approx(prior, abs=0.05)
    plain = slopes(families @ [0.5, 2.0] + luck.normal(size=20_000), families, np.ones(20_000), prior)
    assert plain == pytest.approx([0.5, 2.0], abs=0.05)
    assert slopes(-families[:, 0], families, np.ones(20_000), prior)[0] == 0, "an order is never turned round"
