"""How a neural model is trained, and the same in the words of Hugging Face's Trainer."""

import os
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator
from transformers import TrainingArguments

from pipelines.core.errors import TrainingError
from pipelines.core.settings import Settings

Precision = Literal["auto", "bf16", "fp32"]


class LoopSettings(Settings):
    """What is not said here is the Trainer's default."""

    tune: Literal["full", "frozen", "lora"] = Field("full", description="what is trained, see training/tune.py")
    frozen_layers: int = Field(0, ge=0, description="tune=frozen: the embeddings and so many first layers stay")
    lora_rank: int = Field(8, ge=1, le=512, description="tune=lora: rank of the added matrices")
    learning_rate: float = Field(5e-5, gt=0)
    epochs: float = Field(3, gt=0)
    max_steps: int | None = Field(None, ge=1, description="optimizer steps, instead of epochs")
    batch_size: int = Field(32, ge=1, description="rows per optimizer step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts that a process cuts its batch into to save memory")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the rate rises from 0")
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = Field("linear", description="after warm-up")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, not on biases and norms")
    clip_norm: float = Field(1.0, gt=0, description="gradients with a larger norm are scaled down to it")
    dropout: float | None = Field(None, ge=0, lt=1, description="of all dropout layers; the model's own by default")
    label_smoothing: float = Field(0, ge=0, lt=1, description="share of each label spread over all classes")
    class_weights: tuple[float, ...] | None = Field(None, description="weight of each class in the loss")
    evaluations: float = Field(1, gt=0, description="validations per epoch; there is always one after the last step")
    patience: int | None = Field(None, ge=1, description="stop after so many validations without a better one")
    precision: Precision = Field("auto", description="auto: bf16 where the device computes in it")
    compile: bool = Field(
        False, description="torch.compile; off: a night's run is shorter than compiling, see docs/LOG.md"
    )
    adversarial_epsilon: float = Field(0, ge=0, description="FGM: length of the push on word embeddings, 0 is off")
    pseudo_confidence: float | None = Field(
        None, gt=0, lt=1, description="unlabelled rows that a first model is at least so sure of teach a second one"
    )
    checkpoint_steps: int | None = Field(None, ge=1, description="a checkpoint to go on from every so many steps")
    log_steps: int = Field(10, ge=1, description="steps that a logged loss is the mean of")
    seed: int = 20260301

    @model_validator(mode="after")
    def _divides(self) -> "LoopSettings":
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of accumulate {self.accumulate}")
        return self


def arguments_of(
    settings: LoopSettings, work: Path, parts: int, n_rows: int, watch: str, higher_is_better: bool
) -> TrainingArguments:
    """Our settings in the Trainer's words; `parts` that a process cuts its batch into. Joins the processes of torchrun.

    Raises TrainingError where the batch cannot be cut so.
    """
    on_cpu = not torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(work),
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and "RANK" in os.environ else None,
        bf16=is_bf16(settings.precision),
        gradient_accumulation_steps=parts,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip_norm,
        seed=settings.seed,
        eval_strategy="steps",
        eval_steps=max(1, round(-(-n_rows // settings.batch_size) / settings.evaluations)),
        metric_for_best_model=watch,
        greater_is_better=higher_is_better,
        save_strategy="steps" if settings.checkpoint_steps else "no",
        save_steps=settings.checkpoint_steps or 500,
        logging_steps=settings.log_steps,
        logging_nan_inf_filter=False,  # it hides what we want to know, and waits for the device at each step
        label_names=["labels"],
        remove_unused_columns=False,
        log_level="error",
        disable_tqdm=True,
        report_to=[],
    )
    at_once, rest = divmod(settings.batch_size, parts * arguments.world_size)
    if rest:
        raise TrainingError(
            f"batch_size {settings.batch_size} cannot be cut into {parts} parts on each of {arguments.world_size} "
            f"processes: make it a multiple of {parts * arguments.world_size}"
        )
    arguments.per_device_train_batch_size, arguments.per_device_eval_batch_size = at_once, 2 * at_once
    return arguments


def is_bf16(precision: Precision) -> bool:
    """Whether to compute in bf16: where it is asked for, or where the device does not merely emulate it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu = torch.cpu.get_capabilities()
    return bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16"))
