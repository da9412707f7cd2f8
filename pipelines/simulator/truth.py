"""What would have happened: every strategy's outcome for every customer, no contact included, what lists of
recommended items bring, and what would have been sold at other prices, told to an evaluator.

For evaluators only. Nothing that plans, trains or scores may import this.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import NoDataError
from pipelines.core.shop import Shop
from pipelines.simulator.catalogue import item_id
from pipelines.simulator.draws import Bools, Floats, Ints
from pipelines.simulator.pages import buy_chance, click_chance, seen_chance
from pipelines.simulator.response import Treatment, active_chance, respond, tonight
from pipelines.simulator.state import load_state
from pipelines.simulator.world import World, build_world


@dataclass(frozen=True)
class PotentialOutcomes:
    """Arrays [customer, strategy]; column 0 is no contact, column k is `strategies[k - 1]`, delivered.

    Probabilities tonight, then what the night's luck makes of them. The luck is shared by all columns of a row.
    """

    user_ids: tuple[str, ...]
    strategies: tuple[Treatment, ...]
    click: Floats
    purchase: Floats
    complaint: Floats
    unsubscribe: Floats
    spend_cents: Floats  # expected: probability of buying x what the basket costs under the strategy
    clicked: Bools
    bought: Bools
    complained: Bools
    unsubscribed: Bools
    spent_cents: NDArray[np.int64]


def potential_outcomes(
    shop: Shop, night: date, user_ids: Sequence[str], strategies: Sequence[Treatment], landing: Path | None = None
) -> PotentialOutcomes:
    """Potential outcomes of `user_ids` on a night.

    With `landing` the customers are as tired as the messages of earlier nights left them; without, all are rested.
    Raises NoDataError for an id that is no customer, LandingError where the state of the night before is lost.
    """
    world = build_world(shop)
    who = _places(shop, world, user_ids)
    fatigue = np.zeros(len(who))
    if landing is not None and night.toordinal() > world.first_night:
        fatigue = load_state(landing, night - timedelta(days=1), world).fatigue[who]
    evening = tonight(world, night.toordinal())
    columns = [respond(world, evening, who, treatment, fatigue) for treatment in (None, *strategies)]
    facts = [column.happens(evening, who) for column in columns]

    def happened(name: str) -> Bools:
        return np.stack([fact[name] for fact in facts], axis=1)

    order = np.stack([column.order_cents for column in columns], axis=1)
    purchase = np.stack([column.purchase for column in columns], axis=1)
    return PotentialOutcomes(
        user_ids=tuple(user_ids),
        strategies=tuple(strategies),
        click=np.stack([column.click for column in columns], axis=1),
        purchase=purchase,
        complaint=np.stack([column.complaint for column in columns], axis=1),
        unsubscribe=np.stack([column.unsubscribe for column in columns], axis=1),
        spend_cents=purchase * order,
        clicked=happened("click"),
        bought=happened("purchase"),
        complained=happened("complaint"),
        unsubscribed=happened("unsubscribe"),
        spent_cents=happened("purchase") * order,
    )


def _places(shop: Shop, world: World, user_ids: Sequence[str]) -> Ints:
    place = {user_id: k for k, user_id in enumerate(world.customers.ids.tolist())}
    unknown = [user_id for user_id in user_ids if user_id not in place]
    if unknown:
        raise NoDataError(f"'{unknown[0]}' is no customer of shop '{shop.shop}' ({len(unknown)} such); ask for its own")
    return np.array([place[user_id] for user_id in user_ids], dtype=np.int64)


@dataclass(frozen=True)
class ListValue:
    """What a list of k items on the first page is expected to bring tonight, all luck averaged out, coming included."""

    visit: Floats  # (n,) chance that the customer comes, list or not
    click: Floats  # (n, k)
    purchase: Floats  # (n, k) of the item, beside what would be bought without any list
    profit_cents: Floats  # (n, k) of those purchases


def list_value(shop: Shop, night: date, user_ids: Sequence[str], lists: NDArray[np.object_]) -> ListValue:
    """Of `lists` (n, k) of item ids, the first slot first and "" for an empty one, shown on a night to customers (n,) who
    are sent nothing. Raises NoDataError for an id that is no customer's, or no item's."""
    world = build_world(shop)
    who, evening = _places(shop, world, user_ids), tonight(world, night.toordinal())
    places = {"": -1} | {item_id(place): place for place in range(world.catalogue.size_of)}
    unknown = sorted(set(lists.ravel().tolist()) - set(places))
    if unknown:
        raise NoDataError(f"'{unknown[0]}' is no item of shop '{shop.shop}' ({len(unknown)} such); ask for its own")
    item = np.array([places[one] for one in lists.ravel().tolist()], dtype=np.int64).reshape(lists.shape)
    is_shown = (item >= 0) & (world.catalogue.launch[item] <= evening.night)
    alone = respond(world, evening, who, None, np.zeros(len(who))).purchase
    comes = active_chance(world, evening)[who]
    k = len(item[0]) if len(item) else 0
    slot = np.broadcast_to(np.arange(1, k + 1), item.shape)
    customer = np.repeat(who, k)
    click = click_chance(world, evening, customer, item.ravel()).reshape(item.shape) * seen_chance(slot) * is_shown
    visit = alone + (1.0 - alone) * comes
    purchase = np.zeros(item.shape)
    for buys, share in ((True, alone), (False, (1.0 - alone) * comes)):
        anyway = np.full(item.size, buys)
        chance = click * buy_chance(world, evening, customer, item.ravel(), anyway).reshape(item.shape)
        before = np.cumprod(1.0 - chance, axis=1) / (1.0 - chance)  # nothing higher up was bought
        purchase += share[:, None] * before * chance
    margin = world.catalogue.prices(evening.night) - world.catalogue.unit_cost_cents()
    return ListValue(visit, visit[:, None] * click, purchase, purchase * margin[item])


def at_prices(world: World, night: int, cents: Ints) -> World:
    """The same shop with other prices (items,) on one night (ordinal)."""
    shelf = world.catalogue
    return replace(world, catalogue=replace(shelf, told_prices={**shelf.told_prices, night: cents}))


def expected_units(world: World, night: int) -> Floats:
    """Units of each item (items,) that customers left alone buy on a night (ordinal), the till's luck averaged out."""
    evening = tonight(world, night)
    who = np.arange(world.customers.size)
    chance = respond(world, evening, who, None, np.zeros(len(who))).purchase
    first, second = evening.basket.T
    items = np.concatenate([first, second[second >= 0]])
    units: Floats = np.bincount(
        items, np.concatenate([chance * evening.quantity, chance[second >= 0]]), world.catalogue.size_of
    ).astype(np.float64)
    return units


def price_elasticity(world: World, nights: Sequence[int], step: float = 0.05, n_parts: int = 20) -> Floats:
    """Percent of units per percent of an item's own price around the list price, (categories,): from what is expected to
    be sold on `nights` (ordinals) a `step` below and above it. One of `n_parts` of the items moves at a time: a basket's
    second item is not sold where the first is too dear, and that is no answer to its own price.
    """
    shelf = world.catalogue
    part = np.arange(shelf.size_of) % n_parts
    sold = np.zeros((2, shelf.category.max() + 1))
    for night in nights:
        for moved in range(n_parts):
            for place, sign in enumerate((-1, 1)):
                factor = np.where(part == moved, np.exp(sign * step), 1.0)
                cents = np.round(shelf.base_price_cents * factor).astype(np.int64)
                units = expected_units(at_prices(world, night, cents), night)
                sold[place] += np.bincount(shelf.category, np.where(part == moved, units, 0.0))
    return np.log(sold[1] / sold[0]) / (2 * step)
