"""What another policy would have earned, from the log of the one that ran: off-policy estimators as pure functions.

Notation: row i of n has context x_i, the logged action a_i of a, its reward r_i and its propensity p_i, the probability
with which it was drawn. The judged policy gives action k the probability pi_ik, a reward model expects q_ik of it. Then
w_i = pi_i,a_i / p_i is the importance weight and qbar_i = sum_k pi_ik q_ik what the model expects of the policy.

Every estimator returns its n terms, whose mean is the estimate: so intervals and choices (off_policy_interval.py,
off_policy_choice.py) are made for all of them alike. `q` must not have seen the row it is used on (reward_model.py
fits it crosswise), else doubly robust estimates are biased.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.core.errors import OffPolicyError

_SUM_TOLERANCE: Final = 1e-6  # of a policy's probabilities


@dataclass(frozen=True)
class Feedback:
    """A log of n decisions and the policy that is judged on it. Raises OffPolicyError for what cannot be weighed."""

    action: np.ndarray  # (n,) int, 0 to a - 1: what was done
    reward: np.ndarray  # (n,) what it brought
    propensity: np.ndarray  # (n,) in (0, 1]: how likely the logging policy was to do it
    policy: np.ndarray  # (n, a) how likely the judged policy is to take each action; rows sum to 1
    q: np.ndarray | None = None  # (n, a) expected reward of each action, by a model that has not seen the row
    context: np.ndarray | None = None  # (n, d) what was known before
    key: np.ndarray | None = None  # (n,) which decision a row tells of: one row per decision
    cluster: np.ndarray | None = None  # (n,) whose rows are alike, as a customer's: resampled together

    def __post_init__(self) -> None:
        _check(self)

    def __len__(self) -> int:
        return len(self.action)

    @property
    def weight(self) -> np.ndarray:
        """(n,) importance weights."""
        return self.policy[np.arange(len(self)), self.action] / self.propensity

    @property
    def expected(self) -> np.ndarray:
        """(n,) what the reward model expects of the judged policy."""
        return np.einsum("nk,nk->n", self.policy, self.model)

    @property
    def residual(self) -> np.ndarray:
        """(n,) reward less what the model expected of the logged action."""
        return self.reward - self.model[np.arange(len(self)), self.action]

    @property
    def model(self) -> np.ndarray:
        """(n, a) the reward model. Raises OffPolicyError where the log has none."""
        if self.q is None:
            raise OffPolicyError("this estimator needs a reward model `q`: fit one by reward_model.cross_fitted")
        return self.q


def _check(log: Feedback) -> None:
    n, a = len(log.action), log.policy.shape[-1]
    if not n:
        raise OffPolicyError("the log has no rows: nothing to weigh; wait for outcomes")
    shapes = {"reward": (n,), "propensity": (n,), "policy": (n, a), "q": (n, a), "key": (n,), "cluster": (n,)}
    for name, shape in shapes.items():
        values = getattr(log, name)
        if values is not None and values.shape != shape:
            raise OffPolicyError(f"log: {name} has shape {values.shape}, expected {shape}, one row per decision")
    if log.context is not None and (log.context.ndim != 2 or len(log.context) != n):
        raise OffPolicyError(f"log: context has shape {log.context.shape}, expected ({n}, d)")
    if not np.issubdtype(log.action.dtype, np.integer) or log.action.min() < 0 or log.action.max() >= a:
        raise OffPolicyError(
            f"log: actions are {log.action.dtype} from {log.action.min()} to {log.action.max()}, expected whole numbers "
            f"from 0 to {a - 1}, the columns of the judged policy"
        )
    for name, values in (("reward", log.reward), ("q", log.q), ("context", log.context)):
        if values is not None and not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values.reshape(n, -1)).all(axis=1))
            raise OffPolicyError(f"log: {name} is no number in {len(bad)} of {n} rows, the first is row {bad[0]}")
    # NaN fails the comparison too: a propensity that was not logged cannot be guessed.
    bad = np.flatnonzero(~((log.propensity > 0) & (log.propensity <= 1)))
    if len(bad):
        raise OffPolicyError(
            f"log: propensity of {len(bad)} of {n} rows is missing or outside (0, 1], row {bad[0]} has "
            f"{log.propensity[bad[0]]:g}; log the probability of the action that was drawn"
        )
    if not (log.policy >= 0).all() or np.abs(log.policy.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
        raise OffPolicyError("the judged policy's probabilities are negative, missing or do not sum to 1 in a row")
    if log.key is not None and len(np.unique(log.key)) < n:
        keys, counts = np.unique(log.key, return_counts=True)
        raise OffPolicyError(
            f"log: {int((counts > 1).sum())} decisions have several outcomes, the first is '{keys[counts > 1][0]}'; "
            "keep one row per decision"
        )


# -- estimators: (n,) terms each


def ips(log: Feedback, most: float = np.inf) -> np.ndarray:
    """min(w, most) r: inverse propensity scores (Horvitz and Thompson 1952), truncated at `most` (Ionides 2008)."""
    return np.minimum(log.weight, most) * log.reward


def snips(log: Feedback) -> np.ndarray:
    """V + w / mean(w) (r - V), V = sum w r / sum w: self-normalised (Swaminathan and Joachims 2015), residuals centred as in
    `self_normalised_dr`. NaN where the policy shares no logged action."""
    total = log.weight.sum()
    if not total > 0:
        return np.full(len(log), np.nan)
    value = float(log.weight @ log.reward) / total
    return value + log.weight * len(log) / total * (log.reward - value)


def direct(log: Feedback) -> np.ndarray:
    """qbar: the direct method, as good as the reward model."""
    return log.expected


def doubly_robust(log: Feedback, most: float = np.inf) -> np.ndarray:
    """qbar + min(w, most) (r - q_a): Dudik, Langford and Li 2011. Unbiased at most = inf for any q of other rows."""
    return log.expected + np.minimum(log.weight, most) * log.residual


def self_normalised_dr(log: Feedback, most: float = np.inf) -> np.ndarray:
    """qbar + m + v / mean(v) (r - q_a - m), v = min(w, most), m = sum v (r - q_a) / sum v.

    Of the same mean as SNDR (Thomas and Brunskill 2016), qbar + v / mean(v) (r - q_a), but the residuals are centred, so
    that the terms' spread is the estimate's own (its influence function). At most = 0 it is the direct method.
    """
    weight = np.minimum(log.weight, most)
    total = weight.sum()
    if not total > 0:
        return log.expected
    shift = float(weight @ log.residual) / total
    return log.expected + shift + weight * len(log) / total * (log.residual - shift)


def switch_dr(log: Feedback, most: float) -> np.ndarray:
    """qbar + w [w <= most] (r - q_a): the model alone where weights are large (Wang, Agarwal and Dudik 2017)."""
    weight = log.weight
    return log.expected + np.where(weight <= most, weight, 0.0) * log.residual


def dr_shrunken(log: Feedback, shrinkage: float) -> np.ndarray:
    """qbar + s w / (w^2 + s) (r - q_a): optimistic shrinkage, DRos (Su, Dimakopoulou et al. 2020). 0: direct; inf: DR."""
    weight = log.weight
    if np.isfinite(shrinkage):
        weight = shrinkage * weight / np.maximum(weight**2 + shrinkage, np.finfo(float).tiny)
    return log.expected + weight * log.residual


def usual_clip(n: int) -> float:
    """Where weights are cut where nothing is tuned: sqrt(n), at which bias and variance vanish alike (Ionides 2008)."""
    return float(np.sqrt(n))


# -- whether the log can answer


@dataclass(frozen=True)
class Overlap:
    """How much of the judged policy the log has seen."""

    effective_rows: float  # (sum w)^2 / sum w^2, Kish: as many rows of the judged policy itself would tell as much
    mean_weight: float  # 1 in expectation, where each action that the policy takes had a chance
    largest_share: float  # of all weight, on one row
    unsupported: float  # mean probability on actions that were never logged

    def as_dict(self) -> Mapping[str, float]:
        return dict(vars(self))


def overlap(log: Feedback) -> Overlap:
    """Effective rows and support of the judged policy in the log."""
    weight = log.weight
    total, squares = float(weight.sum()), float((weight**2).sum())
    never = np.bincount(log.action, minlength=log.policy.shape[1]) == 0
    return Overlap(
        effective_rows=total**2 / squares if squares > 0 else 0.0,
        mean_weight=total / len(log),
        largest_share=float(weight.max()) / total if total > 0 else 1.0,
        unsupported=float(log.policy[:, never].sum(axis=1).mean()),
    )
