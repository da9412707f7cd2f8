"""Sample-ratio check: do the arms hold as many customers as the lots should have given them?

A broken ratio (Fabijan et al. 2019) means that something else than the lot decided who is in an arm, so no difference
between the arms can be believed. The test is asked every night and of millions of customers, hence two conditions: p
below 0.0005, and a deviation that matters at all.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

MAX_P: Final = 0.0005
MIN_DEVIATION: Final = 0.01  # of an arm's designed customers: less is told by no decision


@dataclass(frozen=True)
class SampleRatio:
    """What was found: the arm that is furthest from its design, as a share of the design."""

    p_value: float
    deviation: float  # largest |observed / designed - 1|
    worst: int  # position of that arm
    observed: float  # its customers (or rows)
    designed: float

    @property
    def is_broken(self) -> bool:
        return self.p_value < MAX_P and self.deviation >= MIN_DEVIATION


def of_counts(counts: np.ndarray, shares: np.ndarray) -> SampleRatio:
    """Pearson's chi-square of customers per arm (k,) against designed shares (k,), in any unit, all above 0."""
    from scipy.special import gammaincc

    observed, weights = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if len(observed) != len(weights) or len(observed) < 2 or not (weights > 0).all():
        raise ValueError(f"expected a share above 0 for each of 2 or more arms, found {counts} and {shares}")
    designed = observed.sum() * weights / weights.sum()
    if not observed.sum():
        return SampleRatio(1.0, 0.0, 0, 0.0, 0.0)
    statistic = float(((observed - designed) ** 2 / designed).sum())
    return _worst(float(gammaincc((len(observed) - 1) / 2, statistic / 2)), observed, designed)


def of_weights(sums: np.ndarray, variances: np.ndarray, n_rows: int) -> SampleRatio:
    """The same where each row has chances of its own: of rows drawn into an arm with chance p, the weights 1 / p add up
    to all rows that could have been, on average.

    `sums` (k,): of 1 / p over the rows in each arm; `variances` (k,): of (1 / p)(1 / p - 1), an unbiased estimate of the
    variance of that sum. The smallest p of the arms, times their number (Bonferroni).
    """
    from scipy.special import ndtr

    observed, variance = np.asarray(sums, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    designed = np.full(len(observed), float(n_rows))
    z = np.divide(observed - designed, np.sqrt(variance), out=np.zeros(len(observed)), where=variance > 0)
    p = float(min(1.0, len(observed) * 2 * ndtr(-np.abs(z)).min()))
    return _worst(p, observed, designed)


def _worst(p: float, observed: np.ndarray, designed: np.ndarray) -> SampleRatio:
    away = np.abs(observed - designed) / np.maximum(designed, 1e-300)
    worst = int(away.argmax())
    return SampleRatio(p, float(away[worst]), worst, float(observed[worst]), float(designed[worst]))
