"""Many comparisons at once: Holm's correction over arms, shrinkage over segments, and how small an effect can be found."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

LEVEL: Final = 0.05
POWER: Final = 0.8
_SPREADS: Final = 200


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

    effect: np.ndarray  # (k,) posterior means
    std_error: np.ndarray  # (k,) posterior standard deviations
    mean: float  # of the segments
    spread: float  # standard deviation between segments beyond chance


def shrink(effect: np.ndarray, std_error: np.ndarray) -> Shrunk:
    """Normal effects around a common mean (Efron and Morris 1975), both (k,), errors above 0.

    The spread between segments is not plugged in as one number, which with few segments makes intervals too narrow, but
    averaged over by how likely each value is, all the same beforehand (Gelman 2006).
    """
    variance = np.square(std_error)
    top = 2 * float(np.ptp(effect)) + float(std_error.min())
    between = np.square(np.linspace(0, top, _SPREADS))[:, None]
    weight = 1 / (variance + between)  # (spreads, k)
    total = weight.sum(axis=1)
    mean = (weight * effect).sum(axis=1) / total
    fit = np.log(weight).sum(axis=1) - np.log(total) - (weight * (effect - mean[:, None]) ** 2).sum(axis=1)
    chance = np.exp((fit - fit.max()) / 2)
    chance /= chance.sum()
    own = between / (between + variance)  # how much of the segment's own estimate is kept
    inside = mean[:, None] + own * (effect - mean[:, None])
    scatter = own * variance + (1 - own) ** 2 / total[:, None]
    drawn = chance @ inside
    error = np.sqrt(chance @ (scatter + (inside - drawn) ** 2))
    return Shrunk(drawn, error, float(chance @ mean), float(chance @ np.sqrt(between[:, 0])))


def smallest_detectable(std_error: float, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest true difference that a single two-sided test at `level` finds with chance `power`."""
    return (NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(power)) * std_error


def planned_error(n: float, share: float, variance: float, explained: float = 0.0) -> float:
    """Standard error of a difference of means that n customers allow, `share` of them in one arm: of a metric with this
    variance per customer in either arm, of which covariates explain the share `explained`."""
    if not 0 < share < 1 or n <= 0:
        raise ValueError(f"expected customers and a share between 0 and 1, found {n} and {share}")
    return float(np.sqrt(variance * (1 - explained) / (n * share * (1 - share))))
