"""Judges the value model on CDNOW: the first 39 weeks fit, the next 39 judge, for each of 2,357 customers.

    python -m training.evaluate_value SPEC.json     # {"data": folder, "out": folder}
    nightmarket evaluate value --data ../shared/data/cdnow

The 1/10 sample of Fader and Hardie, orders of one day taken together, as the figures of BG/NBD in the literature are made.
A customer's clock starts with the first order, ages are weeks. Only the first 39 weeks are looked at before the
predictions stand: the model's correction is fitted on their two halves.
"""

import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.core.errors import NoDataError
from pipelines.strategy.judgement import Interval, Metric, bias, resampled, rmse
from training.job import run_job
from training.tasks.value import ValueModel, histories
from training.tasks.value_buying import correction_for, fit_buying, fit_correction
from training.tasks.value_examples import AGE, LAST_ORDER_AGE, N_ORDERS, ORDERS

FILE: Final = "CDNOW_sample.txt"
OURS, BG_NBD, MEAN_RATE = "bg_nbd corrected", "bg_nbd", "mean rate"
FIRST: Final = date(1997, 1, 1).toordinal()
KNOWN: Final = date(1997, 9, 30).toordinal()  # the last day of the first 39 weeks
LAST: Final = date(1998, 6, 30).toordinal()
WEEKS: Final = 39.0
_DOCS: Final = {
    "orders_rmse": "root mean squared error of a customer's orders in 39 weeks; lower is better",
    "orders_bias_percent": "all orders expected over all made, minus 1; nearer to 0 is better",
}


def read_orders(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Customer and day (ordinal) of each day with an order, sorted. Raises NoDataError where there is no such file."""
    try:
        told = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise NoDataError(
            f"{path}: {error}; expected CDNOW's sample: ids, date, number and value of the discs"
        ) from None
    if told.shape[1] != 5 or not len(told):
        raise NoDataError(f"{path}: {told.shape[1]} columns in {len(told)} rows, expected 5 of CDNOW's sample")
    dates, place = np.unique(told[:, 2].astype(np.int64), return_inverse=True)
    ordinals = np.array([date(d // 10_000, d // 100 % 100, d % 100).toordinal() for d in dates.tolist()])
    orders = np.unique(np.stack([told[:, 1].astype(np.int64), ordinals[place]], axis=1), axis=0)
    return orders[:, 0], orders[:, 1]


def known_at(customer: np.ndarray, day: np.ndarray, until: int) -> tuple[pa.Table, np.ndarray]:
    """Rows of the value task for all who ordered up to the day `until`, ages in weeks, and their ids (n,)."""
    seen = day <= until
    ids, place = np.unique(customer[seen], return_inverse=True)
    first, last = np.full(len(ids), until), np.zeros(len(ids), dtype=np.int64)
    np.minimum.at(first, place, day[seen])
    np.maximum.at(last, place, day[seen])
    rows = {
        N_ORDERS: np.bincount(place) - 1.0,  # the first order starts the clock
        LAST_ORDER_AGE: (last - first) / 7,
        AGE: (until - first) / 7,
    }
    return pa.table(rows), ids


def orders_between(customer: np.ndarray, day: np.ndarray, ids: np.ndarray, after: int, until: int) -> np.ndarray:
    """(n,) orders of each of `ids` (sorted) after one day and up to another."""
    made = customer[(day > after) & (day <= until)]
    return np.bincount(np.searchsorted(ids, made[np.isin(made, ids)]), minlength=len(ids)).astype(np.float64)


def models_of(customer: np.ndarray, day: np.ndarray) -> dict[str, ValueModel]:
    """Ours and the baselines, from orders up to KNOWN; later ones are refused."""
    if day.max() > KNOWN:
        raise ValueError("orders of the judged weeks must not be seen")
    rows, _ = known_at(customer, day, KNOWN)
    newest = histories(rows)
    buying = fit_buying(newest)
    per_week = float(newest.n_orders.sum() / newest.age.sum())
    middle = (FIRST + KNOWN) // 2
    early_rows, ids = known_at(customer, day, middle)
    early = histories(early_rows)
    horizon = (KNOWN - middle) / 7
    happened = orders_between(customer, day, ids, middle, KNOWN)
    level, spread = fit_correction(fit_buying(early), early, happened, horizon)
    plain = ValueModel(0.0, WEEKS, per_week, buying, correction_for(buying, newest, WEEKS, 1.0, 1.0))
    return {
        OURS: replace(plain, correction=correction_for(buying, newest, WEEKS, level, spread)),
        BG_NBD: plain,
        MEAN_RATE: ValueModel(0.0, WEEKS, per_week),
    }


def run(data: Path) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, with the correction that was found."""
    began = time.perf_counter()
    customer, day = read_orders(data / FILE)
    known = day <= KNOWN
    models = models_of(customer[known], day[known])
    rows, ids = known_at(customer, day, KNOWN)
    predicted = {name: model.predict(rows)[ORDERS].to_numpy() for name, model in models.items()}
    found = compare(orders_between(customer, day, ids, KNOWN, LAST), predicted, ids)
    correction = models[OURS].correction
    assert correction is not None
    return {
        "name": "value",
        "data": FILE,
        **found,
        "docs": _DOCS,
        "rows": {"customers": len(ids)},
        "correction": {"level": correction.level, "spread": correction.spread},
        "seconds": time.perf_counter() - began,
    }


def compare(target: np.ndarray, predicted: dict[str, np.ndarray], customer: np.ndarray) -> dict[str, Any]:
    """metrics, baselines and paired differences (ours minus the other), with intervals by resampling customers."""

    def squares(guess: np.ndarray) -> Metric:
        return lambda weight: rmse(target, guess, weight)

    def level(guess: np.ndarray) -> Metric:
        return lambda weight: 100 * bias(target, guess, weight)

    metrics = {(who, "orders_rmse"): squares(guess) for who, guess in predicted.items()}
    metrics |= {(who, "orders_bias_percent"): level(guess) for who, guess in predicted.items()}
    drawn = resampled({"/".join(key): metric for key, metric in metrics.items()}, customer)

    def told(who: str, other: str | None = None) -> dict[str, Any]:
        values = {name: drawn[f"{who}/{name}"] - (drawn[f"{other}/{name}"] if other else 0.0) for name in _DOCS}
        return {name: Interval.of(numbers).as_dict() for name, numbers in values.items()}

    others = [who for who in predicted if who != OURS]
    return {
        "metrics": told(OURS),
        "baselines": {who: told(who) for who in others},
        "paired": {who: told(OURS, who) for who in others},
    }


if __name__ == "__main__":
    run_job(lambda spec: run(Path(spec["data"])))
