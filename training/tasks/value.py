"""Value: what a customer will order and spend over the coming nights, from the orders so far.

    nightmarket train value --shop demo

A customer's clock starts with the first night seen in the shop; an order is a night on which something was bought. How
often and how long customers buy is BG/NBD, corrected on known time (value_buying.py); what an order is worth is the mean
of the customer's own orders, drawn to the shop's where there are few.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy import judgement
from training.task import Examples, Fitting, Measure, settings_of
from training.tasks.value_buying import (
    Buying,
    Correction,
    Histories,
    correction_for,
    fit_buying,
    fit_correction,
)
from training.tasks.value_examples import AGE, HORIZON, LAST_ORDER_AGE, N_ORDERS, ORDERS, examples_of

_USUAL_ORDERS: Final = 3.0  # how many orders of its own the shop's mean weighs as much as
_TINY = 1e-9


class ValueSettings(Settings):
    """Under models.settings.value of a shop."""

    horizon_nights: float = Field(90, gt=0, le=3650, description="how far predictions look where a row does not say")
    max_customers: int = Field(200_000, ge=100, description="drawn by lot if there are more")


@dataclass(frozen=True)
class ValueModel:
    """Orders by `buying` and its `correction`; without them (the baseline) the mean rate of all."""

    order_cents: float
    horizon_nights: float
    orders_per_night: float
    buying: Buying | None = None
    correction: Correction | None = None

    @property
    def kind(self) -> str:
        return "mean_rate" if self.buying is None else "bg_nbd"

    def predict(self, rows: pa.Table) -> pa.Table:
        """ORDERS and SPEND_CENTS expected of n rows, within each row's HORIZON or the model's."""
        horizon = np.nan_to_num(_numbers(rows, HORIZON, self.horizon_nights), nan=self.horizon_nights)
        if self.buying is None or self.correction is None:
            orders = self.orders_per_night * horizon
            return pa.table({ORDERS: orders, C.SPEND_CENTS: orders * self.order_cents})
        known = histories(rows)
        orders = self.buying.expected(known, horizon) * self.correction.factor(self.buying, known)
        own = np.nan_to_num(_numbers(rows, C.AVG_ORDER_CENTS, 0.0))
        cents = (known.n_orders * own + _USUAL_ORDERS * self.order_cents) / (known.n_orders + _USUAL_ORDERS)
        return pa.table({ORDERS: orders, C.SPEND_CENTS: orders * cents})

    def save(self, folder: Path) -> None:
        told = {"task": TASK.name, "kind": self.kind, **asdict(self)}
        (folder / "model.json").write_text(json.dumps(told, indent=1, sort_keys=True), encoding="utf-8")


def histories(rows: pa.Table) -> Histories:
    """The order histories that rows tell of."""
    return Histories(*(np.nan_to_num(_numbers(rows, name, 0.0)) for name in (N_ORDERS, LAST_ORDER_AGE, AGE)))


def _deviance(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    y, expected = target[ORDERS].to_numpy(), np.maximum(predicted[ORDERS].to_numpy(), _TINY)
    each = 2 * (np.where(y > 0, y * np.log(np.maximum(y, 1) / expected), 0.0) - (y - expected))
    return (weight @ each) / weight.sum(axis=-1)


def _orders_rmse(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.rmse(target[ORDERS].to_numpy(), predicted[ORDERS].to_numpy(), weight)


def _absolute_bias(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return 100 * np.abs(judgement.bias(target[ORDERS].to_numpy(), predicted[ORDERS].to_numpy(), weight))


def _spend_rmse(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.rmse(target[C.SPEND_CENTS].to_numpy(), predicted[C.SPEND_CENTS].to_numpy(), weight)


class ValueTask:
    """See training/task.py. An example is one night of one customer: orders and spend of that night, of all known before."""

    name: ClassVar[str] = "value"
    metric = "orders_deviance"
    example_columns = (C.USER_KEY, C.SEGMENT_NAME, N_ORDERS, LAST_ORDER_AGE, AGE, C.AVG_ORDER_CENTS, HORIZON)
    measures: Mapping[str, Measure] = {
        "orders_deviance": Measure(_deviance, False, "mean Poisson deviance of the orders of a customer's night"),
        "orders_rmse": Measure(_orders_rmse, False, "root mean squared error of orders"),
        "orders_absolute_bias_percent": Measure(
            _absolute_bias, False, "all orders expected against all made, either way"
        ),
        "spend_rmse_cents": Measure(_spend_rmse, False, "root mean squared error of spend, cents"),
    }

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        settings = settings_of(ValueSettings, self.name, shop.models.settings.get(self.name, {}))
        return examples_of(shop, store, nights, settings.max_customers)

    def baseline(self, train: Examples, how: Fitting) -> ValueModel:
        """Everybody orders as often as the mean customer."""
        settings, nights = settings_of(ValueSettings, self.name, how.settings), _numbers(train.rows, HORIZON, 1.0)
        orders, spend = train.target[ORDERS].to_numpy(), train.target[C.SPEND_CENTS].to_numpy()
        if not orders.any():
            raise TrainingError(
                f"value: nobody bought in the {len(train)} examples to learn from; wait for more nights"
            )
        return ValueModel(
            float(spend.sum() / orders.sum()), settings.horizon_nights, float(orders.sum() / nights.sum())
        )

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> ValueModel:
        """Histories of the newest night; the correction from those of the night at half the known time."""
        mean = self.baseline(train, how)
        nights = np.unique(train.night)
        first_seen = train.night - np.round(_numbers(train.rows, AGE, 0.0)).astype("timedelta64[D]")
        end = max(train.night.max(), valid.night.max() if len(valid) else train.night.max()) + np.timedelta64(1, "D")
        half = first_seen.min() + (end - first_seen.min()) / 2
        middle = nights[np.abs(nights - half).argmin()]
        known = histories(train.rows.filter(pa.array(train.night == middle)))
        horizon = float((end - middle) / np.timedelta64(1, "D"))
        happened = _later_orders(train, valid, middle)
        level, spread = fit_correction(fit_buying(known), known, happened, horizon)
        newest = histories(train.rows.filter(pa.array(train.night == nights[-1])))
        buying = fit_buying(newest)
        correction = correction_for(buying, newest, horizon, level, spread)
        return ValueModel(mean.order_cents, mean.horizon_nights, mean.orders_per_night, buying, correction)

    def load(self, folder: Path) -> ValueModel:
        try:
            told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if told.pop("task") != self.name:
                raise ValueError("a model of another task")
            kind = told.pop("kind")
            told["buying"] = told["buying"] and Buying(**told["buying"])
            told["correction"] = told["correction"] and Correction(**told["correction"])
            model = ValueModel(**told)
            if model.kind != kind:
                raise ValueError(f"kind '{kind}' without its parts")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{folder}: no readable value model ({type(error).__name__}: {error}); train it again"
            ) from None
        return model


TASK = ValueTask()


def _later_orders(train: Examples, valid: Examples, since: np.datetime64) -> np.ndarray:
    """(n,) orders from the night `since` on of the customers known that night, in the order of their rows."""
    keys = np.concatenate([train.customer, valid.customer])
    nights = np.concatenate([train.night, valid.night])
    orders = np.concatenate([train.target[ORDERS].to_numpy(), valid.target[ORDERS].to_numpy()])
    known = pa.array(train.customer[train.night == since], pa.string())
    later = nights >= since
    place = pc.fill_null(pc.index_in(pa.array(keys[later], pa.string()), value_set=known), -1).to_numpy()
    return np.bincount(place[place >= 0], orders[later][place >= 0], minlength=len(known))


def _numbers(rows: pa.Table, name: str, otherwise: float) -> np.ndarray:
    """(n,) float64 of a column, NaN where missing, `otherwise` where there is no such column."""
    if name not in rows.schema.names:
        return np.full(rows.num_rows, otherwise)
    return pc.cast(rows[name], pa.float64()).to_numpy()
