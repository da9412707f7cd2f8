"""The estimate that is believed: one rule, chosen on simulated logs of other seeds than those reported.

1. The reward model is calibrated towards the judged policy (`calibrated`): three coefficients on the model's own
   prediction and on the policy's probability of the action, fitted where the policy would act. Its direct method is then
   nearly unbiased (targeting, van der Laan and Rose 2011; a covariate of the policy, Bang and Robins 2005), but noisy.
2. Of that correction the share B / (B + V) is kept (`credible`), as empirical Bayes shrinks a noisy measurement (Efron and
   Morris 1973). V is the correction's variance; B, twice the variance of what the model expects, stands for the square of
   the error that it may make about a policy: a guess at its size, not a bound. Where the model sees hardly any
   difference, policies hardly differ, and a correction would be the noise of a few rewarded rows.
3. Doubly robust with that model, each row weighing min(w, 1) (weights as in Retrace, Munos et al. 2016): what the policy
   does as often as the log is corrected by rewards, without a row that counts for several.

How far this shrinks its value its own spread does not tell: intervals are those of off_policy_interval.py, without it.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pipelines.strategy.off_policy import Feedback, doubly_robust, self_normalised_dr
from pipelines.strategy.off_policy_interval import per_cluster
from pipelines.strategy.reward_model import fit_ridge, logit, sigmoid

# Both were chosen on simulated logs. Of a row in the estimate: with 2 or 3 rare rewards gain 2% to 4%, a shop's profit
# loses 40% to 90%. Squared error of a model about a policy, in variances of what it expects: 1 costs rare rewards 3%.
MOST_WEIGHT: Final = 1.0
_DOUBT: Final = 2.0
# Prior of the calibration: intercept 0, slope of the model 1, effect of the policy's probability 0, this firmly.
_PRIOR: Final = np.array([0.0, 1.0, 0.0])
_PRECISION: Final = np.array([0.1, 5.0, 1.0])
_MOST_ROOT, _USUAL_CLIP = 10.0, 20.0
_TINY: Final = 1e-6


def calibrated(log: Feedback) -> Feedback:
    """The log with q' = link(a + b link^-1(q) + c pi), a, b and c fitted by penalised likelihood.

    Rewards of 0 and 1: logistic, rows weigh sqrt(w), between those of the log (least variance) and those of the policy
    (least bias where it acts), 1 on average and _MOST_ROOT at most. Other rewards: linear, rows weigh min(w, 20), for
    long tails leave more bias where policies log what they expect to pay.
    """
    rows = np.arange(len(log))
    is_binary = bool(np.isin(log.reward, (0, 1)).all())
    scale = 1.0 if is_binary else float(log.reward.std()) or 1.0
    raw = logit(log.model) if is_binary else log.model / scale
    terms = np.stack([np.ones_like(raw), raw, log.policy], axis=2)  # (n, a, 3)
    weight = np.minimum(log.weight, _USUAL_CLIP)
    if is_binary:
        weight = np.sqrt(log.weight)
        weight = np.minimum(weight / max(float(weight.mean()), _TINY), _MOST_ROOT)
    found = fit_ridge(terms[rows, log.action], log.reward / scale, weight, _PRIOR, _PRECISION, is_binary)
    moved = terms @ found
    return replace(log, q=sigmoid(moved) if is_binary else moved * scale)


def credible(full: Feedback) -> float:
    """Share, 0 to 1, that is kept of a calibration: B / (B + V), of the calibrated log.

    B: _DOUBT times the variance of q' over contexts and actions, or its covariance with the rewards if that is less; of a
    model that is right both are equal. V: variance of a self-normalised correction of the policy's value.
    """
    seen = full.model[np.arange(len(full)), full.action]
    confirmed = float(((seen - seen.mean()) * (full.reward - full.reward.mean())).mean())
    squared_error = _DOUBT * min(float(full.model.var()), max(confirmed, 0.0))
    terms = per_cluster(self_normalised_dr(full, _USUAL_CLIP) - full.expected, full.cluster)
    return squared_error / max(squared_error + float(terms.var()) / len(terms), np.finfo(float).tiny)


@dataclass(frozen=True)
class Choice:
    """What the rule makes of a log."""

    value: float
    kept: float  # share of the calibration


def choose(log: Feedback) -> Choice:
    """The whole rule on a log with a reward model."""
    full = calibrated(log)
    kept = credible(full)
    partly = replace(log, q=log.model + kept * (full.model - log.model))
    return Choice(float(doubly_robust(partly, MOST_WEIGHT).mean()), kept)
