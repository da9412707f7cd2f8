"""A training run small enough for tests, and the same as a process of its own that can be killed or started twice.

python tests/training/tiny_loop.py SPEC.json    # {"work", "out", "settings", "kill_at"?, "kill_in_save"?}
torchrun --nproc-per-node 2 tests/training/tiny_loop.py SPEC.json
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from pipelines.core.errors import NightmarketError
from training import checkpoints, loop, loop_trainer

DEFAULTS = {"learning_rate": 5e-3, "epochs": 4, "batch_size": 16, "precision": "fp32", "log_steps": 1}


def make_model(dropout: float = 0.1, layers: int = 2, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def make_rows(n: int = 80, seed: int = 0) -> list[dict[str, Any]]:
    """3-20 tokens each; class 1 where the first is below 27, which is about half of them."""
    chance = np.random.default_rng(seed)
    tokens = [chance.integers(4, 50, chance.integers(3, 21)).tolist() for _ in range(n)]
    return [{"input_ids": row, "labels": int(row[0] < 27)} for row in tokens]


def length(row: Mapping[str, Any]) -> int:
    return len(row["input_ids"])


def accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


def fit(model: nn.Module, work: Path, *, rows: Any = None, valid: Any = None, **changed: Any) -> loop.TrainResult:
    """`train` with everything filled in; settings and arguments may be changed by name."""
    rows, valid = rows or make_rows(), valid or make_rows(40, seed=1)
    told = {name: changed.pop(name) for name in list(changed) if name in loop.LoopSettings.model_fields}
    filled: dict[str, Any] = {"collate": loop.Padding(), "length": length, "metric": accuracy, "watch": "accuracy"}
    return loop.train(model, rows, valid, loop.LoopSettings(**{**DEFAULTS, **told}), work=work, **{**filled, **changed})


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)

    def log(values: Mapping[str, float], step: int) -> None:
        if step == spec.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    whole = loop_trainer.save_model

    def half(model: nn.Module, path: str) -> None:
        whole(model, path)
        if spec.get("kill_in_save") in path:
            os.truncate(path, os.path.getsize(path) // 2)  # noqa: PTH202
            os.kill(os.getpid(), signal.SIGKILL)

    if "kill_in_save" in spec:
        loop_trainer.save_model = checkpoints.save_model = half
    model = make_model(spec.get("dropout", 0.1))
    try:
        result = fit(model, Path(spec["work"]), log=log, **spec["settings"])
    except NightmarketError as error:
        sys.exit(str(error))
    out = Path(spec["out"]) / os.environ.get("RANK", "0")
    out.mkdir(parents=True)
    save_file(model.state_dict(), out / "model.safetensors")
    (out / "result.json").write_text(json.dumps({"curve": result.curve, "best": result.best, "steps": result.steps}))


if __name__ == "__main__":
    main()
