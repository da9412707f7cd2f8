"""The demo shop's customers: traits that nobody outside the simulator sees, but whose traces stand in the clickstream.

Some traits lean on others on purpose (evening people like push, mornings are for e-mail, bargain hunters look at cheap
items), so that a model that reads the clicks well can do better than one that does not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.simulator.catalogue import N_TIERS, Catalogue
from pipelines.simulator.draws import Bools, Floats, Ints, generator, normal, sigmoid, uniform
from pipelines.simulator.words import CATEGORIES

N_WISHES = 4  # items that a customer has in mind at a time and comes back to
HOUR_SPREAD = 1.3  # hours: scale of the logistic around a customer's hours
_MEAN_RESPONSE = {"email": 0.75, "push": 0.85, "sms": 1.0, "in_app": 0.8}
_DEFAULT_RESPONSE = 0.5
_CHINESE_SHARE = 0.3
_MIDDLING = 0.55  # of what is not bought in the cheap tier


@dataclass(frozen=True)
class Customers:
    """Arrays of one entry per customer."""

    seed: int
    ids: NDArray[np.object_]
    taste_cdf: Floats  # [customer, category]
    sensitivity: Floats  # to prices, 0 to 1
    activity: Floats  # chance of coming on an average night
    appetite: Floats  # logit of buying on an average night
    main_hour: Floats  # local time
    second_hour: Floats
    main_share: Floats  # of sessions around the main hour
    weekend: Floats  # how much more (or less) is done on Saturday and Sunday, about -0.4 to 0.4
    warmth: Floats  # likes warm words (positive) or plain ones, about -2 to 2
    patience: Floats  # contacts that it takes to tire
    reactance: Floats  # 0 for most; some buy less when written to
    is_chinese: Bools

    @property
    def size(self) -> int:
        return len(self.ids)

    def response(self, channel: str) -> Floats:
        """How much a message on this channel does, [customer], about 0.1 to 2; unknown channels have a default."""
        evening = sigmoid((self.main_hour - 15.0) / 2.0)
        lean = {"email": 1.5 - evening, "push": 0.5 + evening}.get(channel, np.ones(self.size))
        noise = np.exp(0.45 * normal(self.seed, f"channel {channel}", np.arange(self.size)) - 0.1)
        return _MEAN_RESPONSE.get(channel, _DEFAULT_RESPONSE) * lean * noise

    def presence(self, from_hour: float, to_hour: float) -> Floats:
        """Share of the customer's sessions that start inside the local hours, [customer], 0 to 1."""

        def mass(centre: Floats) -> Floats:
            inside = sigmoid((to_hour - centre) / HOUR_SPREAD) - sigmoid((from_hour - centre) / HOUR_SPREAD)
            return np.clip(inside, 0.0, 1.0)

        return self.main_share * mass(self.main_hour) + (1.0 - self.main_share) * mass(self.second_hour)

    def start_hours(self, who: Ints, choice: Floats, u: Floats) -> Floats:
        """Local hours (0 to 24) at which sessions of `who` start, from two uniforms each."""
        centre = np.where(choice < self.main_share[who], self.main_hour[who], self.second_hour[who])
        return np.clip(centre + HOUR_SPREAD * np.log(u / (1.0 - u)), 0.0, 23.99)

    def taste(self, who: Ints, category: Ints) -> Floats:
        """Share of a category in what `who` looks at, (n,), above 0."""
        before = np.where(category > 0, self.taste_cdf[who, category - 1], 0.0)
        return np.asarray(self.taste_cdf[who, category] - before)

    def tier_chance(self, who: Ints, tier: Ints) -> Floats:
        """Chance that `who` looks at a price tier of a category, (n,)."""
        cheap = self._cheap(who)
        return np.where(tier == 0, cheap, (1.0 - cheap) * np.where(tier == 1, _MIDDLING, 1.0 - _MIDDLING))

    def _cheap(self, who: Ints) -> Floats:
        return np.asarray(0.1 + 0.75 * self.sensitivity[who])

    def choose(self, catalogue: Catalogue, night: int | Ints, who: Ints, u: tuple[Floats, Floats, Floats]) -> Ints:
        """Items that `who` would look at: category by taste, price tier by sensitivity, then popularity."""
        is_news, taste = catalogue.newcomer(night, u[0])
        category = np.minimum((self.taste_cdf[who] < taste[:, None]).sum(axis=1), len(CATEGORIES) - 1)
        category = catalogue.on_sale(night, np.where(is_news, catalogue.new_category, category))
        cheap = self._cheap(who)
        tier = (u[1] > cheap).astype(np.int64) + (u[1] > cheap + (1.0 - cheap) * _MIDDLING)
        return catalogue.draw(night, category, np.minimum(tier, N_TIERS - 1), u[2])

    def wishes(self, catalogue: Catalogue, night: int, who: Ints) -> tuple[Ints, Floats]:
        """The items in mind tonight and how ripe each wish is: ([n, N_WISHES], [n, N_WISHES] in 0 to 1).

        A wish lasts 3 to 9 nights, ripens, and is replaced; pure in (seed, night), so repeat interest needs no memory.
        """
        slot = np.arange(N_WISHES)[None, :]
        rows = who[:, None]
        period = 3 + (uniform(self.seed, "wish period", rows, slot) * 7).astype(np.int64)
        clock = night + (uniform(self.seed, "wish start", rows, slot) * period).astype(np.int64)
        epoch, ripeness = clock // period, (clock % period + 1) / period
        u = [uniform(self.seed, f"wish {k}", rows, slot, epoch).ravel() for k in range(3)]
        born = (night - clock % period).ravel()  # an item in mind was on sale when the wish began
        items = self.choose(catalogue, born, np.repeat(who, N_WISHES), (u[0], u[1], u[2]))
        return items.reshape(-1, N_WISHES), ripeness


def customer_id(number: int) -> str:
    """An ordinary shop id, such as 'c0001234'."""
    return f"c{number:07d}"


def build_customers(seed: int, n: int) -> Customers:
    """Draws all customers' traits."""
    rng = generator(seed, "customers", 0)
    who = np.arange(n)
    taste = rng.gamma(0.3, size=(n, len(CATEGORIES))) + 0.01
    taste /= taste.sum(axis=1, keepdims=True)
    is_chinese = rng.random(n) < _CHINESE_SHARE
    activity = rng.beta(2.2, 3.2, n)
    evening = rng.random(n) < 0.62
    main = np.where(evening, 20.3 + 1.0 * rng.standard_normal(n), 10.0 + 1.6 * rng.standard_normal(n))
    second = np.where(evening, 12.8, 21.0) + 1.2 * rng.standard_normal(n)
    beauty = taste[:, [shelf.path.startswith(("beauty", "toys")) for shelf in CATEGORIES]].sum(axis=1)
    warmth = 0.6 * rng.standard_normal(n) + 0.7 * is_chinese + 1.4 * beauty - 0.5
    return Customers(
        seed=seed,
        ids=np.array([customer_id(number) for number in who.tolist()], dtype=object),
        taste_cdf=np.cumsum(taste, axis=1),
        sensitivity=rng.beta(1.6, 1.8, n),
        activity=activity,
        appetite=-3.9 + 0.6 * rng.standard_normal(n) + 2.0 * (activity - 0.4),
        main_hour=np.clip(main, 5.0, 23.0),
        second_hour=np.clip(second, 5.0, 23.0),
        main_share=0.55 + 0.4 * rng.random(n),
        weekend=0.22 * rng.standard_normal(n),
        warmth=warmth,
        patience=0.8 + 1.6 * rng.random(n),
        reactance=np.where(rng.random(n) < 0.15, 0.2 + 0.5 * rng.random(n), 0.0),
        is_chinese=is_chinese,
    )
