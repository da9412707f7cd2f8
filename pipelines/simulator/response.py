"""Potential outcomes: what a customer does tonight under a strategy, and what the same customer does when left alone.

`tonight` draws everything that no message changes: the basket in mind, the chance of buying it, and one uniform per
outcome. `respond` turns a strategy into probabilities. An outcome happens where the uniform is below its probability,
so all strategies (and no contact) meet the same customer with the same luck: common random numbers.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import ArrayLike

from pipelines.simulator.draws import Bools, Floats, Ints, sigmoid, uniform
from pipelines.simulator.shocks import BARGAIN_GAIN, LOST_LOGIT, OUTAGE_SHARE, outages, rivalry
from pipelines.simulator.world import World

BOUNCE_SHARE = 0.02
_STYLES = {"plain": -1.0, "warm": 1.0}
_SECOND_SHARE = 0.2  # of baskets
_WISHED = 0.3  # of a message about an item that the customer has in mind, when that wish is ripe


@dataclass(frozen=True)
class Treatment:
    """What a strategy does to a customer. Hours are local; `frequency` is messages per cap window."""

    discount_percent: int
    channel: str
    from_hour: int
    to_hour: int
    frequency: int = 1
    creative_style: str = "plain"
    send_hour: int | None = None  # None: any time inside the window

    @property
    def attention(self) -> tuple[float, float]:
        """Hours in which a visit meets the message: from half an hour before the window to an hour and a half after
        it, and as long around a given hour."""
        from_hour, to_hour = self.from_hour - 0.5, self.to_hour + 1.5
        if self.send_hour is None:
            return from_hour, to_hour
        later = self.send_hour + 0.5 - (self.from_hour + self.to_hour) / 2
        return from_hour + later, to_hour + later


@dataclass(frozen=True)
class Tonight:
    """One night before any message, one entry per customer."""

    night: int
    wish_items: Ints  # [customer, wish]
    ripeness: Floats  # [customer, wish], 0 to 1
    basket: Ints  # [customer, 2]: items that would be bought; -1 for none
    quantity: Ints  # of the first item
    piece_cents: Ints  # [customer, 2]: price of one piece before any discount; 0 where there is no second item
    purchase_logit: Floats  # without contact
    luck: dict[str, Floats]  # outcome -> uniform
    rivalry: Floats  # how much of a price war reaches the customer, 0 to 1
    outages: frozenset[str]  # channels that hardly deliver

    def bounces(self, channel: str) -> Bools:
        """Whom no message on this channel would reach, [customer]."""
        return self.luck["bounce"] < (OUTAGE_SHARE if channel in self.outages else BOUNCE_SHARE)

    def ripeness_of(self, who: Ints, item: Ints) -> Floats:
        """(n,) how ripe the customers' wishes for items are, 0 where an item is none of them, or there is none (-1)."""
        return np.asarray(np.where(self.wish_items[who] == item[:, None], self.ripeness[who], 0.0).max(axis=1))

    def order_cents(self, who: Ints, discount_percent: int) -> Ints:
        """What the basket costs at a discount, [n]; rounded per piece, as the till does."""
        pieces = discounted(self.piece_cents[who], discount_percent)
        return pieces[:, 0] * self.quantity[who] + pieces[:, 1]


@dataclass(frozen=True)
class Response:
    """Probabilities, one entry per customer asked about, and what the basket would cost."""

    click: Floats
    purchase: Floats
    complaint: Floats
    unsubscribe: Floats
    order_cents: Ints

    def happens(self, tonight: Tonight, who: Ints) -> dict[str, Bools]:
        """Which outcomes come true for `who`, by name."""
        names = ("click", "purchase", "complaint", "unsubscribe")
        return {name: tonight.luck[name][who] < getattr(self, name) for name in names}


def discounted(cents: Ints, percent: ArrayLike) -> Ints:
    """Prices after a discount, in whole cents."""
    return np.round(cents * (1.0 - np.asarray(percent) / 100)).astype(np.int64)


def tonight(world: World, night: int) -> Tonight:
    """The night (ordinal) of every customer before any message; pure in (seed, night)."""
    people, seed = world.customers, world.seed
    who = np.arange(people.size)
    items, ripeness = people.wishes(world.catalogue, night, who)
    order = np.argsort(-ripeness, axis=1, kind="stable")
    first, second = items[who, order[:, 0]], items[who, order[:, 1]]
    prices = world.catalogue.prices(night)
    first_pull, second_pull = (price_pull(world, prices, who, items) for items in (first, second))
    adds = (uniform(seed, "second item", night, who) < _second_share(world, second_pull)) & (first != second)
    basket = np.stack([first, np.where(adds, second, -1)], axis=1)
    quantity = 1 + (uniform(seed, "quantity", night, who) < 0.1)
    ripe = ripeness[who, order[:, 0]]
    logit = people.appetite + 1.2 * (ripe - 0.7) + first_pull + _weekday(world, night)
    rivals = rivalry(seed, world.shocks, night, people.size)
    names = ("click", "purchase", "complaint", "unsubscribe", "bounce", "active")
    return Tonight(
        night=night,
        wish_items=items,
        ripeness=ripeness,
        basket=basket,
        quantity=quantity,
        piece_cents=np.stack([prices[first], np.where(adds, prices[second], 0)], axis=1),
        purchase_logit=logit - LOST_LOGIT * rivals,
        luck={name: uniform(seed, f"luck {name}", night, who) for name in names},
        rivalry=rivals,
        outages=outages(world.shocks, night),
    )


def price_pull(world: World, prices: Ints, who: Ints, items: Ints) -> Floats:
    """What tonight's price of an item adds to the logit of buying it, (n,): a markdown tempts those who watch prices.

    Where prices move, by the category's elasticity; those who watch prices have more of it.
    """
    shelf, watches = world.catalogue, world.customers.sensitivity[who]
    share = prices[items] / np.maximum(shelf.base_price_cents[items], 1)
    if shelf.price_changes_percent:
        return shelf.elasticity()[shelf.category[items]] * (0.5 + watches) * np.log(share)
    return 3.0 * watches * (1.0 - share)


def _second_share(world: World, pull: Floats) -> Floats | float:
    """Chance that a basket has a second item; where prices move, by its price."""
    return np.minimum(_SECOND_SHARE * np.exp(pull), 1.0) if world.catalogue.price_changes_percent else _SECOND_SHARE


def active_chance(world: World, evening: Tonight) -> Floats:
    """How likely each customer is to come to the shop tonight unasked, [customer]."""
    chance = world.customers.activity * (1.0 + 0.6 * _weekday(world, evening.night))
    return np.asarray(np.clip(chance, 0.0, 1.0))


def is_active(world: World, evening: Tonight) -> Bools:
    """Who comes to the shop tonight unasked, [customer]."""
    return evening.luck["active"] < active_chance(world, evening)


def respond(
    world: World,
    evening: Tonight,
    who: Ints,
    treatment: Treatment | None,
    fatigue: Floats,
    item: Ints | None = None,
) -> Response:
    """Potential outcomes of `who` under a treatment (None: no contact); `fatigue` has one entry per customer of `who`, and
    so has `item`, what the message is about: -1 is nothing in particular.

    A message moves the logit of buying by reach x (interest + discount for the price-sensitive), less what contact
    costs with people who dislike it. Reach falls with fatigue and rises with a window that the customer is around in.
    """
    people = world.customers
    logit = evening.purchase_logit[who]
    if treatment is None:
        nothing = np.zeros(len(who))
        return Response(nothing, sigmoid(logit), nothing, nothing, evening.order_cents(who, 0))
    presence = people.presence(*treatment.attention)[who]
    reach = people.response(treatment.channel)[who] * (0.4 + 0.9 * presence) * np.exp(-fatigue / people.patience[who])
    style = _STYLES.get(treatment.creative_style, 0.0) * people.warmth[who]
    depth = 1.0 - np.exp(-treatment.discount_percent / 14.0)  # of the discount, saturating
    bargain = people.sensitivity[who] * depth * (1.0 + BARGAIN_GAIN * evening.rivalry[who])
    repeat = 0.12 * (treatment.frequency - 1)
    dislike = people.reactance[who] * (0.5 + fatigue)
    wished = evening.ripeness_of(who, item) if item is not None else np.zeros(len(who))
    pull = reach * (0.22 + 0.16 * style + 1.6 * bargain + _WISHED * wished) * (1.0 + repeat)
    push = 1.2 * np.tanh(pull / 1.2) - dislike  # no message makes a buyer of everybody
    interest = np.log(reach + 0.05) + 0.35 * style + 1.1 * bargain + 1.2 * (people.activity[who] - 0.4)
    interest = interest + 0.8 * wished
    annoyance = 1.1 * fatigue / people.patience[who] + 1.5 * dislike + 0.6 * (1.0 - presence) + 3.0 * repeat
    return Response(
        click=sigmoid(-2.1 + 1.1 * interest + repeat - 0.5 * dislike),
        purchase=sigmoid(logit + push),
        complaint=sigmoid(-7.4 + annoyance),
        unsubscribe=sigmoid(-6.0 + annoyance - 0.8 * bargain),
        order_cents=evening.order_cents(who, treatment.discount_percent),
    )


def _weekday(world: World, night: int) -> Floats:
    """What the weekday adds to the logit, [customer]: weekends up for most, Mondays down."""
    day = date.fromordinal(night).weekday()
    return world.customers.weekend + 0.25 if day >= 5 else np.full(world.customers.size, -0.1 if day == 0 else 0.0)
