"""The two base models of every learner: few small boosted trees, and a ridge or logistic regression with its own penalties."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import lightgbm
import numpy as np
from scipy.special import expit

from pipelines.core.errors import TrainingError
from training.boosting import booster_of

Base = Literal["trees", "linear"]
_NEWTON_STEPS: Final = 25
_EVIDENCE_ROUNDS: Final = 2  # of fitting again with penalties that the data tell
_EVIDENCE_STEPS: Final = 50
_PENALTIES: Final = (1e-2, 1e6)  # least and most that they tell
# Effects are small beside the noise: few leaves with many rows each. No setting was tuned on the data it is judged on.
_TREES: Final = {
    "num_leaves": 4,
    "learning_rate": 0.05,
    "lambda_l2": 10.0,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.8,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_ROUNDS: Final = 60
_MIN_ROWS: Final = 500
_MIN_SHARE: Final = 1 / 20  # small data: no leaf below this share of the rows, and no more than _MIN_ROWS asked for


class Model(Protocol):
    """A fitted base: numbers or probabilities for rows."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(n, f) -> (n,)."""
        ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Trees:
    booster: lightgbm.Booster

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.booster.predict(x, num_threads=1))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "trees", "text": self.booster.model_to_string()}


@dataclass(frozen=True)
class Linear:
    """start + (x - mean) / scale . slope, through the logistic function where `is_logit`."""

    start: float
    slope: np.ndarray  # (f,)
    mean: np.ndarray  # (f,)
    scale: np.ndarray  # (f,)
    is_logit: bool

    def predict(self, x: np.ndarray) -> np.ndarray:
        raw = self.start + (x - self.mean) @ (self.slope / self.scale)
        return expit(raw) if self.is_logit else raw

    def to_json(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ("slope", "mean", "scale")}
        return {"kind": "linear", "start": self.start, "is_logit": self.is_logit, **arrays}


def model_from_json(told: Mapping[str, Any]) -> Model:
    """What `to_json` told. Raises TrainingError for what is none."""
    if told.get("kind") == "trees":
        return Trees(booster_of(told["text"]))
    if told.get("kind") != "linear":
        raise TrainingError(f"a base model of kind {told.get('kind')!r}: expected trees or linear; train again")
    slope, mean, scale = (np.array(told[name], dtype=np.float64) for name in ("slope", "mean", "scale"))
    return Linear(float(told["start"]), slope, mean, scale, bool(told["is_logit"]))


def fit_base(
    base: Base, x: np.ndarray, y: np.ndarray, weight: np.ndarray, *, is_class: bool = False, seed: int = 0
) -> Model:
    """One base on (n, f) and (n,); `is_class`: y is 0/1 and a probability is wanted."""
    fit: Callable[..., Model] = fit_trees if base == "trees" else fit_linear
    return fit(x, y, weight, is_class=is_class, seed=seed)


def fit_trees(x: np.ndarray, y: np.ndarray, weight: np.ndarray, *, is_class: bool = False, seed: int = 0) -> Model:
    """60 trees of 4 leaves with at least 500 rows each (of small data: a twentieth of the rows)."""
    least = int(max(1, min(_MIN_ROWS, len(y) * _MIN_SHARE)))
    how = _TREES | {"objective": "binary" if is_class else "l2", "seed": seed, "num_threads": 1}
    data = lightgbm.Dataset(x, y, weight=weight, params=how | {"min_data_in_leaf": least})
    return Trees(lightgbm.train(how | {"min_data_in_leaf": least}, data, num_boost_round=_ROUNDS))


def fit_linear(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    *,
    is_class: bool = False,
    penalty: float | np.ndarray = 100.0,
    is_learnt: np.ndarray | None = None,
    seed: int = 0,
) -> Model:
    """Ridge or logistic regression of standardised features by Newton's steps; `seed` is not used.

    `penalty` (f,) or one number: the precision of the normal prior of each slope, so infinite leaves a feature out. Least
    squares counts it in units of the residual variance, as usual for ridge; the start is free. Where `is_learnt` (f,) the
    data tell each slope's own penalty, from `penalty` on: automatic relevance determination (MacKay 1992).
    """
    total = weight.sum()
    mean = weight @ x / total
    scale = np.sqrt(weight @ (x - mean) ** 2 / total)
    used = (scale > 1e-9) & np.isfinite(np.broadcast_to(penalty, scale.shape))
    scale = np.where(scale > 1e-9, scale, 1.0)
    design = np.concatenate([np.ones((len(y), 1)), ((x - mean) / scale)[:, used]], axis=1)
    ridge = np.concatenate([[0.0], np.broadcast_to(penalty, scale.shape)[used]])
    fit = _logistic if is_class else _least_squares
    found, curvature, noise = fit(design, y, weight, ridge)
    if is_learnt is not None:
        free = np.concatenate([[False], is_learnt[used]])
        for _ in range(_EVIDENCE_ROUNDS):
            ridge = _most_likely(found, curvature, ridge, free, noise)
            found, curvature, noise = fit(design, y, weight, ridge)
    slope = np.zeros(len(scale))
    slope[used] = found[1:]
    return Linear(float(found[0]), slope, mean, scale, is_class)


def _most_likely(
    found: np.ndarray, curvature: np.ndarray, ridge: np.ndarray, free: np.ndarray, noise: float
) -> np.ndarray:
    """Penalties (p,), where `free`, that make the data most likely when slopes are averaged out.

    MacKay's fixed-point steps on the normal approximation at the coefficients `found` (p,), whose curvature has `ridge`.
    """
    of_data, score = curvature - np.diag(ridge), curvature @ found
    for _ in range(_EVIDENCE_STEPS):
        spread = np.linalg.inv(of_data + np.diag(ridge))
        slope, last = (spread @ score)[free], ridge
        told = 1 - ridge[free] * np.diag(spread)[free]  # how far the data, not the prior, determine a slope
        ridge = ridge.copy()
        ridge[free] = np.clip(told * noise / np.maximum(slope**2, max(1e-12 * noise, 1e-300)), *_PENALTIES)
        if np.abs(np.log(ridge[free] / last[free])).max(initial=0) < 0.01:
            break
    return ridge


def _least_squares(
    design: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients, their curvature and the variance of the rest."""
    curvature = (design * weight[:, None]).T @ design + np.diag(ridge)
    found = np.linalg.solve(curvature, design.T @ (weight * y))
    return found, curvature, float(weight @ (y - design @ found) ** 2 / weight.sum())


def _logistic(
    design: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Starts at the overall rate with half an event on each side, so one class alone is a very small or large start."""
    rate = (weight @ y + 0.5) / (weight.sum() + 1)
    found = np.zeros(design.shape[1])
    found[0] = np.log(rate / (1 - rate))
    curvature = np.eye(len(found))
    if rate * weight.sum() < 1 or (1 - rate) * weight.sum() < 1:
        return found, curvature + np.diag(ridge), 1.0  # no event, or nothing but events: no slope can be told
    for _ in range(_NEWTON_STEPS):
        chance = expit(design @ found)
        gradient = design.T @ (weight * (chance - y)) + ridge * found
        curvature = (design * (weight * chance * (1 - chance))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        found = found - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    return found, curvature, 1.0
