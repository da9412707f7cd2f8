"""What the shop's first page recommends to who visits, and what they do with it, by their true tastes.

The page of a night shows the lists of `recommendations.csv` of the plan made the night before, once per customer, in the
first session. A slot is looked at the less the further down it stands. What is looked at is clicked by how well it fits:
wishes as ripe as they are, then taste for the category, a price that suits, quality. What is clicked may be bought: an
item that the customer has in mind anyway hardly more often for being shown, another one as an order of its own, unless
something of its category is bought tonight anyway. At most one item a night is bought for being recommended.

Each draw is a function of customer, night and item (or slot), so whoever sees no list does exactly what they did before.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.errors import LandingError
from pipelines.core.recommending import FILE, SEGMENT_FILE
from pipelines.simulator.behaviour import Events, make_events, merge
from pipelines.simulator.catalogue import item_id
from pipelines.simulator.draws import Bools, Floats, Ints, sigmoid, uniform
from pipelines.simulator.exported import REMEDY, files_of, rows_of
from pipelines.simulator.response import Tonight, price_pull
from pipelines.simulator.words import CATEGORIES
from pipelines.simulator.world import World

PAGES: Final = frozenset((FILE, SEGMENT_FILE))  # of the export's files, those that are no messages
_SEEN, _FADE = 0.9, 0.6  # chance that slot s is looked at: _SEEN / s ** _FADE
_CLICK = -4.2  # logit of clicking on what is looked at and fits as an item does that is drawn for everybody
_RIPE, _TASTE, _TIER, _QUALITY = 1.8, 0.9, 0.5, 0.25
_BUY = -3.8  # logit of buying what was clicked and was not in mind
_REMINDED = 0.3  # logit of buying tonight what is in mind anyway
_OTHER_BASKET = 0.5  # chance to buy beside a basket of other categories, against without one


@dataclass(frozen=True)
class Lists:
    """n recommended items, by customer and slot."""

    user: Ints  # (n,) customer's place
    slot: Ints  # (n,) 1 is the first
    item: Ints  # (n,)


@dataclass(frozen=True)
class Answered:
    """What came of the lists: events to merge with the night's, and what was bought beside what would have been."""

    events: Events
    user: Ints  # (b,) of each order
    item: Ints  # (b,) one piece


def no_answer() -> Answered:
    """For a night without lists."""
    none = np.zeros(0, dtype=np.int64)
    return Answered(make_events(none, none, "view"), none, none)


def read_lists(folder: Path, shop: str, made_on: date, user_of: dict[str, int], n_items: int) -> Lists | None:
    """The lists of an export, None where it has none. Raises LandingError for what is missing, changed or malformed.

    Lists per segment are for visitors whom the shop does not know; the demo shop knows all of its own, so they are only
    verified. A key or an item that the shop does not know is shown to nobody.
    """
    files = files_of(folder, shop, made_on)
    if SEGMENT_FILE in files:
        rows_of(folder, SEGMENT_FILE, files[SEGMENT_FILE], (C.SLOT, C.ITEM_ID))
    if FILE not in files:
        return None
    rows = rows_of(folder, FILE, files[FILE], (C.USER_KEY, C.SLOT, C.ITEM_ID))
    places = {item_id(place): place for place in range(n_items)}
    try:
        told = [(user_of.get(row[C.USER_KEY], -1), int(row[C.SLOT]), places.get(row[C.ITEM_ID], -1)) for row in rows]
    except ValueError as error:
        raise LandingError(f"{folder / FILE}: a slot that is no number ({error}); {REMEDY}") from error
    if any(slot < 1 for _, slot, _ in told):
        raise LandingError(f"{folder / FILE}: slots are counted from 1, found {min(s for _, s, _ in told)}; {REMEDY}")
    user, slot, item = np.array(sorted(told), dtype=np.int64).reshape(-1, 3).T
    twice = (user[1:] == user[:-1]) & (slot[1:] == slot[:-1]) & (user[1:] >= 0)
    if twice.any():
        raise LandingError(f"{folder / FILE}: {int(twice.sum())} slots hold two items of one customer; {REMEDY}")
    known = (user >= 0) & (item >= 0)
    return Lists(user[known], slot[known], item[known])


def seen_chance(slot: Ints) -> Floats:
    """Chance that a slot of the page is looked at."""
    return np.asarray(_SEEN / slot.astype(np.float64) ** _FADE)


def click_chance(world: World, evening: Tonight, who: Ints, item: Ints) -> Floats:
    """(n,) chance that `who` clicks on an item that is looked at."""
    people, shelf = world.customers, world.catalogue
    return sigmoid(
        _CLICK
        + _TASTE * np.clip(np.log(len(CATEGORIES) * people.taste(who, shelf.category[item])), -3.0, 1.8)
        + _TIER * np.log(3 * people.tier_chance(who, shelf.tier()[item]))
        + _RIPE * evening.ripeness_of(who, item)
        + _QUALITY * shelf.quality[item]
        + price_pull(world, shelf.prices(evening.night), who, item)
    )


def buy_chance(world: World, evening: Tonight, who: Ints, item: Ints, buys_anyway: Bools) -> Floats:
    """(n,) chance that `who` buys an item for having clicked on it, beside whatever is bought anyway tonight.

    `buys_anyway` (n,): whether the customer's own basket is bought.
    """
    people, shelf = world.customers, world.catalogue
    logit = evening.purchase_logit[who]
    without = sigmoid(logit)
    reminded = (sigmoid(logit + _REMINDED) - without) / (1.0 - without)
    appetite = people.appetite[who] - people.appetite.mean()
    fresh = sigmoid(_BUY + appetite + price_pull(world, shelf.prices(evening.night), who, item))
    basket = evening.basket[who]
    same = (shelf.category[basket] == shelf.category[item][:, None]) & (basket >= 0)
    beside = np.where(buys_anyway, np.where(same.any(axis=1), 0.0, _OTHER_BASKET), 1.0)
    in_mind = evening.ripeness_of(who, item) > 0
    return np.where(in_mind, np.where(buys_anyway, 0.0, reminded), beside * fresh)


def show(world: World, evening: Tonight, lists: Lists, browsed: Events, bought: Bools, channel: int) -> Answered:
    """Shows the lists to everybody with a session among `browsed`; `bought` [customer]: who buys their basket tonight."""
    night, seed, n = evening.night, world.seed, world.customers.size
    mine = np.flatnonzero((browsed.session >= 0) & (browsed.user < n))
    visitors, first = np.unique(browsed.user[mine], return_index=True)  # events come in order of time
    session, start_ms = np.full((2, n), -1, dtype=np.int64)
    session[visitors], start_ms[visitors] = browsed.session[mine[first]], browsed.at_ms[mine[first]]
    shown = (session[lists.user] >= 0) & (world.catalogue.launch[lists.item] <= night)
    user, slot, item = lists.user[shown], lists.slot[shown], lists.item[shown]
    looked = uniform(seed, "recommended seen", night, user, slot) < seen_chance(slot)
    likes = uniform(seed, "recommended click", night, user, item) < click_chance(world, evening, user, item)
    clicks = looked & likes
    wants = uniform(seed, "recommended buy", night, user, item) < buy_chance(world, evening, user, item, bought[user])
    rows = np.flatnonzero(clicks & wants)
    rows = rows[np.unique(user[rows], return_index=True)[1]]  # the first by slot
    buys = np.zeros(len(user), dtype=bool)
    buys[rows] = True
    price = world.catalogue.prices(night)[item]
    at = start_ms[user] + 1_000
    tell = np.full(len(user), channel, dtype=np.int64)
    one = np.ones(len(user), dtype=np.int64)
    order = int(browsed.session.max(initial=-1)) + 1 + np.cumsum(buys)

    def events(kind: str, mask: Bools, after_ms: Ints, **given: Ints) -> Events:
        told = {"session": session[user], "item": item, "price_cents": price, **given}
        picked = {name: values[mask] for name, values in told.items()}
        return make_events((at + after_ms)[mask], user[mask], kind, **picked)

    read_ms = 3_000 + 3_000 * slot  # the page from top to bottom; the longest list of 10 ends after half a minute
    read_ms = np.minimum(read_ms, 60_000)
    everything = merge(
        [
            events("impression", np.ones(len(user), dtype=bool), 10 * np.minimum(slot, 90), channel=tell),
            events("click", clicks, read_ms, channel=tell),
            events("view", clicks, read_ms + 1_000),
            events("cart", buys, read_ms + 9_000, quantity=one),
            events("purchase", buys, read_ms + 20_000, quantity=one, order=order),
        ]
    )
    return Answered(everything, user[rows], item[rows])
