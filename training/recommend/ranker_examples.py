"""What a blender looks at: which items of which customers, what was known of them on past nights, and what came."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.sparse import csr_matrix

from training.recommend.history import Weights
from training.recommend.interactions import BEHAVIOURS, NO_CATEGORY, NO_ITEM, Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_features import features
from training.recommend.ranker_protocol import DAY_S, best

Target = Literal["any", "purchase"]
Pairs = tuple[np.ndarray, np.ndarray]  # customers and items (n,), by customer
NO_PAIRS: Final[Pairs] = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
_BLOCK: Final = 128  # customers whose scores of all items are held at a time
_AFFINITY: Final = Weights(tau_days=1.0)
_FLATTER: Final = 0.7  # power of a customer's affinity to categories
_SHARE: Final = 0.5  # 0: the most popular items of liked categories, 1: their share of the category


def touched_pairs(told: Interactions, customers: np.ndarray) -> Pairs:
    """All pairs among the events of these customers (sorted)."""
    touched = told.matrix()[customers].tocoo()
    return customers[touched.row], touched.col.astype(np.int64)


def fresh_pairs(told: Interactions, customers: np.ndarray, at_s: float, n: int, crowd: np.ndarray | None) -> Pairs:
    """Up to n items for each of these customers (sorted) that are new to them, somebody else touched, and are most looked at
    in the categories that they looked at lately."""
    popular = Popularity.fit(told, at_s).customers
    if crowd is not None:
        popular = popular + crowd * (popular > 0)
    category = np.where(told.category_of == NO_CATEGORY, told.category_of.max(initial=0) + 1, told.category_of)
    belongs = csr_matrix((np.ones(len(category)), (np.arange(len(category)), category)))
    popular_in = popular / np.maximum((belongs.T @ popular)[category], 1) ** _SHARE
    found = [NO_PAIRS]
    for start in range(0, len(customers), _BLOCK):
        block = customers[start : start + _BLOCK]
        touched = _AFFINITY.matrix(told, block, at_s)
        scores = ((touched @ belongs).toarray() ** _FLATTER)[:, category] * popular_in
        lists = best(scores, n, touched)
        wanted = np.take_along_axis(scores, np.maximum(lists, 0), axis=1) * (lists != NO_ITEM) > 0
        row, place = np.nonzero(wanted)
        found.append((block[row], lists[row, place]))
    return np.concatenate([who for who, _ in found]), np.concatenate([what for _, what in found])


def matrix(told: Interactions, pairs: Pairs, at_s: float, crowd: np.ndarray | None) -> np.ndarray:
    """Features of pairs as seen at a moment: (n, f) float32."""
    found = features(told, pairs[0], pairs[1], at_s, crowd)
    return np.stack(list(found.values()), axis=1).astype(np.float32)


@dataclass(frozen=True)
class Past:
    """n examples of past nights: what was known when they began, and the keys to what came within a day."""

    x: np.ndarray  # (n, f) float32
    came: dict[Target, np.ndarray]  # (n,) bool

    @classmethod
    def touched(cls, told: Interactions, at_s: float, nights: int, crowd: np.ndarray | None) -> "Past | None":
        """Of all items that customers had touched; None without a past night."""
        return cls._of(
            told,
            crowd,
            (
                (then_s, known, touched_pairs(known, np.arange(len(told.customers))))
                for then_s, known in _nights(told, at_s, nights)
            ),
        )

    @classmethod
    def fresh(cls, told: Interactions, at_s: float, nights: int, n: int, crowd: np.ndarray | None) -> "Past | None":
        """Of up to n new items per customer; None without a past night."""
        return cls._of(
            told,
            crowd,
            (
                (then_s, known, fresh_pairs(known, np.arange(len(told.customers)), then_s, n, crowd))
                for then_s, known in _nights(told, at_s, nights)
            ),
        )

    @classmethod
    def _of(
        cls, told: Interactions, crowd: np.ndarray | None, nights: Iterator[tuple[float, Interactions, Pairs]]
    ) -> "Past | None":
        width, xs = len(told.items), []
        came: dict[Target, list[np.ndarray]] = {"any": [], "purchase": []}
        for then_s, known, (who, what) in nights:
            xs.append(matrix(known, (who, what), then_s, crowd))
            after = (told.seconds >= then_s) & (told.seconds < then_s + DAY_S)
            bought = after & (told.behaviour == BEHAVIOURS.index("purchase"))
            key = told.customer * width + told.item
            came["any"].append(np.isin(who * width + what, key[after]))
            came["purchase"].append(np.isin(who * width + what, key[bought]))
        if not xs:
            return None
        return cls(np.concatenate(xs), {target: np.concatenate(parts) for target, parts in came.items()})


def _nights(told: Interactions, at_s: float, nights: int) -> Iterator[tuple[float, Interactions]]:
    """Moments of past nights, the oldest first, and the events before them, where there are any."""
    for day in range(nights, 0, -1):
        then_s = at_s - day * DAY_S
        known = told.before(then_s)
        if len(known):
            yield then_s, known
