"""What a trial refuses at the door, in one line each; pseudo-outcomes by hand; folds."""

from typing import Any

import numpy as np
import pytest

from pipelines.core.errors import TrainingError
from training.uplift.trial import Trial, doubly_robust, folds_of

GOOD: dict[str, Any] = {
    "x": np.zeros((6, 1)), "arm": np.array([0, 0, 1, 1, 2, 2]), "y": np.array([0.0, 1, 0, 1, 0, 1]),
    "propensity": np.full(3, 1 / 3),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"arm": np.array([0, 0, 1, 1, 1, 1])}, "arm 2 has fewer than 2 rows"),
        ({"arm": np.array([0, 0, 1, 1, 2, 3])}, "from 0"),
        ({"propensity": np.array([0.5, 0.5, 0.0])}, "not in"),
        ({"propensity": np.array([0.5, 0.3, np.nan])}, "propensity of a trial holds 6 values"),
        ({"propensity": np.array([0.5, 0.3, 0.3])}, "sum to 1"),
        ({"y": np.ones(6)}, "all 6 outcomes are 1"),
        ({"y": np.array([0.0, 1, 0, 1, 0, np.nan])}, "y of a trial holds 1 values"),
        ({"x": np.full((6, 1), np.nan)}, "x of a trial holds 6 values"),
        ({"x": np.zeros((5, 1))}, "do not fit together"),
        ({"weight": np.full(6, -1.0)}, "weights"),
        ({"x": np.zeros((0, 1)), "arm": np.array([], int), "y": np.array([])}, "without rows"),
    ],
)
def test_a_trial_that_cannot_be_compared_is_refused_in_one_line(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingError, match=words) as told:
        Trial.of(**(GOOD | changed))
    assert "\n" not in str(told.value)


def test_pseudo_outcomes_by_hand() -> None:
    trial = Trial.of(**GOOD)
    mean = np.tile([0.2, 0.5, 0.6], (6, 1))
    # Row 0, control without outcome: (0.5 - 0.2) and (0.6 - 0.2), each less 3 (0 - 0.2). Row 3, arm 1 with: 0.3 + 3 0.5.
    found = doubly_robust(trial, mean)
    assert found[0] == pytest.approx([0.3 + 0.6, 0.4 + 0.6])
    assert found[3] == pytest.approx([0.3 + 1.5, 0.4])


def test_every_fold_has_its_part_of_each_arm_and_of_the_outcomes() -> None:
    luck = np.random.default_rng(0)
    arm, y = luck.integers(3, size=999), (luck.random(999) < 0.1).astype(float)
    fold = folds_of(Trial.of(luck.normal(size=(999, 2)), arm, y, np.full(3, 1 / 3)), 5, seed=1)
    for at in range(3):
        assert np.ptp(np.bincount(fold[arm == at], minlength=5)) <= 1
        assert np.ptp(np.bincount(fold[(arm == at) & (y > 0)], minlength=5)) <= 1
