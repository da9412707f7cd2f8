"""One night's clicks: who comes, when, what they search, look at, keep, put in the cart and buy, and the bots between.

All customers at once: sessions, then the steps of all sessions, then the events of all steps.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.core.tables import EVENT_TYPES
from pipelines.simulator.customers import N_WISHES
from pipelines.simulator.draws import Bools, Floats, Ints, generator
from pipelines.simulator.response import Tonight, discounted, is_active
from pipelines.simulator.world import DAY_S, World

KIND = {name: code for code, name in enumerate(EVENT_TYPES)}
_MAX_STEPS = 12
_LAST_START_S = DAY_S - 100
_BOT_SHARE = 0.003  # of customers
_QUERY_VARIANTS = 4


@dataclass(frozen=True)
class Visits:
    """What messages brought about, one entry per customer; -1 and False where nothing did."""

    bought: Bools
    discount_percent: Ints  # on tonight's purchase
    from_message: Bools  # a session starts from a message (a click, or a purchase after it)
    clicked: Bools
    channel: Ints  # code of the message's channel
    start_s: Floats  # local second of that session


@dataclass(frozen=True)
class Events:
    """One entry per event, in order of time; -1 where a field does not apply."""

    at_ms: Ints
    user: Ints
    session: Ints
    kind: Ints
    item: Ints
    price_cents: Ints
    quantity: Ints
    query: Ints  # variant of the search for `item`
    order: Ints
    channel: Ints

    def __len__(self) -> int:
        return len(self.at_ms)


def merge(parts: list[Events]) -> Events:
    """All events in order of time; equal times keep the order of the parts."""
    whole = [np.concatenate([getattr(part, name) for part in parts]) for name in Events.__dataclass_fields__]
    order = np.argsort(whole[0], kind="stable")
    return Events(*(column[order] for column in whole))


def make_events(at_ms: Ints, user: Ints, kind: str, **given: Ints) -> Events:
    """Events of one kind; fields not given are -1."""
    none = np.full(len(at_ms), -1, dtype=np.int64)
    fields = ("session", "item", "price_cents", "quantity", "query", "order", "channel")
    rest = {name: given.get(name, none) for name in fields}
    return Events(at_ms=at_ms, user=user, kind=np.full(len(at_ms), KIND[kind], dtype=np.int64), **rest)


def browse(world: World, evening: Tonight, visits: Visits) -> Events:
    """The night's events of people and bots; a purchase is made in exactly one session of each of `visits.bought`."""
    rng = generator(world.seed, "behaviour", evening.night)
    trips = _set_out(world, evening, visits, rng)
    steps = _walk(world, evening, trips, rng)
    return merge(
        [
            *_look(world, evening.night, trips, steps, rng),
            _pay(world, evening.night, trips, steps, visits),
            _open(world, evening.night, trips, visits),
            _crawl(world, evening.night, len(trips.user)),
        ]
    )


@dataclass(frozen=True)
class _Trips:
    """One entry per session of a person."""

    user: Ints
    start_s: Floats  # local second
    buys: Bools
    from_message: Bools  # starts with the click on a message


@dataclass(frozen=True)
class _Steps:
    """One entry per item looked at, session by session."""

    trip: Ints
    is_first: Bools  # of its session
    to_go: Ints  # steps left in the session
    item: Ints
    interest: Floats  # 0 for an item just met, else how ripe the wish is
    quantity: Ints
    is_bought: Bools
    elapsed_s: Floats  # since the session's start
    pace: Floats  # [trip]


def _set_out(world: World, evening: Tonight, visits: Visits, rng: np.random.Generator) -> _Trips:
    """One to three sessions for those who come unasked, one more for each purchase or click that a message brought."""
    comes = np.flatnonzero(is_active(world, evening))
    own = np.repeat(comes, 1 + (rng.random(len(comes)) < 0.3) + (rng.random(len(comes)) < 0.1))
    extra = np.flatnonzero(visits.bought | visits.from_message)
    user = np.concatenate([own, extra])
    start = 3600.0 * world.customers.start_hours(user, rng.random(len(user)), rng.uniform(1e-6, 1 - 1e-6, len(user)))

    def of_extra(flags: Bools) -> Bools:
        return np.concatenate([np.zeros(len(own), dtype=bool), flags[extra]])

    start = np.where(of_extra(visits.from_message), visits.start_s[user], start)
    return _Trips(user, np.minimum(start, _LAST_START_S), of_extra(visits.bought), of_extra(visits.clicked))


def _walk(world: World, evening: Tonight, trips: _Trips, rng: np.random.Generator) -> _Steps:
    """The items of each session: wishes come back the riper they are, a bought basket is looked at last."""
    n = 2 + rng.poisson(1.2 + 3.0 * world.customers.activity[trips.user])
    n = np.clip(n, np.where(trips.buys, 3, 1), _MAX_STEPS)
    first = np.concatenate(([0], np.cumsum(n)[:-1])).astype(np.int64)
    trip = np.repeat(np.arange(len(n)), n)
    to_go = n[trip] - 1 - (np.arange(len(trip)) - first[trip])
    is_first = to_go == n[trip] - 1
    gap = np.where(is_first, 5.0, 45.0 + rng.exponential(60.0, len(trip)))
    elapsed = np.cumsum(gap)
    elapsed -= (elapsed - gap)[first][trip]

    who = trips.user[trip]
    slot = (rng.random(len(who)) * N_WISHES).astype(np.int64)
    ripe = evening.ripeness[who, slot]
    returns = rng.random(len(who)) < 0.85 * ripe
    returns[1:] &= ~((who[1:] == who[:-1]) & (slot[1:] == slot[:-1]))  # nobody looks at the same thing twice in a row
    chance = rng.random((3, len(who)))
    fresh = world.customers.choose(world.catalogue, evening.night, who, (chance[0], chance[1], chance[2]))
    item = np.where(returns, evening.wish_items[who, slot], fresh)
    takes_first = trips.buys[trip] & (to_go == 0)
    takes_second = trips.buys[trip] & (to_go == 1) & (evening.basket[who, 1] >= 0)
    item = np.where(takes_first, evening.basket[who, 0], np.where(takes_second, evening.basket[who, 1], item))
    # A session that would cross midnight is made quicker: every event lies in its own local night.
    length = elapsed[first + n - 1] + 75.0
    return _Steps(
        trip=trip,
        is_first=is_first,
        to_go=to_go,
        item=item,
        interest=np.where(returns, ripe, 0.0),
        quantity=np.where(takes_first, evening.quantity[who], 1),
        is_bought=takes_first | takes_second,
        elapsed_s=elapsed,
        pace=np.minimum(1.0, (DAY_S - 2 - trips.start_s) / length),
    )


def _look(world: World, night: int, trips: _Trips, steps: _Steps, rng: np.random.Generator) -> list[Events]:
    """What is done with each item short of paying for it."""
    price = world.catalogue.prices(night)

    def events(kind: str, mask: Bools, second: float, **given: Ints) -> Events:
        rows = np.flatnonzero(mask)
        trip, item = steps.trip[rows], steps.item[rows]
        after = (steps.elapsed_s[rows] + second + rng.random(len(rows))) * steps.pace[trip]
        at_ms = world.utc_ms(night, trips.start_s[trip], after)
        told = {name: values[rows] for name, values in given.items()}
        if kind != "search":
            told["price_cents"] = price[item]
        return make_events(at_ms, trips.user[trip], kind, session=trip, item=item, **told)

    n = len(steps.trip)
    u = rng.random((6, n))
    keeps = steps.is_bought | (u[0] < 0.03 + 0.13 * steps.interest)
    drops = keeps & ~steps.is_bought & (u[1] < 0.3)
    likes = u[2] < 0.03 + 0.07 * steps.interest
    shown = u[3] < 0.85
    searches = (u[4] < np.where(steps.is_first, 0.42, 0.06)) & ~(steps.is_first & trips.from_message[steps.trip])
    variant = (rng.random(n) * _QUERY_VARIANTS).astype(np.int64)
    return [
        events("search", searches, -3.0, query=variant),
        events("impression", shown, 0.0),
        events("click", shown & (u[5] < 0.5), 2.0),
        events("view", np.ones(n, dtype=bool), 4.0),
        events("favorite", likes, 14.0),
        events("cart", keeps, 20.0, quantity=steps.quantity),
        events("remove_from_cart", drops, 34.0),
    ]


def _pay(world: World, night: int, trips: _Trips, steps: _Steps, visits: Visits) -> Events:
    """The till: all items of a basket are paid at once, after the session's last step."""
    rows = np.flatnonzero(steps.is_bought)
    trip, item = steps.trip[rows], steps.item[rows]
    who = trips.user[trip]
    after = (steps.elapsed_s[rows + steps.to_go[rows]] + 60.0) * steps.pace[trip]
    return make_events(
        world.utc_ms(night, trips.start_s[trip], after),
        who,
        "purchase",
        session=trip,
        item=item,
        price_cents=discounted(world.catalogue.prices(night)[item], visits.discount_percent[who]),
        quantity=steps.quantity[rows],
        order=trip,
    )


def _open(world: World, night: int, trips: _Trips, visits: Visits) -> Events:
    """The click on a message, which opens the session that it brings."""
    trip = np.flatnonzero(trips.from_message)
    user = trips.user[trip]
    return make_events(
        world.utc_ms(night, trips.start_s[trip]), user, "click", session=trip, channel=visits.channel[user]
    )


def n_bots(world: World) -> int:
    """How many bots visit the shop at all; their ids follow the customers'."""
    return max(1, round(_BOT_SHARE * world.customers.size))


def _crawl(world: World, night: int, first_session: int) -> Events:
    """Crawlers: hundreds of views, two or three a second, nothing else."""
    rng = generator(world.seed, "bots", night)
    awake = np.flatnonzero(rng.random(n_bots(world)) < 0.55)
    views = rng.integers(150, 450, len(awake))
    session = np.repeat(np.arange(len(awake)), views)
    place = np.arange(len(session)) - np.repeat(np.cumsum(views) - views, views)
    item = rng.integers(0, world.catalogue.size_of, len(session))
    leader = world.catalogue.group_items[world.catalogue.group_start[0]]
    item = np.where(world.catalogue.launch[item] <= night, item, leader)
    start = rng.uniform(0, DAY_S - 600, len(awake))
    return make_events(
        world.utc_ms(night, start[session], 0.4 * place + 0.1 * rng.random(len(session))),
        world.customers.size + awake[session],
        "view",
        session=first_session + session,
        item=item,
        price_cents=world.catalogue.prices(night)[item],
    )
