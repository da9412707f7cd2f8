"""Who buys anything tomorrow? Judged on the last of some nights, from what was known at the end of the night before.

Part of training/evaluate_behaviour.py. Every customer with an event so far is scored, also those who do not come back. The
model is the mean of a logistic regression and small boosted trees on some thirty counts; it learns the same question for
each of the nights before.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from pipelines.strategy.judgement import Interval, pr_auc, resampled, roc_auc
from training.boosting import Data, fit_boosted
from training.task import Fitting
from training.tasks.behaviour_events import KINDS, PURCHASE, Histories

FIRST: Final = 3  # nights that lie before the first one that is asked about
_BOOSTERS: Final = 5
_METRICS: Final = {"next_day_buyer_pr_auc": pr_auc, "next_day_buyer_roc_auc": roc_auc}


def profiles(
    told: Histories, nights: Sequence[date], asked: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """What is known before night number `asked` (0 is the first): numbers (c,) by name, who buys then (c,), customers (c,).

    Nothing of that night and later ones is in the numbers.
    """
    n = len(told.keys)
    night = (told.night - np.datetime64(nights[0], "D")).astype(int)
    before = night < asked
    known = np.flatnonzero(np.bincount(told.customer[before], minlength=n))

    def counted(where: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(told.customer[where], None if weights is None else weights[where], n)[known].astype(
            np.float64
        )

    def nights_of(where: np.ndarray) -> np.ndarray:
        """(c, asked) bool: whether the customer did it in each night."""
        done = np.zeros((n, asked), dtype=bool)
        done[told.customer[where], night[where]] = True
        return np.asarray(done[known])

    seen = nights_of(before)
    first, last = seen.argmax(axis=1), asked - 1 - seen[:, ::-1].argmax(axis=1)
    found = {"nights_known": asked - first, "nights_since_seen": asked - last, "nights_active": seen.sum(axis=1)}
    found["active_share"] = found["nights_active"] / found["nights_known"]
    for kind in np.unique(told.kind):
        name, did = KINDS[kind], before & (told.kind == kind)
        done = nights_of(did)
        found[f"n_{name}"] = counted(did)
        found[f"n_{name}_last_night"] = counted(did & (night == asked - 1))
        for half_life in (1, 2):
            found[f"n_{name}_half_life_{half_life}"] = counted(did, 0.5 ** ((asked - 1 - night) / half_life))
        found[f"nights_{name}"] = done.sum(axis=1)
        found[f"nights_since_{name}"] = np.where(done.any(axis=1), 1 + done[:, ::-1].argmax(axis=1), len(nights) + 1)
    buying = found["nights_purchase"]
    found["buying_share"], found["buying_share_of_active"] = (
        buying / (found["nights_known"] + 1),
        buying / (found["nights_active"] + 1),
    )
    buys = counted((night == asked) & (told.kind == PURCHASE)) > 0
    return {name: values.astype(np.float64) for name, values in found.items()}, buys, known


def judge_buyers(told: Histories, nights: Sequence[date], how: Fitting) -> dict[str, Any]:
    """metrics, baselines, paired and docs of the last night, customers resampled."""
    parts = [profiles(told, nights, asked) for asked in range(FIRST, len(nights))]
    names = list(parts[0][0])
    x = [np.column_stack([part[0][name] for name in names]) for part in parts]
    train_x, train_y = np.concatenate(x[:-1]), np.concatenate([part[1] for part in parts[:-1]])
    known, buys, customer = parts[-1]
    line = make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression(C=0.1, max_iter=1_000))
    line.fit(train_x, train_y)
    trees = [
        fit_boosted(
            Data(train_x, train_y), None, how, objective="binary", rounds=100, names=names, seed=how.seed + number,
            learning_rate=0.05, num_leaves=4, min_data_in_leaf=30, feature_fraction=0.3, bagging_fraction=0.7,
            bagging_freq=1, lambda_l2=10.0,
        ).predict(x[-1])
        for number in range(_BOOSTERS)
    ]  # fmt: skip
    by_line, by_trees = line.predict_proba(x[-1])[:, 1], np.mean(trees, axis=0)
    scores = {
        "ours": (by_line + by_trees) / 2,
        "logistic regression alone": by_line,
        "lightgbm alone": by_trees,
        "purchases so far": known["n_purchase"],
        "nights with a purchase": known["nights_purchase"],
    }
    drawn = resampled(
        {
            f"{who} {name}": lambda weight, score=score, of=of: of(buys, score, weight)  # type: ignore[misc]
            for who, score in scores.items()
            for name, of in _METRICS.items()
        },
        customer,
    )

    def told_of(who: str, minus: str | None = None) -> dict[str, Any]:
        values = {name: drawn[f"{who} {name}"] - (drawn[f"{minus} {name}"] if minus else 0) for name in _METRICS}
        return {name: Interval.of(numbers).as_dict() for name, numbers in values.items()}

    others = [who for who in scores if who != "ours"]
    return {
        "metrics": told_of("ours"),
        "baselines": {f"buyers: {who}": told_of(who) for who in others},
        "paired": {f"buyers: {who}": told_of("ours", who) for who in others},
        "docs": {
            name: f"who buys on the judged day, of all {len(buys)} customers seen before it; higher is better"
            for name in _METRICS
        },
    }
