"""Do suggested prices earn? The demo shop's true profit under ours, under fixed prices and under cost plus.

    python benchmarks/pricing.py [--seeds 20] [--customers 10000] [--jobs 2] [--json]

Per seed a shop whose prices move (`price_changes_percent`) and whose customers answer by a known elasticity per category
lives 28 nights by its own rule. Then 30 nights are played per policy. Ours learns from events alone: task pricing is fitted
before nights 1, 8, 15 and 22 and pipelines/strategy/pricing.py suggests every night's prices, which the shop takes. No
audit, registry or promotion gate stands in between. Truth is what the simulator expects to be sold with luck averaged out.

Held against it, within the same parity band and by the same largest step a night, from the shop's last prices on:
- fixed: the list price every night; shop_rule: the shop goes on as before;
- cost_plus: unit cost and one mark-up for all, that of the shop's list prices together;
- cost_plus_best: the best mark-up of all in hindsight, by the truth;
- oracle: the best price per item by the true elasticities.
cost_plus_unbound is cost_plus without band and steps, from the first night on: what ours may not do.
Also told: how often the true elasticity lies in its 95% interval, and whether any suggestion crossed a guardrail.
Rules, guardrails and model were made on other seeds. Intervals are Student's over seeds. Prints one JSON object.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from typing import Any

import numpy as np

from pipelines.closed_loop.summary import interval
from pipelines.core.config import load_shop
from pipelines.core.pricing import Pricing
from pipelines.core.shop import Shop
from pipelines.simulator.answer import no_answers, visits
from pipelines.simulator.behaviour import KIND, browse
from pipelines.simulator.catalogue import category_id, item_id
from pipelines.simulator.draws import Floats, Ints
from pipelines.simulator.response import tonight
from pipelines.simulator.truth import at_prices, expected_units, price_elasticity
from pipelines.simulator.words import CATEGORIES
from pipelines.simulator.world import World, build_world
from pipelines.strategy.pricing import suggest
from training.price import items_of
from training.task import Fitting
from training.tasks.pricing import TASK
from training.tasks.pricing_examples import Panel, demand

HISTORY, NIGHTS, FITTED_BEFORE = 28, 30, (0, 7, 14, 21)
CHANGES_PERCENT = 15.0  # of the items, every night of the history
FIRST_SEED = 20_261_401
MARK_UPS = np.linspace(1.1, 4.0, 30)
TOUCH = 1e-9


def shop_of(seed: int, customers: int) -> Shop:
    """The demo shop with prices that move, and the default guardrails."""
    shop = load_shop("demo")
    assert shop.simulator
    changes = {"seed": seed, "customers": customers, "price_changes_percent": CHANGES_PERCENT}
    return shop.model_copy(
        update={"simulator": shop.simulator.model_copy(update=changes), "pricing": shop.pricing or Pricing()}
    )


def unit_costs(world: World) -> Ints:
    """What the catalogue feed tells, (items,) cents."""
    share = np.array([CATEGORIES[c].cost_share for c in world.catalogue.category])
    return np.round(world.catalogue.base_price_cents * share).astype(np.int64)


def profit(world: World, night: int, cents: Ints) -> float:
    """Cents that a night (ordinal) is expected to earn at prices (items,)."""
    return float(expected_units(at_prices(world, night, cents), night) @ (cents - unit_costs(world)))


def lived(world: World, night: int) -> tuple[Floats, Floats, Floats]:
    """What the shop's events tell of a night: units, views and prices, (items,) each."""
    shelf, evening = world.catalogue, tonight(world, night)
    events = browse(world, evening, visits(world, evening, no_answers(), ()))
    people = events.user < world.customers.size
    kinds = (people & (events.kind == KIND[kind]) for kind in ("purchase", "view"))
    units, views = demand(events.user, events.item, events.quantity, *kinds, shelf.size_of)
    return units, views, np.where(shelf.launch <= night, shelf.prices(night), np.nan)


def panel_of(world: World, told: list[tuple[Floats, Floats, Floats]]) -> Panel:
    """What training/tasks/pricing_examples.py reads from the store, of all nights told."""
    shelf = world.catalogue
    units, views, price = (np.stack(column, axis=1) for column in zip(*told, strict=True))
    return Panel(
        [date.fromordinal(world.first_night + at) for at in range(len(told))],
        np.array([item_id(item) for item in range(shelf.size_of)], dtype=object),
        np.array([category_id(c) for c in shelf.category.tolist()], dtype=object),
        price, units, views,
    )  # fmt: skip


def ours(world: World, shop: Shop) -> dict[str, Any]:
    """Profit of each night, the models, and how many suggestions crossed a guardrail."""
    assert shop.pricing
    shelf, rules = world.catalogue, shop.pricing
    first, cost = world.first_night + HISTORY, unit_costs(world).astype(np.float64)
    told = [lived(world, night) for night in range(world.first_night, first)]
    earned, models, crossed = [], [], 0
    for at in range(NIGHTS):
        night, panel = first + at, panel_of(world, told)
        if at in FITTED_BEFORE:
            known = panel.nights[1:]
            parts = (panel.examples(nights) for nights in (known[:-2], known[-2:]))
            models.append(TASK.fit(*parts, Fitting(threads=1)))
        # The shop's prices stand until one is suggested; what is not yet on sale keeps its own.
        now = world.catalogue.prices(night - 1).astype(np.float64)
        items = items_of(models[-1], panel, now, cost, shelf.base_price_cents.astype(np.float64), shop)
        found = suggest(items, rules, date.fromordinal(night - 1))
        crossed += int(_crosses(found.price, now, cost, items.reference, rules).sum())
        world = at_prices(world, night, found.price.astype(np.int64))
        earned.append(profit(world, night, world.catalogue.prices(night)))
        told.append(lived(world, night))
    return {"earned": earned, "models": models, "crossed": crossed}


def _crosses(price: Floats, now: Floats, cost: Floats, reference: Floats, rules: Pricing) -> np.ndarray:
    """(items,) whether a price is further than a step, or goes out of, or away from, parity band or margin floor."""
    step, parity, floor = rules.max_step_percent / 100, rules.parity_percent / 100, rules.margin_floor_percent / 100
    least = np.maximum(cost / (1 - floor), reference * (1 - parity))
    far = np.abs(price - now) > now * step + TOUCH
    low = (price < least - TOUCH) & (price < now)
    return far | low | ((price > reference * (1 + parity) + TOUCH) & (price > now))


def rule(world: World, target: Ints, step: float) -> list[float]:
    """Profit of each night on which prices go to `target` (items,) by steps of this share at most."""
    first, earned = world.first_night + HISTORY, []
    now = world.catalogue.prices(first - 1).astype(np.float64)
    for night in range(first, first + NIGHTS):
        now = np.clip(target, now * (1 - step), now * (1 + step))
        earned.append(profit(world, night, np.round(now).astype(np.int64)))
    return earned


def one_seed(shop: Shop) -> dict[str, Any]:
    world = build_world(shop)
    assert shop.pricing
    shelf, cost, first = world.catalogue, unit_costs(world), world.first_night + HISTORY
    base, band = shelf.base_price_cents, shop.pricing.parity_percent / 100
    step = shop.pricing.max_step_percent / 100
    true = price_elasticity(world, range(first, first + NIGHTS, 10))

    usual = base.sum() / cost.sum()

    def banded(cents: Floats) -> Ints:
        return np.round(np.clip(cents, base * (1 - band), base * (1 + band))).astype(np.int64)

    looked_at = range(first, first + NIGHTS, 6)
    best = max(MARK_UPS, key=lambda k: sum(profit(world, night, banded(cost * k)) for night in looked_at))
    e = true[shelf.category]
    free = np.where(e < -1, cost * e / np.minimum(1 + e, -1e-6), np.inf)
    mine = ours(world, shop)
    last = mine["models"][-1].response
    z = (last.mean - true) / last.sd
    return {
        "seed": world.seed,
        "earned": {
            "ours": mine["earned"],
            "fixed": rule(world, base, step),
            "shop_rule": [profit(world, night, shelf.prices(night)) for night in range(first, first + NIGHTS)],
            "cost_plus": rule(world, banded(cost * usual), step),
            "cost_plus_unbound": rule(world, np.round(cost * usual).astype(np.int64), np.inf),
            "cost_plus_best": rule(world, banded(cost * best), step),
            "oracle": rule(world, banded(free), step),
        },
        "elasticity": {
            "true": true.round(3).tolist(),
            "found": last.mean.round(3).tolist(),
            "sd": last.sd.round(3).tolist(),
            "covered": float((np.abs(z) < 1.96).mean()),
        },
        "crossed_guardrails": mine["crossed"],
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Cents of 30 nights: means over seeds with 95% intervals; ours against each, paired by seed, in percent."""
    total = {who: [sum(run["earned"][who]) for run in runs] for who in runs[0]["earned"]}
    mine = total["ours"]
    late = {who: [sum(run["earned"][who][-7:]) for run in runs] for who in total}
    return {
        "profit_cents": {who: interval(values) for who, values in total.items()},
        "ours_more_percent": {
            who: interval([100 * (a / b - 1) for a, b in zip(mine, values, strict=True)])
            for who, values in total.items()
            if who != "ours"
        },
        "ours_more_percent_last_7_nights": {
            who: interval([100 * (a / b - 1) for a, b in zip(late["ours"], values, strict=True)])
            for who, values in late.items()
            if who != "ours"
        },
        "elasticity_coverage_of_95_percent": interval([run["elasticity"]["covered"] for run in runs]),
        "crossed_guardrails": sum(run["crossed_guardrails"] for run in runs),
    }


def run_seed(arguments: tuple[int, int]) -> dict[str, Any]:
    return one_seed(shop_of(*arguments))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2, help="seeds played at the same time")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    if options.seeds < 2:
        raise SystemExit("two seeds at least are needed for an interval")
    started = time.perf_counter()
    work = [(FIRST_SEED + number, options.customers) for number in range(options.seeds)]
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(run_seed, work))
    report = {
        "benchmark": "pricing",
        "customers": options.customers,
        "history_nights": HISTORY,
        "nights": NIGHTS,
        "summary": summary(runs),
        "seeds": runs,
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
