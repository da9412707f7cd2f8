"""Pricing: how many units of each item will be sold tomorrow, and what another price would do to that.

    nightmarket train pricing --shop demo

The response to prices is an elasticity per category, drawn together across categories (pricing_response.py). The level is
the item's own sales a night, drawn to its category's where few were seen (gamma and Poisson), moved by the elasticity from
the prices of those nights to tonight's, by how much the item is looked at, and by the weekday. The baseline knows all of
that but the price.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Final

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
from training.tasks.pricing_examples import (
    ATTENTION,
    LOG_PRICE,
    LOG_PRICE_BEFORE,
    N_NIGHTS,
    N_UNITS,
    UNITS,
    WEEKDAY,
    panel_of,
)
from training.tasks.pricing_response import PRIOR_MEAN, PRIOR_SD, Response, Sales, fit_attention, fit_response

UNITS_SD, ELASTICITY, ELASTICITY_SD = "units_sd", C.ELASTICITY, "elasticity_sd"
_TINY: Final = 1e-9
_SHAPES: Final = np.exp(np.linspace(np.log(0.05), np.log(50), 60))  # of the gamma that items' levels are drawn from
_USUAL_UNITS: Final = 20.0  # what the shop's level weighs in a category's, and a usual weekday in a weekday's


class PricingSettings(Settings):
    """Under models.settings.pricing of a shop."""

    max_items: int = Field(20_000, ge=10, description="drawn by lot if there are more")


@dataclass(frozen=True)
class PricingModel:
    """Units a night: gamma-Poisson levels, times the responses to price (without one: the baseline), attention, weekday."""

    rate: Mapping[str, float]  # category -> units an item sells a night
    other_rate: float  # of categories not known
    shape: float  # of the gamma distribution of items' levels within a category
    attention: float
    weekday: tuple[float, ...]  # Monday first; 1 is usual
    response: Response | None = None

    @property
    def kind(self) -> str:
        return "no_price" if self.response is None else "elasticity"

    def predict(self, rows: pa.Table) -> pa.Table:
        """UNITS expected of n rows, how well that is known, ELASTICITY and how well that is known.

        Without a response to prices, elasticities are what is known of shops at large, and play no part in UNITS.
        """
        category = _texts(rows, C.CATEGORY_ID)
        if self.response is None:
            e, sd = np.full(len(category), PRIOR_MEAN), np.full(len(category), PRIOR_SD)
        else:
            e, sd = self.response.of(category)
        units, spread = self._levels(rows, category)
        known = {UNITS: units * self._moves(rows, e), UNITS_SD: spread * self._moves(rows, e)}
        return pa.table({**known, ELASTICITY: e, ELASTICITY_SD: sd})

    def _levels(self, rows: pa.Table, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Units a night (n,) at the prices of before, and their standard deviation: the item's own, drawn to the rate."""
        rate = np.array([self.rate.get(name, self.other_rate) for name in category.tolist()])
        shape = self.shape + _numbers(rows, N_UNITS)
        per_night = self.shape / np.maximum(rate, _TINY) + _numbers(rows, N_NIGHTS)
        return shape / per_night, np.sqrt(shape) / per_night

    def _moves(self, rows: pa.Table, elasticity: np.ndarray) -> np.ndarray:
        """(n,) how much more is sold than at the item's usual price, attention and weekday."""
        log_move = self.attention * _numbers(rows, ATTENTION)
        if self.response is not None:
            # A price outside of all that was seen says nothing: no further than a factor of two.
            away = _numbers(rows, LOG_PRICE) - _numbers(rows, LOG_PRICE_BEFORE)
            log_move = log_move + elasticity * np.clip(away, -np.log(2), np.log(2))
        day = np.mod(_numbers(rows, WEEKDAY), 7).astype(np.int64)
        return np.exp(log_move) * np.array(self.weekday)[day]

    def save(self, folder: Path) -> None:
        told: dict[str, Any] = {"task": TASK.name, "kind": self.kind, **vars(self), "rate": dict(self.rate)}
        if self.response is not None:
            told["response"] = {
                name: value.tolist() if isinstance(value, np.ndarray) else value
                for name, value in vars(self.response).items()
            }
        (folder / "model.json").write_text(json.dumps(told, indent=1, sort_keys=True), encoding="utf-8")


def _deviance(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    y, expected = target[UNITS].to_numpy(), np.maximum(predicted[UNITS].to_numpy(), _TINY)
    each = 2 * (np.where(y > 0, y * np.log(np.maximum(y, 1) / expected), 0.0) - (y - expected))
    return (weight @ each) / weight.sum(axis=-1)


def _units_rmse(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.rmse(target[UNITS].to_numpy(), predicted[UNITS].to_numpy(), weight)


def _absolute_bias(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return 100 * np.abs(judgement.bias(target[UNITS].to_numpy(), predicted[UNITS].to_numpy(), weight))


class PricingTask:
    """See training/task.py. An example is one item's night: the units sold, of its price and of all known before."""

    name: ClassVar[str] = "pricing"
    metric = "units_deviance"
    example_columns = (
        C.ITEM_ID, C.CATEGORY_ID, LOG_PRICE, LOG_PRICE_BEFORE, N_UNITS, N_NIGHTS, ATTENTION, WEEKDAY,
    )  # fmt: skip
    measures: Mapping[str, Measure] = {
        "units_deviance": Measure(_deviance, False, "mean Poisson deviance of the units of an item's night"),
        "units_rmse": Measure(_units_rmse, False, "root mean squared error of units"),
        "units_absolute_bias_percent": Measure(
            _absolute_bias, False, "all units expected against all sold, either way"
        ),
    }

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        settings = settings_of(PricingSettings, self.name, shop.models.settings.get(self.name, {}))
        return panel_of(shop, store, list(nights), settings.max_items).examples(sorted(nights))

    def baseline(self, train: Examples, how: Fitting) -> PricingModel:
        """Levels, attention and weekdays; prices play no part."""
        settings_of(PricingSettings, self.name, how.settings)
        return _with_levels(train, fit_attention(sales_of(train)[0]), None)

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> PricingModel:
        """The response to prices, and levels. There is no choice to be made: `valid` is learnt from as well."""
        settings_of(PricingSettings, self.name, how.settings)
        both = together(train, valid)
        sales, categories = sales_of(both)
        response = fit_response(sales, categories)
        for name, mean, sd in zip(categories, response.mean, response.sd, strict=True):
            how.log({f"elasticity_{name}": float(mean), f"elasticity_sd_{name}": float(sd)}, 0)
        return _with_levels(both, response.attention, response)

    def load(self, folder: Path) -> PricingModel:
        try:
            told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if told.pop("task") != self.name:
                raise ValueError("a model of another task")
            kind, weekday, response = told.pop("kind"), tuple(told.pop("weekday")), told.pop("response")
            if response is not None:
                mean, sd = (np.array(response[name], dtype=np.float64) for name in ("mean", "sd"))
                others = (float(response[name]) for name in ("other_mean", "other_sd", "attention"))
                response = Response(tuple(response["categories"]), mean, sd, *others)
            model = PricingModel(weekday=weekday, response=response, **told)
            if model.kind != kind:
                raise ValueError(f"kind '{kind}' without its parts")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{folder}: no readable pricing model ({type(error).__name__}: {error}); train it again"
            ) from None
        return model


TASK = PricingTask()


def sales_of(examples: Examples) -> tuple[Sales, tuple[str, ...]]:
    """The examples as the response model wants them, and the names of its categories."""
    category = _texts(examples.rows, C.CATEGORY_ID)
    names, code = np.unique(category, return_inverse=True)
    night = np.unique(examples.night, return_inverse=True)[1]
    item = np.unique(_texts(examples.rows, C.ITEM_ID), return_inverse=True)[1]
    cell = code * (night.max(initial=0) + 1) + night
    log_price, attention = (_numbers(examples.rows, name) for name in (LOG_PRICE, ATTENTION))
    units = examples.target[UNITS].to_numpy()
    return Sales(units, log_price, attention, item, cell, code), tuple(names.tolist())


def together(one: Examples, other: Examples) -> Examples:
    """All examples of both."""
    arrays = (
        np.concatenate([getattr(part, name) for part in (one, other)]) for name in ("customer", "segment", "night")
    )
    tables = (pa.concat_tables([getattr(part, name) for part in (one, other)]) for name in ("rows", "target"))
    return Examples(*tables, *arrays)


def _with_levels(examples: Examples, attention: float, response: Response | None) -> PricingModel:
    """Rates per category and the spread of items within, from each item's longest history; then weekdays."""
    units, night = examples.target[UNITS].to_numpy(), examples.night
    if not units.any():
        raise TrainingError(
            f"pricing: nothing was sold in the {len(examples)} item nights to learn from; wait for more nights"
        )
    last = examples.take(_newest(_texts(examples.rows, C.ITEM_ID), night))
    category = _texts(last.rows, C.CATEGORY_ID)
    sold = _numbers(last.rows, N_UNITS) + last.target[UNITS].to_numpy()
    nights = _numbers(last.rows, N_NIGHTS) + 1
    usual = float(sold.sum() / nights.sum()) or float(units.mean())
    names, code = np.unique(category, return_inverse=True)
    rates = (np.bincount(code, sold) + _USUAL_UNITS) / (np.bincount(code, nights) + _USUAL_UNITS / usual)
    shape = float(_SHAPES[np.argmax([_log_likelihood(k, sold, nights * rates[code]) for k in _SHAPES])])
    rate = dict(zip(names.tolist(), rates.tolist(), strict=True))
    model = PricingModel(rate, usual, shape, attention, (1.0,) * 7, response)
    day = np.mod(_numbers(examples.rows, WEEKDAY), 7).astype(np.int64)
    expected = np.bincount(day, model.predict(examples.rows)[UNITS].to_numpy(), minlength=7)
    overall = float(units.sum() / max(expected.sum(), _TINY))
    weekday = (np.bincount(day, units, minlength=7) + _USUAL_UNITS * overall) / (expected + _USUAL_UNITS)
    return PricingModel(rate, usual, shape, attention, tuple(weekday.tolist()), response)


def _log_likelihood(shape: float, sold: np.ndarray, expected: np.ndarray) -> float:
    """Of counts that are negative binomial: Poisson, with levels gamma of this shape around what is expected."""
    from scipy.special import gammaln

    each = gammaln(sold + shape) - gammaln(shape) + shape * np.log(shape / (shape + expected))
    return float((each + sold * np.log(np.maximum(expected, _TINY) / (shape + expected))).sum())


def _newest(item: np.ndarray, night: np.ndarray) -> np.ndarray:
    """Positions (items,) of each item's last row."""
    order = np.argsort(night, kind="stable")
    _, last = np.unique(item[order][::-1], return_index=True)
    return order[::-1][last]


def _numbers(rows: pa.Table, name: str) -> np.ndarray:
    """(n,) float64 of a column, 0 where missing."""
    if name not in rows.schema.names:
        return np.zeros(rows.num_rows)
    return np.nan_to_num(pc.cast(rows[name], pa.float64()).to_numpy(zero_copy_only=False))


def _texts(rows: pa.Table, name: str) -> np.ndarray:
    """(n,) texts of a column, "" where missing."""
    if name not in rows.schema.names:
        return np.full(rows.num_rows, "", dtype=object)
    return pc.fill_null(pc.cast(rows[name], pa.string()), "").to_numpy(zero_copy_only=False)
