"""Which estimator to believe: one documented rule, chosen on simulated logs of other seeds than those reported.

1. The reward model is calibrated towards the judged policy (`calibrated`): three coefficients on the model's own
   prediction and on the policy's probability of the action, fitted where the policy would act, and kept as far as they
   stand out from chance. Its direct method is then nearly unbiased (targeting, van der Laan and Rose 2011; a covariate of
   the policy, Bang and Robins 2005).
2. A family of estimators from unbiased and wide to biased and narrow: self-normalised doubly robust with weights cut at
   inf, sqrt(n), 20, 10, 5, 2 and 0 (`family`).
3. SLOPE++ takes the narrowest that no wider one contradicts (`slope`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pipelines.strategy.off_policy import Feedback, self_normalised_dr, usual_clip
from pipelines.strategy.off_policy_interval import per_cluster
from pipelines.strategy.reward_model import fit_ridge, logit, sigmoid

CLIPS: Final = (20.0, 10.0, 5.0, 2.0, 0.0)
DELTA: Final = 0.1  # each interval that SLOPE compares fails with this probability at most, on one side
# Prior of the calibration: intercept 0, slope of the model 1, effect of the policy's probability 0, this firmly.
_PRIOR: Final = np.array([0.0, 1.0, 0.0])
_PRECISION: Final = np.array([0.1, 5.0, 1.0])
_MOST_WEIGHT, _USUAL_CLIP, _CHANCE = 10.0, 20.0, 0.1
_TINY: Final = 1e-6


def calibrated(log: Feedback) -> Feedback:
    """The log with q' = q + s (link(a + b link^-1(q) + c pi) - q), a, b and c fitted by penalised likelihood.

    Rewards of 0 and 1: logistic, rows weigh sqrt(w), between those of the log (least variance) and those of the policy
    (least bias where it acts), 1 on average and _MOST_WEIGHT at most. Other rewards: linear, rows weigh min(w, 20), for
    long tails leave more bias where policies log what they expect to pay. The share s = d^2 / (d^2 + v / 10) keeps of the
    shift d of the policy's value as much as stands out from its chance, the variance v of a self-normalised correction.
    """
    rows = np.arange(len(log))
    is_binary = bool(np.isin(log.reward, (0, 1)).all())
    scale = 1.0 if is_binary else float(log.reward.std()) or 1.0
    raw = logit(log.model) if is_binary else log.model / scale
    terms = np.stack([np.ones_like(raw), raw, log.policy], axis=2)  # (n, a, 3)
    weight = np.minimum(log.weight, _USUAL_CLIP)
    if is_binary:
        weight = np.sqrt(log.weight)
        weight = np.minimum(weight / max(float(weight.mean()), _TINY), _MOST_WEIGHT)
    found = fit_ridge(terms[rows, log.action], log.reward / scale, weight, _PRIOR, _PRECISION, is_binary)
    moved = terms @ found
    full = replace(log, q=sigmoid(moved) if is_binary else moved * scale)
    shift = float(full.expected.mean() - log.expected.mean())
    chance = float(np.var(self_normalised_dr(full, _USUAL_CLIP) - full.expected)) / len(log)
    kept = shift**2 / max(shift**2 + _CHANCE * chance, np.finfo(float).tiny)
    return replace(log, q=log.model + kept * (full.model - log.model))


def family(log: Feedback) -> dict[str, np.ndarray]:
    """Terms (n,) of each estimator by name, the widest first."""
    clips = sorted({np.inf, usual_clip(len(log)), *CLIPS}, reverse=True)
    return {name_of(most): self_normalised_dr(log, most) for most in clips}


def name_of(most: float) -> str:
    """What the member of the family with weights cut at `most` is called."""
    return (
        "calibrated DM" if most == 0 else "calibrated SNDR" if most == np.inf else f"calibrated SNDR, w <= {most:.3g}"
    )


@dataclass(frozen=True)
class Choice:
    """What the rule took."""

    log: Feedback  # with its reward model calibrated
    estimator: str
    candidates: dict[str, float]  # what each member of the family says, the widest first

    @property
    def value(self) -> float:
        return self.candidates[self.estimator]


def choose(log: Feedback) -> Choice:
    """The whole rule on a log with a reward model."""
    log = calibrated(log)
    estimators = family(log)
    names = list(estimators)
    at = slope(list(estimators.values()), log.cluster)
    return Choice(log, names[at], {name: float(terms.mean()) for name, terms in estimators.items()})


def tuned(terms: Sequence[np.ndarray]) -> np.ndarray:
    """The terms that SLOPE++ takes of one estimator at several settings, the widest first, as zr-obp does."""
    widest_first = sorted(terms, key=lambda one: -one.var())
    return widest_first[slope(widest_first)]


def slope(terms: Sequence[np.ndarray], cluster: np.ndarray | None = None, delta: float = DELTA) -> int:
    """Position of the last estimator, in the order given, whose interval agrees with those of all before it.

    |V_i - V_j| <= c_i + (sqrt(6) - 1) c_j, c the half-width of an interval of level 1 - delta: SLOPE (Su, Srinath and
    Krishnamurthy 2020) with the constant and without the order by variance of SLOPE++ (Tucker and Lee 2021).
    """
    from scipy.stats import t as student

    values: list[float] = []
    widths: list[float] = []
    for of_rows in terms:
        drawn = per_cluster(of_rows, cluster)
        n = len(drawn)
        value, width = (
            float(drawn.mean()),
            float(drawn.std() / np.sqrt(max(n - 1, 1)) * student.ppf(1 - delta, max(n - 1, 1))),
        )
        far = [abs(value - one) > width + (np.sqrt(6) - 1) * wide for one, wide in zip(values, widths, strict=True)]
        if any(far):
            break
        values.append(value)
        widths.append(width)
    return len(values) - 1
