"""Weights of candidates without an oracle, from held-out doubly robust losses.

The loss of effects t against the pseudo-outcome p is mean((p - t)^2), whose expectation differs from the true squared
error only by what all candidates share (Schuler et al. 2018; Mahajan et al. 2024 find it among the most reliable).

At the sizes of campaigns most candidates lie within its noise, and picking the winner picks luck: on the training halves
of Hillstrom weights fitted to the loss (non-negative least squares, shrunken to whatever degree, or shares of resamples
won) did worse on new folds than equal ones. So all candidates that are not clearly worse than the best count alike: a
model confidence set (Hansen, Lunde and Nason 2011) with equal weights.
"""

from typing import Final

import numpy as np
from scipy.stats import norm

CLEARLY: Final = float(norm.ppf(0.95))  # standard errors of the difference to the best, one-sided 5%
# How an amount's effect is thought of before it is seen: it goes through the step before it (slope 1), and what learners
# on the amount itself and simple rules claim is noise (slope 0); each slope give or take 0.25.
PRIOR_SD: Final = 0.25


def loss_gains(pseudo: np.ndarray, effect: np.ndarray) -> np.ndarray:
    """(n, C) loss of each of C candidates' effects (n, C) less that of a constant effect, row by row.

    Means are taken off both, so that candidates are judged by how effects differ between customers.
    """
    away = effect - effect.mean(axis=0)
    return away**2 - 2 * away * (pseudo - pseudo.mean())[:, None]


def confidence_set(pseudo: np.ndarray, effect: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(C,) equal weights, sum 1, of the candidates that are not clearly worse than the best on one contrast.

    `pseudo` (n,), held-out `effect` (n, C), `weight` (n,) of rows.
    """
    share = weight / weight.sum()
    gains = loss_gains(pseudo, effect)
    mean = share @ gains
    behind = gains - gains[:, [int(mean.argmin())]]
    difference = share @ behind
    error = np.sqrt((share**2) @ (behind - difference) ** 2)
    kept = (difference <= CLEARLY * error).astype(np.float64)
    return kept / kept.sum()


def slopes(pseudo: np.ndarray, effect: np.ndarray, weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(F,) posterior mean slopes, none below 0, of F families' held-out effects (n, F) on one contrast.

    Normal prior with means `prior` (F,) and PRIOR_SD, normal likelihood with White's covariance.
    """
    share = weight / weight.sum()
    away = effect - share @ effect
    told = pseudo - share @ pseudo
    gram = (away * share[:, None]).T @ away
    gram += np.eye(len(prior)) * max(float(np.trace(gram)), 1e-30) * 1e-9  # families may be copies of each other
    found = np.linalg.solve(gram, away.T @ (share * told))
    influence = away * (share * (told - away @ found))[:, None]
    precision = gram @ np.linalg.pinv(influence.T @ influence) @ gram
    shrunk = np.linalg.solve(precision + np.eye(len(prior)) / PRIOR_SD**2, precision @ found + prior / PRIOR_SD**2)
    return np.maximum(shrunk, 0.0)
