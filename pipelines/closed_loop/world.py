"""A simulated shop played in memory, whose truth is told beside what the shop would know.

`World` plays a night with the simulator, whose lines stay free of dirt, and writes the tables that plan and effect model
read (tables.py). Whatever a policy does to fatigue and unsubscribes is its own; luck is the same for all policies.
"""

import shutil
from copy import copy
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from pipelines.closed_loop.tables import FEEDS, remember, write_catalogue, write_feed
from pipelines.core.shop import SendWindow, Shop
from pipelines.core.storage import Store
from pipelines.simulator import night as simulated
from pipelines.simulator.answer import Plan, after, send
from pipelines.simulator.draws import Bools, Floats, Ints
from pipelines.simulator.response import BOUNCE_SHARE, Tonight, Treatment, respond, tonight
from pipelines.simulator.shocks import LOST_LOGIT, OUTAGE_SHARE
from pipelines.simulator.state import State, first_state
from pipelines.simulator.words import CATEGORIES
from pipelines.simulator.world import World as Shop_World
from pipelines.simulator.world import build_world
from pipelines.strategy.candidates import Candidate, candidates

_OTHER_NIGHTS = 4  # of the same weekday, that stand for what a night may be like


class World:
    """One course of events of a simulated shop of n customers and s candidates; `branch` starts another from here."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop, self.store = shop, Store(folder, shop.shop)
        self.truth: Shop_World = build_world(shop)
        people = self.truth.customers
        self.keys = np.array([f"{place:064x}" for place in range(people.size)])  # pseudonyms, in the order of customers
        self.user_of = {key: place for place, key in enumerate(self.keys.tolist())}
        channels = tuple(channel.id for channel in shop.strategy.channels)
        self.state: State = first_state(self.truth, channels)
        self.night = date.fromordinal(self.truth.first_night)  # the next to be played
        self.found = candidates(shop.strategy)
        windows = {window.id: window for window in shop.strategy.send_windows}
        self.treatments = [_treatment(candidate, windows[candidate.send_window]) for candidate in self.found]
        shelf = self.truth.catalogue
        share = np.array([CATEGORIES[c].cost_share for c in shelf.category])
        self.unit_cost = np.round(shelf.base_price_cents * share).astype(np.int64)

    @property
    def eve(self) -> date:
        """The night just played: what is decided for the next one is known at its end."""
        return self.night - timedelta(days=1)

    def branch(self, folder: Path) -> "World":
        """A world of its own that has been the same so far."""
        other = World(self.shop, folder)
        shutil.copytree(self.store.folder, other.store.folder)
        other.state, other.night = replace(self.state), self.night
        return other

    # -- the truth

    def profit(self, of: list[int] | None = None) -> tuple[Floats, Floats]:
        """Tonight's truth before it is played, in cents: profit of every customer left alone (n,), and what each
        strategy (of the candidates `of`, all by default), sent today, would add to that (n, s): margin on what is bought,
        less message and complaint cost.

        Luck is averaged out but for the bounce of messages, which is drawn; who has left a channel adds nothing.
        """
        evening = tonight(self.truth, self.night.toordinal())
        arrives = {one.channel: (~evening.bounces(one.channel)).astype(np.float64) for one in self.treatments}
        return self._profit(evening, arrives, list(range(len(self.found))) if of is None else of)

    def usual_profit(self) -> Floats:
        """What each strategy would add (n, s) as far as it follows from who the customers are, how tired they are, the
        weekday and what goes on in the world: baskets and bounces averaged over other nights."""
        night = self.night.toordinal()
        now = tonight(self.truth, night)
        calm = replace(self.truth, shocks=())
        opening = self.truth.catalogue.opening
        week = -7 if opening and night < opening.first_night else 7  # nights of the same assortment
        # An outage of a channel can be known, unlike whose message bounces in it.
        arrives: dict[str, Floats] = {
            channel: np.full(len(self.keys), 1.0 - (OUTAGE_SHARE if channel in now.outages else BOUNCE_SHARE))
            for channel in {treatment.channel for treatment in self.treatments}
        }
        total = np.zeros((len(self.keys), len(self.found)))
        for weeks in range(1, _OTHER_NIGHTS + 1):
            other = tonight(calm, night + week * weeks)
            evening = replace(
                other, rivalry=now.rivalry, purchase_logit=other.purchase_logit - LOST_LOGIT * now.rivalry
            )
            total += self._profit(evening, arrives, list(range(len(self.found))))[1]
        return total / _OTHER_NIGHTS

    def _profit(self, evening: Tonight, arrives: dict[str, Floats], of: list[int]) -> tuple[Floats, Floats]:
        who = np.arange(self.truth.customers.size)
        first, second = evening.basket.T
        cost = self.unit_cost[first] * evening.quantity + np.where(second >= 0, self.unit_cost[second], 0)
        alone = respond(self.truth, evening, who, None, self.state.fatigue)
        organic = alone.purchase * (alone.order_cents - cost)
        added = np.zeros((len(who), len(of)))
        for column, k in enumerate(of):
            candidate, treatment = self.found[k], self.treatments[k]
            told = respond(self.truth, evening, who, treatment, self.state.fatigue)
            margin = told.purchase * (told.order_cents - cost) - organic
            complaints = self.shop.strategy.complaint_cost_cents * told.complaint
            gone = self.state.unsubscribed.get(treatment.channel, np.zeros(len(who), dtype=bool))
            reached = arrives[treatment.channel] * ~gone
            added[:, column] = reached * (margin - complaints) - candidate.message_cost_cents
        return organic, added

    # -- playing

    def play(self, strategy: Ints | None = None) -> None:
        """Plays the next night: nobody is written to, or each customer as told (n,): a candidate's place, -1 for none."""
        plan = None if strategy is None else self._plan(strategy)
        done = simulated.live(self.shop, self.truth, self.night, self.state, plan, self.user_of, is_dirty=False)
        self.state = done.state
        ids, keys = self.truth.customers.ids.tolist(), self.keys.tolist()
        for feed in FEEDS:
            write_feed(self.store, self.night, feed, done.feeds.get(feed, []), ids, keys)
        self.night += timedelta(days=1)

    def remember(self) -> None:
        """Writes the feature tables and the catalogue as of the night just played."""
        remember(self.shop, self.store, self.eve)
        write_catalogue(self.store, self.eve, self.truth.catalogue, self.unit_cost)

    def rehearsal(self) -> "World":
        """A world from this point on that can be tired, but not played: nothing is written."""
        other = copy(self)
        other.state = replace(self.state)
        return other

    def tire(self, strategy: Ints) -> Bools:
        """The next night as far as messages go: fatigue and unsubscribes. Who was delivered one, (n,)."""
        evening = tonight(self.truth, self.night.toordinal())
        answers = send(self.truth, evening, self.state, self._plan(strategy), self.user_of)
        fatigue, gone = after(self.state, answers)
        self.state = replace(self.state, fatigue=fatigue, unsubscribed=gone).rest()
        self.night += timedelta(days=1)
        return np.isin(np.arange(len(self.keys)), answers.user[answers.delivered])

    def _plan(self, strategy: Ints) -> Plan:
        rows = np.flatnonzero(strategy >= 0)
        used, place = np.unique(strategy[rows], return_inverse=True)
        return Plan(
            self.keys[rows].tolist(),
            [self.found[k].strategy_id for k in strategy[rows].tolist()],
            place.astype(np.int64),
            [self.treatments[k] for k in used.tolist()],
        )


def _treatment(candidate: Candidate, window: SendWindow) -> Treatment:
    return Treatment(
        candidate.discount_percent, candidate.channel, window.from_hour, window.to_hour, candidate.frequency,
        candidate.creative_style,
    )  # fmt: skip
