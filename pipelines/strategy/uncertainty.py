"""What a choice goes by where profits are known with an error: the mean, a lower bound, or a draw of the night."""

from statistics import NormalDist

import numpy as np

from pipelines.core.limits import Uncertainty

JUDGED = {"mean": "", "lower_bound": " by its lower bound", "thompson": " by the night's draw"}


def judged(mean: np.ndarray, sd: np.ndarray, uncertainty: Uncertainty, seed: int) -> np.ndarray:
    """(n, s) float32: what n customers' profits under s strategies count as.

    mean, sd: (n, s), expected profit and its standard error; where the error is not told (not finite), the mean counts.
    The lower bound is the one-sided one of the normal distribution. The draw (Thompson 1933) is one normal number per
    strategy and seed, the same for all customers: a model that is wrong about a strategy is so for many of them alike,
    and errors drawn for each alone would average out. It depends on nobody, so propensities given it stay exact.
    """
    if uncertainty.rule == "mean":
        return np.asarray(mean, dtype=np.float32)
    if uncertainty.rule == "lower_bound":
        by = np.full(mean.shape[1], -NormalDist().inv_cdf(uncertainty.confidence_percent / 100), dtype=np.float64)
    else:
        by = np.random.Generator(np.random.PCG64(seed)).standard_normal((mean.shape[1],))
    return (mean + by * np.where(np.isfinite(sd), sd, 0)).astype(np.float32)
