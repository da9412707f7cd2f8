"""Predicts a customer's next behaviour (view, click, search, favorite, cart, purchase) from their recent behaviour (L1).

The model is a stack: boosted trees on what is known after each event, and a pretrained encoder fine-tuned on the events
told in words. Their log probabilities are added with weights that serve the validation nights best; which class is
guessed is a rule made for macro-F1 on those nights. `kind` in the settings takes either part alone.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from training.boosting import Data, Encoding, fit_boosted
from training.loop import LoopSettings
from training.task import Examples, Fitting, Measure, settings_of
from training.tasks.behaviour_encoder import fit_encoder
from training.tasks.behaviour_events import KINDS, TARGET, TEXT, Histories, read_events
from training.tasks.behaviour_features import examples_from
from training.tasks.behaviour_measures import MEASURES
from training.tasks.behaviour_model import (
    CHAIN_COLUMNS,
    BehaviourModel,
    Boosted,
    Chain,
    Part,
    Rule,
    best_weights,
    mixed,
)
from training.weights import ENCODER_EN


class BehaviourSettings(Settings):
    """How the behaviour model is made; `models.settings.behaviour` of a shop."""

    kind: Literal["boosted", "encoder", "stack"] = "stack"
    max_examples: int = Field(60_000, ge=100, description="whole customers are drawn until about so many are there")
    boosters: int = Field(3, ge=1, le=20, description="boosted models that differ by their seed; their mean counts")
    rounds: int = Field(600, ge=1, description="trees per class at most; the validation nights stop earlier")
    learning_rate: float = Field(0.04, gt=0, le=1, description="of the boosted trees")
    encoder: str = Field(ENCODER_EN, description="wheel:, hub: or path: address of a BERT")
    layers: int = Field(2, ge=1, description="first layers of the encoder that are used")
    nets: int = Field(3, ge=1, le=10, description="encoders that differ by their seed; their mean counts")
    loop: LoopSettings = Field(
        LoopSettings(learning_rate=4e-4, epochs=6, batch_size=32, dropout=0.2, evaluations=2),
        description="how the encoder is trained",
    )


class BehaviourTask:
    """Promotion decides on log-loss: it uses all of a prediction, macro-F1 hangs on a few rare events."""

    name: str = "behaviour"
    metric: str = "log_loss"
    measures: Mapping[str, Measure] = MEASURES
    example_columns: tuple[str, ...] = (TEXT, *CHAIN_COLUMNS)

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        settings = settings_of(BehaviourSettings, self.name, shop.models.settings.get(self.name, {}))
        told = Histories.of(read_events(shop, store, nights, settings.max_examples), shop.zone)
        found = examples_from(told, nights)
        return Examples(found.rows, found.target, found.customer, _segments(store, found), found.night)

    def baseline(self, train: Examples, how: Fitting) -> BehaviourModel:
        target, classes = _targets(train)
        chain = Chain.of(train.rows, target, len(classes))
        model = BehaviourModel("rates", classes, {"chain": chain}, {"chain": 1.0})
        return model.with_rule_of(train.rows)

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> BehaviourModel:
        settings = settings_of(BehaviourSettings, self.name, how.settings)
        target, classes = _targets(train)
        # what the training nights never held cannot be learnt, so it chooses nothing either
        valid = valid.take(np.isin(_kinds(valid), classes))
        if not len(valid):
            raise TrainingError("no validation examples to choose by; give the task more nights")
        valid_target = class_codes(valid, classes)
        names = [name for name in train.rows.schema.names if name != TEXT]
        parts: dict[str, Part] = {}
        if settings.kind != "encoder":
            parts["boosted"] = fit_trees(train, valid, target, valid_target, names, settings, how)
        if settings.kind != "boosted":
            with TemporaryDirectory() as spare:
                work = (how.work or Path(spare)) / "encoder"
                parts["encoder"] = fit_encoder(
                    train, valid, target, valid_target, names, settings.encoder, settings.layers, settings.nets,
                    settings.loop, how, work,
                )  # fmt: skip
        logits = [part.logits(valid.rows) for part in parts.values()]
        weights = best_weights(logits, valid_target)
        rule = Rule.of(mixed(logits, weights))
        return BehaviourModel(settings.kind, classes, parts, dict(zip(parts, weights, strict=True)), rule)

    def load(self, folder: Path) -> BehaviourModel:
        return BehaviourModel.load(folder)


def fit_trees(
    train: Examples, valid: Examples, target: np.ndarray, valid_target: np.ndarray, names: Sequence[str],
    settings: BehaviourSettings, how: Fitting,
) -> Boosted:  # fmt: skip
    """Small, heavily sampled trees: the signal is weak and much alike in many features."""
    encoding = Encoding(tuple(names), {})
    on = Data(encoding.matrix(train.rows), target)
    by = Data(encoding.matrix(valid.rows), valid_target)
    boosters = [
        fit_boosted(
            on, by, how, objective="multiclass", num_class=int(target.max()) + 1, rounds=settings.rounds, names=names,
            seed=how.seed + number, learning_rate=settings.learning_rate, num_leaves=7, min_data_in_leaf=50,
            feature_fraction=0.3, bagging_fraction=0.7, bagging_freq=1, lambda_l2=10.0,
        )
        for number in range(settings.boosters)
    ]  # fmt: skip
    return Boosted(tuple(boosters), tuple(names))


def _kinds(examples: Examples) -> np.ndarray:
    return np.asarray(examples.target[TARGET].to_numpy(zero_copy_only=False).astype(str))


def _targets(examples: Examples) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class codes (n,) and the kinds they stand for. Raises TrainingError for fewer than two kinds."""
    found = set(_kinds(examples))
    classes = tuple(kind for kind in KINDS if kind in found)
    if len(classes) < 2:
        raise TrainingError(
            f"all {len(examples)} examples are {classes or 'none'}: nothing to tell apart; wait for more nights"
        )
    return class_codes(examples, classes), classes


def class_codes(examples: Examples, classes: Sequence[str]) -> np.ndarray:
    """(n,) place of each target among `classes`, all of which occur there."""
    return np.asarray(pc.index_in(examples.target[TARGET], value_set=pa.array(list(classes))).to_numpy())


def _segments(store: Store, found: Examples) -> np.ndarray:
    """(n,) name of the customer's segment at the end of the night before, "" where there was none."""
    names = np.full(len(found), "", dtype=object)
    for night in np.unique(found.night):
        where = np.flatnonzero(found.night == night)
        for file in store.files("segments", [night.astype(object) - timedelta(days=1)]):
            told = pq.read_table(file, columns=[C.USER_KEY, C.SEGMENT_NAME], partitioning=None)
            place = pc.index_in(pa.array(found.customer[where]), value_set=told[C.USER_KEY])
            named = told[C.SEGMENT_NAME].take(place).to_numpy(zero_copy_only=False)
            names[where] = np.where(place.is_valid(), named, names[where])
    return names


TASK = BehaviourTask()
