"""Does thinking of tomorrow earn? Policies over 30 nights of a demo shop whose customers tire, against the greedy optimum.

    python benchmarks/policy.py [--seeds 5] [--customers 400] [--json]

Per seed and setting a shop lives 28 nights whose strategies are drawn by lot; all policies learn from these alone, share
one effect model, and play the same 30 nights: first with the shop's caps and nights of rest, then with both lifted, where
only fatigue limits contact. Every night the knapsack of pipelines/strategy/exploit.py takes a policy's values in cents:

- greedy: what the effect model expects of one night, as the plan has it;
- fqi, cql: training/tasks/policy.py, by trees and by the Q-network, as configured by default;
- linucb, thompson: training/tasks/policy_bandit.py, which see the answers of the nights they play;
- random: lots; oracle: greedy on tonight's truth, which no model can know.

The nights are rehearsed, not browsed: fatigue, unsubscribes, bounces, clicks and what is known of them change, profiles of
the clickstream stay as they were. Truth is expected profit over sending nothing, less messages and complaints. Nothing was
tuned on these seeds; intervals are Student's over seeds, paired with greedy. Prints one JSON object.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demo_shop import shop_of
from pipelines.closed_loop.evaluate import lived
from pipelines.closed_loop.policies import known, planned
from pipelines.closed_loop.summary import interval
from pipelines.closed_loop.world import World
from pipelines.core.columns import Columns as C
from pipelines.core.shop import Shop
from pipelines.simulator.answer import after, send
from pipelines.simulator.response import tonight
from pipelines.strategy.exploit import exploit
from pipelines.strategy.explore import explore
from training.task import Examples, Fitting
from training.tasks.effect_examples import (
    CLICKED,
    COMPLAINED,
    ON_CHANNEL,
    STRATEGY_COLUMNS,
    WEEKDAY,
    on_channel,
    strategy_table,
)
from training.tasks.effect_examples import RECENT as ON_ALL
from training.tasks.policy import TASK
from training.tasks.policy_bandit import Bandit
from training.tasks.policy_examples import FORGET, LOOK_BACK, left_on, states_of
from training.tasks.policy_model import VALUE_CENTS, PolicyModel

NIGHTS, HISTORY, LOTS = 30, 14, 14
FIRST_SEED = 20_261_301
_KINDS = {"message": "delivered", "click": "click", "complaint": "complaint", "purchase": "purchase"}


class Rehearsal:
    """The nights to come for the customers known now (k): what they were sent and answered, newest night last."""

    def __init__(self, world: World) -> None:
        self.world = world.rehearsal()
        self.shop, self.strategy = world.shop, world.shop.strategy
        self.customers, self.rows = known(world)
        self.rest = self.strategy.rest_nights
        self.refused = self.customers.is_suppressed.copy()  # who may not be written to now may not later
        self.channels = [channel.id for channel in self.strategy.channels]
        self.profiles = states_of(world.shop, world.store, world.night - timedelta(days=1))
        shape = (world.shop.features.window_nights, len(self.channels), len(self.rows))
        self.told = {what: np.zeros(shape) for what in _KINDS}
        place = {key: at for at, key in enumerate(self.customers.user_keys)}
        for back in range(shape[0]):
            night = world.night - timedelta(days=1 + back)
            for table, column in (("deliveries", C.STATUS), ("outcomes", C.OUTCOME)):
                for file in world.store.files(table, [night]):
                    rows = pq.read_table(file, columns=[C.USER_KEY, C.CHANNEL, column], partitioning=None).to_pylist()
                    for row in rows:
                        for what, name in _KINDS.items():
                            if row[column] == name and row[C.USER_KEY] in place:
                                at = (-1 - back, self.channels.index(row[C.CHANNEL]), place[row[C.USER_KEY]])
                                self.told[what][at] += 1

    def states(self) -> pa.Table:
        """`states_of` the night before."""
        sent, clicked = self.told["message"], self.told["click"]
        recent = [sent[-channel.cap_window_nights :, c].sum(axis=0) for c, channel in enumerate(self.strategy.channels)]
        resting = sent[len(sent) - self.rest :].any(axis=(0, 1))
        self.customers.n_recent[:] = np.stack(recent, axis=1)
        complained = self.told["complaint"][-self.strategy.complaint_rest_nights :].any(axis=(0, 1))
        columns = {
            C.N_DELIVERIES: sent.sum(axis=(0, 1)), C.N_CLICKS: clicked.sum(axis=(0, 1)), ON_ALL: np.sum(recent, axis=0),
            WEEKDAY: np.full(len(self.rows), float(self.world.night.isoweekday())),
        }  # fmt: skip
        for c, channel in enumerate(self.strategy.channels):
            gone = self.world.state.unsubscribed[channel.id][self.rows] | complained | self.refused[:, c]
            self.customers.is_suppressed[:, c], self.customers.has_complained[:, c] = gone, complained
            columns[left_on(channel.id)] = np.where(
                gone | resting, 0.0, np.maximum(channel.cap_messages - recent[c], 0)
            )
            columns |= {
                on_channel(channel.id, name): of[:, c].sum(axis=0)
                for name, of in zip(ON_CHANNEL, (sent, clicked), strict=True)
            }
        self.customers.n_recent[resting] += max(channel.cap_messages for channel in self.strategy.channels)
        for what, counts in self.told.items():
            nights = counts[-LOOK_BACK:].sum(axis=1)
            for speed, left in FORGET.items():
                columns[f"{what}_{speed}"] = left ** np.arange(len(nights))[::-1] @ nights
        found = self.profiles
        for name, values in columns.items():
            found = found.set_column(
                found.schema.get_field_index(name), name, pa.array(np.asarray(values, dtype=np.float64))
            )
        return found

    def play(self, choice: np.ndarray, states: pa.Table) -> Examples:
        """Sends candidates (k,), -1 for none; what came of it, as far as a bandit learns from it."""
        world = self.world
        everyone = np.full(len(world.keys), -1, dtype=np.int64)
        everyone[self.rows] = choice
        answers = send(
            world.truth,
            tonight(world.truth, world.night.toordinal()),
            world.state,
            world._plan(everyone),
            world.user_of,
        )
        fatigue, gone = after(world.state, answers)
        world.state, world.night = (
            replace(world.state, fatigue=fatigue, unsubscribed=gone).rest(),
            world.night + timedelta(days=1),
        )
        place = np.full(len(world.keys), -1)
        place[self.rows] = np.arange(len(self.rows))
        customer = place[answers.user]
        channel = np.array([self.channels.index(one.channel) for one in world.found])[choice[customer]]
        happened = {
            "message": answers.delivered,
            **{what: answers.happened[what] & answers.delivered for what in _KINDS if what != "message"},
        }
        for what, true in happened.items():
            new = np.zeros((1, *self.told[what].shape[1:]))
            new[0, channel[true], customer[true]] = 1
            self.told[what] = np.concatenate([self.told[what][1:], new])
        reached = np.flatnonzero(answers.delivered)
        rows = states.take(customer[reached])
        table = strategy_table([world.found[k] for k in choice[customer[reached]]])
        for name in STRATEGY_COLUMNS:
            rows = rows.append_column(name, table[name])
        target = pa.table({
            CLICKED: answers.happened["click"][reached].astype(np.float64),
            COMPLAINED: answers.happened["complaint"][reached].astype(np.float64),
        })  # fmt: skip
        none = np.zeros(len(reached))
        return Examples(rows, target, none, none, none)


@dataclass(frozen=True)
class Played:
    profit_cents: float
    messages: int
    left: int  # customers who unsubscribed from a channel, per channel


class Player(Protocol):
    """Who decides: values of candidates in cents, (k, candidates), from states and tonight's truth; None: lots."""

    def values(self, states: pa.Table, truth: np.ndarray) -> np.ndarray | None: ...
    def learn(self, seen: Examples) -> None: ...


@dataclass(frozen=True)
class Fixed:
    """Learns nothing on the way."""

    of: Callable[[pa.Table, np.ndarray], np.ndarray | None]

    def values(self, states: pa.Table, truth: np.ndarray) -> np.ndarray | None:
        return self.of(states, truth)

    def learn(self, seen: Examples) -> None:
        pass


@dataclass
class Learner:
    """A bandit; `column` of each candidate in its deck."""

    bandit: Bandit
    column: list[int]
    bound: float = 0.0
    draw: np.random.Generator | None = None

    def values(self, states: pa.Table, truth: np.ndarray) -> np.ndarray:
        return self.bandit.values(states, self.bound, self.draw)[:, self.column]

    def learn(self, seen: Examples) -> None:
        self.bandit = self.bandit.seen(seen)


def play(world: World, player: Player) -> Played:
    """NIGHTS nights of one player, in a rehearsal."""
    here = Rehearsal(world)
    rules = here.strategy.model_copy(update={"explore_percent": 0.0})
    total, messages, before = 0.0, 0, sum(int(gone.sum()) for gone in here.world.state.unsubscribed.values())
    for _ in range(NIGHTS):
        states, truth, night = here.states(), here.world.profit()[1][here.rows], here.world.night
        values = player.values(states, truth)
        if values is None:
            choice = explore(here.customers, rules, night).strategy
        else:
            choice = exploit(here.customers, values.astype(np.float32), rules, night).decisions.strategy
        sent = np.flatnonzero(choice >= 0)
        total, messages = total + float(truth[sent, choice[sent]].sum()), messages + len(sent)
        player.learn(here.play(choice, states))
    return Played(total, messages, sum(int(gone.sum()) for gone in here.world.state.unsubscribed.values()) - before)


def logged(shop: Shop, folder: Path) -> tuple[World, Examples]:
    """A world after HISTORY nights with campaigns at random and LOTS nights of the plan's lottery, and its examples."""
    world = lived(shop, folder)
    for number in range(LOTS):
        world.play(planned(world, number + 1))
        world.remember()
    nights = tuple(world.night - timedelta(days=back) for back in range(HISTORY + LOTS - 1, 0, -1))
    return world, TASK.examples(shop, world.store, nights)


def one_seed(shop: Shop, folder: Path) -> dict[str, Played]:
    """What each policy earns in the same world."""
    world, examples = logged(shop, folder)
    none = examples.take(np.zeros(len(examples), dtype=bool))
    greedy = TASK.baseline(examples, Fitting(threads=1))
    learnt = {
        name: TASK.fit(examples, none, Fitting(threads=1, settings={"learner": name})) for name in ("trees", "net")
    }
    bandit = Bandit.of(greedy.frame).seen(examples)
    ids = [one.strategy_id for one in greedy.frame.deck]
    column = [ids.index(one.strategy_id) for one in world.found]

    def of(model: PolicyModel) -> Fixed:
        return Fixed(lambda states, truth: model.score_grid(states, world.found)[VALUE_CENTS])

    players: dict[str, Player] = {
        "greedy": of(greedy),
        "fqi": of(learnt["trees"]),
        "cql": of(learnt["net"]),
        "linucb": Learner(bandit, column, bound=1.0),
        "thompson": Learner(bandit, column, draw=np.random.default_rng(shop.strategy.seed)),
        "random": Fixed(lambda states, truth: None),
        "oracle": Fixed(lambda states, truth: truth),
    }
    return {name: play(world, player) for name, player in players.items()}


def lifted(shop: Shop) -> Shop:
    """The same shop without caps, rest, capacities and budget to speak of."""
    channels = tuple(
        channel.model_copy(update={"cap_messages": 14, "capacity_per_night": 10**7})
        for channel in shop.strategy.channels
    )
    limits = {"channels": channels, "rest_nights": 0, "nightly_budget_cents": 10**9}
    return shop.model_copy(update={"strategy": shop.strategy.model_copy(update=limits)})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--customers", type=int, default=400)
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    if options.seeds < 2:
        raise SystemExit("two seeds at least are needed for an interval")
    started = time.process_time()
    report: dict[str, Any] = {"benchmark": "policy", "customers": options.customers, "nights": NIGHTS, "settings": {}}
    changes: dict[str, Callable[[Shop], Shop]] = {"caps_and_rest": lambda shop: shop, "lifted": lifted}
    told: dict[str, list[dict[str, Played]]] = {setting: [] for setting in changes}
    for number in range(options.seeds):
        for setting, change in changes.items():
            with tempfile.TemporaryDirectory() as folder:
                shop = change(shop_of("demo", options.first_seed + number, options.customers))
                told[setting].append(one_seed(shop, Path(folder) / "world"))
            print(f"{setting}, seed {number + 1}: {told[setting][-1]}", file=sys.stderr, flush=True)
    for setting, runs in told.items():
        profit = {name: [run[name].profit_cents for run in runs] for name in runs[0]}
        report["settings"][setting] = {
            name: {
                "profit_cents": interval(profit[name]),
                "minus_greedy_cents": interval([a - b for a, b in zip(profit[name], profit["greedy"], strict=True)]),
                "messages": round(float(np.mean([run[name].messages for run in runs]))),
                "unsubscribed": round(float(np.mean([run[name].left for run in runs])), 1),
                "profit_cents_per_seed": [round(value) for value in profit[name]],
            }
            for name in runs[0]
        }
    report["cpu_seconds"] = round(time.process_time() - started, 1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
