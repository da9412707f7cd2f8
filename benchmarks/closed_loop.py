"""Does the loop earn? The demo shop's true profit under our plan, under random allocation and under one strategy for all.

    python benchmarks/closed_loop.py [--shop demo] [--seeds 5] [--customers N] [--jobs 2] [--root var] [--json]

Per seed two shops live 14 planned nights. One never sent a message before: nights 1 to 7 are drawn by lot, from 8 on
pipelines/plan.py plans from the scores of the effect model, trained on the nights so far before nights 8 and 11. The other
is the demo shop as it is, with random campaigns in its history: the model, trained before nights 1 and 8, plans all nights.
Nights are played by benchmarks/small_world.py; candidates, limits, exploration, model, knapsack and simulator are the real
ones, no audit, registry or promotion gate stands in between. Truth is what the simulator expects with luck averaged out,
so fatigue and unsubscribes that a policy causes are its own: incremental profit is margin over sending nothing that
night, less messages and complaints; total profit adds what customers buy unasked, which no policy changes.

Held against it, under the same limits, caps, consent and holdout:
- random: drawn by lot on all nights;
- single: the same strategy every night for lots of those who may get it, the best of all in hindsight, by the truth;
- single_later: the same from night 8 on, after the same nights of lots as the plan;
- oracle_later: from night 8 on the knapsack with tonight's truth, which no model can know; regret is what is missing to it.
Nothing was tuned on these seeds. Intervals are Student's over seeds. Prints one JSON object; with --root it is also written
where the shop's report looks for it. Capacities and budget grow with --customers.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import plan
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.shop import Shop
from pipelines.strategy.candidates import arms
from pipelines.strategy.constraints import Customers, group_customers
from pipelines.strategy.exploit import exploit
from pipelines.strategy.holdout import is_holdout, night_draws
from small_world import World

NIGHTS, FIRST_EXPLOITED = 14, 8  # planned nights, counted from 1
TRAINED_BEFORE, TRAINED_WITH_HISTORY = (8, 11), (1, 8)
FIRST_SEED = 20_261_201
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}  # 97.5%
Policy = Callable[[World, int], np.ndarray]  # world, planned night -> candidate of each customer (n,), -1 for none


def known(world: World) -> tuple[Customers, np.ndarray]:
    """The customers known tonight, and their places in the world (k,)."""
    _, _, customers = plan.read_customers(world.night - timedelta(days=1), world.shop, world.store)
    return customers, np.array([world.user_of[key] for key in customers.user_keys], dtype=np.int64)


def everywhere(world: World, rows: np.ndarray, strategy: np.ndarray) -> np.ndarray:
    """Decisions of the known customers as decisions of all (n,)."""
    result = np.full(len(world.keys), -1, dtype=np.int64)
    result[rows] = strategy
    return result


def planned(world: World, night: int) -> np.ndarray:
    """What the plan stage decides: by lot where no scores lie in the store, else by them."""
    eve = world.night - timedelta(days=1)
    plan.build(eve, world.shop, world.store, world.store.folder / "staging")
    folder = world.store.partition("campaign_plan", eve)
    folder.parent.mkdir(parents=True, exist_ok=True)
    (world.store.folder / "staging" / "campaign_plan").rename(folder)
    rows = pq.read_table(folder / "part-00000.parquet", columns=[C.USER_KEY, C.STRATEGY_ID], partitioning=None)
    ids = pa.array([candidate.strategy_id for candidate in world.found])
    strategy = pc.fill_null(pc.index_in(rows[C.STRATEGY_ID], value_set=ids), -1).to_numpy()
    return everywhere(world, np.array([world.user_of[key] for key in rows[C.USER_KEY].to_pylist()]), strategy)


class Learner:
    """Trains the effect model when it is time, scores every night, then plans."""

    def __init__(self, trained_before: tuple[int, ...], history_nights: int = 0) -> None:
        """`history_nights`: with random campaigns, before the first planned night."""
        self.trained_before, self.history_nights = trained_before, history_nights
        self.model: Any = None
        self.version = 0

    def __call__(self, world: World, night: int) -> np.ndarray:
        from training.predict import SCHEMA, score_blocks
        from training.task import Fitting
        from training.tasks.effect import TASK, profiles_of

        eve = world.night - timedelta(days=1)
        if night in self.trained_before:
            n_known = self.history_nights + night - 1
            nights = tuple(world.night - timedelta(days=back) for back in range(n_known, 0, -1))
            train, valid = (TASK.examples(world.shop, world.store, part) for part in (nights[:-1], nights[-1:]))
            self.model, self.version = TASK.fit(train, valid, Fitting(threads=1)), self.version + 1
        strategies = sorted(world.found, key=lambda candidate: candidate.strategy_id)
        profiles = profiles_of(world.shop, world.store, eve).to_batches()
        scored = score_blocks(self.model, strategies, f"{world.shop.shop}-effect", str(self.version), profiles)
        folder = world.store.partition("strategy_scores", eve)
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_batches(scored, schema=SCHEMA), folder / "part-00000.parquet")
        return planned(world, night)


def oracle(world: World, night: int) -> np.ndarray:
    """The knapsack on what is true tonight, within the same limits, nobody by lot."""
    customers, rows = known(world)
    strategy = world.shop.strategy.model_copy(update={"explore_percent": 0.0})
    truth = world.profit()[1][rows].astype(np.float32)
    return everywhere(world, rows, exploit(customers, truth, strategy, world.night).decisions.strategy)


def single(k: int) -> Policy:
    """Candidate k for those who may get it, in an order drawn anew every night, as far as capacity and budget go."""

    def choose(world: World, night: int) -> np.ndarray:
        customers, rows = known(world)
        return everywhere(world, rows, _single(world, customers, k))

    return choose


def _single(world: World, customers: Customers, k: int) -> np.ndarray:
    strategy, candidate = world.shop.strategy, world.found[k]
    deck = arms(world.found, strategy)
    held = is_holdout(customers.user_keys, strategy.seed, strategy.holdout_percent)
    groups = group_customers(customers, held, strategy, deck)
    arm = next(a for a, one in enumerate(deck) if k in one.members)
    may = np.flatnonzero((groups.group_of >= 0) & groups.allowed[np.maximum(groups.group_of, 0), arm])
    order = may[np.argsort(night_draws(customers.user_keys, strategy.seed, world.night)[may, 0])]
    spent = np.cumsum(candidate.expected_cost_cents(customers.order_cents[order]))
    sent = candidate.frequency * np.arange(1, len(order) + 1)
    capacity = next(c.capacity_per_night for c in strategy.channels if c.id == candidate.channel)
    result = np.full(len(customers.user_keys), -1, dtype=np.int64)
    result[order[(spent <= strategy.nightly_budget_cents) & (sent <= capacity)]] = k
    return result


def best_single(world: World) -> int:
    """The candidate of the highest true profit over all nights, by a rehearsal of each: profiles stay as they are now,
    fatigue, caps, rest and unsubscribes do not."""
    customers, rows = known(world)
    suppressed = customers.is_suppressed.copy()
    strategy = world.shop.strategy
    totals = []
    for k, candidate in enumerate(world.found):
        rehearsal, total = world.rehearsal(), 0.0
        delivered: list[np.ndarray] = []
        channel = [one.id for one in strategy.channels].index(candidate.channel)
        cap = strategy.channels[channel]
        customers.is_suppressed[:] = suppressed
        for _ in range(NIGHTS):
            customers.n_recent[:] = 0
            for sent in delivered[-cap.cap_window_nights :]:
                customers.n_recent[:, channel] += sent[rows]
            for sent in delivered[len(delivered) - strategy.rest_nights :] if strategy.rest_nights else ():
                customers.n_recent[:, channel] += cap.cap_messages * sent[rows]
            gone = rehearsal.state.unsubscribed.get(candidate.channel)
            if gone is not None:
                customers.is_suppressed[:, channel] |= gone[rows]
            chosen = everywhere(rehearsal, rows, _single(rehearsal, customers, k))
            total += float(rehearsal.profit([k])[1][chosen == k, 0].sum())
            delivered.append(rehearsal.tire(chosen))
        totals.append(total)
    return int(np.argmax(totals))


def live(world: World, policy: Policy, nights: range) -> list[dict[str, float]]:
    """Plays planned nights of one policy; the truth of each, in cents."""
    told = []
    for night in nights:
        world.remember()
        organic, added = world.profit()
        strategy = policy(world, night)
        sent = np.flatnonzero(strategy >= 0)
        value = float(added[sent, strategy[sent]].sum())
        row = {"organic": float(organic.sum()), "incremental": value, "sent": float(len(sent))}
        row |= _expected(world, strategy, added)
        told.append(row)
        world.play(strategy)
    return told


def _expected(world: World, strategy: np.ndarray, added: np.ndarray) -> dict[str, float]:
    """What the plan expected of those it chose for, not by lot, and what is true of them; nothing without scores."""
    files = world.store.files("campaign_plan", [world.night - timedelta(days=1)])
    if not files or not world.store.files("strategy_scores", [world.night - timedelta(days=1)]):
        return {}
    columns = [C.USER_KEY, C.STRATEGY_ID, C.EXPECTED_PROFIT_CENTS, C.WHY]
    rows = pq.read_table(files[0], columns=columns, partitioning=None)
    chosen = pc.and_(pc.starts_with(rows[C.WHY], "exploit"), pc.not_equal(rows[C.STRATEGY_ID], "none"))
    rows = rows.filter(chosen)
    places = np.array([world.user_of[key] for key in rows[C.USER_KEY].to_pylist()], dtype=np.int64)
    true = added[places, strategy[places]].sum()
    return {
        "expected_of_chosen": float(pc.sum(rows[C.EXPECTED_PROFIT_CENTS]).as_py() or 0),
        "true_of_chosen": float(true),
    }


def one_seed(shop: Shop, folder: Path) -> dict[str, Any]:
    """All policies in the worlds of one seed: per night what is true."""
    assert shop.simulator
    history = lived(shop, folder / "history", 0.0)
    k = best_single(history)
    early, late = range(1, FIRST_EXPLOITED), range(FIRST_EXPLOITED, NIGHTS + 1)
    explored = history.branch(folder / "explored")
    first = live(explored, planned, early)
    told = {
        "random": first + live(explored.branch(folder / "random"), planned, late),
        "plan": first + live(explored.branch(folder / "plan"), Learner(TRAINED_BEFORE), late),
        "single": live(history.branch(folder / "single"), single(k), range(1, NIGHTS + 1)),
        "single_later": live(explored.branch(folder / "single_later"), single(k), late),
        "oracle_later": live(explored.branch(folder / "oracle"), oracle, late),
    }
    known_shop = lived(shop, folder / "known", shop.simulator.history_campaign_percent)
    best = best_single(known_shop)
    learner = Learner(TRAINED_WITH_HISTORY, shop.simulator.history_nights - 1)
    policies: dict[str, Policy] = {"random": planned, "plan": learner, "single": single(best)}
    for who, policy in policies.items():
        told[f"known_{who}"] = live(known_shop.branch(folder / f"known_{who}"), policy, range(1, NIGHTS + 1))
    return {"seed": shop.simulator.seed, "best_single": history.found[k].strategy_id, "nights": told}


def lived(shop: Shop, folder: Path, campaign_percent: float) -> World:
    """A world at the end of its history, on every night but the first of which so many customers were sent something."""
    assert shop.simulator
    world = World(shop, folder)
    luck = np.random.default_rng(shop.simulator.seed)
    for night in range(shop.simulator.history_nights):
        if night and campaign_percent:
            world.remember()
        told = luck.random(len(world.keys)) < (campaign_percent / 100 if night else 0.0)
        world.play(np.where(told, luck.integers(len(world.found), size=len(told)), -1))
    world.remember()
    return world


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Cents per span: means over seeds with 95% intervals, differences of the plan to each, paired by seed."""

    def total(run: dict[str, Any], who: str, last: int, what: str = "incremental") -> float:
        return float(sum(night[what] for night in run["nights"][who][-last:]))

    n_late = NIGHTS - FIRST_EXPLOITED + 1
    spans: dict[str, tuple[int, str, tuple[str, ...]]] = {
        "known_shop": (NIGHTS, "known_", ("random", "plan", "single")),
        "exploited_nights": (n_late, "", ("random", "plan", "single_later", "oracle_later")),
        "all_nights": (NIGHTS, "", ("random", "plan", "single")),
    }
    result: dict[str, Any] = {}
    for span, (last, world, policies) in spans.items():
        values = {who: [total(run, world + who, last) for run in runs] for who in policies}
        mine = values["plan"]
        result[span] = {
            "nights": last,
            "incremental_cents": {who: interval(value) for who, value in values.items()},
            "total_cents": {
                who: interval(
                    [total(run, world + who, last) + total(run, world + who, last, "organic") for run in runs]
                )
                for who in policies
            },
            "plan_minus_cents": {
                who: interval([a - b for a, b in zip(mine, value, strict=True)])
                for who, value in values.items()
                if who != "plan"
            },
            # A share of a loss would say nothing: what is gained over random, beside how much random earns or loses.
            "gain_over_random": interval([(a - b) / abs(b) for a, b in zip(mine, values["random"], strict=True)]),
        }
    chosen = [night for run in runs for night in run["nights"]["plan"] if "expected_of_chosen" in night]
    result["expected_of_chosen_cents"] = round(sum(night["expected_of_chosen"] for night in chosen) / len(runs))
    result["true_of_chosen_cents"] = round(sum(night["true_of_chosen"] for night in chosen) / len(runs))
    return result


def interval(values: list[float]) -> dict[str, float]:
    """Mean with Student's 95% interval over seeds."""
    mean, n = statistics.fmean(values), len(values)
    half = STUDENT.get(n, 1.96) * statistics.stdev(values) / sqrt(n)
    digits = 4 if abs(mean) < 100 else 0
    return {"value": round(mean, digits), "low": round(mean - half, digits), "high": round(mean + half, digits)}


def shop_of(name: str, seed: int, customers: int | None) -> Shop:
    """The shop with this seed, and limits that grow with its customers."""
    shop = load_shop(name)
    assert shop.simulator
    factor = (customers or shop.simulator.customers) / shop.simulator.customers
    changes = {"seed": seed, "customers": customers or shop.simulator.customers}
    channels = tuple(
        channel.model_copy(update={"capacity_per_night": int(channel.capacity_per_night * factor)})
        for channel in shop.strategy.channels
    )
    limits = {"channels": channels, "nightly_budget_cents": int(shop.strategy.nightly_budget_cents * factor)}
    strategy = shop.strategy.model_copy(update=limits)
    return shop.model_copy(update={"strategy": strategy, "simulator": shop.simulator.model_copy(update=changes)})


def run_seed(arguments: tuple[str, int, int | None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return one_seed(shop_of(*arguments), Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shop", default="demo")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--customers", type=int, help="the shop's own number by default")
    parser.add_argument("--jobs", type=int, default=2, help="seeds played at the same time")
    parser.add_argument("--root", type=Path, help="Nightmarket's root, such as var: the report shows what lies there")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    started = time.perf_counter()
    simulator = load_shop(options.shop).simulator
    if simulator is None or options.seeds < 2:
        raise SystemExit("a simulated shop, whose truth is known, and two seeds at least are needed")
    work = [(options.shop, FIRST_SEED + number, options.customers) for number in range(options.seeds)]
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(run_seed, work))
    report = {
        "benchmark": "closed_loop",
        "shop": options.shop,
        "customers": options.customers or simulator.customers,
        "planned_nights": NIGHTS,
        "first_exploited_night": FIRST_EXPLOITED,
        "summary": summary(runs),
        "seeds": runs,
        "seconds": round(time.perf_counter() - started, 1),
    }
    text = json.dumps(report, indent=1)
    if options.root:
        path = options.root / options.shop / "evaluations" / "closed_loop.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
