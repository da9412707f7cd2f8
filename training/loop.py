"""The one way to train a neural model: a thin layer over Hugging Face's Trainer, which does the loop itself.

    result = train(model, rows, later_rows, settings, collate=pad, length=tokens, metric=score, watch="macro_f1", work=folder)

`model` is any torch module whose forward takes the keys of a batch and returns `logits` first (or under that name); it
ends with the weights that were best on the validation rows. What the Trainer does not give is added here: batches whose
order depends on the seed and the epoch alone (exact resume, and one process or several see the same), checkpoints that
appear whole or not at all, a loss that is no number as an error, and half the batch in memory where it does not fit.
Under `torchrun` every process calls `train` with the same arguments; nothing else changes.
"""

import gc
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed
from accelerate.utils.memory import should_reduce_batch_size
from pydantic import Field, model_validator
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from pipelines.core.config import Settings
from pipelines.core.errors import TrainingError

Row = Mapping[str, Any]
Collate = Callable[[list[Any]], dict[str, Tensor]]
Log = Callable[[Mapping[str, float], int], None]


class LoopSettings(Settings):
    """How a neural model is trained. What is not said here is the Trainer's default."""

    tune: Literal["full", "frozen", "lora"] = Field("full", description="what is trained")
    frozen_layers: int = Field(0, ge=0, description="tune=frozen: the embeddings and so many first layers stay")
    lora_rank: int = Field(8, ge=1, le=512, description="tune=lora: rank of the added matrices")
    learning_rate: float = Field(5e-5, gt=0)
    epochs: float = Field(3, gt=0)
    max_steps: int | None = Field(None, ge=1, description="optimizer steps, instead of epochs")
    batch_size: int = Field(32, ge=1, description="examples per optimizer step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts that a batch is cut into where it does not fit into memory")
    warmup_share: float = Field(0.1, ge=0, le=1, description="share of the steps in which the rate rises from 0")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="after warm-up")
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0, description="gradients with a larger norm are scaled down to it")
    dropout: float | None = Field(None, ge=0, lt=1, description="of all dropout layers; the model's own by default")
    label_smoothing: float = Field(0, ge=0, lt=1)
    class_weights: tuple[float, ...] | None = Field(None, description="weight of each class in the loss")
    evaluations: float = Field(1, gt=0, description="validations per epoch")
    patience: int | None = Field(None, ge=1, description="stop after so many validations without a better one")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 where the device computes in it")
    compile: bool = Field(False, description="torch.compile")
    adversarial_epsilon: float = Field(0, ge=0, description="FGM: norm of the push on word embeddings, 0 is off")
    pseudo_confidence: float | None = Field(
        None, gt=0, lt=1, description="unlabelled rows that are at least so sure are learnt from, too"
    )
    checkpoint_steps: int | None = Field(None, ge=1, description="a checkpoint to resume from every so many steps")
    log_steps: int = Field(10, ge=1)
    seed: int = 20260301

    @model_validator(mode="after")
    def _divides(self) -> "LoopSettings":
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of accumulate {self.accumulate}")
        return self


@dataclass(frozen=True)
class TrainResult:
    """What a training run came to; the model holds the weights of `best_step`."""

    best: float  # the watched metric on the validation rows
    best_step: int
    steps: int  # optimizer steps done, those before a resume included
    seconds: float  # of this call
    curve: tuple[Mapping[str, float], ...]  # {"step", "loss", ...} and {"step", "valid_<metric>", ...} in time order
    notes: tuple[str, ...]  # what did not go as planned, such as a halved batch


def train(
    model: nn.Module,
    train: Sequence[Any],
    valid: Sequence[Any],
    settings: LoopSettings,
    *,
    collate: Collate,
    metric: Callable[[np.ndarray, np.ndarray], dict[str, float]],
    watch: str,
    higher_is_better: bool = True,
    length: Callable[[Any], int] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    unlabelled: Sequence[Any] = (),
    work: Path,
    log: Log = lambda values, step: None,
) -> TrainResult:
    raise NotImplementedError


def predict(
    model: nn.Module,
    rows: Sequence[Any],
    *,
    collate: Collate,
    length: Callable[[Any], int] | None = None,
    batch_size: int = 64,
    precision: Literal["auto", "bf16", "fp32"] = "fp32",
) -> np.ndarray:
    raise NotImplementedError
