"""Meta-learners of effects of several treatments over one base model, all from the same cross-fitted nuisances.

S   one model of outcome on features and arm (Künzel et al. 2019); linear: one odds ratio or step per arm,
    or with arm x feature crosses whose penalties the data tell, so that most of them vanish (MacKay 1992)
T   one model of outcome per arm (the same)
X   each arm's residuals against the other arm's model, weighted by propensity (the same)
DR  regression of the doubly robust pseudo-outcome (Kennedy 2020)
R   weighted regression of residuals on residuals (Nie and Wager 2021)
CT  class transformation (Jaskowski and Jaroszewicz 2012), for amounts the transformed outcome (Athey and Imbens 2015)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from training.uplift.bases import Base, fit_base, fit_linear
from training.uplift.effects import Direct, Effects, Joined, PerArm, crossed
from training.uplift.trial import Trial, doubly_robust

Kind = Literal["S", "T", "X", "DR", "R", "CT"]
OUTCOME_RIDGE: Final = 1.0  # of a logistic regression of outcomes; main effects have plenty of rows
RIDGE: Final = 100.0  # of a regression of effects or amounts


@dataclass(frozen=True)
class Learner:
    """One way to learn effects: `kind` over `base`; `has_crosses`: of arm and features, which only the linear S needs."""

    kind: Kind
    base: Base
    has_crosses: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind} {self.base}" + " with crosses" * self.has_crosses

    @property
    def needs_nuisance(self) -> bool:
        return self.kind in ("X", "DR", "R")

    def fit(self, trial: Trial, mean: np.ndarray | None = None, seed: int = 0) -> Effects:
        """`mean` (n, A): cross-fitted expected outcome of each row under each arm; X, DR and R need it."""
        return _FIT[self.kind](self, trial, np.empty(0) if mean is None else mean, seed)

    def fit_joined(self, trial: Trial, seed: int = 0) -> Joined:
        """The S-learner's one model of the outcome, which also tells expected outcomes."""
        return _fit_s(self, trial, np.empty(0), seed)


def _fit_s(how: Learner, trial: Trial, mean: np.ndarray, seed: int) -> Joined:
    is_linear = how.base == "linear"
    if not is_linear:
        x = crossed(trial.x, trial.arm, trial.n_arms, with_crosses=False)
        return Joined(fit_base("trees", x, trial.y, trial.weight, is_class=trial.is_binary, seed=seed), trial.n_arms)
    centre = trial.weight @ trial.x / trial.weight.sum()
    spread = np.sqrt(trial.weight @ (trial.x - centre) ** 2 / trial.weight.sum())
    spread = np.where(spread > 1e-9, spread, 1.0)
    x = crossed((trial.x - centre) / spread, trial.arm, trial.n_arms, with_crosses=True)
    f, t = trial.x.shape[1], trial.n_arms - 1
    least = OUTCOME_RIDGE if trial.is_binary else RIDGE
    is_cross = np.arange(x.shape[1]) >= f + t
    penalty = np.concatenate([np.full(f, least), np.full(t, 1e-3), np.full(is_cross.sum(), RIDGE)])
    if not how.has_crosses:
        penalty[is_cross] = np.inf
    is_learnt = is_cross if how.has_crosses else None
    model = fit_linear(x, trial.y, trial.weight, is_class=trial.is_binary, penalty=penalty, is_learnt=is_learnt)
    return Joined(model, trial.n_arms, centre, spread)


def fit_outcomes(base: Base, trial: Trial, seed: int = 0) -> PerArm:
    """Expected outcome under each arm, one model per arm; where all of an arm's outcomes are equal, that number."""
    models = []
    for arm in range(trial.n_arms):
        part = trial.take(trial.arm == arm)
        if base == "linear":
            ridge = OUTCOME_RIDGE if trial.is_binary else RIDGE
            models.append(fit_linear(part.x, part.y, part.weight, is_class=trial.is_binary, penalty=ridge))
        else:
            models.append(fit_base(base, part.x, part.y, part.weight, is_class=trial.is_binary, seed=seed))
    return PerArm(tuple(models))


def _fit_t(how: Learner, trial: Trial, mean: np.ndarray, seed: int) -> Effects:
    return fit_outcomes(how.base, trial, seed)


def _fit_x(how: Learner, trial: Trial, mean: np.ndarray, seed: int) -> Effects:
    parts = []
    share = np.average(trial.propensity, axis=0, weights=trial.weight)
    for arm in trial.treatments:
        treated, control = trial.arm == arm, trial.arm == 0
        gained = fit_base(how.base, trial.x[treated], (trial.y - mean[:, 0])[treated], trial.weight[treated], seed=seed)
        missed = fit_base(
            how.base, trial.x[control], (mean[:, arm] - trial.y)[control], trial.weight[control], seed=seed
        )
        chance = share[arm] / (share[arm] + share[0])
        parts.append(((1 - chance, gained), (chance, missed)))
    return Direct(tuple(parts), tuple(0.0 for _ in parts))


def _fit_dr(how: Learner, trial: Trial, mean: np.ndarray, seed: int) -> Effects:
    pseudo = doubly_robust(trial, mean)
    fitted = [fit_base(how.base, trial.x, column, trial.weight, seed=seed) for column in pseudo.T]
    return Direct(tuple(((1.0, model),) for model in fitted), tuple(0.0 for _ in fitted))


def _fit_r(how: Learner, trial: Trial, mean: np.ndarray, seed: int) -> Effects:
    fitted = []
    for arm in trial.treatments:
        part, treated, chance = trial.pair(arm)
        rows = (trial.arm == arm) | (trial.arm == 0)
        expected = chance * mean[rows, arm] + (1 - chance) * mean[rows, 0]
        away = treated - chance
        # Weights of mean 1, so that a penalty or a least number of rows means the same for every learner.
        weight = part.weight * away**2 / np.average(away**2, weights=part.weight)
        fitted.append(fit_base(how.base, part.x, (part.y - expected) / away, weight, seed=seed))
    return Direct(tuple(((1.0, model),) for model in fitted), tuple(0.0 for _ in fitted))


def _fit_ct(how: Learner, trial: Trial, mean: np.ndarray, seed: int) -> Effects:
    fitted = []
    for arm in trial.treatments:
        part, treated, chance = trial.pair(arm)
        own = np.where(treated > 0, chance, 1 - chance)
        if trial.is_binary:  # P(z = 1) with every row weighted as if arms were equally likely: effect = 2 P - 1
            z = np.where(treated > 0, part.y, 1 - part.y)
            fitted.append(fit_base(how.base, part.x, z, part.weight / (2 * own), is_class=True, seed=seed))
        else:
            z = part.y * np.where(treated > 0, 1.0, -1.0) / own
            fitted.append(fit_base(how.base, part.x, z, part.weight, seed=seed))
    weight, shift = (2.0, -1.0) if trial.is_binary else (1.0, 0.0)
    return Direct(tuple(((weight, model),) for model in fitted), tuple(shift for _ in fitted))


_FIT: Final[dict[str, Callable[[Learner, Trial, np.ndarray, int], Effects]]] = {
    "S": _fit_s,
    "T": _fit_t,
    "X": _fit_x,
    "DR": _fit_dr,
    "R": _fit_r,
    "CT": _fit_ct,
}
