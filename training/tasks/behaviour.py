"""Predicts a customer's next behaviour (view, click, search, favorite, cart, purchase) from their recent behaviour (L1).

The model is a stack: boosted trees on what is known after each event, and a pretrained encoder fine-tuned on the events
told in words. Their log probabilities are added with weights that serve the validation nights best; which class is
guessed is a rule made for macro-F1 on those nights. `kind` in the settings takes either part alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, ValidationError
from scipy.optimize import minimize

from pipelines.core.columns import Columns as C
from pipelines.core.config import Settings, Shop
from pipelines.core.errors import TrainingError, WrongUseError
from pipelines.core.storage import Store
from pipelines.strategy import judgement
from training.boosting import Data, Encoding, fit_boosted, load_booster, save_booster
from training.loop import LoopSettings
from training.task import Examples, Fitting, Measure
from training.tasks.behaviour_encoder import Encoder, fit_encoder
from training.tasks.behaviour_events import KINDS, TARGET, TEXT, Histories, read_events
from training.tasks.behaviour_features import examples_from
from training.weights import ENCODER_EN

_UNSEEN: Final = 1e-6  # probability of a kind that the training nights never held
_BACK_OFF: Final = 10.0  # events that a rate of the Markov chain starts from
_CHAIN: Final = ("kind_1_back", "kind_0_back")


class BehaviourSettings(Settings):
    """How the behaviour model is made; `models.settings.behaviour` of a shop."""

    kind: Literal["boosted", "encoder", "stack"] = "stack"
    max_examples: int = Field(60_000, ge=100, description="whole customers are drawn until about so many are there")
    boosters: int = Field(3, ge=1, le=20, description="boosted models that differ by their seed; their mean counts")
    rounds: int = Field(600, ge=1, description="trees per class at most; the validation nights stop earlier")
    learning_rate: float = Field(0.04, gt=0, le=1, description="of the boosted trees")
    encoder: str = Field(ENCODER_EN, description="wheel:, hub: or path: address of a BERT")
    layers: int = Field(2, ge=1, description="first layers of the encoder that are used")
    loop: LoopSettings = Field(
        LoopSettings(learning_rate=3e-4, epochs=4, batch_size=16, dropout=0.2, evaluations=2),
        description="how the encoder is trained",
    )


@dataclass(frozen=True)
class Rule:
    """Guesses the class with the largest (2 p - f1) / share: what adds most to macro-F1.

    F1 of a class is 2 hits / (events + guesses), so one more guess changes it by (2 p - F1) / (events + guesses); f1 and
    share (both (K,)) are those of the rule itself on the rows it was made for. After Lipton, Elkan & Naryanaswamy 2014,
    arXiv:1402.1892, whose threshold of F1 / 2 is the case of two classes.
    """

    f1: np.ndarray
    share: np.ndarray  # events and guesses of the class, per row

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """(n, K) -> (n,) class codes."""
        return np.asarray(((2 * probability - self.f1) / self.share).argmax(axis=1))

    @classmethod
    def of(cls, probability: np.ndarray, rounds: int = 60) -> "Rule":
        """The best found by iteration on n rows, expected by the probabilities themselves: steadier than by few events."""
        n, n_classes = probability.shape
        events = probability.sum(axis=0)
        rule, best, best_f1 = cls(np.full(n_classes, 0.5), 2 * events / n), None, -1.0
        for _ in range(rounds):
            guess = rule(probability)
            hits = np.bincount(guess, probability[np.arange(n), guess], n_classes)
            either = events + np.bincount(guess, minlength=n_classes)
            f1 = 2 * hits / either
            if f1.mean() > best_f1:
                best, best_f1 = rule, f1.mean()
            rule = cls((rule.f1 + f1) / 2, (rule.share + either / n) / 2)
        assert best is not None
        return best


@dataclass(frozen=True)
class Chain:
    """A Markov chain of second order: how often each class followed the last two kinds, backing off to one and none."""

    rates: np.ndarray  # (kinds + 1, kinds + 1, classes), by the kinds before and last, 0 where there is none

    def logits(self, rows: pa.Table) -> np.ndarray:
        return np.asarray(np.log(self.rates[_chain_places(rows)]))

    @classmethod
    def of(cls, rows: pa.Table, target: np.ndarray, n_classes: int) -> "Chain":
        counts = np.zeros((len(KINDS) + 1, len(KINDS) + 1, n_classes))
        np.add.at(counts, (*_chain_places(rows), target), 1.0)
        rates = (counts.sum(axis=(0, 1)) + 0.5) / (counts.sum() + 0.5 * n_classes)
        for seen in (counts.sum(axis=0), counts):
            rates = (seen + _BACK_OFF * rates) / (seen.sum(axis=-1, keepdims=True) + _BACK_OFF)
        return cls(rates)


@dataclass(frozen=True)
class Boosted:
    """Some boosted models whose mean probability counts."""

    boosters: tuple[lightgbm.Booster, ...]
    names: tuple[str, ...]

    def logits(self, rows: pa.Table) -> np.ndarray:
        matrix = Encoding(self.names, {}).matrix(rows)
        return np.log(np.clip(np.mean([one.predict(matrix) for one in self.boosters], axis=0), 1e-9, 1))


@dataclass(frozen=True)
class BehaviourModel:
    """Parts that give logits (n, classes), mixed by weights, and the rule that guesses."""

    kind: str
    classes: tuple[str, ...]  # of KINDS, those that can be told apart
    parts: Mapping[str, Chain | Boosted | Encoder]
    weights: Mapping[str, float]
    rule: Rule | None = None

    def probability(self, rows: pa.Table) -> np.ndarray:
        """(n, classes)."""
        return mixed([part.logits(rows) for part in self.parts.values()], [self.weights[name] for name in self.parts])

    def with_rule_of(self, rows: pa.Table) -> "BehaviourModel":
        """The same with a rule made for these rows."""
        return replace(self, rule=Rule.of(self.probability(rows)))

    def predict(self, rows: pa.Table) -> pa.Table:
        """p_KIND of each kind, and `behaviour`, the guess."""
        known = self.probability(rows) if rows.num_rows else np.zeros((0, len(self.classes)))
        guess = self.rule(known) if self.rule else known.argmax(axis=1)
        unseen = len(KINDS) - len(self.classes)
        known = known * (1 - unseen * _UNSEEN)
        columns = {
            f"p_{kind}": known[:, self.classes.index(kind)] if kind in self.classes else np.full(len(known), _UNSEEN)
            for kind in KINDS
        }
        return pa.table({**columns, TARGET: pa.array(np.array(self.classes)[guess], pa.string())})

    def save(self, folder: Path) -> None:
        told: dict[str, Any] = {
            "task": "behaviour",
            "kind": self.kind,
            "classes": self.classes,
            "weights": self.weights,
        }
        if self.rule:
            told["rule"] = {"f1": self.rule.f1.tolist(), "share": self.rule.share.tolist()}
        for part in self.parts.values():
            if isinstance(part, Chain):
                told["rates"] = part.rates.tolist()
            elif isinstance(part, Boosted):
                told |= {"features": part.names, "boosters": len(part.boosters)}
                for number, booster in enumerate(part.boosters):
                    save_booster(booster, folder / f"booster_{number}.txt")
            else:
                part.save(folder / "encoder")
        (folder / "model.json").write_text(json.dumps(told, sort_keys=True))


class BehaviourTask:
    """Promotion decides on log-loss: it uses all of a prediction, macro-F1 hangs on a few rare events."""

    name = "behaviour"
    metric = "log_loss"
    example_columns = (TEXT, *_CHAIN)

    @property
    def measures(self) -> Mapping[str, Measure]:
        return {
            "log_loss": Measure(_log_loss, False, "mean of -ln p of what was done"),
            "accuracy": Measure(_accuracy, True, "share of events whose kind was guessed; rare kinds hardly count"),
            "macro_f1": Measure(_macro_f1, True, "mean F1 over the kinds that occur"),
            "pr_auc_buy": Measure(_pr_auc_buy, True, "average precision of p_purchase"),
            "ece": Measure(_ece, False, "calibration error, mean over the kinds that occur"),
        }

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        settings = settings_of(shop.models.settings.get(self.name, {}))
        told = Histories.of(read_events(shop, store, nights, settings.max_examples), shop.zone)
        found = examples_from(told, nights)
        return Examples(found.rows, found.target, found.customer, _segments(store, found), found.night)

    def baseline(self, train: Examples, how: Fitting) -> BehaviourModel:
        target, classes = _targets(train)
        chain = Chain.of(train.rows, target, len(classes))
        model = BehaviourModel("rates", classes, {"chain": chain}, {"chain": 1.0})
        return model.with_rule_of(train.rows)

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> BehaviourModel:
        settings = settings_of(how.settings)
        target, classes = _targets(train)
        # what the training nights never held cannot be learnt, so it chooses nothing either
        valid = valid.take(np.isin(_kinds(valid), classes))
        if not len(valid):
            raise TrainingError("no validation examples to choose by; give the task more nights")
        valid_target = class_codes(valid, classes)
        names = [name for name in train.rows.schema.names if name != TEXT]
        parts: dict[str, Chain | Boosted | Encoder] = {}
        if settings.kind != "encoder":
            parts["boosted"] = fit_trees(train, valid, target, valid_target, names, settings, how)
        if settings.kind != "boosted":
            with TemporaryDirectory() as spare:
                work = (how.work or Path(spare)) / "encoder"
                parts["encoder"] = fit_encoder(
                    train, valid, target, valid_target, names, settings.encoder, settings.layers, settings.loop, how, work
                )  # fmt: skip
        logits = [part.logits(valid.rows) for part in parts.values()]
        weights = best_weights(logits, valid_target)
        rule = Rule.of(mixed(logits, weights))
        return BehaviourModel(settings.kind, classes, parts, dict(zip(parts, weights, strict=True)), rule)

    def load(self, folder: Path) -> BehaviourModel:
        try:
            told = json.loads((folder / "model.json").read_text())
            if told["task"] != self.name:
                raise TrainingError(f"{folder}: a model of task {told['task']!r}, expected {self.name}")
            parts: dict[str, Chain | Boosted | Encoder] = {}
            for part in told["weights"]:
                if part == "chain":
                    parts[part] = Chain(np.array(told["rates"]))
                elif part == "boosted":
                    boosters = [load_booster(folder / f"booster_{number}.txt") for number in range(told["boosters"])]
                    parts[part] = Boosted(tuple(boosters), tuple(told["features"]))
                else:
                    parts[part] = Encoder.load(folder / "encoder")
            rule = Rule(*(np.array(told["rule"][name]) for name in ("f1", "share")))
            return BehaviourModel(told["kind"], tuple(told["classes"]), parts, told["weights"], rule)
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"{folder}: no readable behaviour model ({error}); train again") from error


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


def settings_of(told: Mapping[str, Any]) -> BehaviourSettings:
    """Raises WrongUseError that names the first wrong key."""
    try:
        return BehaviourSettings.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WrongUseError(
            f"models.settings.behaviour.{where}: {first['msg']} (found {first['input']!r:.80})"
        ) from None


def mixed(logits: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Probabilities (n, K) from weighted sums of log probabilities."""
    summed = np.zeros_like(logits[0], dtype=np.float64)
    for one, weight in zip(logits, weights, strict=True):
        one = one.astype(np.float64)
        top = one.max(axis=1, keepdims=True, initial=-np.inf)
        summed += weight * (one - top - np.log(np.exp(one - top).sum(axis=1, keepdims=True)))
    chance = np.exp(summed - summed.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(chance / chance.sum(axis=1, keepdims=True))


def best_weights(logits: Sequence[np.ndarray], target: np.ndarray) -> list[float]:
    """Weights of least log-loss on n rows; with one part alone this is its temperature."""

    def loss(weights: np.ndarray) -> float:
        chance = mixed(logits, weights.tolist())
        return float(-np.log(np.clip(chance[np.arange(len(target)), target], 1e-12, 1)).mean())

    start = np.full(len(logits), 1 / len(logits))
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(0.0, 2.0)] * len(logits))
    return [float(weight) for weight in found.x]


def _chain_places(rows: pa.Table) -> tuple[np.ndarray, ...]:
    return tuple(np.nan_to_num(rows[name].to_numpy().astype(np.float64), nan=-1).astype(int) + 1 for name in _CHAIN)


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


# -- measures


def _probability(predicted: pa.Table) -> np.ndarray:
    return np.column_stack([predicted[f"p_{kind}"].to_numpy() for kind in KINDS])


def _truth(target: pa.Table) -> np.ndarray:
    return np.asarray(pc.index_in(target[TARGET], value_set=pa.array(KINDS)).to_numpy())


def _log_loss(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    return judgement.log_loss(_truth(target), _probability(predicted), weight)


def _ece(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    truth, chance = _truth(target), _probability(predicted)
    return np.mean([judgement.ece(truth == kind, chance[:, kind], weight) for kind in np.unique(truth)], axis=0)


def _accuracy(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    return judgement.accuracy(_truth(target), _truth(predicted), weight)


def _macro_f1(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    truth, guess = _truth(target), _truth(predicted)
    occurring = np.unique(truth)
    place = np.full(len(KINDS), len(occurring))  # a guess of a kind that never occurs is a miss of another
    place[occurring] = np.arange(len(occurring))
    return judgement.macro_f1(place[truth], place[guess], len(occurring), weight)


def _pr_auc_buy(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    is_buy = pc.equal(target[TARGET], "purchase").to_numpy(zero_copy_only=False)
    return judgement.pr_auc(is_buy, predicted["p_purchase"].to_numpy(), weight)


TASK = BehaviourTask()
