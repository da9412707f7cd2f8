"""Judges the behaviour model on the nine Taobao nights, beside the models that it has to beat.

    python -m training.evaluate_behaviour SPEC.json     # {"data": folder, "out": folder, "threads": 2, "weights": folder}
    nightmarket evaluate behaviour --data ../shared/data/taobao-userbehavior

For every event after a customer's fifth: its kind, from what the customer did before it; nothing of the event itself is
used. Days 1-7 fit, day 8 chooses, day 9 judges. The file is read as it stands, with its order inside one second; the
night's cleaned events hold the same kinds, items and times. And: who buys anything on day 9 (training/evaluate_buyers.py).
"""

import os
import time
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from training.boosting import Data, Encoding, fit_boosted
from training.evaluate_buyers import judge_buyers
from training.job import run_job
from training.judge import compare
from training.task import Examples, Fitting
from training.tasks.behaviour import TASK, class_codes
from training.tasks.behaviour_events import EVENTS, TARGET, Histories
from training.tasks.behaviour_features import examples_from
from training.tasks.behaviour_model import BehaviourModel, best_weights

FILE: Final = "UserBehavior_815users_9days.csv.gz"
ZONE: Final = ZoneInfo("Asia/Shanghai")
NIGHTS: Final = tuple(date(2017, 11, 25) + timedelta(days=day) for day in range(9))
OURS: Final = "stack"
_KINDS: Final = {"pv": "view", "fav": "favorite", "cart": "cart", "buy": "purchase"}
_COUNTS: Final = tuple(f"n_{kind}_last_{width}" for kind in _KINDS.values() for width in (5, 10, 20))
_LAST_20: Final = (
    *_COUNTS,
    *(f"{what}_{lag}_back" for what in ("kind", "gap") for lag in range(10)),
    *(f"is_same_{thing}_{lag}_back" for thing in ("item", "category") for lag in range(1, 10)),
    *(
        "span_last_5",
        "span_last_20",
        "run_kind",
        "run_item",
        "run_category",
        "item_new_last_20",
        "category_new_last_20",
    ),
)
_HISTORY: Final = ("n_events", *(f"{what}_{kind}" for what in ("n", "share") for kind in _KINDS.values()))
_FACTORS: Final = np.exp(np.linspace(np.log(0.5), np.log(40), 60))


def read_taobao(path: Path) -> pa.Table:
    """Events (columns EVENTS) of the nine days, in the order of the file. Raises NoDataError where there is no file."""
    if not path.is_file():
        raise NoDataError(f"{path}: no such file; expected the sample of Taobao UserBehavior that SOURCE.md describes")
    names = [C.USER_KEY, C.ITEM_ID, C.CATEGORY_ID, C.EVENT_TYPE, C.OCCURRED_AT]
    told = csv.read_csv(
        path, csv.ReadOptions(column_names=names),
        csv.ParseOptions(invalid_row_handler=lambda row: "skip"),  # the last line was cut
        csv.ConvertOptions(column_types={**dict.fromkeys(names, pa.string()), C.OCCURRED_AT: pa.int64()}),
    )  # fmt: skip
    at_s = told[C.OCCURRED_AT].to_numpy()
    ahead_s = 8 * 3_600  # Asia/Shanghai, without summer time
    night = ((at_s + ahead_s) // 86_400).astype("datetime64[D]")
    columns = {
        C.USER_KEY: told[C.USER_KEY],
        C.ITEM_ID: told[C.ITEM_ID],
        C.CATEGORY_ID: told[C.CATEGORY_ID],
        C.OCCURRED_AT: pc.cast(told[C.OCCURRED_AT], pa.timestamp("s", tz="UTC")),
        C.EVENT_TYPE: pa.array([_KINDS[kind] for kind in told[C.EVENT_TYPE].to_pylist()]),
        C.NIGHT: pa.array(night),
    }
    table = pa.table([columns.get(field.name, pa.nulls(len(night), field.type)) for field in EVENTS], EVENTS.names)
    return table.cast(EVENTS).filter(
        pa.array((night >= np.datetime64(NIGHTS[0])) & (night <= np.datetime64(NIGHTS[-1])))
    )


def run(data: Path, threads: int, weights: Path, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, and `rows` that were fitted on, chosen by and judged on."""
    began = time.perf_counter()
    told = Histories.of(read_taobao(data / FILE), ZONE)
    examples = examples_from(told, NIGHTS)
    train, valid, judged = (
        examples.take(np.isin(examples.night, np.array(nights, dtype="datetime64[D]")))
        for nights in (NIGHTS[:7], NIGHTS[7:8], NIGHTS[8:])
    )
    how = Fitting(threads=threads, settings=settings or {}, weights=weights)
    model = TASK.fit(train, valid, how)
    predicted = {OURS: model.predict(judged.rows)}
    if len(model.parts) > 1:
        predicted |= {f"{name} part alone": _alone(model, name, valid).predict(judged.rows) for name in model.parts}
    for name, baseline in baselines(train, valid, how).items():
        predicted[name] = baseline.predict(judged.rows)
    found = compare(TASK, judged, predicted, OURS)
    buyers = judge_buyers(told, NIGHTS, how)
    metrics = found["metrics"]
    return {
        "name": "behaviour",
        "data": FILE,
        "metrics": metrics[OURS] | buyers["metrics"],
        "baselines": {who: told for who, told in metrics.items() if who != OURS} | buyers["baselines"],
        "paired": found["paired"] | buyers["paired"],
        "docs": {name: _docs(measure.docs, measure.higher_is_better) for name, measure in TASK.measures.items()}
        | buyers["docs"],
        "rows": {"fitted": len(train), "chosen_by": len(valid), "judged": len(judged), "customers": found["customers"]},
        "weights": dict(model.weights),
        "seconds": time.perf_counter() - began,
    }


@dataclass(frozen=True)
class Multiplied:
    """A baseline: probabilities of `model`, and a guess by argmax of probability times a factor per class."""

    model: BehaviourModel
    factors: np.ndarray  # (K,)

    def predict(self, rows: pa.Table) -> pa.Table:
        guess = (self.model.probability(rows) * self.factors).argmax(axis=1)
        table = self.model.predict(rows)
        place = table.schema.names.index(TARGET)
        return table.set_column(place, TARGET, pa.array(np.array(self.model.classes)[guess], pa.string()))


@dataclass(frozen=True)
class Trees:
    """One LightGBM model as a part of a BehaviourModel."""

    booster: Any
    names: tuple[str, ...]

    def logits(self, rows: pa.Table) -> np.ndarray:
        return np.log(np.clip(self.booster.predict(Encoding(self.names, {}).matrix(rows)), 1e-9, 1))


@dataclass(frozen=True)
class Prior:
    """The classes' shares, for every row the same."""

    share: np.ndarray

    def logits(self, rows: pa.Table) -> np.ndarray:
        return np.tile(np.log(self.share), (rows.num_rows, 1))


def baselines(train: Examples, valid: Examples, how: Fitting) -> dict[str, Multiplied]:
    """Fitted anew on the same rows; factors for macro-F1 are chosen on `valid`, but for the majority, which is one class."""
    chain = TASK.baseline(train, how)
    target, valid_target = class_codes(train, chain.classes), class_codes(valid, chain.classes)
    share = np.bincount(target) / len(target)
    models: dict[str, Any] = {"majority": Prior(share), "markov of second order": chain.parts["chain"]}
    for name, columns in (
        ("lightgbm, counts of last 5/10/20", _COUNTS),
        ("lightgbm, all of last 20", _LAST_20),
        ("lightgbm, last 20 and history rates", (*_LAST_20, *_HISTORY)),
    ):
        encoding = Encoding(tuple(columns), {})
        booster = fit_boosted(
            Data(encoding.matrix(train.rows), target), Data(encoding.matrix(valid.rows), valid_target),
            replace(how, settings={}), objective="multiclass", num_class=len(chain.classes), learning_rate=0.05,
            num_leaves=15, min_data_in_leaf=50,
        )  # fmt: skip
        models[name] = Trees(booster, tuple(columns))
    found = {}
    for name, part in models.items():
        model = BehaviourModel(name, chain.classes, {"part": part}, {"part": 1.0})
        factors = (
            np.ones(len(share)) if name == "majority" else best_factors(model.probability(valid.rows), valid_target)
        )
        found[name] = Multiplied(model, factors)
    return found


def best_factors(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(K,) factors of the classes, the first 1, that make macro-F1 largest on n rows: one class after the other, thrice."""
    n_classes = probability.shape[1]
    events = np.bincount(target, minlength=n_classes)

    def f1(factors: np.ndarray) -> float:
        guess = (probability * factors).argmax(axis=1)
        hits = np.bincount(target[guess == target], minlength=n_classes)
        return float((2 * hits / np.maximum(events + np.bincount(guess, minlength=n_classes), 1)).mean())

    best = np.append(1.0, np.full(n_classes - 1, 6.0))
    for _ in range(3):
        for place in range(1, n_classes):
            tried = [np.where(np.arange(n_classes) == place, factor, best) for factor in (best[place], *_FACTORS)]
            best = tried[int(np.argmax([f1(factors) for factors in tried]))]
    return best


def _alone(model: BehaviourModel, name: str, valid: Examples) -> BehaviourModel:
    """One part of the stack with its own temperature and rule."""
    part = model.parts[name]
    weight = best_weights([part.logits(valid.rows)], class_codes(valid, model.classes))[0]
    return BehaviourModel(name, model.classes, {name: part}, {name: weight}).with_rule_of(valid.rows)


def _docs(docs: str, higher_is_better: bool) -> str:
    return f"{docs}; {'higher' if higher_is_better else 'lower'} is better"


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(
        Path(spec["data"]), int(spec["threads"]) or os.cpu_count() or 1, Path(spec["weights"]), spec.get("settings")
    )


if __name__ == "__main__":
    run_job(_job)
