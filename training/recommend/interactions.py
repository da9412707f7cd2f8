"""Who touched which item, when and how: what every recommender learns from and ranks for."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix

BEHAVIOURS: Final = ("view", "favorite", "cart", "purchase")  # from the weakest sign of interest to the strongest
NO_ITEM: Final = -1  # an empty place in a list
NO_CATEGORY: Final = -1


@dataclass(frozen=True)
class Interactions:
    """n events in time order, customers and items as places in their sorted ids."""

    customers: np.ndarray  # (n_customers,) str
    items: np.ndarray  # (n_items,) str
    customer: np.ndarray  # (n,) int64
    item: np.ndarray  # (n,) int64
    behaviour: np.ndarray  # (n,) int8, place in BEHAVIOURS
    seconds: np.ndarray  # (n,) float64 since 1970, UTC
    category: np.ndarray | None = None  # (n_items,) int64 code of each item's category, NO_CATEGORY where it has none

    def __len__(self) -> int:
        return len(self.item)

    @property
    def category_of(self) -> np.ndarray:
        """(n_items,) codes, NO_CATEGORY for all where the catalogue tells none."""
        return np.full(len(self.items), NO_CATEGORY, dtype=np.int64) if self.category is None else self.category

    def take(self, where: np.ndarray) -> "Interactions":
        """The events where a mask (n,) is true; customers and items keep their places."""
        return replace(
            self,
            customer=self.customer[where],
            item=self.item[where],
            behaviour=self.behaviour[where],
            seconds=self.seconds[where],
        )

    def before(self, at_s: float) -> "Interactions":
        """The events earlier than a moment (seconds since 1970, UTC)."""
        return self.take(self.seconds < at_s)

    def matrix(self, weight: np.ndarray | None = None) -> csr_matrix:
        """(n_customers, n_items): the sum of the events' weights (n,), 1 each where none are given."""
        values = np.ones(len(self)) if weight is None else weight
        shape = (len(self.customers), len(self.items))
        return csr_matrix((values, (self.customer, self.item)), shape=shape)  # sums what it finds twice
