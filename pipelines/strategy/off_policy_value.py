"""What a policy is worth by the logs of another: value, interval and verdict, or why the logs cannot tell."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pipelines.strategy.judgement import LEVEL, Interval, outcome
from pipelines.strategy.off_policy import Feedback, Overlap, overlap, self_normalised_dr
from pipelines.strategy.off_policy_choice import choose
from pipelines.strategy.off_policy_interval import interval, per_cluster, student_t
from pipelines.strategy.reward_model import cross_fitted

MIN_EFFECTIVE_ROWS: Final = 20.0
MOST_UNSUPPORTED: Final = 0.05  # of the policy's probability, on actions that were never logged
_MEAN_WEIGHT: Final = (0.5, 2.0)  # of the log's weights, 1 in expectation


@dataclass(frozen=True)
class Evaluation:
    """The judged policy's value per decision, in the reward's unit."""

    value: Interval
    kept: float  # share of the reward model's calibration that is credible
    method: str  # of the interval
    reward_model: str
    overlap: Overlap
    against_logging: Interval  # value less that of the policy that made the log, on the same rows
    refusal: str  # why the log cannot answer; "" where it can

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `tie` beside the policy that made the log; `refused` where the log cannot answer."""
        return "refused" if self.refusal else outcome(self.against_logging, higher_is_better=True)


def evaluate_policy(log: Feedback, *, level: float = LEVEL, seed: int = 0) -> Evaluation:
    """The one default rule. Fits a reward model crosswise where the log has none. Same log and seed, same numbers.

    The value is the rule's (off_policy_choice.py), the interval that of a nearly unbiased estimator, stretched to hold it: a
    value that was shrunken has a bias which its own spread would not tell.
    Raises OffPolicyError for a log that is none; for one that is too thin, `refusal` says so and the numbers stand as what
    they are.
    """
    name = "given"
    if log.q is None:
        found = cross_fitted(log.context, log.action, log.reward, log.policy.shape[1], cluster=log.cluster, seed=seed)
        log, name = replace(log, q=found.q), found.chosen
    seen = overlap(log)
    if seen.effective_rows == 0:
        nothing = Interval(np.nan, -np.inf, np.inf)
        return Evaluation(nothing, 0.0, "none", name, seen, nothing, _refusal(log, seen))
    choice = choose(log)
    around, method = interval(log, level, seed)
    gain = per_cluster(self_normalised_dr(log) - log.reward, log.cluster)
    return Evaluation(
        value=Interval(choice.value, min(around.low, choice.value), max(around.high, choice.value)),
        kept=choice.kept,
        method=method,
        reward_model=name,
        overlap=seen,
        against_logging=student_t(gain, level),
        refusal=_refusal(log, seen),
    )


def _refusal(log: Feedback, seen: Overlap) -> str:
    n = len(log)
    if seen.unsupported > MOST_UNSUPPORTED:
        never = np.flatnonzero(
            (np.bincount(log.action, minlength=log.policy.shape[1]) == 0) & (log.policy.max(axis=0) > 0)
        )
        return (
            f"{seen.unsupported:.0%} of what the policy would do was never logged (actions {_some(never)}); "
            f"at most {MOST_UNSUPPORTED:.0%} can be left to the reward model: log these actions first"
        )
    if seen.effective_rows < MIN_EFFECTIVE_ROWS:
        return (
            f"the {n} rows tell as much as {seen.effective_rows:.1f} of the policy itself would, at least "
            f"{MIN_EFFECTIVE_ROWS:.0f} are needed: too little overlap; log more, or judge a policy nearer to the log's"
        )
    error = float(log.weight.std()) / np.sqrt(n)
    if not _MEAN_WEIGHT[0] <= seen.mean_weight <= _MEAN_WEIGHT[1] and abs(seen.mean_weight - 1) > 4 * error:
        return f"weights average {seen.mean_weight:.2f} where 1 is expected: the logged propensities are not those used"
    if np.ptp(log.reward) == 0:
        return f"all {n} rewards are {log.reward[0]:g}: nothing to tell policies apart by; wait for outcomes"
    return ""


def _some(numbers: np.ndarray) -> str:
    return ", ".join(str(one) for one in numbers[:5].tolist()) + (", ..." if len(numbers) > 5 else "")
