"""Judges the recommenders on the nine Taobao days: which items and categories each customer touches or buys on day 9.

    python -m training.evaluate_recommend SPEC.json     # {"data": folder, "out": folder, "threads": 2}
    nightmarket evaluate recommend --data ../shared/data/taobao-userbehavior

Days 1-7 fit and day 8 says which ranker would serve each setting (level, target, seen items kept or removed); then all are
fitted anew on days 1-8 and day 9 judges: the blender, beside the simple rankers, the blend that a shop's nights are served
with, the chosen ones and the peers. Every item of the days before is ranked. Truth: the distinct items of the day; those
that were never seen before are misses ("full"), or not asked for ("warm"). Customers with events on both sides, and with a
truth.

"With the crowd" the blender also knows how many of 58,000 other people touched an item in two hours of day 2, the folder's
other sample. The peers did not have it, so it stands apart.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.core.errors import NoDataError
from pipelines.strategy.judgement import Interval, resampled
from training.evaluate_behaviour import FILE, NIGHTS
from training.job import run_job
from training.recommend.als import Als
from training.recommend.ease import Ease
from training.recommend.history import History, Weights
from training.recommend.interactions import Interactions
from training.recommend.item_knn import ItemKnn
from training.recommend.measures import coverage, hit, ndcg, popularity_lift, recall
from training.recommend.popularity import Popularity
from training.recommend.ranker import Blender, Blending, Learnt
from training.recommend.ranker_examples import Target
from training.recommend.ranker_protocol import Ranker, best
from training.taobao_days import CROWD, TARGETS, Day, crowd_of, read_events
from training.taobao_peers import MEASURES, Key, read_peers
from training.tasks.recommender_ranker import NightRanker

LENGTHS: Final = {"item": 20, "category": 10}
SEEN: Final = {"item": ("kept", "removed"), "category": ("kept",)}
TRUTHS: Final = ("full", "warm")
OURS: Final = "blender"
CROWDED: Final = "blender with the crowd"
BEST: Final = "best peer of each column"
CHOSEN: Final = "chosen on day 8"
DOCS: Final = {
    "recall": "share of what came that stands in the list, mean over customers; higher is better",
    "ndcg": "discounted gain of the list over the best possible, mean over customers; higher is better",
    "hit": "share of customers with at least one item that came; higher is better",
    "coverage": "share of all items that stand in at least one list; higher is better",
    "popularity_lift": "how much more popular listed items are than those the customers touched, 0.5: by half; "
    "nearer to 0 is better",
}
_BLOCK: Final = 200  # customers scored at a time
_OF_PURCHASES: Final = Weights((1.0, 3.0, 3.0, 1.0), 1.0)

Fit = Callable[[Interactions, float], Ranker]
Told = dict[str, dict[str, dict[str, float | None]]]  # who -> metric -> interval
Rows = dict[str, np.ndarray]  # ranker -> (n_customers, len(MEASURES)), NaN for customers without a truth


SIMPLE: Final[dict[str, Fit]] = {
    "popularity": Popularity.fit,
    "recent popularity": partial(Popularity.fit, tau_days=1.0),
    "history": History.fit,
    "recent history": partial(History.fit, weights=_OF_PURCHASES),
    "item-knn": ItemKnn.fit,
    "ease": partial(Ease.fit, penalty=1.0),
    "als": Als.fit,
    "the night's blend": NightRanker.fit,
}


def judged(day: Day, ranker: Ranker, level: str, target: Target) -> dict[Key, tuple[np.ndarray, dict[str, float]]]:
    """Per setting of the target: recall, NDCG and hit of each customer; coverage and popularity lift of the lists."""
    told, k, everybody = day.told, LENGTHS[level], np.arange(len(day.told.customers))
    touched = told.matrix().sign()
    lists: dict[str, list[np.ndarray]] = {seen: [] for seen in SEEN[level]}
    for start in range(0, len(everybody), _BLOCK):
        block = everybody[start : start + _BLOCK]
        scores = ranker.score(told, block, day.at_s)
        for seen in lists:
            lists[seen].append(best(scores, k, None if seen == "kept" else touched[block]))
    found: dict[Key, tuple[np.ndarray, dict[str, float]]] = {}
    for seen, parts in lists.items():
        listed, truth = np.concatenate(parts), day.truth[target]
        if seen == "removed":
            truth = (truth - truth.multiply(touched)).tocsr()
            truth.eliminate_zeros()
        beside = {"coverage": coverage(listed, len(told.items)), "popularity_lift": popularity_lift(listed, touched)}
        for kind, misses in (("full", day.misses[target]), ("warm", np.zeros(len(everybody), dtype=np.int64))):
            rows = np.stack([recall(listed, truth, misses), ndcg(listed, truth, misses), hit(listed, truth)], axis=1)
            rows[np.diff(truth.indptr) + misses == 0] = np.nan
            found[level, target, seen, kind] = (rows, beside)
    return found


def judge_day(
    events: pa.Table, crowd: pa.Table | None, night: date, how: Blending
) -> tuple[dict[Key, Rows], dict[Key, dict[str, dict[str, float]]], np.ndarray]:
    """Per setting and ranker: rows of the customers; coverage and lift; and who the customers are."""
    rows: dict[Key, Rows] = {}
    beside: dict[Key, dict[str, dict[str, float]]] = {}
    for level in LENGTHS:
        day = Day.of(events, level, night)
        fitted: dict[tuple[str, Target], Ranker] = {}
        crowds = {OURS: None} if crowd is None else {OURS: None, CROWDED: crowd_of(crowd, level, day)}
        for name, others in crowds.items():
            # The crowd came on the second day: the night before it would be learnt from what it could not know.
            own = how if others is None else replace(how, nights=min(how.nights, 5))
            past = Learnt.of(day.told, day.at_s, own, others)
            fitted |= {(name, target): Blender.learn(past, target, own) for target in TARGETS}
        simple = {name: fit(day.told, day.at_s) for name, fit in SIMPLE.items()}
        fitted |= {(name, target): ranker for name, ranker in simple.items() for target in TARGETS}
        for (name, target), ranker in fitted.items():
            for setting, (told, more) in judged(day, ranker, level, target).items():
                rows.setdefault(setting, {})[name] = told
                beside.setdefault(setting, {})[name] = more
    return rows, beside, day.told.customers


def champions(rows: dict[Key, Rows]) -> dict[Key, str]:
    """Per setting the ranker with the highest mean NDCG against the full truth, of equal ones the first; the crowd apart."""
    place = MEASURES.index("ndcg")
    found: dict[Key, str] = {}
    for level, target, seen, truth in rows:
        full = rows[level, target, seen, "full"]
        means = {who: np.nanmean(told[:, place]) for who, told in full.items() if who != CROWDED}
        found[level, target, seen, truth] = max(means, key=lambda who: means[who])
    return found


def run(data: Path, threads: int, how: Blending | None = None) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it; `chosen`: which ranker serves which setting; `best_peers` per metric."""
    began = time.perf_counter()
    events = read_events(data / FILE)
    how = replace(how or Blending(), threads=threads)
    crowd = read_events(data / CROWD) if (data / CROWD).is_file() else None
    chosen = champions(judge_day(events, crowd, NIGHTS[-2], how)[0])
    rows, beside, customers = judge_day(events, crowd, NIGHTS[-1], how)
    peers = read_peers(data, customers)
    metrics: Told = {}
    paired: dict[str, Told] = {OURS: {}, CROWDED: {}}
    best_peers: dict[str, str] = {}
    for setting, found in rows.items():
        theirs = {f"peer: {who}": one for who, one in peers.get(setting, {}).items()}
        shown, gained = compared({**found, CHOSEN: found[chosen[setting]], **theirs}, setting, customers)
        _add(metrics, shown)
        for ours, gains in gained.items():
            _add(paired[ours], gains)
        for who, more in {**beside[setting], CHOSEN: beside[setting][chosen[setting]]}.items():
            metrics[who] |= {name_of(setting, what): _number(value) for what, value in more.items()}
        for name in (name_of(setting, measure) for measure in MEASURES if theirs):
            best_peers[name] = max(theirs, key=lambda who: shown[who][name]["value"] or 0.0)
    if best_peers:
        for gains in paired.values():
            gains[BEST] = {name: gains[who][name] for name, who in best_peers.items() if who in gains}
    return {
        "name": "recommend",
        "data": FILE,
        "metrics": metrics.pop(OURS),
        "baselines": metrics,
        "paired": paired[OURS],
        "paired_with_crowd": paired[CROWDED],
        "best_peers": best_peers,
        "chosen": {"_".join(setting): who for setting, who in chosen.items()},
        "docs": {name_of(setting, what): docs for setting in rows for what, docs in DOCS.items()},
        "customers": {"_".join(setting): int((~np.isnan(told[OURS][:, 0])).sum()) for setting, told in rows.items()},
        "seconds": time.perf_counter() - began,
    }


def compared(told: Rows, setting: Key, customers: np.ndarray) -> tuple[Told, dict[str, Told]]:
    """Intervals of each ranker's means, and of OURS and CROWDED minus each other one on the same customers.

    Raises NoDataError where a peer was judged on other customers.
    """
    there = ~np.isnan(told[OURS][:, 0])
    for who, values in told.items():
        if not (np.isnan(values[:, 0]) == ~there).all():
            raise NoDataError(
                f"{who} in {'_'.join(setting)}: judged on other customers than the {there.sum()} of this day"
            )
    means = {
        (who, measure): partial(_mean, values[there, place])
        for who, values in told.items()
        for place, measure in enumerate(MEASURES)
    }
    names = {"|".join(key): key for key in means}
    drawn = resampled({name: means[key] for name, key in names.items()}, customers[there])
    shown: Told = {}
    gained: dict[str, Told] = {ours: {} for ours in (OURS, CROWDED) if ours in told}
    for name, (who, measure) in names.items():
        metric = name_of(setting, measure)
        shown.setdefault(who, {})[metric] = Interval.of(drawn[name]).as_dict()
        for ours in gained:
            if who != ours:
                gap = Interval.of(drawn[f"{ours}|{measure}"] - drawn[name])
                gained[ours].setdefault(who, {})[metric] = gap.as_dict()
    return shown, gained


def name_of(setting: Key, what: str) -> str:
    """Such as item_any_kept_ndcg_at_20, or item_any_kept_warm_ndcg_at_20."""
    level, target, seen, truth = setting
    return "_".join([level, target, seen, *(["warm"] if truth == "warm" else []), what, "at", str(LENGTHS[level])])


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(weight @ values / weight.sum(axis=-1))


def _add(kept: Told, more: Told) -> None:
    for who, values in more.items():
        kept.setdefault(who, {}).update(values)


def _number(value: float) -> dict[str, float | None]:
    return Interval(value, math.nan, math.nan).as_dict()


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(Path(spec["data"]), int(spec["threads"]) or os.cpu_count() or 1)


if __name__ == "__main__":
    run_job(_job)
