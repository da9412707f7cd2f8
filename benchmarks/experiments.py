"""Looking at an experiment every night: how often nothing is taken for something, and how often something is found.

    python benchmarks/experiments.py [--repeats 1000] [--json]

Simulated shops of which most customers buy nothing on most nights and baskets are skewed; 28 nights are known before, then
30 nights are looked at. Beside our intervals (with and without CUPED): Welch's t test asked every night (the naive way),
asked every night at 5% / 30 (Bonferroni), and asked once on the last night, which is the best that any test can do and
needs the patience not to look. `false_alarms`: share of experiments without any effect that were called different on
some night; `found`: share of those with an effect that one test on the last night would find about 8 times in 10.
Prints one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.strategy.cuped import Arm, Difference, difference
from pipelines.strategy.experiments import MIN_BUYERS
from pipelines.strategy.multiple import holm
from pipelines.strategy.sample_ratio import of_counts
from pipelines.strategy.sequential import LEVEL, p_value, rho_of

NIGHTS, BEFORE, Z95 = 30, 28, 1.959963984540054
WAYS = ("ours", "ours_without_cuped", "every_night", "every_night_bonferroni", "once_at_the_end")


@dataclass(frozen=True)
class World:
    """One kind of experiment."""

    kind: str  # panel: the same customers every night; arrivals: new ones; lots: a new lot every night, unequal chances
    customers: int
    share: float  # of the treated arm, or of all treated arms together
    arms: int = 2
    lift: float = 0.0  # of the chance to buy, as a share of it; of the first treated arm


WORLDS = {
    "holdout of 10%, 3,000 customers": (World("panel", 3_000, 0.9), 0.35),
    "two halves, 3,000 customers": (World("panel", 3_000, 0.5), 0.2),
    "two halves, 300 new customers a night": (World("arrivals", 9_000, 0.5), 0.52),
    "a lot every night, 3,000 customers": (World("lots", 3_000, 0.5), 0.28),
    "four arms, 4,000 customers, Holm": (World("panel", 4_000, 0.75, arms=4), 0.32),
}


def spend(world: World, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Callable[..., np.ndarray]]:
    """Known before (n, 2), chance to buy on a night (n,), and what a night brings (n,), given that night's chances."""
    n = world.customers
    chance = np.minimum(random.gamma(0.8, 0.05, n), 0.6)
    basket = np.exp(random.normal(7.4, 0.5, n))  # cents of margin
    before = random.binomial(BEFORE, chance)
    known = np.stack([before, before * basket * np.exp(random.normal(0, 0.3, n))], axis=1).astype(np.float64)
    luck = random.random((n, NIGHTS), dtype=np.float32)

    def night(i: int, chances: np.ndarray) -> np.ndarray:
        bought = luck[:, i] < chances
        paid = np.zeros(n)
        paid[bought] = basket[bought] * np.exp(random.normal(0, 0.8, int(bought.sum())))
        return paid

    return known, chance, night


def looks(world: World, random: np.random.Generator) -> list[list[Difference | None]]:
    """Every night's differences to the control, one per treated arm; None until both arms have enough to be told."""
    known, chance, night = spend(world, random)
    n, k = world.customers, world.arms
    odds = np.array([1 - world.share, *[world.share / (k - 1)] * (k - 1)])
    arm = random.choice(k, n, p=odds)
    lift = np.where(np.arange(k) == 1, 1 + world.lift, 1.0)
    sums, rows = np.zeros((k, n)), np.zeros((k, n))
    told: list[list[Difference | None]] = []
    for i in range(NIGHTS):
        weight = np.ones(n)
        inside = np.ones(n, dtype=bool)
        if world.kind == "lots":  # half of them, each with a chance of its own that hangs on what they bought
            treated = 0.2 + 0.6 * (known[:, 0] > 0)
            arm = (random.random(n) < treated).astype(np.int64)
            weight = np.where(arm == 1, 1 / treated, 1 / (1 - treated))
            inside = random.random(n) < 0.5
        if world.kind == "arrivals":
            inside = np.arange(n) // (n // NIGHTS) == i
        paid = night(i, np.minimum(chance * lift[arm], 1))
        for a in range(k):
            mine = inside & (arm == a)
            rows[a, mine] += weight[mine]
            sums[a, mine] += weight[mine] * paid[mine]
        busy = (sums > 0).sum(axis=1)
        arms = [Arm(rows[a], rows[a][:, None] * known) for a in range(k)]
        told.append(
            [
                difference(arms[a], arms[0], (sums[a], sums[0])) if min(busy[a], busy[0]) >= MIN_BUYERS else None
                for a in range(1, k)
            ]
        )
    return told


def found(told: list[list[Difference | None]]) -> dict[str, int | None]:
    """The first night (from 1) on which each way calls an arm different; None: on none."""
    first: dict[str, int | None] = dict.fromkeys(WAYS)
    rho: dict[tuple[str, int], float] = {}
    for night, arms in enumerate(told, start=1):
        p: dict[str, list[float]] = {way: [np.nan] * len(arms) for way in WAYS}
        for a, one in enumerate(arms):
            if one is None:
                continue
            for way, effect, error in (
                ("ours", one.effect, one.std_error),
                ("ours_without_cuped", one.plain_effect, one.plain_error),
            ):
                p[way][a] = float(p_value(effect, error, rho.setdefault((way, a), float(rho_of(error)))))
            naive = float(2 * _tail(abs(one.plain_effect) / one.plain_error))
            p["every_night"][a], p["every_night_bonferroni"][a] = naive, min(1.0, NIGHTS * naive)
            p["once_at_the_end"][a] = naive if night == NIGHTS else 1.0
        for way in WAYS:
            if first[way] is None and (holm(np.array(p[way]))[0] <= LEVEL).any():
                first[way] = night
    return first


def _tail(z: float) -> float:
    from math import erfc, sqrt

    return erfc(z / sqrt(2)) / 2


def judge(world: World, repeats: int, seed: int = 7) -> dict[str, dict[str, float | None]]:
    """Share of experiments called different on some night, and the median night of those, per way."""
    nights = [found(looks(world, np.random.default_rng([seed, i]))) for i in range(repeats)]
    report: dict[str, dict[str, float | None]] = {}
    for way in WAYS:
        called = [one[way] for one in nights if one[way] is not None]
        report[way] = {
            "share": round(len(called) / repeats, 4),
            "median_night": float(np.median(called)) if called else None,
        }
    return report


def ratios(repeats: int, seed: int = 7) -> dict[str, float]:
    """Sample-ratio check of a designed 95 to 5 split, asked on 30 nights while 6,000 customers a night come in."""
    random = np.random.default_rng(seed)
    shares = np.array([0.95, 0.05])
    report = {}
    for name, lost in (("fair", 0.0), ("one in ten of the small arm is lost", 0.1)):
        broken = 0
        for _ in range(repeats):
            small = np.cumsum(random.binomial(6_000, 0.05, NIGHTS))
            large = 6_000 * np.arange(1, NIGHTS + 1) - small
            kept = np.cumsum(random.binomial(np.diff(small, prepend=0), 1 - lost))
            broken += any(of_counts(np.array(pair), shares).is_broken for pair in zip(large, kept, strict=True))
        report[name] = round(broken / repeats, 4)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    started = time.process_time()
    report: dict[str, Any] = {"benchmark": "experiments", "repeats": options.repeats, "looks": NIGHTS, "worlds": {}}
    for name, (world, lift) in WORLDS.items():
        report["worlds"][name] = {
            "false_alarms": judge(world, options.repeats),
            "lift": lift,
            "found": judge(replace(world, lift=lift), max(options.repeats // 4, 1)),
        }
    report["sample_ratio_broken"] = ratios(options.repeats)
    report["cpu_seconds"] = round(time.process_time() - started, 1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
