"""Judges the recommenders on the nine Taobao days: which items and categories each customer touches or buys on day 9.

    python -m training.evaluate_recommend SPEC.json     # {"data": folder, "out": folder, "threads": 2}
    nightmarket evaluate recommend --data ../shared/data/taobao-userbehavior

Days 1-7 fit and day 8 says which ranker would serve each setting (level, target, seen items kept or removed); then all are
fitted anew on days 1-8 and day 9 judges: the blender, beside the simple rankers, the chosen ones and the peers. Every item
of the days before is ranked. Truth: the distinct items of the day; those that were never seen before are misses ("full"),
or not asked for ("warm"). Customers with events on both sides, and with a truth.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from datetime import time as clock
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.strategy.judgement import Interval, resampled
from training.evaluate_behaviour import FILE, NIGHTS, ZONE, read_taobao
from training.job import run_job
from training.recommend.als import Als
from training.recommend.ease import Ease
from training.recommend.history import History, Weights
from training.recommend.interactions import BEHAVIOURS, NO_ITEM, Interactions
from training.recommend.item_knn import ItemKnn
from training.recommend.measures import coverage, hit, ndcg, popularity_lift, recall
from training.recommend.popularity import Popularity
from training.recommend.ranker import Blender, Blending, Target
from training.recommend.ranker_protocol import DAY_S, Ranker, best, places
from training.taobao_peers import MEASURES, Key, read_peers

LENGTHS: Final = {"item": 20, "category": 10}
SEEN: Final = {"item": ("kept", "removed"), "category": ("kept",)}
TARGETS: Final[tuple[Target, ...]] = ("any", "purchase")
TRUTHS: Final = ("full", "warm")
OURS: Final = "blender"
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
Rows = dict[str, np.ndarray]  # ranker -> (n_customers, len(MEASURES)), NaN for customers without a truth


def rankers(target: Target, threads: int, how: Blending) -> dict[str, Fit]:
    """What is fitted for a target, by name."""
    return {
        OURS: partial(Blender.fit, target=target, how=replace(how, threads=threads)),
        "popularity": Popularity.fit,
        "recent popularity": partial(Popularity.fit, tau_days=1.0),
        "history": History.fit,
        "recent history": partial(History.fit, weights=_OF_PURCHASES),
        "item-knn": ItemKnn.fit,
        "ease": partial(Ease.fit, penalty=1.0),
        "als": Als.fit,
    }


@dataclass(frozen=True)
class Day:
    """What was known when a day began, and what came on it."""

    told: Interactions  # of the days before, whose items are all that is ranked
    at_s: float
    truth: dict[Target, csr_matrix]  # (n_customers, n_items) 1 where it came
    misses: dict[Target, np.ndarray]  # (n_customers,) distinct items that came and were not known

    @classmethod
    def of(cls, events: pa.Table, level: str, night: date) -> "Day":
        """Raises NoDataError where there is nothing before the day or nothing on it."""
        at_s = datetime.combine(night, clock.min, ZONE).timestamp()
        seconds = events[C.OCCURRED_AT].cast(pa.timestamp("s", "UTC")).cast(pa.int64()).to_numpy()
        order = np.argsort(seconds, kind="stable")
        column = C.ITEM_ID if level == "item" else C.CATEGORY_ID
        seconds, who, what, category, kind = (
            np.array(told)[order]
            for told in (
                seconds,
                *(events[name].to_pylist() for name in (C.USER_KEY, column, C.CATEGORY_ID, C.EVENT_TYPE)),
            )
        )
        before, on = seconds < at_s, (seconds >= at_s) & (seconds < at_s + DAY_S)
        if not before.any() or not on.any():
            raise NoDataError(f"{before.sum()} events before {night} and {on.sum()} on it; expected some of both")
        told = interactions(
            *(part[before] for part in (who, what, category, kind, seconds)), with_category=level == "item"
        )
        truth, misses = {}, {}
        for target in TARGETS:
            came = on & ((kind == "purchase") | (target == "any"))
            pairs = np.unique(np.stack([who[came], what[came]]), axis=1)
            customer, item = places(told.customers, pairs[0]), places(told.items, pairs[1])
            known, new = (customer != NO_ITEM) & (item != NO_ITEM), (customer != NO_ITEM) & (item == NO_ITEM)
            shape = (len(told.customers), len(told.items))
            truth[target] = csr_matrix((np.ones(known.sum()), (customer[known], item[known])), shape=shape)
            misses[target] = np.bincount(customer[new], minlength=len(told.customers))
        return cls(told, at_s, truth, misses)


def interactions(
    who: np.ndarray,
    what: np.ndarray,
    category: np.ndarray,
    kind: np.ndarray,
    seconds: np.ndarray,
    *,
    with_category: bool,
) -> Interactions:
    """Of events (n,) in time order."""
    customers, customer = np.unique(who, return_inverse=True)
    items, first, item = np.unique(what, return_index=True, return_inverse=True)
    categories = np.unique(category[first], return_inverse=True)[1] if with_category else None
    behaviour = np.array([BEHAVIOURS.index(one) for one in kind], dtype=np.int8)
    return Interactions(customers, items, customer, item, behaviour, seconds.astype(np.float64), categories)


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
    events: pa.Table, night: date, threads: int, how: Blending
) -> tuple[dict[Key, Rows], dict[Key, dict[str, dict[str, float]]], np.ndarray]:
    """Per setting and ranker: rows of the customers; coverage and lift; and who the customers are."""
    rows: dict[Key, Rows] = {}
    beside: dict[Key, dict[str, dict[str, float]]] = {}
    for level in LENGTHS:
        day = Day.of(events, level, night)
        fitted: dict[Any, Ranker] = {}
        for target in TARGETS:
            for name, fit in rankers(target, threads, how).items():
                key = (name, target if name == OURS else None)  # the others learn the same for both
                if key not in fitted:
                    fitted[key] = fit(day.told, day.at_s)
                for setting, (told, more) in judged(day, fitted[key], level, target).items():
                    rows.setdefault(setting, {})[name] = told
                    beside.setdefault(setting, {})[name] = more
    return rows, beside, day.told.customers


def champions(rows: dict[Key, Rows]) -> dict[Key, str]:
    """Per setting the ranker with the highest mean NDCG against the full truth, of equal ones the first."""
    place = MEASURES.index("ndcg")
    found: dict[Key, str] = {}
    for level, target, seen, truth in rows:
        means = {who: np.nanmean(told[:, place]) for who, told in rows[level, target, seen, "full"].items()}
        found[level, target, seen, truth] = max(means, key=lambda who: means[who])
    return found


def run(data: Path, threads: int, how: Blending | None = None) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it; `chosen`: which ranker serves which setting; `best_peers` per metric."""
    began = time.perf_counter()
    events = read_events(data / FILE)
    how = how or Blending()
    chosen = champions(judge_day(events, NIGHTS[-2], threads, how)[0])
    rows, beside, customers = judge_day(events, NIGHTS[-1], threads, how)
    peers = read_peers(data, customers)
    metrics: dict[str, dict[str, Any]] = {}
    paired: dict[str, dict[str, Any]] = {}
    best_peers: dict[str, str] = {}
    for setting, found in rows.items():
        theirs = {f"peer: {who}": one for who, one in peers.get(setting, {}).items()}
        told = {**found, CHOSEN: found[chosen[setting]], **theirs}
        shown, gained = compared(told, setting, customers)
        for who, values in shown.items():
            metrics.setdefault(who, {}).update(values)
        for who, values in gained.items():
            paired.setdefault(who, {}).update(values)
        for who, more in {**beside[setting], CHOSEN: beside[setting][chosen[setting]]}.items():
            metrics[who] |= {name_of(setting, what): _number(value) for what, value in more.items()}
        for name in (name_of(setting, measure) for measure in MEASURES):
            values = {who: shown[who][name]["value"] for who in theirs}
            if values:
                best_peers[name] = max(values, key=lambda who: values[who])
    if best_peers:
        paired["best peer of each column"] = {name: paired[who][name] for name, who in best_peers.items()}
    return {
        "name": "recommend",
        "data": FILE,
        "metrics": metrics.pop(OURS),
        "baselines": metrics,
        "paired": paired,
        "best_peers": best_peers,
        "chosen": {"_".join(setting): who for setting, who in chosen.items()},
        "docs": {name_of(setting, what): docs for setting in rows for what, docs in DOCS.items()},
        "customers": {"_".join(setting): int((~np.isnan(told[OURS][:, 0])).sum()) for setting, told in rows.items()},
        "seconds": time.perf_counter() - began,
    }


def compared(told: Rows, setting: Key, customers: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Intervals of each ranker's means, and of OURS minus each other one on the same customers.

    Raises NoDataError where a peer was judged on other customers."""
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
    shown: dict[str, Any] = {}
    gained: dict[str, Any] = {}
    for name, (who, measure) in names.items():
        metric = name_of(setting, measure)
        shown.setdefault(who, {})[metric] = Interval.of(drawn[name]).as_dict()
        if who != OURS:
            gained.setdefault(who, {})[metric] = Interval.of(drawn[f"{OURS}|{measure}"] - drawn[name]).as_dict()
    return shown, gained


def name_of(setting: Key, what: str) -> str:
    """Such as item_any_kept_ndcg_at_20, or item_any_kept_warm_ndcg_at_20."""
    level, target, seen, truth = setting
    return "_".join([level, target, seen, *(["warm"] if truth == "warm" else []), what, "at", str(LENGTHS[level])])


def read_events(path: Path) -> pa.Table:
    """Raises NoDataError where the file is missing or damaged."""
    try:
        return read_taobao(path)
    except (OSError, EOFError, pa.ArrowInvalid, KeyError) as error:
        raise NoDataError(
            f"{path}: {error}; expected the sample of Taobao UserBehavior that SOURCE.md describes"
        ) from None


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(weight @ values / weight.sum(axis=-1))


def _number(value: float) -> dict[str, float | None]:
    return Interval(value, math.nan, math.nan).as_dict()


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(Path(spec["data"]), int(spec["threads"]) or os.cpu_count() or 1)


if __name__ == "__main__":
    run_job(_job)
