"""How demand answers to prices: elasticities per category from the nights of each item, drawn together across categories.

Units of item i on night t are Poisson with mean exp(a_i + d_ct + e_c ln price_it + g attention_it): a level of its own
per item (a), and one per category and night (d) that takes away whatever moves a whole category: weekdays, seasons,
promotions of the category, weekends on which the shop lowers prices because more is bought. What is left to learn e from
is how an item does against its own other nights and against the rest of its category on the same night.

Assumed: given those levels and how much the item was looked at in the week before, its price tonight has nothing to do
with what it would have sold anyway. Wrong where prices follow news about one item alone (a review, a rival out of stock).
Own prices only: buyers who change to a neighbour count as lost, so e is that of one item's price, not of a category's;
buyers who wait for a low price make it look larger than it is for a price that stays.

Fitted as ppmlhdfe does (Correia, Guimaraes and Zylkin 2020): reweighted least squares, both levels projected out. Then
e_c ~ N(mean, spread): mean and spread are averaged over their posterior on a grid (Gelman et al. 2013, section 5.4), with
what was found in many shops before it: elasticities of mean -2.62 and standard deviation 2.21 (Bijmolt, van Heerde and
Pieters 2005).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

PRIOR_MEAN, PRIOR_SD = -2.62, 2.21
_SPREAD_SD: Final = 1.0  # half-normal prior of how far categories lie apart
_PROJECTIONS, _STEPS, _TOLERANCE = 200, 30, 1e-8
_MAX_LOG_STEP: Final = 2.0


@dataclass(frozen=True)
class Response:
    """Elasticities: per category, and of one that is not known."""

    categories: tuple[str, ...]
    mean: np.ndarray  # (c,) posterior means
    sd: np.ndarray  # (c,)
    other_mean: float
    other_sd: float
    attention: float  # percent of units per percent of attention

    def of(self, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation (n,) for the names of categories (n,)."""
        place = {name: at for at, name in enumerate(self.categories)}
        at = np.array([place.get(name, len(place)) for name in category.tolist()], dtype=np.int64)
        return np.append(self.mean, self.other_mean)[at], np.append(self.sd, self.other_sd)[at]


@dataclass(frozen=True)
class Sales:
    """n rows, one per item and night; codes count from 0."""

    units: np.ndarray  # (n,)
    log_price: np.ndarray  # (n,)
    attention: np.ndarray  # (n,)
    item: np.ndarray  # (n,) codes
    cell: np.ndarray  # (n,) codes of category and night
    category: np.ndarray  # (n,) codes


def fit_response(sales: Sales, categories: tuple[str, ...]) -> Response:
    """The response to prices, of however few sales: without any it is what is known of other shops."""
    found, information, attention = _within(sales, len(categories))
    mean, sd, other_mean, other_sd = pool(found, information)
    return Response(categories, mean, sd, other_mean, other_sd, attention)


def fit_attention(sales: Sales) -> float:
    """The same model without prices: what the response to attention alone is."""
    return _within(Sales(sales.units, np.zeros(len(sales.units)), *_rest(sales)), 1)[2]


def _rest(sales: Sales) -> tuple[np.ndarray, ...]:
    return sales.attention, sales.item, sales.cell, np.zeros_like(sales.category)


def pool(found: np.ndarray, information: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Posterior means and standard deviations (c,) of elasticities found (c,) with information 1 / variance (c,), 0 where
    nothing was; and mean and standard deviation for one more category."""
    spreads = np.linspace(0.02, 3.0, 100)[:, None]
    with np.errstate(divide="ignore"):
        variance = np.where(information > 0, 1 / np.maximum(information, 1e-12), np.inf) + spreads**2  # (s, c)
    weight = 1 / variance
    precision = weight.sum(axis=1) + PRIOR_SD**-2
    centre = ((weight * found).sum(axis=1) + PRIOR_MEAN * PRIOR_SD**-2) / precision  # mean of the mean, per spread
    away = np.where(information > 0, weight * (found - centre[:, None]) ** 2, 0.0).sum(axis=1)
    scale = np.where(information > 0, np.log(np.maximum(weight, 1e-300)), 0.0).sum(axis=1)
    log_p = 0.5 * (scale - np.log(precision) - away - (centre - PRIOR_MEAN) ** 2 / PRIOR_SD**2)
    log_p -= 0.5 * (spreads[:, 0] / _SPREAD_SD) ** 2
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    own = 1 / (information + spreads**-2)  # (s, c): variance given mean and spread
    drawn = own * spreads**-2  # what the mean counts
    at = own * information * found + drawn * centre[:, None]
    var = own + drawn**2 / precision[:, None]
    mean = p @ at
    sd = np.sqrt(p @ (var + (at - mean) ** 2))
    other = float(p @ centre)
    other_sd = float(np.sqrt(p @ (spreads[:, 0] ** 2 + 1 / precision + (centre - other) ** 2)))
    return mean, sd, other, other_sd


def _within(sales: Sales, n_categories: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Elasticity per category (c,), its information (c,), and the response to attention.

    Slopes are held by the prior of `pool`, which is then taken off again: so a category whose few sales all happened at
    one price gives a number and little information instead of none.
    """
    sales = _that_tell(sales)
    k = n_categories + 1
    if not len(sales.units):
        return np.full(n_categories, PRIOR_MEAN), np.zeros(n_categories), 0.0
    x = np.zeros((len(sales.units), k))
    x[np.arange(len(x)), sales.category] = sales.log_price
    x[:, -1] = sales.attention
    held = np.append(np.full(n_categories, PRIOR_SD**-2), 1.0)  # attention: around 0, by 1
    toward = np.append(np.full(n_categories, PRIOR_MEAN), 0.0)
    slopes = toward.copy()
    level = np.zeros(len(x))
    for _ in range(_STEPS):
        level = _levels(sales, x @ slopes, level)
        mu = np.exp(level + x @ slopes)
        rest = _project(x, mu, sales)
        score = rest.T @ (sales.units - mu) + held * (toward - slopes)
        information = rest.T @ (mu[:, None] * rest)
        step = np.linalg.solve(information + np.diag(held), score)
        slopes = slopes + np.clip(step, -_MAX_LOG_STEP, _MAX_LOG_STEP)
        if np.abs(step).max() < 1e-6:
            break
    mu = np.exp(_levels(sales, x @ slopes, level) + x @ slopes)
    # An item's nights are alike beyond all that: how much more its scores vary than Poisson ones would, all categories
    # together because each has few items that sell (Liang and Zeger 1986).
    away = rest * (sales.units - mu)[:, None]
    scores = np.stack([np.bincount(sales.item, column) for column in away.T[:-1]])
    spread = max(1.0, float((scores**2).sum() / max(np.diag(information)[:-1].sum(), 1e-9)))
    # What a slope is known to given all others, without its own prior.
    known = 1 / np.diag(np.linalg.inv(information + np.diag(held)))[:-1] - held[:-1]
    known = np.maximum(known, 0.0)
    found = np.where(
        known > 1e-9,
        ((known + held[:-1]) * slopes[:-1] - held[:-1] * PRIOR_MEAN) / np.maximum(known, 1e-9),
        PRIOR_MEAN,
    )
    return found, np.where(known > 1e-9, known / spread, 0.0), float(slopes[-1])


def _that_tell(sales: Sales) -> Sales:
    """Without items and cells in which nothing was sold: their levels are minus infinity and they say nothing of slopes."""
    keep = np.ones(len(sales.units), dtype=bool)
    while True:
        told = keep.copy()
        for code in (sales.item, sales.cell):
            sold = np.bincount(code[keep], sales.units[keep], minlength=code.max(initial=0) + 1)
            keep &= sold[code] > 0
        if (told == keep).all():
            break
    compact = [np.unique(code[keep], return_inverse=True)[1] for code in (sales.item, sales.cell)]
    return Sales(
        sales.units[keep], sales.log_price[keep], sales.attention[keep], compact[0], compact[1], sales.category[keep]
    )


def _levels(sales: Sales, given: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(n,) the sum of both levels that make expected units equal true ones in every item and cell, by turns."""
    level = start
    sold = [np.bincount(code, sales.units) for code in (sales.item, sales.cell)]
    for _ in range(_PROJECTIONS):
        before = level
        for code, units in zip((sales.item, sales.cell), sold, strict=True):
            level = level + np.log(units / np.bincount(code, np.exp(level + given)))[code]
        if np.abs(level - before).max() < _TOLERANCE:
            break
    return level


def _project(x: np.ndarray, weight: np.ndarray, sales: Sales) -> np.ndarray:
    """x (n, k) without what weighted means per item and per cell explain, by turns."""
    rest = x
    totals = [np.bincount(code, weight) for code in (sales.item, sales.cell)]
    for _ in range(_PROJECTIONS):
        before = rest
        for code, total in zip((sales.item, sales.cell), totals, strict=True):
            means = np.stack([np.bincount(code, weight * column) for column in rest.T], axis=1) / total[:, None]
            rest = rest - means[code]
        if np.abs(rest - before).max() < _TOLERANCE:
            break
    return rest
