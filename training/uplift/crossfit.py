"""Fits every candidate on all folds but one and asks it about that one, so that no candidate is judged on what it saw.

A learner that uses expected outcomes is fitted, for held-out fold k, on rows of fold j with nuisances that saw neither j
nor k. Without that the X-learner leaks: a control's outcome in k lowers its neighbours' residuals, and on Hillstrom's
spend that alone trebled its held-out Qini area.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from training.uplift.effects import Effects
from training.uplift.learners import Learner, fit_outcomes
from training.uplift.trial import Trial

Candidate = Callable[[Trial, np.ndarray, int], Effects]  # a trial, its cross-fitted means (n, A), a seed
N_FITS = 2  # of each candidate on all rows, by different seeds


@dataclass(frozen=True)
class CrossFit:
    """Of one trial: n rows, A arms, K folds."""

    fold: np.ndarray  # (n,)
    mean: np.ndarray  # (n, A) expected outcomes from models that did not see the row's fold
    effect: Mapping[str, np.ndarray]  # candidate -> (n, A-1), likewise
    fitted: Mapping[str, tuple[Effects, ...]]  # candidate -> N_FITS fitted on all rows, for rows outside the trial


def cross_fit(trial: Trial, candidates: Mapping[str, Candidate], fold: np.ndarray, seed: int) -> CrossFit:
    """All candidates on the same folds (n,), as `folds_of` deals them, and the same nuisances."""
    n_folds = int(fold.max()) + 1
    without = _nuisances(trial, fold, n_folds, seed)
    effect = {name: np.empty((len(trial), trial.n_arms - 1)) for name in candidates}
    for held in range(n_folds):
        seen, told = fold != held, fold == held
        part, mean = trial.take(seen), without[held][seen]
        for name, fit in candidates.items():
            effect[name][told] = fit(part, mean, seed * n_folds + held).effect(trial.x[told])
    mean = np.empty((len(trial), trial.n_arms))
    for held in range(n_folds):
        mean[fold == held] = without[held][fold == held]
    fitted = {
        name: tuple(fit(trial, mean, seed * N_FITS + at) for at in range(N_FITS)) for name, fit in candidates.items()
    }
    return CrossFit(fold, mean, effect, fitted)


def outcome_means(trial: Trial, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Expected outcomes (n, A) of rows: the mean of trees per arm and of a linear model with crosses."""
    trees = fit_outcomes("trees", trial, seed)
    linear = Learner("S", "linear", has_crosses=True).fit_joined(trial)
    return lambda x: (trees.mean(x) + linear.mean(x)) / 2


def _nuisances(trial: Trial, fold: np.ndarray, n_folds: int, seed: int) -> list[np.ndarray]:
    """Per held-out fold k (n, A): a row of fold j has models that saw neither j nor k."""
    found = [np.empty((len(trial), trial.n_arms)) for _ in range(n_folds)]
    for one, other in combinations(range(n_folds), 2):
        means = outcome_means(trial.take((fold != one) & (fold != other)), seed)
        for held, told in ((one, other), (other, one)):
            found[held][fold == told] = means(trial.x[fold == told])
    for held in range(n_folds):
        means = outcome_means(trial.take(fold != held), seed)
        found[held][fold == held] = means(trial.x[fold == held])
    return found
