"""Fits the effect model: linear parts, the trees that start from them, what a click is worth, calibration."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.optimize import minimize
from scipy.special import expit

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from training.boosting import Data, fit_boosted
from training.task import Examples, Fitting
from training.tasks.effect_examples import (
    BOUGHT,
    CLICKED,
    COMPLAINED,
    WEIGHT,
    on_channel,
)
from training.tasks.effect_linear import CustomerTerms, StrategyTerms, fit_bilinear, penalties
from training.tasks.effect_model import BoostedEffect, Head, Orders, Pairs, alone, own_order_cents, paid_share

_TREES: Final[Mapping[str, Any]] = {
    "learning_rate": 0.05, "num_leaves": 6, "min_data_in_leaf": 50, "lambda_l2": 10.0, "feature_fraction": 0.5,
}  # fmt: skip
_CAUTIOUS_TREES: Final[Mapping[str, Any]] = {**_TREES, "learning_rate": 0.02, "num_leaves": 4, "lambda_l2": 50.0}
_MIN_EVENTS: Final = 100  # with fewer of the rarer class there are no trees
# Standard errors by which the trees must beat none on the later nights: lifts are fainter than what chance makes of them.
_CHANCE, _CHANCE_OF_EFFECT = 1.0, 2.0
_PATIENCE: Final = 30
_UNASKED_PRECISION: Final = 100.0  # of the terms of buying unasked, around 0
# What the usual message is thought to add to the logit of buying, held as firmly as some 100 purchases would tell it.
_USUAL_EFFECT, _USUAL_EFFECT_PRECISION = 0.1, 100.0
_CALIBRATION_PRECISION: Final = 100.0  # of the shift around 0 and the slope around 1
_COMMON_SHARE: Final = 0.995  # orders above this quantile count as that: one sofa must not move everybody's mean


@dataclass(frozen=True)
class _Part:
    """What one outcome is learnt from: n rows."""

    view: Pairs
    y: np.ndarray  # (n,) 0 or 1
    weight: np.ndarray  # (n,)

    @classmethod
    def of(cls, view: Pairs, examples: Examples, outcome: str) -> "_Part":
        """The rows whose outcome is known."""
        y = examples.target[outcome].to_numpy()
        known = ~np.isnan(y)
        return cls(Pairs(view.phi[known], view.psi[known]), y[known], examples.target[WEIGHT].to_numpy()[known])

    @property
    def alone(self) -> "_Part":
        return replace(self, view=alone(self.view.phi))

    def data(self, start: np.ndarray) -> Data:
        return Data(np.concatenate([self.view.phi, self.view.psi], axis=1), self.y, self.weight, start)


def fit_effect(train: Examples, valid: Examples, how: Fitting, rounds: int) -> BoostedEffect:
    """Raises TrainingError where nothing was sent, or nobody or everybody bought."""
    sent = train.rows.filter(pc.greater(train.rows[C.FREQUENCY], 0))
    bought = train.target[BOUGHT].to_numpy()
    if not len(sent) or len(np.unique(bought)) < 2:
        what = "nothing was sent" if not len(sent) else f"{'everybody' if bought.all() else 'nobody'} bought anything"
        raise TrainingError(f"effect: {what} in the {len(train)} examples to learn from; wait for more nights")
    strategies = StrategyTerms.of(sent)
    channels = [
        name for name in strategies.levels[C.CHANNEL] if on_channel(name, C.N_CLICKS) in train.rows.schema.names
    ]
    customers = CustomerTerms.of(train.rows, channels)
    views = [Pairs(customers.matrix(rows), strategies.matrix(rows)) for rows in (train.rows, valid.rows)]

    def parts(outcome: str) -> tuple[_Part, _Part]:
        return _Part.of(views[0], train, outcome), _Part.of(views[1], valid, outcome)

    penalty = penalties(customers, strategies)
    click = _answer("click", *parts(CLICKED), penalty, how, rounds)
    purchases, later = parts(BOUGHT)
    unasked = _unasked(purchases.alone, later.alone, how, rounds)
    model = BoostedEffect(
        customers=customers,
        strategies=strategies,
        click=click,
        complaint=_answer("complaint", *parts(COMPLAINED), penalty, how, rounds),
        unasked=unasked,
        per_click=0.0,
        effect=None,
        orders=_orders(train),
    )
    model = _with_effect(model, purchases)
    starts = model.purchase_logits(purchases.view)[0], model.purchase_logits(later.view)[0]
    effect = _trees(
        "effect", purchases.data(starts[0]), later.data(starts[1]), how, rounds, _CAUTIOUS_TREES, _CHANCE_OF_EFFECT
    )
    model = replace(model, effect=effect)
    return replace(model, unasked=_calibrated(model.unasked, model.purchase_logits(later.view)[0], later))


def _answer(name: str, train: _Part, valid: _Part, penalty: np.ndarray, how: Fitting, rounds: int) -> Head:
    """How those who were sent something answer."""
    head = Head(name, fit_bilinear(train.view.phi, train.view.psi, train.y, train.weight, penalty))
    starts = head.raw(train.view), head.raw(valid.view)
    head = replace(head, trees=_trees(name, train.data(starts[0]), valid.data(starts[1]), how, rounds, _TREES, _CHANCE))
    return _calibrated(head, head.raw(valid.view), valid)


def _unasked(train: _Part, valid: _Part, how: Fitting, rounds: int) -> Head:
    """Who buys, whatever was sent: most of it has nothing to do with what was sent, and that was drawn by lot."""
    penalty = np.full((train.view.phi.shape[1], 1), _UNASKED_PRECISION)
    penalty[0] = 1.0
    head = Head("unasked", fit_bilinear(train.view.phi, train.view.psi, train.y, train.weight, penalty))
    starts = head.raw(train.view), head.raw(valid.view)
    return replace(
        head, trees=_trees(head.name, train.data(starts[0]), valid.data(starts[1]), how, rounds, _TREES, _CHANCE)
    )


def _with_effect(model: BoostedEffect, train: _Part) -> BoostedEffect:
    """What a click is worth: the logit of buying is unasked's + shift + effect x P(click) / usual P(click), effect >= 0."""
    start = model.unasked.raw(alone(train.view.phi))
    click = model.click.answers(train.view)
    usual = float(np.average(click[click > 0], weights=train.weight[click > 0]))
    share = click / usual

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        raw = start + values[0] + values[1] * share
        residual = train.weight * (expit(raw) - train.y)
        gap = values[1] - _USUAL_EFFECT
        value = train.weight @ (np.logaddexp(0, raw) - train.y * raw) + _USUAL_EFFECT_PRECISION * gap**2 / 2
        return float(value), np.array([residual.sum(), residual @ share + _USUAL_EFFECT_PRECISION * gap])

    begin = np.array([0.0, _USUAL_EFFECT])
    shift, effect = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=[(None, None), (0.0, None)]).x
    linear = replace(model.unasked.linear, start=model.unasked.linear.start + float(shift))
    return replace(model, unasked=replace(model.unasked, linear=linear), per_click=float(effect) / usual)


def _trees(
    name: str, train: Data, valid: Data, how: Fitting, rounds: int, settings: Mapping[str, Any], chance: float
) -> lightgbm.Booster | None:
    """Trees that add to what `init_score` says, none where the later nights do not show that they help beyond chance."""
    if min(train.y.sum(), (1 - train.y).sum()) < _MIN_EVENTS or not len(valid.y):
        return None
    booster = fit_boosted(
        train, valid, how, objective="binary", rounds=rounds, patience=_PATIENCE, label=f"{name}_", **settings
    )
    assert train.init_score is not None
    assert valid.init_score is not None
    moved = valid.init_score + np.asarray(booster.predict(valid.x, raw_score=True))
    gain = _losses(valid.init_score, valid.y) - _losses(moved, valid.y)
    return booster if gain.mean() > chance * gain.std() / np.sqrt(len(gain)) else None


def _losses(raw: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,) log-losses of logits."""
    return np.logaddexp(0, raw) - y * raw


def _calibrated(head: Head, raw: np.ndarray, valid: _Part) -> Head:
    """Platt's shift and slope (1999) on the later nights, shrunken towards none."""

    def loss(values: np.ndarray) -> float:
        gap = values - np.array([0.0, 1.0])
        return float(
            valid.weight @ _losses(values[0] + values[1] * raw, valid.y) + _CALIBRATION_PRECISION * gap @ gap / 2
        )

    shift, slope = minimize(loss, np.array([0.0, 1.0]), method="L-BFGS-B", bounds=[(None, None), (0.1, None)]).x
    return replace(head, shift=float(shift), slope=float(slope))


def _orders(train: Examples) -> Orders:
    """Mean and slope by least squares over all purchases, before their discounts."""
    bought = train.target[BOUGHT].to_numpy() > 0
    rows = train.rows.filter(pa.array(bought))
    full = train.target[C.SPEND_CENTS].to_numpy()[bought] / np.maximum(paid_share(rows), 0.01)
    full = np.minimum(full, np.quantile(full, _COMMON_SHARE))
    mean = float(full.mean())
    deviation = own_order_cents(rows, mean) - mean
    slope = float(deviation @ (full - mean) / max(float(deviation @ deviation), 1e-9))
    return Orders(mean, min(max(slope, 0.0), 1.0))
