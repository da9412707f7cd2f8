"""The effect model: several learners, fitted and judged by cross-fitting, weighted by selection.py, with intervals.

    blend = fit_blend(Trial.of(x, arm, y, propensity))          # a binary outcome or an amount
    blend = fit_blend(spend, step=visit)                        # an amount that follows a step: trials of the same rows
    blend.effect(x)                                             # (n, A-1) lifts over the control
    blend.lift(x)                                               # the same, calibrated, with intervals

What predicts is fitted again on all rows: models of the folds saw 80% of them and nuisances that saw 60%.
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
from training.uplift.network import fit_network_effects
from training.uplift.selection import confidence_set, slopes
from training.uplift.trial import Trial, doubly_robust, folds_of

N_FOLDS: Final = 5
N_REPEATS: Final = 2
CONSTANT: Final = "constant"
NETWORK: Final = "network"
THROUGH: Final = "through step: "
# Of growing freedom: one odds ratio for all, crosses that the data bear out, and what no line tells.
# More learners of the same kinds only took weight from the first, which ranks best where an effect follows the outcome
# itself (held-out quarters of training halves of Hillstrom). The network, which learns for all arms at once, joins them.
LEARNERS: Final = (Learner("S", "linear"), Learner("S", "linear", has_crosses=True), Learner("X", "trees"))
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


def candidates_for(*, is_binary: bool, simple: Mapping[str, int] | None = None) -> dict[str, Candidate]:
    """The constant effect, one candidate per feature (name -> column) of `simple`, all learners, and the network.

    Amounts do without the network, which learns their step, through which they go; and without the first learner, which
    for them is the constant effect again.
    """
    found = {CONSTANT: fit_constant} | {name: by_one_feature(column) for name, column in (simple or {}).items()}
    found |= {learner.name: learner.fit for learner in (LEARNERS if is_binary else LEARNERS[1:])}
    return found | {NETWORK: fit_network_effects} if is_binary else found


@dataclass(frozen=True)
class Blend:
    """T treatments; `parts` holds each candidate's models of all repeats, fitted on all rows."""

    parts: Mapping[str, tuple[Effects, ...]]
    weights: Mapping[str, np.ndarray]  # candidate -> (T,)
    shift: np.ndarray  # (T,) added for everyone, so that corrections of who do not change how much on average
    calibration: tuple[Calibration, ...]  # T

    def effect(self, x: np.ndarray) -> np.ndarray:
        """(n, f) -> (n, T) lift of each treatment over the control, in the unit of the outcome."""
        return sum(
            (
                self.weights[name] * np.mean([one.effect(x) for one in models], axis=0)
                for name, models in self.parts.items()
            ),
            start=np.tile(self.shift, (len(x), 1)),
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
            "shift": self.shift.tolist(),
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
                np.array(told["shift"], dtype=np.float64),
                tuple(Calibration.from_json(one) for one in told["calibration"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{folder / _FILE}: no readable effect model ({error}); train again") from None


def cross_fits(trial: Trial, candidates: Mapping[str, Candidate], seed: int = 0) -> list[CrossFit]:
    """N_REPEATS cross-fits on newly dealt folds."""
    return [cross_fit(trial, candidates, folds_of(trial, N_FOLDS, seed + at), seed + at) for at in range(N_REPEATS)]


def blend_of(trial: Trial, fits: list[CrossFit]) -> Blend:
    """Equal weights for the candidates that are not clearly worse than the best, each treatment by itself."""
    names, effect = _held_out(fits)
    pseudo = doubly_robust(trial, _means(fits))
    weights = [confidence_set(column, effect[:, at], trial.weight) for at, column in enumerate(pseudo.T)]
    return _blend(trial, pseudo, names, effect, np.stack(weights, axis=1), np.zeros(len(weights)), _fitted(fits))


def blend_through(
    amount: Trial, fits: list[CrossFit], step: Trial, step_fits: list[CrossFit], step_blend: Blend
) -> Blend:
    """Effects on an amount: those on the step before it times the amount per step taken, corrected by what learners on the
    amount itself (taken together) and each simple rule find, as far as held-out rows bear them out (`slopes`).

    The amount per step is one number for all: on Hillstrom no model of a visitor's spend beat the mean held out.
    """
    names, own = _held_out(fits)
    learners = {learner.name for learner in LEARNERS}
    pseudo = doubly_robust(amount, _means(fits))
    through = _through(amount, step_fits, step.y)
    step_names, step_effect = _held_out(through)
    step_weight = np.stack([step_blend.weights.get(name, np.zeros(pseudo.shape[1])) for name in step_names])
    direct = np.array([name in learners for name in names]) / max(1, sum(name in learners for name in names))
    simple = [at for at, name in enumerate(names) if name not in learners and name != CONSTANT]
    of_own = np.stack([direct, *(np.eye(len(names))[at] for at in simple)])  # (families - 1, candidates)
    prior = np.append(1.0, np.zeros(len(of_own)))
    weights, shift = np.empty((len(step_names) + len(names), pseudo.shape[1])), np.empty(pseudo.shape[1])
    for at, column in enumerate(pseudo.T):
        families = np.column_stack([step_effect[:, at] @ step_weight[:, at], own[:, at] @ of_own.T])
        slope = slopes(column, families, amount.weight, prior)
        weights[:, at] = np.concatenate([slope[0] * step_weight[:, at], slope[1:] @ of_own])
        shift[at] = np.average(families @ (prior - slope), weights=amount.weight)
    names_all = [f"{THROUGH}{name}" for name in step_names] + names
    fitted = {f"{THROUGH}{name}": models for name, models in _fitted(through).items()} | _fitted(fits)
    return _blend(amount, pseudo, names_all, np.concatenate([step_effect, own], axis=2), weights, shift, fitted)


def fit_blend(trial: Trial, step: Trial | None = None, simple: Mapping[str, int] | None = None, seed: int = 0) -> Blend:
    """A blend of learners and, by name, of single features (columns of `simple`).

    `step`: the 0/1 step before an amount, of the same rows; without it, an amount's step is that there is any.
    """
    fits = cross_fits(trial, candidates_for(is_binary=trial.is_binary, simple=simple), seed)
    if step is None:
        taken = (trial.y != 0).astype(np.float64)
        if trial.is_binary or taken.all():
            return blend_of(trial, fits)
        step = Trial(trial.x, trial.arm, taken, trial.propensity, trial.weight)
    if len(step) != len(trial) or (step.arm != trial.arm).any() or not step.is_binary:
        raise TrainingError("the step before an amount must be 0/1 for the same rows and arms as the amount")
    step_fits = cross_fits(step, candidates_for(is_binary=True, simple=simple), seed)
    return blend_through(trial, fits, step, step_fits, blend_of(step, step_fits))


def _held_out(fits: list[CrossFit]) -> tuple[list[str], np.ndarray]:
    """Candidates, and (n, T, C) held-out effects, the mean over the repeats."""
    names = list(fits[0].effect)
    return names, np.stack([np.mean([one.effect[name] for one in fits], axis=0) for name in names], axis=2)


def _means(fits: list[CrossFit]) -> np.ndarray:
    return np.mean([one.mean for one in fits], axis=0)


def _fitted(fits: list[CrossFit]) -> dict[str, tuple[Effects, ...]]:
    return {name: tuple(model for one in fits for model in one.fitted[name]) for name in fits[0].fitted}


def _through(amount: Trial, steps: list[CrossFit], taken: np.ndarray) -> list[CrossFit]:
    """The step's cross-fits in the unit of the amount, by the amount per step taken outside each fold."""
    of_all = float(np.average(amount.y[taken > 0], weights=amount.weight[taken > 0]))
    found = []
    for told in steps:
        seen = [(told.fold != held) & (taken > 0) for held in range(int(told.fold.max()) + 1)]
        per_step = np.array([float(np.average(amount.y[rows], weights=amount.weight[rows])) for rows in seen])
        fitted = {name: tuple(Through(one, of_all) for one in models) for name, models in told.fitted.items()}
        effect = {name: values * per_step[told.fold][:, None] for name, values in told.effect.items()}
        found.append(CrossFit(told.fold, told.mean, effect, fitted))
    return found


def _blend(
    trial: Trial,
    pseudo: np.ndarray,
    names: list[str],
    effect: np.ndarray,
    weights: np.ndarray,
    shift: np.ndarray,
    fitted: Mapping[str, tuple[Effects, ...]],
) -> Blend:
    blended = np.einsum("ntc,ct->nt", effect, weights) + shift
    used = [at for at in range(len(names)) if weights[at].any()]
    return Blend(
        {names[at]: fitted[names[at]] for at in used},
        {names[at]: weights[at] for at in used},
        shift,
        tuple(fit_calibration(blended[:, at], pseudo[:, at], trial.weight) for at in range(pseudo.shape[1])),
    )
