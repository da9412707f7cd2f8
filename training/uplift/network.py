"""A small network for several treatments and outcomes at once: what customers are like is learnt once, for all of them.

One shared representation, one head per arm and outcome, and a head that tells the arm, so that what decides who is
treated is kept in the representation (TARNet, Shalit, Johansson and Sontag 2017; Dragonnet, Shi, Blei and Veitch 2019).
Stored as safetensors: in a folder with its shape beside it, or, as a part of a blend, as text inside the blend's JSON.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import nn

from pipelines.core.errors import TrainingError
from training.uplift.trial import Trial

WIDTH: Final = 32
EPOCHS: Final = 24
MAX_STEPS: Final = 200  # more fit noise: effects are small beside it
MIN_STEPS: Final = 60
BATCH_ROWS: Final = 1_024
LEARNING_RATE: Final = 3e-3
WEIGHT_DECAY: Final = 0.05
DROPOUT: Final = 0.1
PROPENSITY_SHARE: Final = 0.1  # of the loss: outcomes matter more than who was treated
_WEIGHTS, _SHAPE = "network.safetensors", "network.json"


class Heads(nn.Module):
    """(n, f) standardised features -> outcomes (n, A, O) on the scale of `is_class`'s logits or standard deviations."""

    def __init__(self, n_features: int, n_arms: int, n_outcomes: int) -> None:
        super().__init__()
        self.n_arms, self.n_outcomes = n_arms, n_outcomes
        self.shared = nn.Sequential(
            nn.Linear(n_features, WIDTH), nn.ELU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, WIDTH), nn.ELU()
        )
        # Heads share a baseline and add what an arm changes: a small change is then a small weight.
        self.baseline = nn.Linear(WIDTH, n_outcomes)
        self.change = nn.Linear(WIDTH, (n_arms - 1) * n_outcomes)
        self.propensity = nn.Linear(WIDTH, n_arms)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outcomes (n, A, O) and logits of the arms (n, A)."""
        inside = self.shared(x)
        baseline = self.baseline(inside)[:, None, :]
        change = self.change(inside).reshape(len(x), self.n_arms - 1, self.n_outcomes)
        return torch.cat([baseline, baseline + change], dim=1), self.propensity(inside)


@dataclass(frozen=True)
class Network:
    """A fitted network and the scales it works on."""

    heads: Heads
    centre: np.ndarray  # (f,)
    spread: np.ndarray  # (f,)
    is_class: tuple[bool, ...]  # O
    scale: np.ndarray  # (O, 2) mean and standard deviation of amounts; 0 and 1 of classes

    def mean(self, x: np.ndarray) -> np.ndarray:
        """(n, f) -> (n, A, O) expected outcomes, in their units."""
        self.heads.eval()
        with torch.no_grad():
            told = torch.from_numpy(((x - self.centre) / self.spread).astype(np.float32))
            raw = self.heads(told)[0].numpy().astype(np.float64)
        chance = 1 / (1 + np.exp(-raw))
        return np.where(np.array(self.is_class), chance, self.scale[:, 0] + self.scale[:, 1] * raw)

    def effect(self, x: np.ndarray) -> np.ndarray:
        """(n, f) -> (n, A-1, O) lifts over the control, in the outcomes' units."""
        mean = self.mean(x)
        return mean[:, 1:] - mean[:, :1]

    def save(self, folder: Path) -> None:
        (folder / _WEIGHTS).write_bytes(self._weights())
        (folder / _SHAPE).write_text(json.dumps(self._shape()))

    @classmethod
    def load(cls, folder: Path) -> "Network":
        """Raises TrainingError where there is none or it was cut."""
        try:
            return cls._of(json.loads((folder / _SHAPE).read_text()), (folder / _WEIGHTS).read_bytes())
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
            raise TrainingError(f"{folder}: no readable network ({error}); train again") from None

    def to_json(self) -> dict[str, Any]:
        return {**self._shape(), "safetensors": base64.b64encode(self._weights()).decode()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Network":
        """Raises TrainingError for weights that are none or were cut."""
        try:
            return cls._of(told, base64.b64decode(told["safetensors"], validate=True))
        except (ValueError, RuntimeError, safetensors.SafetensorError) as error:
            raise TrainingError(f"a network's weights that cannot be read ({error}); train again") from None

    def _weights(self) -> bytes:
        return save_bytes({name: one.contiguous() for name, one in self.heads.state_dict().items()})

    def _shape(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name).tolist() for name in ("centre", "spread", "scale")}
        return {"n_arms": self.heads.n_arms, "is_class": list(self.is_class), **numbers}

    @classmethod
    def _of(cls, told: Mapping[str, Any], weights: bytes) -> "Network":
        centre, spread, scale = (np.array(told[name], dtype=np.float64) for name in ("centre", "spread", "scale"))
        heads = Heads(len(centre), int(told["n_arms"]), len(scale))
        heads.load_state_dict(load_bytes(weights))
        return cls(heads, centre, spread, tuple(bool(one) for one in told["is_class"]), scale)


@dataclass(frozen=True)
class NetworkEffects:
    """The effects on a network's first outcome, as those of other learners are shaped."""

    network: Network

    def effect(self, x: np.ndarray) -> np.ndarray:
        """(n, f) -> (n, A-1)."""
        return self.network.effect(x)[:, :, 0]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "network", "network": self.network.to_json()}


def fit_network_effects(trial: Trial, mean: np.ndarray, seed: int) -> NetworkEffects:
    """A candidate of a blend; `mean` is not used."""
    return NetworkEffects(fit_network([trial], seed))


def fit_network(trials: Sequence[Trial], seed: int = 0) -> Network:
    """One network for one or more outcomes of the same customers and arms, on the CPU; equal data and seed, equal weights.

    Each outcome's loss is that of its kind (cross-entropy or squared standard deviations) over its own size, so that a
    rare or a large outcome does not rule the others. Raises TrainingError where the trials are not of the same rows.
    """
    if not trials or any(len(one) != len(trials[0]) or (one.arm != trials[0].arm).any() for one in trials):
        raise TrainingError("a network's outcomes must be of the same rows and arms, at least one outcome")
    first = trials[0]
    centre, spread = first.x.mean(axis=0), first.x.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    is_class = tuple(one.is_binary for one in trials)
    scale = np.array(
        [(0.0, 1.0) if told else (one.y.mean(), one.y.std()) for one, told in zip(trials, is_class, strict=True)]
    )
    y = np.stack([(one.y - at[0]) / at[1] for one, at in zip(trials, scale, strict=True)], axis=1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = Heads(first.x.shape[1], first.n_arms, len(trials))
        steps = int(np.clip(EPOCHS * len(first) / BATCH_ROWS, MIN_STEPS, MAX_STEPS))
        _train(heads, (first.x - centre) / spread, first.arm, y, first.weight, is_class, steps)
    return Network(heads, centre, spread, is_class, scale)


def _train(
    heads: Heads,
    x: np.ndarray,
    arm: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    is_class: tuple[bool, ...],
    steps: int,
) -> None:
    told, outcome = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))
    arms, weights = torch.from_numpy(arm), torch.from_numpy((weight / weight.mean()).astype(np.float32))
    sizes = torch.from_numpy(np.maximum(y.var(axis=0), 1e-6).astype(np.float32))
    optimizer = torch.optim.AdamW(heads.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    heads.train()
    for _ in range(steps):
        rows = torch.randint(len(told), (min(BATCH_ROWS, len(told)),))
        guess, logits = heads(told[rows])
        own = guess[torch.arange(len(rows)), arms[rows]]
        losses = [
            nn.functional.binary_cross_entropy_with_logits(own[:, at], outcome[rows, at], reduction="none")
            if told_class
            else (own[:, at] - outcome[rows, at]) ** 2 / 2
            for at, told_class in enumerate(is_class)
        ]
        outcomes = (torch.stack(losses, dim=1) / sizes).mean(dim=1)
        who = nn.functional.cross_entropy(logits, arms[rows], reduction="none")
        loss = (weights[rows] * (outcomes + PROPENSITY_SHARE * who)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    if not torch.isfinite(loss):
        raise TrainingError("the network's loss is no number: features or amounts too large; clip or scale them")
