"""Which two items to offer together at a discount: complements that sell together surely, with a margin left, in stock.

A bundle is offered to everybody. Those who take both anyway get the discount for nothing; what it brings is those who take
one and, because of the offer, the other too. How many these are nobody knows before a test: `uptake` is what one assumes,
1 where the offer wins as large a share of those with one alone as takes both unasked; `break_even` is the uptake from which
on the bundle pays, whatever one assumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

LEVEL: Final = 0.95


@dataclass(frozen=True)
class BundleRules:
    discount_percent: float = 5.0  # off the two prices together
    margin_floor_percent: float = 5.0  # of the bundle's price, left at least
    min_stock: int = 10  # of both
    min_sessions: int = 5  # with both
    max_per_item: int = 2  # bundles that an item is in
    same_category: bool = False  # may both be of one category
    uptake: float = 0.5  # assumed, see above


@dataclass(frozen=True)
class BundleItems:
    """m items tonight; money in cents. NaN where price, cost or stock are not known: such an item is in no bundle."""

    names: Sequence[str]
    category: np.ndarray  # (m,) codes, negative: none
    price: np.ndarray  # (m,)
    unit_cost: np.ndarray  # (m,)
    stock: np.ndarray  # (m,)
    sessions: np.ndarray  # (m,) in which the item was carted or bought


@dataclass(frozen=True)
class Bundles:
    """b bundles, the most profitable first; money in cents."""

    a: np.ndarray  # (b,) places of items
    b: np.ndarray  # (b,)
    both: np.ndarray  # (b,) sessions in which both were carted or bought
    lift: np.ndarray  # (b,) times as many as by chance
    lift_low: np.ndarray  # (b,) at least so many, with confidence LEVEL
    price: np.ndarray  # (b,) of both, discounted
    margin_percent: np.ndarray  # (b,) of that price
    extra_per_1000: np.ndarray  # (b,) expected extra profit of 1,000 sessions
    break_even: np.ndarray  # (b,) uptake from which on it pays


def bundles(
    items: BundleItems, a: np.ndarray, b: np.ndarray, both: np.ndarray, n_sessions: int, rules: BundleRules
) -> Bundles:
    """The bundles among candidate pairs a < b (p,), each once, that keep all rules; both: (p,) sessions with both.

    Chosen greedily by expected profit, which brings at least half of what the best choice under `max_per_item` would
    (Avis 1983, "A survey of heuristics for the weighted matching problem").
    """
    told = _figures(items, a, b, both, n_sessions, rules)
    apart = (items.category[a] != items.category[b]) | (items.category[a] < 0)
    kept = (told.margin_percent >= rules.margin_floor_percent) & (told.lift_low > 1) & (told.extra_per_1000 > 0)
    kept &= (both >= rules.min_sessions) & (np.minimum(items.stock[a], items.stock[b]) >= rules.min_stock) & (a < b)
    kept &= apart | rules.same_category
    left = np.full(len(items.names), rules.max_per_item)
    chosen = []
    for place in np.lexsort((b, a, -told.extra_per_1000)):
        one, other = a[place], b[place]
        if kept[place] and left[one] > 0 and left[other] > 0:
            left[[one, other]] -= 1
            chosen.append(place)
    these = np.array(chosen, dtype=np.int64)
    return Bundles(**{name: values[these] for name, values in vars(told).items()})


def why(items: BundleItems, found: Bundles, rules: BundleRules) -> list[str]:
    """Of each bundle the reason in words."""
    return [_words(items, found, place, rules) for place in range(len(found.a))]


def lift_low(both: np.ndarray, n_a: np.ndarray, n_b: np.ndarray, n: int) -> np.ndarray:
    """(p,) lower bound, with confidence LEVEL, of P(a, b) / (P(a) P(b)) from counts of n sessions.

    The least P(b | a) over the most P(b), or the same with a and b exchanged where that is less; each by the exact
    one-sided bound of Clopper and Pearson (1934) for half the error. Few sessions have a wide interval, so a low bound.
    """
    return np.minimum(_low(both, n_a) / _high(n_b, n), _low(both, n_b) / _high(n_a, n))


def _figures(items: BundleItems, a: np.ndarray, b: np.ndarray, both: np.ndarray, n: int, rules: BundleRules) -> Bundles:
    n_a, n_b = items.sessions[a], items.sessions[b]
    full = items.price[a] + items.price[b]
    price = np.round(full * (1 - rules.discount_percent / 100))
    margin_a, margin_b = items.price[a] - items.unit_cost[a], items.price[b] - items.unit_cost[b]
    margin = price - items.unit_cost[a] - items.unit_cost[b]
    # Who took one alone is drawn to both as often, at least, as those who took it unasked were.
    drawn = (n_a - both) * _low(both, n_a) * (margin - margin_a) + (n_b - both) * _low(both, n_b) * (margin - margin_b)
    lost = both * (full - price)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Bundles(
            a=a, b=b, both=both, lift=both * n / (n_a * n_b), lift_low=lift_low(both, n_a, n_b, n), price=price,
            margin_percent=100 * margin / price, extra_per_1000=1_000 * (rules.uptake * drawn - lost) / n,
            break_even=np.where(drawn > 0, lost / drawn, np.inf),
        )  # fmt: skip


def _low(hits: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The least chance that `hits` of `of` trials leave possible."""
    from scipy.special import betaincinv

    inside = np.maximum(hits, 1), np.maximum(of - hits + 1, 1)
    return np.where(hits > 0, betaincinv(*inside, (1 - LEVEL) / 2), 0.0)


def _high(hits: np.ndarray, of: int) -> np.ndarray:
    from scipy.special import betaincinv

    inside = np.maximum(hits + 1, 1), np.maximum(of - hits, 1)
    return np.where(hits < of, betaincinv(*inside, (1 + LEVEL) / 2), 1.0)


def _words(items: BundleItems, found: Bundles, place: int, rules: BundleRules) -> str:
    a, b = int(found.a[place]), int(found.b[place])
    one, other = items.names[a], items.names[b]
    return (
        f"{found.both[place]:,.0f} of {items.sessions[a]:,.0f} sessions with {one} also had {other}, {found.lift[place]:.1f} times as "
        f"many as by chance (at least {found.lift_low[place]:.1f} times, {LEVEL:.0%} sure). Together "
        f"{found.price[place] / 100:,.2f} instead of {(items.price[a] + items.price[b]) / 100:,.2f}, which leaves a margin "
        f"of {found.margin_percent[place]:.1f}% (floor {rules.margin_floor_percent:g}%); {items.stock[a]:,.0f} and "
        f"{items.stock[b]:,.0f} in stock. If of those with one alone the offer wins {rules.uptake:.0%} of the share that takes both "
        f"unasked, 1,000 sessions bring {found.extra_per_1000[place] / 100:,.2f} more; it pays from "
        f"{found.break_even[place]:.0%} on."
    )
