"""Is the trend per category right? Forecasts against what came, beside the seasonal naive forecast.

    python benchmarks/trend.py [--data ../shared/data/taobao-userbehavior] [--json]

Two kinds of series. Simulated: events per category and night of demo shops of three seeds, 84 nights, on whose weekends
more happens; from night 42 on, every seventh night forecasts the next 7. Real: events per category and hour of the 12
busiest categories of Taobao UserBehavior, nine days in local time; every sixth hour from the fifth day on forecasts the
next 24, with a season of 24. Every forecast knows only what came before it; the method is chosen within that. Told per
kind: mean absolute error beside the seasonal naive one (`ratio` below 1 is better, with an interval by resampling series
and origins' blocks), how often the truth lies in its 95% interval, and CPU seconds per forecast of all series.
Prints one JSON object.
"""

import argparse
import csv
import gzip
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.config import load_shop
from pipelines.simulator.answer import no_answers, visits
from pipelines.simulator.behaviour import browse
from pipelines.simulator.response import tonight
from pipelines.simulator.world import build_world
from pipelines.strategy.judgement import Interval
from pipelines.strategy.trend import forecast

SEEDS, NIGHTS, FIRST_ORIGIN = (20_261_201, 20_261_202, 20_261_203), 84, 42
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "taobao-userbehavior"
FILE = "UserBehavior_815users_9days.csv.gz"
FIRST_SECOND = 1_511_539_200  # 2017-11-25 00:00 in Shanghai
N_CATEGORIES, HOURS = 12, 9 * 24
N_DRAWS = 1_000


def simulated(seed: int) -> np.ndarray:
    """Events (categories, nights) of people in a demo shop."""
    shop = load_shop("demo")
    assert shop.simulator
    world = build_world(shop.model_copy(update={"simulator": shop.simulator.model_copy(update={"seed": seed})}))
    counts = []
    for night in range(world.first_night, world.first_night + NIGHTS):
        evening = tonight(world, night)
        events = browse(world, evening, visits(world, evening, no_answers(), ()))
        mine = (events.item >= 0) & (events.user < world.customers.size)
        counts.append(
            np.bincount(world.catalogue.category[events.item[mine]], minlength=world.catalogue.category.max() + 1)
        )
    return np.stack(counts, axis=1).astype(np.float64)


def real(folder: Path) -> np.ndarray:
    """Events (categories, hours) of the busiest categories. Raises SystemExit without the file."""
    if not (folder / FILE).is_file():
        raise SystemExit(f"{folder / FILE}: no such file; --data names the folder that holds it")
    with gzip.open(folder / FILE, "rt") as lines:
        rows = [(row[2], (int(row[4]) - FIRST_SECOND) // 3600) for row in csv.reader(lines) if len(row) == 5]
    rows = [(category, hour) for category, hour in rows if 0 <= hour < HOURS]
    busiest = [name for name, _ in Counter(name for name, _ in rows).most_common(N_CATEGORIES)]
    counts = np.zeros((N_CATEGORIES, HOURS))
    for category, hour in rows:
        if category in busiest:
            counts[busiest.index(category), hour] += 1
    return counts


def judged(series: list[np.ndarray], origins: list[int], horizon: int, season: int) -> dict[str, Any]:
    """Every forecast of every set of series against what came."""
    mine, naive, inside, widths, methods = [], [], [], [], Counter[str]()
    started = time.process_time()
    for counts in series:
        for origin in origins:
            found = forecast(counts[:, :origin], horizon, season)
            came = counts[:, origin : origin + horizon]
            repeated = (
                np.resize(counts[:, origin - season : origin], came.shape)
                if horizon <= season
                else np.tile(counts[:, origin - season : origin], -(-horizon // season))[:, :horizon]
            )
            mine.append(np.abs(found.forecast - came).mean(axis=1))
            naive.append(np.abs(repeated - came).mean(axis=1))
            inside.append(((came >= found.low) & (came <= found.high)).mean(axis=1))
            widths.append((found.high - found.low).mean(axis=1))
            methods.update(found.method)
    seconds = (time.process_time() - started) / (len(series) * len(origins))
    mine_, naive_, inside_ = (np.stack(one) for one in (mine, naive, inside))  # (forecasts, categories)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(mine_), size=(N_DRAWS, len(mine_)))  # a forecast's categories go together

    def interval(values: np.ndarray, over: np.ndarray | None = None) -> dict[str, float | None]:
        rows = np.vstack([np.arange(len(mine_)), drawn])
        found = values.mean(axis=1)[rows].mean(axis=1)
        if over is not None:
            below = over.mean(axis=1)[rows].mean(axis=1)
            found = np.divide(found, below, out=np.full(len(found), np.nan), where=below > 0)
        return Interval.of(found).as_dict()

    return {
        "forecasts": int(mine_.size),
        "mean_absolute_error": interval(mine_),
        "seasonal_naive_error": interval(naive_),
        "ratio": interval(mine_, naive_),
        "coverage_of_95_percent": interval(inside_),
        "mean_width": float(np.mean(widths)),
        "methods": dict(methods.most_common()),
        "cpu_seconds_per_night": round(seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of the Taobao files; without them only shops are simulated")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    shops = [simulated(seed) for seed in SEEDS]
    report: dict[str, Any] = {
        "benchmark": "trend",
        "simulated_nights": judged(shops, list(range(FIRST_ORIGIN, NIGHTS - 6, 7)), 7, 7),
        "simulated_14_nights_ahead": judged(shops, list(range(FIRST_ORIGIN, NIGHTS - 13, 7)), 14, 7),
    }
    folder = options.data or DATA
    if options.data or (folder / FILE).is_file():
        report["taobao_hours"] = judged([real(folder)], list(range(5 * 24, HOURS - 23, 6)), 24, 24)
    else:
        report["taobao_hours"] = {"missing": f"no {FILE} in {folder}; --data names its folder"}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
