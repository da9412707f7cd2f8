"""Who touched which item, when and how: what every recommender learns from and ranks for."""

from dataclasses import dataclass
from typing import Final

import numpy as np

BEHAVIOURS: Final = ("view", "favorite", "cart", "purchase")  # from the weakest sign of interest to the strongest
NO_ITEM: Final = -1  # an empty place in a list


@dataclass(frozen=True)
class Interactions:
    """n events in time order, customers and items as places in their sorted ids."""

    customers: np.ndarray  # (n_customers,) str
    items: np.ndarray  # (n_items,) str
    customer: np.ndarray  # (n,) int64
    item: np.ndarray  # (n,) int64
    behaviour: np.ndarray  # (n,) int8, place in BEHAVIOURS
    seconds: np.ndarray  # (n,) float64 since 1970, UTC

    def __len__(self) -> int:
        return len(self.item)

    def take(self, where: np.ndarray) -> "Interactions":
        """The events where a mask (n,) is true; customers and items keep their places."""
        return Interactions(
            self.customers,
            self.items,
            self.customer[where],
            self.item[where],
            self.behaviour[where],
            self.seconds[where],
        )
