"""The effect model: many learners, fitted and judged by cross-fitting, weighted by selection.py, with intervals.

    blend = fit_blend(Trial.of(x, arm, y, propensity))          # a binary outcome or an amount
    blend = fit_blend(spend, step=visit)                        # an amount that follows a step: trials of the same rows
    blend.effect(x)                                             # (n, A-1) lifts over the control
    blend.lift(x)                                               # the same, calibrated, with intervals

The blend keeps the models of the folds, whose mean is smoother than one model fitted again on all rows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.core.errors import TrainingError
from training.uplift.bases import fit_linear
from training.uplift.calibration import Calibration, Lift, fit_calibration
from training.uplift.crossfit import Candidate, CrossFit, cross_fit
from training.uplift.effects import Constant, Direct, Effects, Through, effects_from_json
from training.uplift.learners import Learner
from training.uplift.selection import weights_of
from training.uplift.trial import Trial, doubly_robust, folds_of

N_FOLDS: Final = 5
N_REPEATS: Final = 2
CONSTANT: Final = "constant"
LEARNERS: Final = (
    Learner("S", "linear"),
    Learner("S", "linear", 1_000.0),
    Learner("S", "linear", 100.0),
    *(Learner(kind, "linear") for kind in ("T", "X", "DR", "R", "CT")),
    *(Learner(kind, "trees") for kind in ("S", "T", "X", "DR", "R", "CT")),
)
_FILE: Final = "blend.json"


def fit_constant(trial: Trial, mean: np.ndarray, seed: int) -> Effects:
    """The mean effect of each treatment, doubly robust."""
    return Constant(np.average(doubly_robust(trial, mean), axis=0, weights=trial.weight))


def by_one_feature(column: int) -> Candidate:
    """A candidate whose effects are a line in one feature, such as past spend: ranking by it is then in the selection."""

    def fit(trial: Trial, mean: np.ndarray, seed: int) -> Effects:
        penalty = np.where(np.arange(trial.x.shape[1]) == column, 1.0, np.inf)
        pseudo = doubly_robust(trial, mean)
        parts = [((1.0, fit_linear(trial.x, told, trial.weight, penalty=penalty)),) for told in pseudo.T]
        return Direct(tuple(parts), (0.0,) * len(parts))

    return fit


def default_candidates(simple: Mapping[str, int] | None = None) -> dict[str, Candidate]:
    """The constant effect, one candidate per feature (name -> column) of `simple`, and all learners."""
    found = {CONSTANT: fit_constant} | {name: by_one_feature(column) for name, column in (simple or {}).items()}
    return found | {learner.name: learner.fit for learner in LEARNERS}


@dataclass(frozen=True)
class Blend:
    """T treatments; `parts` holds each candidate's models of all folds and repeats."""

    parts: Mapping[str, tuple[Effects, ...]]
    weights: Mapping[str, np.ndarray]  # candidate -> (T,), each treatment's sum 1
    calibration: tuple[Calibration, ...]  # T

    def effect(self, x: np.ndarray) -> np.ndarray:
        """(n, f) -> (n, T) lift of each treatment over the control, in the unit of the outcome."""
        return sum(
            (
                self.weights[name] * np.mean([one.effect(x) for one in models], axis=0)
                for name, models in self.parts.items()
            ),
            start=np.zeros((len(x), len(self.calibration))),
        )

    def lift(self, x: np.ndarray) -> Lift:
        """The same, calibrated, with 95% intervals: arrays (n, T)."""
        effect = self.effect(x)
        found = [how.lift(column) for how, column in zip(self.calibration, effect.T, strict=True)]
        return Lift(*(np.stack([getattr(one, name) for one in found], axis=1) for name in ("value", "low", "high")))

    def save(self, folder: Path) -> None:
        """One JSON file; trees are in it as LightGBM's own text."""
        told: dict[str, Any] = {
            "parts": {name: [one.to_json() for one in models] for name, models in self.parts.items()},
            "weights": {name: weight.tolist() for name, weight in self.weights.items()},
            "calibration": [how.to_json() for how in self.calibration],
        }
        (folder / _FILE).write_text(json.dumps(told))

    @classmethod
    def load(cls, folder: Path) -> "Blend":
        """Raises TrainingError where there is none or it was cut."""
        try:
            told = json.loads((folder / _FILE).read_text())
            return cls(
                {name: tuple(effects_from_json(one) for one in models) for name, models in told["parts"].items()},
                {name: np.array(weight, dtype=np.float64) for name, weight in told["weights"].items()},
                tuple(Calibration.from_json(one) for one in told["calibration"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{folder / _FILE}: no readable effect model ({error}); train again") from None


def cross_fits(trial: Trial, candidates: Mapping[str, Candidate], seed: int = 0) -> list[CrossFit]:
    """N_REPEATS cross-fits on newly dealt folds; the folds of trials of the same arms and steps are alike."""
    return [cross_fit(trial, candidates, folds_of(trial, N_FOLDS, seed + at), seed + at) for at in range(N_REPEATS)]


def through_step(amount: Trial, steps: list[CrossFit], taken: np.ndarray) -> list[CrossFit]:
    """Candidates for an amount from those for the step before it: effect on the step times the amount per step taken.

    One number per fold for all customers and arms: on Hillstrom no model of a visitor's spend beat the mean held out.
    """
    found = []
    for told in steps:
        per_step = []
        for held in range(int(told.fold.max()) + 1):
            seen = (told.fold != held) & (taken > 0)
            per_step.append(float(np.average(amount.y[seen], weights=amount.weight[seen])) if seen.any() else 0.0)
        factor = np.array(per_step)
        fitted = {
            name: tuple(Through(one, by) for one, by in zip(models, per_step, strict=True))
            for name, models in told.fitted.items()
        }
        effect = {name: values * factor[told.fold][:, None] for name, values in told.effect.items()}
        found.append(CrossFit(told.fold, told.mean, effect, fitted))
    return found


def blend_of(trial: Trial, families: Mapping[str, list[CrossFit]], mean: np.ndarray, seed: int = 0) -> Blend:
    """Weighs the candidates of all families; `mean` (n, A): held-out expected outcomes of `trial`."""
    pseudo = doubly_robust(trial, mean)
    effect = {
        f"{family}{name}": np.mean([one.effect[name] for one in fits], axis=0)
        for family, fits in families.items()
        for name in fits[0].effect
    }
    names = list(effect)
    stacked = np.stack([effect[name] for name in names], axis=2)
    weights = np.stack(
        [weights_of(pseudo[:, at], stacked[:, at], trial.weight, seed) for at in range(pseudo.shape[1])], axis=1
    )
    used = [at for at in range(len(names)) if weights[at].any()]
    blended = np.einsum("ntc,ct->nt", stacked, weights)
    fitted = {
        f"{family}{name}": tuple(model for one in fits for model in one.fitted[name])
        for family, fits in families.items()
        for name in fits[0].fitted
    }
    return Blend(
        {names[at]: fitted[names[at]] for at in used},
        {names[at]: weights[at] for at in used},
        tuple(fit_calibration(blended[:, at], pseudo[:, at], trial.weight) for at in range(pseudo.shape[1])),
    )


def fit_blend(trial: Trial, step: Trial | None = None, simple: Mapping[str, int] | None = None, seed: int = 0) -> Blend:
    """A blend of all learners and, by name, of single features (columns); `step`: the 0/1 step before an amount, of the same rows, whose learners then join in."""
    candidates = default_candidates(simple)
    own = cross_fits(trial, candidates, seed)
    families = {"": own}
    if step is not None:
        if len(step) != len(trial) or (step.arm != trial.arm).any() or not step.is_binary:
            raise TrainingError("the step before an amount must be 0/1 for the same rows and arms as the amount")
        families["through step: "] = through_step(trial, cross_fits(step, candidates, seed), step.y)
    return blend_of(trial, families, np.mean([one.mean for one in own], axis=0), seed)
