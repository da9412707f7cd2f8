"""Effect: click, purchase, spend and complaint of a customer under a strategy, and what that is more than sending nothing.

    nightmarket train effect --shop demo

Clicks and complaints of those who were sent something, and the purchases of everybody, each get a logistic regression
with few crosses, from which boosted trees start. What a message adds to the logit of buying is too small to be learnt pair
by pair from a small shop's purchases, so it is a share of P(click): who answers a message is moved by it. That share is
learnt from campaigns drawn by lot, from a cautious guess on; trees on customer and strategy correct it where later nights
prove them right beyond chance. All of it is one model of one outcome with the strategy as a feature (the S-learner of
Kunzel, Sekhon, Bickel and Yu 2019), so that sending nothing is one more strategy and lifts are exact differences.
"""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy import judgement
from training.task import Examples, Fitting, Measure, settings_of
from training.tasks.effect_examples import (
    BOUGHT,
    CLICKED,
    CUSTOMER_NUMBERS,
    CUSTOMER_TEXTS,
    STRATEGY_COLUMNS,
    examples_of,
    profiles_of,
)
from training.tasks.effect_fit import fit_effect
from training.tasks.effect_model import BoostedEffect
from training.tasks.effect_policy import compare_policies
from training.tasks.effect_rates import RatesModel, fit_rates

__all__ = ["TASK", "EffectModel", "profiles_of"]

EffectModel = BoostedEffect | RatesModel


class EffectSettings(Settings):
    """Under models.settings.effect of a shop."""

    max_examples: int = Field(500_000, ge=100, description="customers x nights, drawn by lot if there are more")
    rounds: int = Field(500, ge=1, description="trees per outcome, at most")


def _conversion_log_loss(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.log_loss(target[BOUGHT].to_numpy(), predicted[C.P_CONVERSION].to_numpy(), weight)


def _click_log_loss(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    clicked = target[CLICKED].to_numpy()
    sent = ~np.isnan(clicked)
    return judgement.log_loss(clicked[sent], predicted[C.P_CLICK].to_numpy()[sent], weight[..., sent])


def _log_loss(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    sent = ~np.isnan(target[CLICKED].to_numpy())
    share = weight[..., sent].sum(axis=-1) / weight.sum(axis=-1)
    clicks = np.where(share > 0, share * np.nan_to_num(_click_log_loss(target, predicted, weight)), 0.0)
    return _conversion_log_loss(target, predicted, weight) + clicks


def _ece(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.ece(target[BOUGHT].to_numpy(), predicted[C.P_CONVERSION].to_numpy(), weight)


def _click_ece(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    clicked = target[CLICKED].to_numpy()
    sent = ~np.isnan(clicked)
    return judgement.ece(clicked[sent], predicted[C.P_CLICK].to_numpy()[sent], weight[..., sent])


def _brier(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.brier(target[BOUGHT].to_numpy(), predicted[C.P_CONVERSION].to_numpy(), weight)


def _spend_rmse(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.rmse(target[C.SPEND_CENTS].to_numpy(), predicted[C.SPEND_CENTS].to_numpy(), weight)


class EffectTask:
    """See training/task.py.

    `log_loss` decides: purchases pay but are rare, clicks are plenty and tell of channels, hours and words, and the sum is
    what the answers of a customer's night would take to be told. A value of the policy by inverse propensities would be
    nearer to the plan, but its interval on two nights of a small shop is wider than any difference between models.
    """

    name = "effect"
    metric = "log_loss"
    example_columns = (C.USER_KEY, C.SEGMENT_NAME, *CUSTOMER_NUMBERS, *CUSTOMER_TEXTS, *STRATEGY_COLUMNS)
    measures: Mapping[str, Measure] = {
        "log_loss": Measure(_log_loss, False, "log-loss of a customer's night: buys or not, clicks or not where sent"),
        "conversion_log_loss": Measure(_conversion_log_loss, False, "mean -ln p of buying or not, all customers"),
        "click_log_loss": Measure(_click_log_loss, False, "mean -ln p of clicking or not, where something was sent"),
        "ece": Measure(_ece, False, "calibration error of the probability of buying"),
        "click_ece": Measure(_click_ece, False, "calibration error of the probability of a click"),
        "brier": Measure(_brier, False, "mean squared error of the probability of buying"),
        "spend_rmse_cents": Measure(_spend_rmse, False, "root mean squared error of a customer's spend, cents"),
    }

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        """One example per customer known the night before, see effect_examples.py."""
        settings = settings_of(EffectSettings, self.name, shop.models.settings.get(self.name, {}))
        return examples_of(shop, store, nights, settings.max_examples)

    def baseline(self, train: Examples, how: Fitting) -> RatesModel:
        return fit_rates(train)

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> BoostedEffect:
        return fit_effect(train, valid, how, settings_of(EffectSettings, self.name, how.settings).rounds)

    def compare_policies(
        self, shop: Shop, store: Store, examples: Examples, challenger: EffectModel, champion: EffectModel
    ) -> dict[str, Any]:
        return compare_policies(shop, store, examples, challenger, champion)

    def load(self, folder: Path) -> EffectModel:
        try:
            told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if told["task"] == self.name and told["kind"] == RatesModel.kind:
                return RatesModel.from_json(told)
            if told["task"] == self.name and told["kind"] == BoostedEffect.kind:
                return BoostedEffect.load(folder, told)
            found = f"a model '{told['kind']}' of task '{told['task']}'"
        except (OSError, ValueError, KeyError, TypeError) as error:
            found = f"no readable model.json ({type(error).__name__}: {error})"
        raise TrainingError(f"{folder}: {found}, expected a model of task 'effect'; train it again")


TASK = EffectTask()
