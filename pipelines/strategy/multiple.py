"""Many comparisons at once: Holm's correction over arms, shrinkage over segments, and how small an effect can be found."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

LEVEL: Final = 0.05
POWER: Final = 0.8


def holm(p_values: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted p (k,) and the level (k,) at which each arm's own interval says the same as its verdict (Holm 1979).

    The smallest p is held against level / k, the next against level / (k - 1), and so on until the first that fails,
    whose level all after it share. NaN: no p yet; it is none of the k.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted, levels = np.full(len(p), np.nan), np.full(len(p), level)
    known = np.flatnonzero(~np.isnan(p))
    worst, step = 0.0, level
    for rank, i in enumerate(known[np.argsort(p[known], kind="stable")]):
        k = len(known) - rank
        if worst <= level:  # all before were found: the step goes on
            step = level / k
        worst = min(1.0, max(worst, k * p[i]))
        adjusted[i], levels[i] = worst, step
    return adjusted, levels


@dataclass(frozen=True)
class Shrunk:
    """Effects of segments, each drawn towards their common mean by as much as its own data leave open."""

    effect: np.ndarray  # (k,)
    std_error: np.ndarray  # (k,) of the posterior, the common mean's own error included
    mean: float
    spread: float  # standard deviation between segments beyond chance


def shrink(effect: np.ndarray, std_error: np.ndarray) -> Shrunk:
    """Empirical Bayes with normal effects (Efron and Morris 1975); the spread by DerSimonian and Laird 1986."""
    variance = np.square(std_error)
    weight = 1 / variance
    fixed = float((weight * effect).sum() / weight.sum())
    heterogeneity = float((weight * (effect - fixed) ** 2).sum())
    freedom = weight.sum() - (weight**2).sum() / weight.sum()
    between = max(0.0, (heterogeneity - (len(effect) - 1)) / float(freedom)) if len(effect) > 1 else 0.0
    weight = 1 / (variance + between)
    mean = float((weight * effect).sum() / weight.sum())
    own = between / (between + variance)  # how much of the segment's own estimate is kept
    posterior = own * variance + (1 - own) ** 2 / weight.sum()
    return Shrunk(mean + own * (effect - mean), np.sqrt(posterior), mean, float(np.sqrt(between)))


def smallest_detectable(std_error: float, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest true difference that a single two-sided test at `level` finds with chance `power`."""
    return (NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(power)) * std_error


def planned_error(n: float, share: float, variance: float, explained: float = 0.0) -> float:
    """Standard error of a difference before any data: n customers, `share` of them in one arm, a mean with this variance
    per customer of which covariates explain the share `explained`."""
    if not 0 < share < 1 or n <= 0:
        raise ValueError(f"expected customers and a share between 0 and 1, found {n} and {share}")
    return float(np.sqrt(variance * (1 - explained) / (n * share * (1 - share))))
