"""Ranks items for everybody alike: by how many customers touched them, the recent ones counting more."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from training.recommend.interactions import Interactions
from training.recommend.ranker_protocol import DAY_S, aligned, read_parts, write_parts

_BEHIND: Final = 1e-9  # of a score: orders what is equal, moves nothing else


@dataclass(frozen=True)
class Popularity:
    """Customers per item, each counted by how long ago the latest touch was."""

    items: np.ndarray  # (n_items,) str
    customers: np.ndarray  # (n_items,) float64, decayed number of customers
    kind: ClassVar[str] = "popularity"

    @classmethod
    def fit(cls, told: Interactions, at_s: float, tau_days: float | None = None) -> "Popularity":
        """tau_days: after so many days a customer counts 1/e; None: all count 1."""
        told = told.before(at_s)
        key = told.customer * len(told.items) + told.item
        # Events are in time order: the last of a pair is its latest.
        pairs, last = np.unique(key[::-1], return_index=True)
        age_days = (at_s - told.seconds[::-1][last]) / DAY_S
        weight = np.ones(len(pairs)) if tau_days is None else np.exp(-age_days / tau_days)
        item = pairs % max(len(told.items), 1)
        return cls(told.items, np.bincount(item, weights=weight, minlength=len(told.items)).astype(np.float64))

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        return np.tile(self.share(told.items), (len(customers), 1))

    def share(self, items: np.ndarray) -> np.ndarray:
        """(n_items,) of each item, from 0 to below 1, in the order of popularity; 0 for unknown items."""
        most = self.customers.max(initial=0.0)
        return aligned(self.customers / (most + 1), self.items, items)

    def behind(self, scores: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n, n_items) the scores of a model, items that it scores alike in the order of popularity."""
        return scores + _BEHIND * self.share(items)

    def arrays(self) -> dict[str, np.ndarray]:
        """What `of` makes it from again."""
        return {"items": self.items, "customers": self.customers}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Popularity":
        return cls(arrays["items"], arrays["customers"])

    def save(self, folder: Path) -> None:
        write_parts(folder, self.kind, {}, self.arrays())

    @classmethod
    def load(cls, folder: Path) -> "Popularity":
        return cls.of(read_parts(folder, cls.kind)[1])
