"""Weights of candidates without an oracle: how often each has the smallest doubly robust loss when customers are drawn anew.

The loss of effects t against the pseudo-outcome p is mean((p - t)^2), whose expectation differs from the true squared
error by what all candidates share (Schuler et al. 2018 find it the most reliable criterion without an oracle; Mahajan et
al. 2024 agree). At the sizes of campaigns most candidates lie within its noise: picking the winner picks luck, so a
candidate weighs as much as the share of resamples it wins (model averaging by the bootstrap, as pseudo-BMA+ of Yao et al.
2018). Resamples hold a quarter of the customers, because what wins by a hair on the very rows it was chosen on need not
on others. A constant effect is always among the candidates: what tells nothing falls back to always-the-best-arm.
"""

from typing import Final

import numpy as np

N_DRAWS: Final = 2_000
SHARE: Final = 1 / 4  # of the customers in a resample


def loss_gains(pseudo: np.ndarray, effect: np.ndarray) -> np.ndarray:
    """(n, C) loss of each of C candidates' effects (n, C) less that of a constant effect, row by row.

    Means are taken off both, so that candidates are judged by how effects differ between customers.
    """
    away = (effect - effect.mean(axis=0)) * 1.0
    return away**2 - 2 * away * (pseudo - pseudo.mean())[:, None]


def weights_of(pseudo: np.ndarray, effect: np.ndarray, weight: np.ndarray, seed: int) -> np.ndarray:
    """(C,) weights, sum 1, of candidates' held-out effects (n, C) on one contrast with pseudo-outcomes (n,).

    The losses' means over resamples are normal with their estimated covariance, which the many rows allow.
    """
    share = weight / weight.sum()
    gains = loss_gains(pseudo, effect)
    mean = share @ gains
    away = (gains - mean) * share[:, None]
    covariance = away.T @ away / SHARE
    drawn = np.random.default_rng(seed).multivariate_normal(mean, covariance, size=N_DRAWS, method="eigh")
    return np.bincount(drawn.argmin(axis=1), minlength=len(mean)) / N_DRAWS
