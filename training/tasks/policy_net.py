"""The network of a policy: what the nights to come bring, as conservative Q-learning fits it (policy_fit.py)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn


class QNetwork(nn.Module):
    """A small network of summary and terms; the first layer is added up, so that a grid costs no pairs there."""

    def __init__(self, n_summary: int, n_terms: int, width: int) -> None:
        super().__init__()
        self.state = nn.Linear(n_summary, width)
        self.action = nn.Linear(n_terms, width, bias=False)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)
        self.level = nn.Sequential(
            nn.Linear(n_summary, width), nn.ReLU(), nn.Linear(width, 1)
        )  # dueling: whatever is sent

    def forward(self, summary: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
        """(..., f) and (..., q), which broadcast, -> (...)."""
        moved = self.out(torch.relu(self.hidden(torch.relu(self.state(summary) + self.action(psi)))))
        return (moved + self.level(summary)).squeeze(-1)


@dataclass(frozen=True)
class Net:
    """A Q-network's part beyond tonight, in units of `scale` cents."""

    network: QNetwork
    scale: float
    kind: ClassVar[str] = "net"

    def grid(self, summary: np.ndarray, psi: np.ndarray) -> np.ndarray:
        with_nothing = torch.from_numpy(np.concatenate([psi, np.zeros((1, psi.shape[1]))]).astype(np.float32))
        found = np.empty((len(summary), len(with_nothing)))
        with torch.inference_mode():
            for start in range(0, len(summary), 2_048):
                block = torch.from_numpy(summary[start : start + 2_048].astype(np.float32))
                found[start : start + 2_048] = self.network(block[:, None], with_nothing[None]).numpy()
        return found * self.scale

    def save(self, folder: Path) -> dict[str, Any]:
        save_file(dict(self.network.state_dict()), folder / "continuation.safetensors")
        sizes = [self.network.state.in_features, self.network.action.in_features, self.network.hidden.in_features]
        return {"sizes": sizes, "scale": self.scale}

    @classmethod
    def load(cls, folder: Path, told: Mapping[str, Any]) -> "Net":
        network = QNetwork(*told["sizes"])
        network.load_state_dict(load_file(folder / "continuation.safetensors"))
        return cls(network.eval(), float(told["scale"]))
