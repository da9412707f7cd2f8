"""Which price to ask tomorrow: the largest expected profit, margin times demand, inside guardrails.

Demand is of constant elasticity around tonight's price, units(p) = units(now) (p / now)^e, with e normal: the posterior
of a model. A price is changed only where e is known well enough and the change pays under nearly all of its values;
some items are moved by lot instead, within a narrow band, or nothing could be learnt any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from statistics import NormalDist
from typing import Final

import numpy as np

from pipelines.core.pricing import Pricing
from pipelines.strategy.holdout import night_draws

_N_PRICES: Final = 41  # looked at per item, equally far apart between the guardrails
_N_DRAWS: Final = 20  # equally likely values of the elasticity
_BLOCK: Final = 2_000  # items at a time: some 15 MB
LEVEL: Final = 0.95

GUARDRAILS: Final = ("none", "margin_floor", "step", "parity")  # what kept a price from going further
WHYS: Final = {
    "optimum": "optimum: the price of the highest expected profit",
    "bound": "as far towards the optimum as the guardrail lets it go",
    "lot": "moved by lot, so that the response to prices stays learnable",
    "to_floor": "raised towards the margin floor that tonight's price is below, by a step a night",
    "to_parity": "moved towards the parity band that tonight's price is outside of, by a step a night",
    "no_gain": "kept: no change would pay surely enough",
    "uncertain": "kept: the response to prices is not known well enough",
    "never_sold": "kept: never sold in the window, so its demand is not known",
    "conflict": "kept: the margin floor lies above the parity band; a person has to choose",
    "no_price": "no suggestion: tonight's price is missing or not above zero; mend the catalogue",
}


@dataclass(frozen=True)
class Items:
    """n items tonight; money in cents. A price that is NaN, zero or negative is none."""

    item_ids: Sequence[str]
    price: np.ndarray  # (n,)
    unit_cost: np.ndarray  # (n,) known for all that have a price
    reference: np.ndarray  # (n,) list price, that parity is held to; known for all that have a price
    units: np.ndarray  # (n,) expected tomorrow at tonight's price
    units_sd: np.ndarray  # (n,) how well that expectation is known
    has_sold: np.ndarray  # (n,) bool
    elasticity: np.ndarray  # (n,) posterior mean, percent of units per percent of price
    elasticity_sd: np.ndarray  # (n,)

    def take(self, where: np.ndarray) -> "Items":
        """The items at positions (k,)."""
        rest = {one.name: getattr(self, one.name)[where] for one in fields(self)[1:]}
        return Items([self.item_ids[place] for place in where.tolist()], **rest)


@dataclass(frozen=True)
class Suggestions:
    """n prices for tomorrow; all numbers of an item without a price are NaN."""

    price: np.ndarray  # (n,) cents
    units: np.ndarray  # (3, n): expected at that price, low, high
    profit: np.ndarray  # (3, n) cents
    gain: np.ndarray  # (3, n) cents of profit over tonight's price
    guardrail: np.ndarray  # (n,) of GUARDRAILS
    why: np.ndarray  # (n,) keys of WHYS


@dataclass(frozen=True)
class _Limits:
    """(n,) cents each."""

    down: np.ndarray  # of the step
    up: np.ndarray
    floor: np.ndarray  # of the margin
    least: np.ndarray  # of floor and parity band together
    most: np.ndarray  # of the parity band


def suggest(items: Items, rules: Pricing, night: date) -> Suggestions:
    """Prices for the day after `night`; the same items, rules and night give the same lots.

    A suggestion is tonight's price, or one with the wanted ending that is within a step of it, within the parity band and
    not below the margin floor. Where tonight's price is itself outside of band or floor, it goes towards them, never away.
    """
    n = len(items.price)
    price, guardrail = np.full(n, np.nan), np.full(n, "none", dtype=object)
    why = np.full(n, "no_price", dtype=object)
    units, profit, gain = (np.full((3, n), np.nan) for _ in range(3))
    known = np.flatnonzero(np.isfinite(items.price) & (items.price > 0))
    draws = night_draws(items.item_ids, rules.seed, night, 2) if n else np.zeros((0, 2))
    for start in range(0, len(known), _BLOCK):
        where = known[start : start + _BLOCK]
        part = items.take(where)
        price[where], guardrail[where], why[where] = _chosen(part, rules, draws[where])
        units[:, where], profit[:, where], gain[:, where] = outlook(part, price[where])
    return Suggestions(price, units, profit, gain, guardrail, why)


def outlook(items: Items, price: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units, profit and gain over tonight's price at other prices (n,): (3, n) each, expected and a 95% interval.

    Units are log-normal: the interval has how well level and response are known. That of the gain has the response alone.
    """
    x, z = np.log(price / items.price), NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle, tilt = items.units * np.exp(items.elasticity * x), items.elasticity_sd * np.abs(x)
    level = np.divide(items.units_sd, items.units, out=np.zeros(len(x)), where=items.units > 0)
    spread = np.exp(z * np.hypot(level, tilt))
    mean = middle * np.exp(tilt**2 / 2)
    units = np.stack([mean, np.minimum(middle / spread, mean), np.maximum(middle * spread, mean)])
    margin, now = price - items.unit_cost, items.units * (items.price - items.unit_cost)
    edges = np.stack([middle * np.exp(-z * tilt), middle * np.exp(z * tilt), mean]) * margin - now
    gain = np.stack([edges[2], edges.min(axis=0), edges.max(axis=0)])
    profit = units * margin
    return units, np.stack([profit[0], profit.min(axis=0), profit.max(axis=0)]), gain


def _chosen(items: Items, rules: Pricing, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Price, guardrail and why of n items with a price; draws (n, 2) uniform."""
    limits, now = _limits(items, rules), items.price
    price, why = _optimum(items, limits, rules), np.full(len(now), "optimum", dtype=object)
    guardrail = np.where(price != now, _bound_by(items, limits), "none")
    why[guardrail != "none"] = "bound"

    def told(where: np.ndarray, reason: str, to: np.ndarray, by: str = "none") -> None:
        price[where], guardrail[where], why[where] = to[where], by, reason

    told(price == now, "no_gain", now)
    told(~(items.elasticity_sd <= rules.max_elasticity_sd), "uncertain", now)
    lot = _ended_down(
        now * (1 + rules.explore_band_percent / 100 * (2 * draws[:, 1] - 1)) + rules.ending_unit_cents / 2, rules
    )
    inside = (lot >= np.maximum(limits.least, limits.down)) & (lot <= np.minimum(limits.most, limits.up))
    told((draws[:, 0] < rules.explore_percent / 100) & inside & (lot != now), "lot", lot)
    told(~items.has_sold, "never_sold", now)
    back = _towards(now, limits, rules)
    told(now > limits.most, "to_parity", back, "parity")
    told(now < limits.least, "to_parity", back, "parity")
    told(now < limits.floor, "to_floor", back, "margin_floor")
    told(limits.floor > limits.most, "conflict", now, "margin_floor")
    return price, guardrail, why


def _limits(items: Items, rules: Pricing) -> _Limits:
    step, parity = rules.max_step_percent / 100, rules.parity_percent / 100
    floor = items.unit_cost / (1 - rules.margin_floor_percent / 100)
    least = np.maximum(items.reference * (1 - parity), floor)
    return _Limits(items.price * (1 - step), items.price * (1 + step), floor, least, items.reference * (1 + parity))


def _optimum(items: Items, limits: _Limits, rules: Pricing) -> np.ndarray:
    """(n,) the price of the highest expected profit, tonight's where no other pays with the wanted confidence."""
    low, high = np.maximum(limits.least, limits.down)[:, None], np.minimum(limits.most, limits.up)[:, None]
    tried = _ended_down(low + (high - low) * np.linspace(0, 1, _N_PRICES), rules)
    allowed = (tried >= low) & (tried <= high) & (tried > 0)
    tried = np.where(allowed, tried, items.price[:, None])
    quantiles = np.array([NormalDist().inv_cdf((k + 0.5) / _N_DRAWS) for k in range(_N_DRAWS)])
    elasticity = items.elasticity[:, None] + items.elasticity_sd[:, None] * quantiles  # (n, draws)
    x = np.log(tried / items.price[:, None])
    margin, cost = tried - items.unit_cost[:, None], items.unit_cost[:, None]
    # (n, prices, draws), per unit sold tonight: the level plays no part in what is best
    gain = (
        margin[:, :, None] * np.exp(elasticity[:, None, :] * x[:, :, None]) - (items.price[:, None] - cost)[:, :, None]
    )
    sure = (gain > 0).mean(axis=2) >= rules.min_confidence
    value = np.where(sure, gain.mean(axis=2), 0.0)
    best = value.argmax(axis=1)
    rows = np.arange(len(best))
    return np.where(value[rows, best] > 0, tried[rows, best], items.price)


def _bound_by(items: Items, limits: _Limits) -> np.ndarray:
    """(n,) the guardrail that lies between tonight's price and the optimum without any: cost e / (1 + e)."""
    e = items.elasticity
    free = np.divide(items.unit_cost * e, 1 + e, out=np.full(len(e), np.inf), where=e < -1)
    above = np.where(limits.up <= limits.most, "step", "parity")
    below = np.where(
        limits.down >= limits.least, "step", np.where(limits.floor >= limits.least, "margin_floor", "parity")
    )
    return np.where(
        free > np.minimum(limits.up, limits.most),
        above,
        np.where(free < np.maximum(limits.down, limits.least), below, "none"),
    ).astype(object)


def _towards(now: np.ndarray, limits: _Limits, rules: Pricing) -> np.ndarray:
    """(n,) the first price within floor and parity band, or as far on the way to it as a step goes."""
    up, down = np.minimum(limits.up, limits.most), np.maximum(limits.down, limits.least)
    inside, furthest = _ended_up(limits.least, rules), _ended_down(up, rules)
    raised = np.where(inside <= up, inside, np.maximum(furthest, now))
    inside, furthest = _ended_down(limits.most, rules), _ended_up(down, rules)
    lowered = np.where(inside >= down, inside, np.minimum(furthest, now))
    return np.where(now < limits.least, raised, np.where(now > limits.most, lowered, now))


def _ended_down(cents: np.ndarray, rules: Pricing) -> np.ndarray:
    """The next lower price with the wanted ending."""
    return (
        np.floor((cents - rules.ending_cents) / rules.ending_unit_cents) * rules.ending_unit_cents + rules.ending_cents
    )


def _ended_up(cents: np.ndarray, rules: Pricing) -> np.ndarray:
    return (
        np.ceil((cents - rules.ending_cents) / rules.ending_unit_cents) * rules.ending_unit_cents + rules.ending_cents
    )
