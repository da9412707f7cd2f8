"""From a score to the lift that customers of such a score really have, with an interval.

A line through the doubly robust pseudo-outcomes of held-out rows: the best linear predictor of the effect (Chernozhukov,
Demirer, Duflo and Fernández-Val 2018; Leng and Dimmery 2024 calibrate effects of experiments so), with White's covariance.
The interval is of the mean lift of customers with that score, not of one customer's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.stats import norm

_Z: Final = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Lift:
    """Arrays of one shape, in the unit of the outcome; low and high hold the lift with a chance of 95%."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """lift = level + slope (score - centre), and the covariance of level and slope."""

    centre: float
    level: float
    slope: float
    covariance: np.ndarray  # (2, 2)

    def lift(self, score: np.ndarray) -> Lift:
        """The mean lift of customers with these scores (n,)."""
        away = score - self.centre
        value = self.level + self.slope * away
        var, both, of_slope = self.covariance[0, 0], self.covariance[0, 1], self.covariance[1, 1]
        half = _Z * np.sqrt(np.maximum(var + 2 * both * away + of_slope * away**2, 0.0))
        return Lift(value, value - half, value + half)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "covariance": self.covariance.tolist()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Calibration":
        centre, level, slope = (float(told[name]) for name in ("centre", "level", "slope"))
        return cls(centre, level, slope, np.array(told["covariance"], dtype=np.float64))


def fit_calibration(score: np.ndarray, pseudo: np.ndarray, weight: np.ndarray) -> Calibration:
    """From held-out scores (n,) and pseudo-outcomes (n,). A slope below 0 would turn the order round and becomes 0."""
    share = weight / weight.sum()
    centre = float(share @ score)
    away = score - centre
    spread = float(share @ away**2)
    level = float(share @ pseudo)
    slope = float(share @ (away * pseudo)) / spread if spread > 1e-18 else 0.0
    residual = share * (pseudo - level - slope * away)
    influence = np.stack([residual, residual * away / spread if spread > 1e-18 else np.zeros_like(away)], axis=1)
    return Calibration(centre, level, max(slope, 0.0), influence.T @ influence)
