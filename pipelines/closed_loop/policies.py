"""Who decides what a simulated night sends, under the same limits, caps, consent and holdout.

A policy is told the world before a night is played, and the night's number from 1, and names a candidate for each customer.
It may look at the world's store only, but for those that know the truth: oracle, insider, and the best single strategy.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pipelines import drift, plan
from pipelines.closed_loop.world import World
from pipelines.core.columns import Columns as C
from pipelines.launch import Ask
from pipelines.simulator.draws import Floats, Ints
from pipelines.strategy.candidates import arms
from pipelines.strategy.constraints import Customers, group_customers
from pipelines.strategy.exploit import exploit
from pipelines.strategy.holdout import is_holdout, night_draws

if TYPE_CHECKING:
    from datetime import date

Policy = Callable[[World, int], Ints]  # world, planned night -> candidate of each customer (n,), -1 for none
RETRAINED_EVERY = 7  # nights, as on a shop's anchor nights


def known(world: World) -> tuple[Customers, Ints]:
    """The customers known tonight, and their places in the world (k,)."""
    _, _, customers = plan.read_customers(world.eve, world.shop, world.store)
    return customers, np.array([world.user_of[key] for key in customers.user_keys], dtype=np.int64)


def everywhere(world: World, rows: Ints, strategy: Ints) -> Ints:
    """Decisions of the known customers as decisions of all (n,)."""
    result = np.full(len(world.keys), -1, dtype=np.int64)
    result[rows] = strategy
    return result


def planned(world: World, night: int) -> Ints:
    """What the plan stage decides: by lot where no scores lie in the store, else by them."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    staging = world.store.folder / "staging"
    plan.build(world.eve, world.shop, world.store, staging)
    folder = world.store.partition(plan.TABLE, world.eve)
    folder.parent.mkdir(parents=True, exist_ok=True)
    (staging / plan.TABLE).rename(folder)
    rows = pq.read_table(folder / "part-00000.parquet", columns=[C.USER_KEY, C.STRATEGY_ID], partitioning=None)
    ids = pa.array([candidate.strategy_id for candidate in world.found])
    strategy = pc.fill_null(pc.index_in(rows[C.STRATEGY_ID], value_set=ids), -1).to_numpy()
    return everywhere(world, np.array([world.user_of[key] for key in rows[C.USER_KEY].to_pylist()]), strategy)


class Learner:
    """The plan with the effect model: trained on the nights so far, when it is due, scored every night.

    `keeps_learning`: on every seventh night and after a night that drifted (pipelines/drift.py) it is trained again;
    otherwise the first model stays. Until campaigns of `explore_nights` nights are known, lots are drawn.
    """

    def __init__(self, ask: Ask, name: str, *, keeps_learning: bool) -> None:
        self.ask, self.name, self.keeps_learning = ask, name, keeps_learning
        self.trained: dict[int, str] = {}  # planned night -> why

    def __call__(self, world: World, night: int) -> Ints:
        sent = [one for one in world.store.nights("deliveries") if world.store.manifest("deliveries", one).rows]  # type: ignore[union-attr]
        if len(sent) < world.shop.strategy.explore_nights:
            return planned(world, night)
        if why := self._due(world, night):
            self._fit(world, sent)
            self.trained[night] = why
        version = str(len(self.trained))
        self.ask(
            {"score": self.name, "root": str(world.store.root), "night": world.eve.isoformat(), "version": version}
        )
        return planned(world, night)

    def _due(self, world: World, night: int) -> str:
        if not self.trained:
            return "first"
        if not self.keeps_learning:
            return ""
        if (night - 1) % RETRAINED_EVERY == 0:
            return "week"
        return "drift" if drift.measure(world.eve, world.store).has_drifted else ""

    def _fit(self, world: World, sent: "list[date]") -> None:
        models = world.shop.models
        valid, train = sent[-models.valid_nights :], sent[: -models.valid_nights][-models.train_nights :]
        self.ask(
            {
                "fit": self.name,
                "root": str(world.store.root),
                "train": [one.isoformat() for one in train],
                "valid": [one.isoformat() for one in valid],
            }
        )


def by_truth(world: World, truth: Floats) -> Ints:
    """The knapsack on profits (n, s) that no model can know, within the same limits, nobody by lot."""
    customers, rows = known(world)
    strategy = world.shop.strategy.model_copy(update={"explore_percent": 0.0})
    chosen = exploit(customers, truth[rows].astype(np.float32), strategy, world.night).decisions.strategy
    return everywhere(world, rows, chosen)


def oracle(world: World, night: int) -> Ints:
    """Knows tonight: baskets in mind and whose message bounces included."""
    return by_truth(world, world.profit()[1])


def insider(world: World, night: int) -> Ints:
    """Knows every customer and the state of the world, but not tonight's luck."""
    return by_truth(world, world.usual_profit())


class Single:
    """Candidate k for those who may get it, in an order drawn anew every night, as far as capacity and budget go."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, world: World, night: int) -> Ints:
        customers, rows = known(world)
        return everywhere(world, rows, self.among(world, customers))

    def among(self, world: World, customers: Customers) -> Ints:
        """(len(customers),) decisions."""
        strategy, candidate = world.shop.strategy, world.found[self.k]
        deck = arms(world.found, strategy)
        held = is_holdout(customers.user_keys, strategy.seed, strategy.holdout_percent)
        groups = group_customers(customers, held, strategy, deck)
        arm = next(a for a, one in enumerate(deck) if self.k in one.members)
        may = np.flatnonzero((groups.group_of >= 0) & groups.allowed[np.maximum(groups.group_of, 0), arm])
        order = may[np.argsort(night_draws(customers.user_keys, strategy.seed, world.night)[may, 0])]
        spent = np.cumsum(candidate.expected_cost_cents(customers.order_cents[order]))
        sent = candidate.frequency * np.arange(1, len(order) + 1)
        capacity = next(c.capacity_per_night for c in strategy.channels if c.id == candidate.channel)
        result = np.full(len(customers.user_keys), -1, dtype=np.int64)
        result[order[(spent <= strategy.nightly_budget_cents) & (sent <= capacity)]] = self.k
        return result


def best_single(world: World, nights: int) -> int:
    """The candidate of the highest true profit over all nights, by a rehearsal of each: profiles stay as they are now,
    fatigue, caps, rest, unsubscribes and shocks do not."""
    customers, rows = known(world)
    suppressed, strategy = customers.is_suppressed.copy(), world.shop.strategy
    channels = {channel.id: place for place, channel in enumerate(strategy.channels)}
    totals = []
    for k, candidate in enumerate(world.found):
        rehearsal, total = world.rehearsal(), 0.0
        delivered: list[np.ndarray] = []
        channel = channels[candidate.channel]
        cap = strategy.channels[channel]
        customers.is_suppressed[:] = suppressed
        for _ in range(nights):
            customers.n_recent[:] = 0
            for sent in delivered[-cap.cap_window_nights :]:
                customers.n_recent[:, channel] += sent[rows]
            for sent in delivered[len(delivered) - strategy.rest_nights :] if strategy.rest_nights else ():
                customers.n_recent[:, channel] += cap.cap_messages * sent[rows]
            gone = rehearsal.state.unsubscribed.get(candidate.channel)
            if gone is not None:
                customers.is_suppressed[:, channel] |= gone[rows]
            chosen = everywhere(rehearsal, rows, Single(k).among(rehearsal, customers))
            total += float(rehearsal.profit([k])[1][chosen == k, 0].sum())
            delivered.append(rehearsal.tire(chosen))
        totals.append(total)
    return int(np.argmax(totals))
