"""Interactions that fit in the head, and a shop of forty customers with habits."""

from collections.abc import Sequence

import numpy as np

from training.recommend.interactions import BEHAVIOURS, Interactions
from training.recommend.ranker_protocol import DAY_S

NOW_S = 20 * DAY_S


def told(events: Sequence[tuple[str, str, str, float]], category: dict[str, int] | None = None) -> Interactions:
    """Of (customer, item, behaviour, days before NOW_S)."""
    events = sorted(events, key=lambda event: -event[3])
    columns = list(zip(*events, strict=True)) or [(), (), (), ()]
    customers, customer = np.unique(np.array(columns[0], dtype=str), return_inverse=True)
    items, item = np.unique(np.array(columns[1], dtype=str), return_inverse=True)
    behaviour = np.array([BEHAVIOURS.index(one) for one in columns[2]], dtype=np.int8)
    codes = None if category is None else np.array([category[one] for one in items.tolist()])
    return Interactions(
        customers, items, customer, item, behaviour, NOW_S - DAY_S * np.array(columns[3], dtype=float), codes
    )


def shop(seed: int = 3, n_customers: int = 40, n_items: int = 30, days: int = 6) -> Interactions:
    """Customers who come back to a few items of two categories, find others of them, and buy now and then."""
    luck = np.random.default_rng(seed)
    events = []
    for customer in range(n_customers):
        liked = luck.permutation(n_items)[:3]
        for day in range(days):
            for place in range(int(luck.integers(2, 6))):
                item = int(liked[luck.integers(3)] if luck.random() < 0.6 else luck.integers(n_items))
                kind = BEHAVIOURS[int(luck.choice(4, p=[0.7, 0.1, 0.1, 0.1]))]
                events.append((f"c{customer:02}", f"i{item:02}", kind, day + 0.9 - place / 10))
    return told(events, {f"i{item:02}": item % 4 for item in range(n_items)})
