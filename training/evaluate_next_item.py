"""Judges what is recommended inside anonymous sessions: the next click of YooChoose, beside the peers' own results.

    python -m training.evaluate_next_item SPEC.json     # {"data": folder, "out": folder, "work": folder, "threads": 2}
    nightmarket evaluate next-item --data ../shared/data/yoochoose-100k

For every click after a session's first: all items of the training file are ranked from the clicks before it; items clicked
already stay in (a quarter of clicks repeat the last one). The blend is fitted on the sessions that end in the last 24
hours of the training file, its members on those before; then its members are fitted again on all. Intervals resample
test sessions.
"""

import gzip
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from scipy.sparse import csr_matrix

from pipelines.core.errors import NoDataError
from pipelines.strategy.judgement import Interval, Metric, resampled
from training.job import run_job
from training.recommend.interactions import NO_ITEM
from training.recommend.measures import coverage, next_item, popularity_lift
from training.recommend.sequence import SequenceSettings
from training.recommend.session_blend import Blend, Scorer, fit_blend, fit_members
from training.recommend.session_data import Pasts, Sequences, blocks
from training.recommend.session_knn import DAY_S, STAN, SessionKnn
from training.recommend.session_linear import fit_following, fit_together
from training.recommend.session_rules import fit_item_knn, fit_popularity
from training.task import Fitting

TRAIN, TEST = "yoochoose-clicks-100k_train_full.txt.gz", "yoochoose-clicks-100k_test.txt.gz"
HEADER: Final = "SessionId\tItemId\tTime"
OURS: Final = "blend"
LENGTHS: Final = (5, 10, 20)
SEQUENCE: Final = SequenceSettings(n_nets=3)  # their mean is better than any, and each costs 20 s of one core
_PEERS: Final = {
    "pop": "popularity", "spop": "popularity in the session", "ar": "AR", "sr": "SR", "iknn": "item-kNN", "sknn": "SKNN",
    "vsknn": "V-SKNN", "stan": "STAN", "vstan": "VSTAN", "gru4rec": "GRU4Rec", "sasrec": "SASRec (RecTools)",
}  # fmt: skip
_DOCS: Final = {
    **{f"hr_{k}": f"share of next clicks that are among the first {k} of all items; higher is better" for k in LENGTHS},
    **{f"mrr_{k}": f"mean of 1 / rank of the next click, 0 beyond rank {k}; higher is better" for k in LENGTHS},
    "coverage_20": "share of all items that stand in at least one list of 20; higher is better",
    "popularity_lift_20": "how much more popular the 20 listed items are than those clicked so far; nearer to 0 is better",
}


def read_clicks(folder: Path) -> tuple[Sequences, Sequences]:
    """Training and test sessions over the training file's items, each session's clicks in the order of time.

    Raises NoDataError for a missing file, a damaged line, an item that the training file lacks and an empty file.
    """
    (train, train_item), (test, test_item) = _read(folder / TRAIN), _read(folder / TEST)
    items = np.unique(train_item)
    unknown = np.flatnonzero(~np.isin(test_item, items))
    if len(unknown):
        raise NoDataError(f"{folder / TEST}: item {test_item[unknown[0]]} is not among the {len(items)} of {TRAIN}")
    told, later = (
        _sessions(len(items), clicks, np.searchsorted(items, item))
        for clicks, item in ((train, train_item), (test, test_item))
    )
    return told, later


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Session and seconds (n, 2) and items (n,)."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise NoDataError(f"{path}: {cause}; expected clicks of YooChoose as session-rec ships them") from None
    if len(lines) < 2 or lines[0] != HEADER:
        raise NoDataError(f"{path}, line 1: {' '.join(lines[:1])!r}, expected the names {HEADER!r} and clicks below")
    told, item = np.zeros((len(lines) - 1, 2)), np.zeros(len(lines) - 1, dtype=np.int64)
    for place, line in enumerate(lines[1:]):
        try:
            session, item[place], seconds = line.split("\t")
            told[place] = int(session), float(seconds)
            is_damaged = not math.isfinite(told[place, 1])
        except (ValueError, OverflowError):
            is_damaged = True
        if is_damaged:
            raise NoDataError(f"{path}, line {place + 2}: {line!r}, expected three numbers between tabs")
    return told, item


def _sessions(n_items: int, clicks: np.ndarray, item: np.ndarray) -> Sequences:
    order = np.lexsort((clicks[:, 1], clicks[:, 0]))
    session = clicks[order, 0]
    start = np.append(np.flatnonzero(np.diff(session, prepend=-1)), len(session))
    return Sequences(n_items, item[order], clicks[order, 1], np.zeros(len(order), dtype=np.int8), start)


def fit(told: Sequences, how: Fitting, sequence: SequenceSettings) -> Blend:
    """The blend, fitted in turn on two parts of the training sessions and on all of them. Raises NoDataError where no
    session is older than a day, or none newer."""
    is_late = told.ends > told.seconds.max() - DAY_S
    if is_late.all() or not is_late.any():
        raise NoDataError(f"{len(told)} training sessions of one day, expected several: the last day fits the blend")
    work = how.work or Path("work")
    torch.set_num_threads(how.threads)
    _say(f"fitting on {(~is_late).sum()} sessions, for the blend")
    early = fit_members(told.take(~is_late), sequence, work / "early")
    _say(f"fitting the blend on {is_late.sum()} sessions of the last day")
    ranker = fit_blend(early, told.take(is_late), how)
    _say(f"fitting on all {len(told)} sessions")
    return Blend(fit_members(told, sequence, work / "all"), ranker)


def run(data: Path, how: Fitting, sequence: SequenceSettings = SEQUENCE) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, and `rows` that were fitted on and judged."""
    began = time.perf_counter()
    told, test = read_clicks(data)
    blend = fit(told, how, sequence)
    others: dict[str, Scorer] = {
        "popularity": fit_popularity(told), "item-kNN": fit_item_knn(told), "STAN": SessionKnn.fit(told, STAN),
        "SLIST": fit_together(told) + fit_following(told),
    }  # fmt: skip
    _say(f"judging {len(test.followed)} clicks of {len(test)} sessions")
    asked = test.followed
    values, lists = judged(blend, others, test)
    touched = Pasts.of(test, asked)
    own = csr_matrix(
        (np.ones(len(touched.query)), (touched.query, test.item[touched.event])), (len(asked), told.n_items)
    )
    beyond = {
        who: {"coverage_20": coverage(one, told.n_items), "popularity_lift_20": popularity_lift(one, own)}
        for who, one in lists.items()
    }
    return {
        "name": "next-item",
        "data": TEST,
        **compare(values, beyond, test.session[asked], read_peers(data / "peers")),
        "docs": _DOCS,
        "rows": {"sessions": len(told), "items": told.n_items, "judged_sessions": len(test), "judged": len(asked)},
        "seconds": time.perf_counter() - began,
    }


def judged(
    blend: Blend, others: Mapping[str, Scorer], test: Sequences
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of the blend, its members and others: (n, 6) hits and reciprocal ranks up to LENGTHS, and lists of 20."""
    asked = test.followed
    names = [OURS, *blend.members.models, *others]
    values = {who: np.zeros((len(asked), 2 * len(LENGTHS))) for who in names}
    lists = {who: np.full((len(asked), max(LENGTHS)), NO_ITEM) for who in names}
    for part in blocks(len(asked), test.n_items):
        scores = blend.members.scores(test, asked[part])
        scores |= {OURS: blend.join(test, asked[part], scores)}
        scores |= {who: model.scores(test, asked[part]) for who, model in others.items()}
        for who, score in scores.items():
            values[who][part] = np.hstack(next_item(score, test.item[asked[part] + 1], LENGTHS))
            lists[who][part] = listed(score)
    return values, lists


def listed(score: np.ndarray) -> np.ndarray:
    """(n, 20) the best items of (n, n_items), equal ones by place; NO_ITEM for those that a row scores lowest of all."""
    length = max(LENGTHS)
    best = np.argsort(-score, axis=1, kind="stable")[:, :length]
    told = np.take_along_axis(score, best, axis=1) > score.min(axis=1, keepdims=True)
    found = np.full((len(score), length), NO_ITEM)
    found[:, : best.shape[1]] = np.where(told, best, NO_ITEM)
    return found


def compare(
    values: Mapping[str, np.ndarray],
    beyond: Mapping[str, Mapping[str, float]],
    session: np.ndarray,
    peers: Mapping[str, Any],
) -> dict[str, Any]:
    """metrics, baselines and paired differences (ours minus the other); the peers' own stand beside, without a pair."""
    names = list(_DOCS)[: 2 * len(LENGTHS)]

    def mean(column: np.ndarray) -> Metric:
        return lambda weight: weight @ column / weight.sum(axis=-1)

    metrics = {f"{who} {name}": mean(one[:, at]) for who, one in values.items() for at, name in enumerate(names)}
    drawn = resampled(metrics, session)

    def told(who: str, other: str | None = None) -> dict[str, Any]:
        found = {name: drawn[f"{who} {name}"] - (drawn[f"{other} {name}"] if other else 0) for name in names}
        return {name: Interval.of(one).as_dict() for name, one in found.items()}

    def all_of(who: str) -> dict[str, Any]:
        return told(who) | {name: {"value": one, "low": None, "high": None} for name, one in beyond[who].items()}

    others = [who for who in values if who != OURS]
    return {
        "metrics": all_of(OURS),
        "baselines": {who: all_of(who) for who in others} | dict(peers),
        "paired": {who: told(OURS, who) for who in others},
    }


def read_peers(folder: Path) -> dict[str, Any]:
    """What the peers reached on these files, as measured and kept beside them: tuned, or as published where that is all.
    None where the folder is missing. Raises NoDataError for a file that is not of that kind."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            rows = json.loads(path.read_text())["rows"]
            tuned = {row["method"] for row in rows if row["setting"].startswith("tuned")}
            for row in rows:
                if row["method"] in tuned and not row["setting"].startswith("tuned"):
                    continue
                name = f"peer: {_PEERS.get(row['method'], row['method'])} ({row['setting'].partition(' on valid')[0]})"
                found[name] = {
                    f"{ours}_{k}": dict(zip(("value", "low", "high"), row[f"{theirs}@{k}"], strict=True))
                    for ours, theirs in (("hr", "HR"), ("mrr", "MRR"))
                    for k in LENGTHS
                }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NoDataError(f"{path}: no results of peers ({type(error).__name__}: {error})") from None
    return found


def _say(what: str) -> None:
    print(what, flush=True)


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    threads = int(spec["threads"]) or os.cpu_count() or 1
    return run(Path(spec["data"]), Fitting(threads=threads, work=Path(spec["work"])))


if __name__ == "__main__":
    run_job(_job)
