"""Intervals of the mean of an estimator's terms that hold where little was seen: empirical Bernstein and bootstrap-t.

Terms are those of off_policy.py, (n,), whose mean is the estimate: one row one draw, or, with clusters, one customer one
draw. The rule (`interval`): where the rewards that the policy would have met count as at least MIN_EVENTS, what both the
studentised bootstrap, which follows the skewness that importance weights bring, and Student's t say; where they count as
fewer, the empirical Bernstein bound, which holds at any count.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipelines.strategy.judgement import LEVEL, Interval
from pipelines.strategy.off_policy import Feedback, usual_clip

N_DRAWS: Final = 1_000
MIN_EVENTS: Final = 10.0
_BLOCK_VALUES: Final = 4_000_000


def per_cluster(terms: np.ndarray, cluster: np.ndarray | None) -> np.ndarray:
    """Terms (n,) as one per cluster (g,), of the same mean: what each cluster's rows say about the mean of all rows."""
    if cluster is None:
        return terms
    _, code = np.unique(cluster, return_inverse=True)
    mean, g = terms.mean(), int(code.max()) + 1
    return np.asarray(mean + np.bincount(code, terms - mean, minlength=g) * g / len(terms))


def interval(log: Feedback, level: float = LEVEL, seed: int = 0) -> tuple[Interval, str]:
    """Interval of the judged policy's value and the name of its method, from a log whose reward model has not seen its rows.

    Of the self-normalised doubly robust estimate, whose bias is small beside its spread, which no narrower estimator can
    promise, nor one whose model was calibrated on the same rows (50 actions: 94.5% covered, 98% without). With weights cut
    at sqrt(n) and, where that cuts any, uncut too, for what cutting hides. Widened by Student's t at `freedom` of the
    terms, for a variance that few rows tell is no sure one.
    """
    most, heaviest = usual_clip(len(log)), float(log.weight.max())
    if effective_events(log) < MIN_EVENTS:
        terms = per_cluster(_pseudo_values(log, most), log.cluster)
        spread = float(np.ptp(log.reward)) * (1 + min(most, heaviest) / max(float(log.weight.mean()), 1e-9))
        return bernstein(terms, spread, level), "empirical Bernstein"
    found, least = [], np.inf
    for cut in (most, np.inf) if heaviest > most else (most,):
        terms = per_cluster(_pseudo_values(log, cut), log.cluster)
        found += [bootstrap_t(terms, level, seed), student_t(terms, level)]
        least = min(least, freedom(terms))
    return widest(found, least, len(log), level), "bootstrap-t and t"


def widest(found: Sequence[Interval], least: float, n: int, level: float = LEVEL) -> Interval:
    """What all of several intervals of one value say, widened from n - 1 degrees of freedom of its variance to `least`."""
    from scipy.stats import t as student

    tail = (1 + level) / 2
    wider = float(student.ppf(tail, least) / student.ppf(tail, max(n - 1, 1)))
    value = found[0].value
    low, high = min(one.low for one in found), max(one.high for one in found)
    return Interval(value, float(value - wider * (value - low)), float(value + wider * (high - value)))


def freedom(terms: np.ndarray) -> float:
    """Degrees of freedom of the terms' variance, 2 n / (kurtosis - 1), between 2 and n - 1: those of the chi-square that
    varies as much (Satterthwaite 1946; O'Neill 2014). Rewards seen k times in many rows have some 2 k."""
    centred = terms - terms.mean()
    squares, fourth, n = float((centred**2).sum()), float((centred**4).sum()), len(terms)
    if squares == 0:
        return float(max(n - 1, 2))
    return float(np.clip(2 * n / max(n * fourth / squares**2 - 1, 1e-9), 2, max(n - 1, 2)))


def effective_events(log: Feedback) -> float:
    """How many rewards different from the usual one the policy would have met: (sum w e)^2 / sum (w e)^2."""
    values, counts = np.unique(log.reward, return_counts=True)
    met = log.weight * (log.reward != values[counts.argmax()])
    squares = float((met**2).sum())
    return float(met.sum()) ** 2 / squares if squares > 0 else 0.0


def _pseudo_values(log: Feedback, most: float) -> np.ndarray:
    """(n,) jackknife pseudo-values of self_normalised_dr: a row with much of the weight pulls the estimate to itself, which
    hides part of its error; 1 / (1 - its share of the weight) gives it back (as HC3, MacKinnon and White 1985)."""
    weight = np.minimum(log.weight, most)
    share = weight / max(float(weight.sum()), np.finfo(float).tiny)
    shift = float(share @ log.residual)
    moved = share * len(log) / np.maximum(1 - share, 1e-9) * (log.residual - shift)
    return np.asarray(log.expected + shift + moved - moved.mean())


def bernstein(terms: np.ndarray, spread: float, level: float = LEVEL) -> Interval:
    """Mean +- sqrt(2 v log(4/d) / n) + 7 spread log(4/d) / (3 (n - 1)), d = 1 - level: Maurer and Pontil 2009, theorem 4,
    both sides. `spread` is the width of the range that terms can lie in; holds at every n."""
    n, much = len(terms), np.log(4 / (1 - level))
    if n < 2:
        return Interval(float(terms.mean()), -np.inf, np.inf)
    mean = float(terms.mean())
    half = float(np.sqrt(2 * terms.var(ddof=1) * much / n) + 7 * spread * much / (3 * (n - 1)))
    return Interval(mean, mean - half, mean + half)


def bootstrap_t(terms: np.ndarray, level: float = LEVEL, seed: int = 0, n_draws: int = N_DRAWS) -> Interval:
    """Studentised bootstrap (Efron and Tibshirani 1993, section 12.5): mean - t* se, t* of (mean* - mean) / se*.

    Draws without any spread are left out: they say nothing about t.
    """
    n, mean = len(terms), float(terms.mean())
    error = float(terms.std(ddof=1)) / np.sqrt(n) if n > 1 else np.inf
    if not error > 0 or not np.isfinite(error):
        return Interval(mean, -np.inf, np.inf) if n < 2 else Interval(mean, mean, mean)
    rng = np.random.default_rng(seed)
    centred = (terms - mean) / (error * np.sqrt(n))
    moments = np.stack([centred, centred**2], axis=1)
    t = []
    block = max(1, _BLOCK_VALUES // n)
    for start in range(0, n_draws, block):
        size = min(block, n_draws - start)
        drawn = rng.integers(n, size=(size, n), dtype=np.int32)
        first, second = (moments[:, k][drawn].mean(axis=1) for k in range(2))
        wide = second - first**2 > 1e-12
        t.append(first[wide] / np.sqrt((second - first**2)[wide] / (n - 1)))
    low, high = np.quantile(np.concatenate(t), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, mean - float(high) * error, mean - float(low) * error)


def student_t(terms: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean +- t se."""
    from scipy.stats import t as student

    n, mean = len(terms), float(terms.mean())
    if n < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(student.ppf((1 + level) / 2, n - 1) * terms.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)
