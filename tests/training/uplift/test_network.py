"""The network finds a known effect on two outcomes at once, and saving changes nothing."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.core.errors import TrainingError
from tests.training.uplift.simulated import simulated
from training.uplift.effects import effects_from_json
from training.uplift.network import Network, NetworkEffects, fit_network
from training.uplift.trial import Trial


@pytest.fixture(scope="module")
def fitted() -> tuple[Network, Trial, np.ndarray]:
    trial, truth = simulated(21, n=8_000)
    amount = Trial(trial.x, trial.arm, trial.y * 20 + trial.x[:, 1], trial.propensity, trial.weight)
    return fit_network([trial, amount], seed=1), trial, truth


def test_it_finds_who_is_moved_on_both_outcomes(fitted: tuple[Network, Trial, np.ndarray]) -> None:
    network, trial, truth = fitted
    effect = network.effect(trial.x)
    assert effect.shape == (len(trial), 2, 2)
    assert np.corrcoef(effect[:, 0, 0], truth[:, 0])[0, 1] > 0.7
    assert np.corrcoef(effect[:, 0, 1], truth[:, 0])[0, 1] > 0.7
    assert effect[..., 0].mean(axis=0) == pytest.approx(truth.mean(axis=0), abs=0.05)
    assert effect[..., 1].mean(axis=0) == pytest.approx(20 * truth.mean(axis=0), abs=1.5)


def test_the_same_seed_gives_the_same_network_and_saving_changes_nothing(tmp_path: Path) -> None:
    trial, _ = simulated(22, n=500)
    one, other = fit_network([trial], seed=3), fit_network([trial], seed=3)
    np.testing.assert_array_equal(one.effect(trial.x), other.effect(trial.x))
    one.save(tmp_path)
    np.testing.assert_array_equal(Network.load(tmp_path).effect(trial.x), one.effect(trial.x))
    as_text = NetworkEffects(one).to_json()
    np.testing.assert_array_equal(effects_from_json(as_text).effect(trial.x), one.effect(trial.x)[:, :, 0])
    as_text["network"]["safetensors"] = as_text["network"]["safetensors"][:400]
    with pytest.raises(TrainingError, match="cannot be read"):
        effects_from_json(as_text)
    (tmp_path / "network.safetensors").write_bytes(b"cut")
    with pytest.raises(TrainingError, match="no readable network"):
        Network.load(tmp_path)


def test_outcomes_of_other_customers_are_refused() -> None:
    with pytest.raises(TrainingError, match="same rows"):
        fit_network([simulated(1, n=100)[0], simulated(2, n=90)[0]])
