"""Is the hour of a message well chosen? True chances of a click at the hours learnt, beside simpler rules.

    python benchmarks/placement.py [--shop demo] [--customers 2000] [--nights 14 42] [--json]

Demo shops of five seeds are played by pipelines/closed_loop/ for some nights, with messages drawn by lot. Then the
simulator tells each customer's true chance of a click at every hour of the shop's send windows (luck averaged out, mean
over the shop's channels, plain style, no discount), and each rule names an hour per customer and window:
- lot: any hour of the window;
- window: no hour is named, which is what a plan without placement does;
- shop's best: the one hour with most clicks per message of all customers (most visits while nobody clicked);
- own usual: the hour of the window at which the customer was seen most often, else the shop's best: what engagement
  tools do who send "when the customer is usually active";
- ours: pipelines/strategy/placement.py, from the same counts;
- truth: the best hour there is.
Told per number of nights: mean chance of a click by rule, with the gain over the lot and the share of what the truth gains
that a rule gets, each with its interval over customers, resampled within each seed. Prints one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from demo_shop import shop_of
from pipelines.closed_loop.evaluate import lived
from pipelines.closed_loop.world import World
from pipelines.simulator.response import Treatment, respond, tonight
from pipelines.strategy.judgement import Interval
from pipelines.strategy.placement import HOURS, HourCounts, fit_hours, open_hours

SEEDS = (20_261_501, 20_261_502, 20_261_503, 20_261_504, 20_261_505)
RULES = ("lot", "window", "shop's best", "own usual", "ours", "truth")
N_DRAWS = 1_000


def counts_of(world: World) -> HourCounts:
    """What the world's customers (n) did at each hour of the shop's clock until tonight, as hour_response tells it."""
    zone = world.shop.timezone
    place = {
        feed: f"read_parquet('{world.store.partition(feed, world.eve).parent}/*/*.parquet')"
        for feed in ("events", "deliveries", "outcomes")
    }
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        visits = db.execute(
            f"""SELECT user_key, hour(timezone('{zone}', occurred_at)), count(DISTINCT session_id)
            FROM {place["events"]} GROUP BY ALL"""
        ).fetchall()
        answers = db.execute(
            f"""SELECT user_key, hour(timezone('{zone}', sent_at)), count(*), count(clicked.delivery_id)
            FROM {place["deliveries"]} LEFT JOIN
                (SELECT DISTINCT delivery_id FROM {place["outcomes"]} WHERE outcome = 'click') AS clicked USING (delivery_id)
            WHERE status = 'delivered' GROUP BY ALL"""
        ).fetchall()
    n = len(world.keys)
    sessions, sent, clicked = np.zeros((3, n, HOURS), dtype=np.int64)
    for key, hour, times in visits:
        sessions[world.user_of[key], hour] = times
    for key, hour, times, hits in answers:
        sent[world.user_of[key], hour], clicked[world.user_of[key], hour] = times, hits
    return HourCounts(sessions, sent, clicked, np.zeros(n, dtype=np.int64))


def chances(world: World) -> tuple[np.ndarray, np.ndarray]:
    """True chance of a click of n customers in each of w windows: (n, w, 24) by hour, 0 where it is shut, and (n, w)
    where no hour is named."""
    strategy, who = world.shop.strategy, np.arange(len(world.keys))
    evening, rested = tonight(world.truth, world.night.toordinal()), np.zeros(len(world.keys))

    def click(**when: int | None) -> np.ndarray:
        told = [
            respond(world.truth, evening, who, Treatment(0, channel.id, **when), rested).click  # type: ignore[arg-type]
            for channel in strategy.channels
        ]
        return np.mean(told, axis=0)

    by_hour, by_window = np.zeros((len(who), len(strategy.send_windows), HOURS)), []
    for place, window in enumerate(strategy.send_windows):
        hours = {"from_hour": window.from_hour, "to_hour": window.to_hour}
        for hour in np.flatnonzero(open_hours(window, None)).tolist():
            by_hour[:, place, hour] = click(**hours, send_hour=hour)
        by_window.append(click(**hours))
    return by_hour, np.stack(by_window, axis=1)


def hours_named(counts: HourCounts, may: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """rule -> (n,) hour, of a window's open hours `may` (24,); `truth` (n, 24)."""
    n, sent, clicked = len(truth), counts.sent.sum(axis=0), counts.clicked.sum(axis=0)
    popular = (clicked + 1e-9) / (sent + 1.0) if clicked[may].any() else counts.sessions.sum(axis=0).astype(float)
    best = int(np.where(may, popular, -1).argmax())
    seen = np.where(may, counts.sessions, -1)
    model = fit_hours(counts)
    return {
        "shop's best": np.full(n, best),
        "own usual": np.where(seen.max(axis=1) > 0, seen.argmax(axis=1), best),
        "ours": model.best_hour(np.arange(n), np.broadcast_to(may, (n, HOURS))),
        "truth": np.where(may, truth, -1).argmax(axis=1),
    }


def judged(shop_name: str, seed: int, customers: int, nights: int) -> tuple[np.ndarray, float]:
    """(n, rules) mean true chance over the windows, and CPU seconds of ours."""
    shop = shop_of(shop_name, seed, customers)
    assert shop.simulator
    shop = shop.model_copy(update={"simulator": shop.simulator.model_copy(update={"history_nights": nights})})
    with tempfile.TemporaryDirectory() as folder:
        world = lived(shop, Path(folder))
        counts = counts_of(world)
    truth, unnamed = chances(world)
    began = time.process_time()
    fit_hours(counts)
    seconds = time.process_time() - began
    found = np.zeros((len(world.keys), len(RULES)))
    everybody = np.arange(len(world.keys))
    for place, window in enumerate(shop.strategy.send_windows):
        may = open_hours(window, None)
        by_rule = {
            name: truth[everybody, place, hour] for name, hour in hours_named(counts, may, truth[:, place]).items()
        }
        by_rule |= {"lot": truth[:, place, may].mean(axis=1), "window": unnamed[:, place]}
        found += np.stack([by_rule[rule] for rule in RULES], axis=1) / len(shop.strategy.send_windows)
    return found, seconds


def summary(per_seed: list[np.ndarray]) -> dict[str, dict[str, Any]]:
    """rule -> click, gain over the lot, share of the truth's gain; intervals over customers within seeds."""
    rng = np.random.default_rng(0)
    lot, truth = RULES.index("lot"), RULES.index("truth")
    means = np.array([np.mean([rows.mean(axis=0) for rows in per_seed], axis=0)] + [
        np.mean([rows[rng.integers(len(rows), size=len(rows))].mean(axis=0) for rows in per_seed], axis=0)
        for _ in range(N_DRAWS)
    ])  # fmt: skip
    told = {}
    for place, rule in enumerate(RULES):
        gain = means[:, place] / means[:, lot] - 1
        share = (means[:, place] - means[:, lot]) / (means[:, truth] - means[:, lot])
        told[rule] = {
            name: {key: round(number, 4) for key, number in vars(Interval.of(values)).items()}
            for name, values in (("p_click", means[:, place]), ("gain_over_lot", gain), ("share_of_possible", share))
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shop", default="demo")
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--nights", type=int, nargs="+", default=[14, 42], help="of history that is learnt from")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--json", action="store_true", help="on one line")
    given = parser.parse_args()
    told: dict[str, Any] = {"shop": given.shop, "customers": given.customers, "seeds": given.seeds, "nights": {}}
    for nights in given.nights:
        per_seed = [judged(given.shop, seed, given.customers, nights) for seed in given.seeds]
        told["nights"][str(nights)] = {
            "rules": summary([rows for rows, _ in per_seed]),
            "cpu_seconds": round(float(np.mean([seconds for _, seconds in per_seed])), 3),
        }
    print(json.dumps(told, indent=None if given.json else 1))


if __name__ == "__main__":
    main()
