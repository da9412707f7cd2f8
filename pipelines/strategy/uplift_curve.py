"""What messages drawn by lot brought among the customers ranked highest by what a model had expected of them.

    C(q) = mean over rows of [row is in the share q ranked highest] g,
    g = (z / p - (1 - z) / (1 - p)) (y - m)

with z whether the lot gave a message, p its probability, y what followed and m what was to be expected of the customer
anyway, by a regression that has not seen the customer. As p is known, g is the message's effect on average whatever m is
(doubly robust: Robins, Rotnitzky and Zhao 1994, with one outcome model for both arms, as few rows tell two apart); m
only takes noise away. C(1) is the effect on all, q C(1) what as many by lot would have brought. Each estimate is a mean of
terms, so its interval is Student's over customers, whose rows belong together; it holds where each arm has some ten buyers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.strategy.judgement import Interval
from pipelines.strategy.off_policy_interval import per_cluster, student_t

SHARES: Final = tuple(round(0.1 * step, 1) for step in range(1, 11))
TOP: Final = 0.3  # the share whose lead over the lot is told
_N_FOLDS: Final = 2


@dataclass(frozen=True)
class Trial:
    """n customer-nights on which a lot decided between a message and nothing."""

    expected: np.ndarray  # (n,) what a model expected of a message, said before the night
    is_sent: np.ndarray  # (n,) bool
    chance: np.ndarray  # (n,) of a message, within (0, 1)
    outcome: np.ndarray  # (n,) what followed on the night
    known: np.ndarray  # (n, c) what was known of the customer before
    customer: np.ndarray  # (n,) int
    night: np.ndarray  # (n,) ranks are those of each night: another model's expectations may be another scale


@dataclass(frozen=True)
class UpliftCurve:
    """Per row of the trial, in the outcome's unit."""

    points: list[Interval]  # C(q) at SHARES
    ahead: Interval  # C(TOP) - TOP C(1): what the ranking brings beyond as many by lot


def uplift_curve(trial: Trial) -> UpliftCurve:
    """The curve of a trial with at least two customers. Same trial, same numbers."""
    gain = gains(trial)
    inside = {share: in_top(trial, share) for share in SHARES}

    def mean(terms: np.ndarray) -> Interval:
        return student_t(per_cluster(terms, trial.customer))

    return UpliftCurve([mean(inside[share] * gain) for share in SHARES], mean((inside[TOP] - TOP) * gain))


def gains(trial: Trial) -> np.ndarray:
    """(n,) g as above."""
    weight = np.where(trial.is_sent, 1 / trial.chance, -1 / (1 - trial.chance))
    return np.asarray(weight * (trial.outcome - _expected_anyway(trial)))


def in_top(trial: Trial, share: float) -> np.ndarray:
    """(n,) 0 to 1: how far each row is in the `share` of its night ranked highest; equals share what is left."""
    inside = np.empty(len(trial.expected))
    for night in np.unique(trial.night):
        here = np.flatnonzero(trial.night == night)
        _, tied, counts = np.unique(-trial.expected[here], return_inverse=True, return_counts=True)
        above = np.cumsum(counts) - counts
        inside[here] = np.clip((share * len(here) - above) / counts, 0, 1)[tied]
    return inside


def _expected_anyway(trial: Trial) -> np.ndarray:
    """(n,) m: least squares on logarithms of what was known, fitted on the other half of the customers."""
    x = np.column_stack([np.ones(len(trial.outcome)), np.log1p(np.maximum(trial.known, 0))])
    fold = trial.customer % _N_FOLDS
    found = np.zeros(len(x))
    for k in range(_N_FOLDS):
        other = fold != k
        if other.any():
            found[~other] = x[~other] @ np.linalg.lstsq(x[other], trial.outcome[other], rcond=None)[0]
    return found
