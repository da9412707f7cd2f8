"""What the behaviour model is made of: parts that give log probabilities, their mix, and the rule that guesses a class."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import lightgbm
import numpy as np
import pyarrow as pa
from scipy.optimize import minimize

from pipelines.core.errors import TrainingError
from training.boosting import Encoding, load_booster, save_booster
from training.tasks.behaviour_encoder import Encoder
from training.tasks.behaviour_events import KINDS, TARGET

CHAIN_COLUMNS: Final = ("kind_1_back", "kind_0_back")
_UNSEEN: Final = 1e-6  # probability of a kind that the training nights never held
_BACK_OFF: Final = 10.0  # events that a rate of the Markov chain starts from


class Part(Protocol):
    """Anything that gives unnormalised log probabilities."""

    def logits(self, rows: pa.Table) -> np.ndarray:
        """(n, classes) of n rows."""
        ...


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


@dataclass
class BehaviourModel:
    """Parts that give logits (n, classes), mixed by weights, and the rule that guesses."""

    kind: str
    classes: tuple[str, ...]  # of KINDS, those that can be told apart
    parts: Mapping[str, Part]
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
            elif isinstance(part, Encoder):
                part.save(folder / "encoder")
        (folder / "model.json").write_text(json.dumps(told, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> "BehaviourModel":
        """What `save` wrote. Raises TrainingError for a folder that holds something else, or less."""
        try:
            told = json.loads((folder / "model.json").read_text())
            if told["task"] != "behaviour":
                raise TrainingError(f"{folder}: a model of task {told['task']!r}, expected 'behaviour'")
            parts: dict[str, Part] = {}
            for part in told["weights"]:
                if part == "chain":
                    parts[part] = Chain(np.array(told["rates"]))
                elif part == "boosted":
                    boosters = [load_booster(folder / f"booster_{number}.txt") for number in range(told["boosters"])]
                    parts[part] = Boosted(tuple(boosters), tuple(told["features"]))
                else:
                    parts[part] = Encoder.load(folder / "encoder")
            rule = Rule(*(np.array(told["rule"][name]) for name in ("f1", "share")))
            return cls(told["kind"], tuple(told["classes"]), parts, told["weights"], rule)
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"{folder}: no readable behaviour model ({error}); train again") from error


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
    return tuple(
        np.nan_to_num(rows[name].to_numpy().astype(np.float64), nan=-1).astype(int) + 1 for name in CHAIN_COLUMNS
    )
