"""Which estimator to believe: one documented rule, chosen on simulated logs of other seeds than those reported.

1. The reward model is calibrated towards the judged policy (`calibrated`): a few coefficients on the model's own
   prediction and on the policy's probability of the action, fitted where the policy would act. Its direct method is then
   nearly unbiased (targeting, van der Laan and Rose 2011, in the form of Bang and Robins 2005).
2. A family of estimators from unbiased and wide to biased and narrow: self-normalised doubly robust with weights cut at
   inf, sqrt(n), 20, 10, 5, 2 and 0 (`family`).
3. SLOPE++ takes the narrowest that no wider one contradicts (`slope`).
"""

from collections.abc import Sequence
from dataclasses import replace
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
_MOST_WEIGHT: Final = 10.0
_TINY: Final = 1e-6


def calibrated(log: Feedback) -> Feedback:
    """The log with q' = link(a + b link^-1(q) + c pi), fitted by penalised likelihood on rows weighed by sqrt(w).

    Logistic for rewards of 0 and 1, linear otherwise. Rows weigh sqrt(w): between those of the log (least variance) and
    those of the policy (least bias where it acts); 1 on average and _MOST_WEIGHT at most.
    """
    rows = np.arange(len(log))
    is_binary = bool(np.isin(log.reward, (0, 1)).all())
    scale = 1.0 if is_binary else float(log.reward.std()) or 1.0
    raw = logit(log.model) if is_binary else log.model / scale
    terms = np.stack([np.ones_like(raw), raw, log.policy], axis=2)  # (n, a, 3)
    x, y = terms[rows, log.action], log.reward / scale
    weight = np.sqrt(log.weight)
    weight = np.minimum(weight / max(float(weight.mean()), _TINY), _MOST_WEIGHT)
    found = fit_ridge(x, y, weight, _PRIOR, _PRECISION, is_binary)
    moved = terms @ found
    return replace(log, q=sigmoid(moved) if is_binary else moved * scale)


def family(log: Feedback) -> dict[str, np.ndarray]:
    """Terms (n,) of each estimator by name, the widest first."""
    clips = sorted({np.inf, usual_clip(len(log)), *CLIPS}, reverse=True)
    return {name_of(most): self_normalised_dr(log, most) for most in clips}


def name_of(most: float) -> str:
    """What the member of the family with weights cut at `most` is called."""
    return (
        "calibrated DM" if most == 0 else "calibrated SNDR" if most == np.inf else f"calibrated SNDR, w <= {most:.3g}"
    )


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
