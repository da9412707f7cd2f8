"""Ranks items by what the customer did with them: stronger and later signs of interest count more.

Most of what is touched tomorrow was touched before, so this is the ranker that is hard to beat where seen items are kept.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from training.recommend.interactions import Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_protocol import DAY_S, read_parts, write_parts


@dataclass(frozen=True)
class Weights:
    """How much an event tells: its behaviour's weight, less by 1/e after tau_days (None: never less)."""

    behaviours: tuple[float, float, float, float] = (1.0, 2.0, 3.0, 4.0)  # in the order of BEHAVIOURS
    tau_days: float | None = 4.0

    def of(self, told: Interactions, at_s: float) -> np.ndarray:
        """(n,) weight of each event at a moment."""
        weight = np.array(self.behaviours)[told.behaviour]
        return weight if self.tau_days is None else weight * np.exp((told.seconds - at_s) / DAY_S / self.tau_days)

    def matrix(self, told: Interactions, customers: np.ndarray, at_s: float) -> csr_matrix:
        """(n, n_items) sums of the customers' events before the moment."""
        told = told.before(at_s)
        return told.matrix(self.of(told, at_s))[customers]


@dataclass(frozen=True)
class History:
    """Own events, weighted; then popularity."""

    popularity: Popularity
    weights: Weights
    kind: ClassVar[str] = "history"

    @classmethod
    def fit(cls, told: Interactions, at_s: float, weights: Weights | None = None) -> "History":
        return cls(Popularity.fit(told, at_s), weights or Weights())

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        return self.popularity.behind(self.weights.matrix(told, customers, at_s).toarray(), told.items)

    def save(self, folder: Path) -> None:
        write_parts(folder, self.kind, {"weights": vars(self.weights)}, self.popularity.arrays())

    @classmethod
    def load(cls, folder: Path) -> "History":
        settings, arrays = read_parts(folder, cls.kind)
        return cls(Popularity.of(arrays), weights_of(settings["weights"]))


def weights_of(told: dict[str, object]) -> Weights:
    """Weights as `vars(weights)` told them, through JSON."""
    behaviours = told["behaviours"]
    return Weights(**{**told, "behaviours": tuple(behaviours)})  # type: ignore[arg-type]
