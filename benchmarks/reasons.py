"""Are the reasons of a plan right? Exactness and speed beside the library shap, and the sanity checks, on the demo shop.

    python benchmarks/reasons.py [--shop demo] [--customers 2000] [--exact 100] [--json]

The effect model learns from the demo shop's history (played by pipelines/closed_loop/); every customer is explained
under a strategy drawn by lot, as training/explain.py does it. Prints one JSON object:
- speed: CPU seconds for all customers, and how far the shares are from adding up to the lift, in cents;
- contenders, on the first --exact customers: ours with one and with all permutations, shap's permutation and kernel
  explainers on the same factors and as many questions to the model, each held against Shapley's formula over all
  coalitions: mean error as a share of the mean share, how often the three largest are the right ones, CPU seconds;
- sanity: agreement (correlation of contributions) with a model of another shop's luck, with one that learnt from the
  answers of others and one whose weights are scrambled (Adebayo et al. 2018): the first must be high, the others low;
- truth: rank correlation of the share of hours with what the simulator says the window adds to the customer's chance of
  a click, over the shop's other windows, and of answers with the same for the channel.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr

from demo_shop import shop_of
from pipelines.closed_loop.evaluate import lived
from pipelines.closed_loop.world import World
from pipelines.core.columns import Columns as C
from pipelines.simulator.response import respond, tonight
from pipelines.strategy.attribution import N_PAIRS, SEED, Shares, Value, largest, shapley
from training.explain import Usual, explain, game
from training.task import Examples, Fitting
from training.tasks.effect import TASK, profiles_of
from training.tasks.effect_examples import STRATEGY_COLUMNS, strategy_table
from training.tasks.effect_factors import Factor, factors_of, strategy_ids
from training.tasks.effect_model import BoostedEffect, Head

HOW = Fitting(threads=1)
_PARTS = ("offer", "channel", "send_window", "frequency", "creative_style")  # of a candidate


def with_answers_of_others(told: Examples, seed: int) -> Examples:
    """Outcomes dealt anew among those who were sent something and among those who were not: nothing can be learnt."""
    rng, order = np.random.default_rng(seed), np.arange(len(told))
    sent = told.rows[C.FREQUENCY].to_numpy() > 0
    for where in (sent, ~sent):
        order[where] = rng.permutation(np.flatnonzero(where))
    return replace(told, target=told.target.take(pa.array(order)))


def scrambled(model: BoostedEffect) -> BoostedEffect:
    """The same weights in other places, without trees."""
    rng = np.random.default_rng(3)

    def head(one: Head) -> Head:
        weight = one.linear.weight.copy()
        places = np.flatnonzero(weight)
        weight.flat[places] = weight.flat[rng.permutation(places)]
        return replace(one, linear=replace(one.linear, weight=weight), trees=None)

    return replace(model, click=head(model.click), unasked=head(model.unasked), effect=None, _compiled={})


def agreement(one: Shares, other: Shares, factors: tuple[Factor, ...]) -> float:
    """Correlation of contributions over customers and factors, but for the offer: what a discount costs is not learnt."""
    learnt = [factor.name != "offer" for factor in factors]
    return float(np.corrcoef(one.shares[:, learnt].ravel(), other.shares[:, learnt].ravel())[0, 1])


def exact(lift: Value, n_factors: int) -> np.ndarray:
    """Shapley's formula (1953) over all coalitions, (n, f)."""
    told = {bits: lift(np.array(bits, dtype=bool)) for bits in product((0, 1), repeat=n_factors)}
    shares = np.zeros((len(told[(0,) * n_factors]), n_factors))
    for bits, before in told.items():
        for factor in (place for place, bit in enumerate(bits) if not bit):
            weight = 1 / (n_factors * comb(n_factors - 1, sum(bits)))
            shares[:, factor] += weight * (told[(*bits[:factor], 1, *bits[factor + 1 :])] - before)
    return shares


def examples_of(world: World) -> tuple[Examples, Examples]:
    """What the model learns from and chooses on: the history's nights with campaigns, the last held back."""
    assert world.shop.simulator
    nights = [world.night - timedelta(days=back) for back in range(world.shop.simulator.history_nights - 1, 0, -1)]
    train, valid = (TASK.examples(world.shop, world.store, tuple(part)) for part in (nights[:-1], nights[-1:]))
    return train, valid


def rows_of(world: World, profiles: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Every known customer with a candidate drawn by lot, and its place among the candidates (n,)."""
    place = np.random.default_rng(SEED).integers(len(world.found), size=profiles.num_rows)
    table = strategy_table(world.found).take(pa.array(place))
    for name in STRATEGY_COLUMNS:
        profiles = profiles.append_column(name, table[name])
    return profiles, place


def contenders(model: BoostedEffect, rows: pa.Table, usual: Usual, factors: tuple[Factor, ...]) -> dict[str, Any]:
    """Ours and shap's, held against the formula."""
    import shap

    lift, f = game(model, rows, usual, factors), len(factors)
    questions = 2 * N_PAIRS * (f - 1) + 2
    truth = exact(lift, f)

    def alone(place: int) -> Value:
        """One customer's lift under k coalitions (k, f), asked at once as shap does."""
        row = rows.take(pa.array([place]))

        def told(coalitions: np.ndarray) -> np.ndarray:
            return lift_of(model, row, usual, factors, coalitions.astype(bool))

        return told

    def by_permutation() -> np.ndarray:
        found = []
        for place in range(rows.num_rows):
            explainer = shap.explainers.Permutation(alone(place), np.zeros((1, f)), seed=SEED)
            found.append(explainer(np.ones((1, f)), max_evals=2 * N_PAIRS * f + 1, silent=True).values[0])
        return np.array(found)

    def by_kernel() -> np.ndarray:
        np.random.seed(SEED)  # shap draws from the global generator
        return np.array(
            [
                shap.KernelExplainer(alone(place), np.zeros((1, f))).shap_values(
                    np.ones(f), nsamples=questions, silent=True
                )
                for place in range(rows.num_rows)
            ]
        )

    runs: dict[str, Callable[[], np.ndarray]] = {
        "nightmarket": lambda: shapley(lift, f).shares,
        "nightmarket_one_pair": lambda: shapley(lift, f, n_pairs=1).shares,
        "shap_permutation": by_permutation,
        "shap_kernel": by_kernel,
    }
    told = {}
    for name, run in runs.items():
        began = time.process_time()
        shares = run()
        seconds = time.process_time() - began
        right = [set(a) == set(b) for a, b in zip(largest(shares, 3), largest(truth, 3), strict=True)]
        told[name] = {
            "cpu_seconds": round(seconds, 3),
            "error": round(float(np.abs(shares - truth).mean() / np.abs(truth).mean()), 4),
            "same_three": round(float(np.mean(right)), 3),
        }
    return told


def lift_of(
    model: BoostedEffect, row: pa.Table, usual: Usual, factors: tuple[Factor, ...], coalitions: np.ndarray
) -> np.ndarray:
    """(k,) lifts of one row under coalitions (k, f)."""
    rows = row.take(pa.array(np.zeros(len(coalitions), dtype=np.int64)))
    for factor, joined in zip(factors, coalitions.T, strict=True):
        for name in factor.columns:
            at, kind = rows.schema.get_field_index(name), rows.schema.field(name).type
            both = pa.array([usual.values[name], row[name][0].as_py()], kind)
            rows = rows.set_column(at, name, both.take(pa.array(joined.astype(np.int64))))
    rows = rows.set_column(rows.schema.get_field_index(C.STRATEGY_ID), C.STRATEGY_ID, strategy_ids(rows))
    return np.asarray(model.predict(rows)[C.LIFT_SPEND_CENTS].to_numpy())


def truth(world: World, who: np.ndarray, place: np.ndarray, part: str) -> np.ndarray:
    """(n,) what the customer's chance of a click gains by this window or channel over the mean of all, by the simulator."""
    evening, fatigue = tonight(world.truth, world.night.toordinal()), world.state.fatigue
    gained = np.zeros(len(who))
    for k, candidate in enumerate(world.found):
        mine = np.flatnonzero(place == k)
        others = [
            treatment
            for other, treatment in zip(world.found, world.treatments, strict=True)
            if all(getattr(other, name) == getattr(candidate, name) for name in _PARTS if name != part)
        ]
        chances = [respond(world.truth, evening, who[mine], one, fatigue[who[mine]]).click for one in others]
        own = respond(world.truth, evening, who[mine], world.treatments[k], fatigue[who[mine]]).click
        gained[mine] = own - np.mean(chances, axis=0)
    return gained


def measure(shop_name: str, customers: int | None, n_exact: int, folder: Path) -> dict[str, Any]:
    """All of it, in two shops of different luck."""
    worlds = []
    for number in (0, 1):
        shop = shop_of(shop_name, 20_261_301 + number, customers)
        assert shop.simulator
        worlds.append(lived(shop, folder / str(number)))
    world = worlds[0]
    train, valid = examples_of(world)
    model = TASK.fit(train, valid, HOW)
    others = {
        "same_world": TASK.fit(*examples_of(worlds[1]), HOW),
        "answers_of_others": TASK.fit(with_answers_of_others(train, 1), with_answers_of_others(valid, 2), HOW),
        "scrambled": scrambled(model),
    }
    profiles = profiles_of(world.shop, world.store, world.night - timedelta(days=1))
    rows, place = rows_of(world, profiles)
    usual, factors = Usual.of(profiles, rows), factors_of(rows)
    began = time.process_time()
    mine = explain(model, rows, usual, factors)
    seconds = time.process_time() - began
    lift = model.predict(rows)[C.LIFT_SPEND_CENTS].to_numpy()
    who = np.array([world.user_of[key] for key in rows[C.USER_KEY].to_pylist()])
    at = {factor.name: number for number, factor in enumerate(factors)}
    return {
        "customers": rows.num_rows,
        "factors": len(factors),
        "cpu_seconds": round(seconds, 3),
        "off_cents": float(np.abs(mine.total - lift).max()),
        "mean_size_cents": {name: round(float(np.abs(mine.shares[:, k]).mean()), 4) for name, k in at.items()},
        "contenders": contenders(model, rows.slice(0, n_exact), usual, factors),
        "sanity": {
            name: round(agreement(mine, explain(other, rows, usual, factors), factors), 3)
            for name, other in others.items()
        },
        "truth": {
            name: round(float(spearmanr(mine.shares[:, at[name]], truth(world, who, place, part)).statistic), 3)
            for name, part in (("hours", "send_window"), ("answers", "channel"))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shop", default="demo")
    parser.add_argument("--customers", type=int, help="the shop's own number by default")
    parser.add_argument(
        "--exact", type=int, default=100, help="customers whose shares are also computed by the formula"
    )
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.shop, options.customers, options.exact, Path(folder))
    print(json.dumps({"benchmark": "reasons", "shop": options.shop, **found}, indent=1))


if __name__ == "__main__":
    main()
