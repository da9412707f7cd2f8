"""One night of the demo shop: from the state before it and the plan it answers to its lines and the state after."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from pipelines.core.recommending import CHANNEL as RECOMMENDED
from pipelines.core.shop import Shop
from pipelines.simulator.answer import Plan, after, no_answers, send, visits
from pipelines.simulator.behaviour import KIND, Events, browse, make_events, merge
from pipelines.simulator.dirt import Soiled, soil
from pipelines.simulator.draws import Ints, generator, uniform
from pipelines.simulator.lines import delivery_lines, event_lines, outcome_lines
from pipelines.simulator.pages import Lists, no_answer, show
from pipelines.simulator.response import Tonight, tonight
from pipelines.simulator.state import State, ship
from pipelines.simulator.voices import speak
from pipelines.simulator.world import World

_LEAVES_SHARE = 0.0003  # of customers, a night: unsubscribe on the web site, message or not
_RESTOCK_BELOW = 5


@dataclass(frozen=True)
class Night:
    """What one night leaves behind: lines per feed and the state."""

    feeds: dict[str, list[bytes]]
    state: State


def live(
    shop: Shop,
    world: World,
    night: date,
    before: State,
    plan: Plan | None,
    user_of: dict[str, int],
    *,
    lists: Lists | None = None,
    is_dirty: bool = True,
) -> Night:
    """Plays one night. `user_of` maps pseudonyms to customers' places; without a plan nobody is written to, without
    lists nothing is recommended.

    `is_dirty`: with duplicates, damaged lines and late ones, as real feeds have them.
    """
    n = night.toordinal()
    planned = plan.treatments if plan else []
    channels = (*sorted({c.id for c in shop.strategy.channels} | {t.channel for t in planned}), RECOMMENDED)
    evening = tonight(world, n)
    answers = send(world, evening, before, plan, user_of) if plan else no_answers()
    did = visits(world, evening, answers, channels)
    arrived = before.orders.pick(before.orders.due == n)
    voices = speak(world, n, arrived, evening.wish_items[:, 0])
    browsed = browse(world, evening, did)
    answered = show(world, evening, lists, browsed, did.bought, len(channels) - 1) if lists else no_answer()
    events = merge(
        [
            browsed,
            answered.events,
            make_events(world.utc_ms(n, voices.complaint_s), voices.complaint_user, "complaint"),
            _leave(world, n, [channels.index(channel.id) for channel in shop.strategy.channels]),
        ]
    )
    fatigue, gone = after(before, answers)
    left = events.kind == KIND["unsubscribe"]
    for user, code in zip(events.user[left].tolist(), events.channel[left].tolist(), strict=True):
        for channel in channels[:-1] if code < 0 else channels[code : code + 1]:
            gone.setdefault(channel, np.zeros(len(fatigue), dtype=bool))[user] = True

    lines = event_lines(world, n, events, channels)
    soiled = Soiled(lines, [])
    if is_dirty:
        rng = generator(world.seed, "dirt", n)
        soiled = soil(lines, events.kind != KIND["purchase"], n, shop.cleaning.late_nights, rng)
    arrived_late = [line for due, line in before.held if due == n]
    stock, changed = _sell(world, n, before, evening, did.bought, answered.item)
    buyers = np.flatnonzero(did.bought)
    orders = before.orders.pick(before.orders.due > n).plus(ship(world, n, buyers, evening.basket[buyers, 0]))
    orders = orders.plus(ship(world, n, answered.user, answered.item))
    paid = browsed.kind == KIND["purchase"]
    paid_ms = np.zeros(world.customers.size, dtype=np.int64)
    paid_ms[browsed.user[paid]] = browsed.at_ms[paid]
    feeds = {
        "events": arrived_late + soiled.lines,
        "catalog": world.catalogue.lines(changed.tolist(), world.catalogue.prices(n), stock),
        "reviews": voices.reviews,
        "messages": voices.messages,
    }
    if plan:
        cost = {channel.id: channel.cost_cents for channel in shop.strategy.channels}
        feeds["deliveries"] = delivery_lines(world, n, answers, cost)
        feeds["outcomes"] = outcome_lines(world, n, answers, paid_ms, did.start_s)
    held = tuple((due, line) for due, line in before.held if due > n) + tuple(soiled.held)
    return Night(feeds, State(fatigue, gone, stock, orders, held).rest())


def _leave(world: World, night: int, codes: list[int]) -> Events:
    """Unsubscribes on the web site, whoever was written to: from one of the shop's channels, or from all (-1)."""
    who = np.flatnonzero(uniform(world.seed, "leave", night, np.arange(world.customers.size)) < _LEAVES_SHARE)
    which = np.array([-1, *codes])[(uniform(world.seed, "leave what", night, who) * (len(codes) + 1)).astype(np.int64)]
    second = 3600.0 * (8 + 14 * uniform(world.seed, "leave when", night, who))
    return make_events(world.utc_ms(night, second), who, "unsubscribe", channel=which)


def _sell(
    world: World, night: int, before: State, evening: Tonight, bought: np.ndarray, also: Ints
) -> tuple[Ints, Ints]:
    """Stock after the night, in which `also` was sold besides the baskets, and the items whose line in the catalogue
    changes: sold, restocked, repriced or new."""
    shelf = world.catalogue
    first, second = evening.basket[bought].T
    sold = np.bincount(first, weights=evening.quantity[bought], minlength=shelf.size_of)
    sold += np.bincount(np.concatenate([second[second >= 0], also]), minlength=shelf.size_of)
    left = before.stock - sold.astype(np.int64)
    stock = np.where(left < _RESTOCK_BELOW, left.clip(0) + shelf.first_stock, left)
    on_sale = shelf.launch <= night
    if night == world.first_night:
        return stock, np.flatnonzero(on_sale)
    changed = (stock != before.stock) | (shelf.prices(night) != shelf.prices(night - 1)) | (shelf.launch == night)
    return stock, np.flatnonzero(changed & on_sale)
