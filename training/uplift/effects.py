"""Fitted learners: effects of every treatment against the control for rows, saved as JSON (trees as LightGBM's own text)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipelines.core.errors import TrainingError
from training.uplift.bases import Model, model_from_json


class Effects(Protocol):
    """What a learner has found."""

    def effect(self, x: np.ndarray) -> np.ndarray:
        """(n, f) -> (n, A-1), in the unit of the outcome."""
        ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Constant:
    """The same effect for everyone: the policy that takes its best arm is always-best-arm."""

    values: np.ndarray  # (A-1,)

    def effect(self, x: np.ndarray) -> np.ndarray:
        return np.tile(self.values, (len(x), 1))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "constant", "values": self.values.tolist()}


@dataclass(frozen=True)
class PerArm:
    """A model of the outcome per arm."""

    models: tuple[Model, ...]  # A

    def mean(self, x: np.ndarray) -> np.ndarray:
        """(n, A) expected outcomes."""
        return np.stack([model.predict(x) for model in self.models], axis=1)

    def effect(self, x: np.ndarray) -> np.ndarray:
        mean = self.mean(x)
        return mean[:, 1:] - mean[:, :1]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "per_arm", "models": [model.to_json() for model in self.models]}


def crossed(x: np.ndarray, arm: np.ndarray, n_arms: int, *, with_crosses: bool) -> np.ndarray:
    """(n, f + T) features and treatments as 0/1; with crosses also features times each treatment, and times any of them.

    What any treatment does is a column of its own, so that treatments borrow from each other; with one it would be double.
    """
    told = (arm[:, None] == np.arange(1, n_arms)).astype(np.float64)
    crossing = [*told.T, told.sum(axis=1)] if n_arms > 2 else [*told.T]
    return np.concatenate([x, told, *(who[:, None] * x for who in crossing if with_crosses)], axis=1)


@dataclass(frozen=True)
class Joined:
    """One model of the outcome on features and arm; with `centre` and `spread` also on their products (`crossed`)."""

    model: Model
    n_arms: int
    centre: np.ndarray | None = None  # (f,)
    spread: np.ndarray | None = None  # (f,)

    def mean(self, x: np.ndarray) -> np.ndarray:
        """(n, A) expected outcomes."""
        is_linear = self.centre is not None and self.spread is not None
        told = (x - self.centre) / self.spread if is_linear else x
        arms = (np.full(len(x), arm) for arm in range(self.n_arms))
        designs = (crossed(told, arm, self.n_arms, with_crosses=is_linear) for arm in arms)
        return np.stack([self.model.predict(design) for design in designs], axis=1)

    def effect(self, x: np.ndarray) -> np.ndarray:
        mean = self.mean(x)
        return mean[:, 1:] - mean[:, :1]

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"kind": "joined", "model": self.model.to_json(), "n_arms": self.n_arms}
        if self.centre is not None and self.spread is not None:
            told |= {"centre": self.centre.tolist(), "spread": self.spread.tolist()}
        return told


@dataclass(frozen=True)
class Direct:
    """Models of the effect itself: of each treatment a shift and a weighted sum of models."""

    parts: tuple[tuple[tuple[float, Model], ...], ...]
    shift: tuple[float, ...]

    def effect(self, x: np.ndarray) -> np.ndarray:
        found = [
            start + sum(weight * model.predict(x) for weight, model in models)
            for start, models in zip(self.shift, self.parts, strict=True)
        ]
        return np.stack(found, axis=1)

    def to_json(self) -> dict[str, Any]:
        parts = [[[weight, model.to_json()] for weight, model in models] for models in self.parts]
        return {"kind": "direct", "parts": parts, "shift": list(self.shift)}


@dataclass(frozen=True)
class Through:
    """An effect on a step that comes before an amount (a visit before spend), times the amount per step taken."""

    step: Effects
    amount: float

    def effect(self, x: np.ndarray) -> np.ndarray:
        return self.step.effect(x) * self.amount

    def to_json(self) -> dict[str, Any]:
        return {"kind": "through", "step": self.step.to_json(), "amount": self.amount}


def effects_from_json(told: Mapping[str, Any]) -> Effects:
    """What `to_json` of any of them told. Raises TrainingError for what is none of them."""
    kind = told.get("kind")
    if kind == "constant":
        return Constant(np.array(told["values"], dtype=np.float64))
    if kind == "per_arm":
        return PerArm(tuple(model_from_json(one) for one in told["models"]))
    if kind == "joined":
        centre, spread = (np.array(told[name]) if name in told else None for name in ("centre", "spread"))
        return Joined(model_from_json(told["model"]), int(told["n_arms"]), centre, spread)
    if kind == "direct":
        parts = tuple(tuple((float(w), model_from_json(one)) for w, one in models) for models in told["parts"])
        return Direct(parts, tuple(float(start) for start in told["shift"]))
    if kind == "through":
        return Through(effects_from_json(told["step"]), float(told["amount"]))
    if kind == "network":
        from training.uplift.network import Network, NetworkEffects  # torch only where it is needed

        return NetworkEffects(Network.from_json(told["network"]))
    kinds = "constant, per_arm, joined, direct, through or network"
    raise TrainingError(f"effects of kind {kind!r}: expected {kinds}; train again")
