"""The one way to train a neural model: a thin layer over Hugging Face's Trainer, which does the loop itself.

    result = train(model, rows, later_rows, LoopSettings(), collate=Padding(), length=lambda row: len(row["input_ids"]),
                   metric=measure, watch="macro_f1", work=folder)

`model` is any torch module whose forward takes the keys of a batch and returns its logits first (or under that name); it
ends with the weights that were best on the validation rows. What the Trainer does not give is added in
training/loop_trainer.py. Under `torchrun` every process makes the same call; nothing else changes.
"""

import gc
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from safetensors.torch import load_model
from torch import Tensor, nn
from transformers import TrainingArguments

from pipelines.core.config import Settings
from pipelines.core.errors import TrainingError
from training import tune
from training.loop_data import IGNORED, Padding, TrainOrder, longest_first
from training.loop_trainer import (  # fmt: skip
    Collate,
    Goal,
    Length,
    Log,
    Loss,
    Metric,
    OneWayTrainer,
    is_out_of_memory,
    save_weights,
)

__all__ = ["IGNORED", "LoopSettings", "Padding", "TrainResult", "predict", "train"]

Precision = Literal["auto", "bf16", "fp32"]
_LOG = logging.getLogger(__name__)
_START, _FINAL, _RUN, _DONE = "start.safetensors", "final.safetensors", "run", "done.json"


class LoopSettings(Settings):
    """How a neural model is trained. What is not said here is the Trainer's default."""

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
    evaluations: float = Field(1, gt=0, description="validations per epoch; there is one more at the end")
    patience: int | None = Field(None, ge=1, description="stop after so many validations without a better one")
    precision: Precision = Field("auto", description="auto: bf16 where the device computes in it")
    compile: bool = Field(False, description="torch.compile")
    adversarial_epsilon: float = Field(0, ge=0, description="FGM: length of the push on word embeddings, 0 is off")
    pseudo_confidence: float | None = Field(
        None, gt=0, lt=1, description="unlabelled rows that the model is at least so sure of teach a second one"
    )
    checkpoint_steps: int | None = Field(None, ge=1, description="a checkpoint to go on from every so many steps")
    log_steps: int = Field(10, ge=1, description="steps that a logged loss is the mean of")
    seed: int = 20260301

    @model_validator(mode="after")
    def _divides(self) -> "LoopSettings":
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of accumulate {self.accumulate}")
        return self


@dataclass(frozen=True)
class TrainResult:
    """What a run came to; the model holds the weights of `best_step`."""

    best: float  # the watched metric on the validation rows
    best_step: int
    steps: int  # optimizer steps done, those before a resume included
    seconds: float  # of the call that ended the run
    curve: tuple[Mapping[str, float], ...]  # {"step", "loss", ...} and {"step", "valid_<metric>", ...} in time order
    notes: tuple[str, ...] = ()  # what a reader should know, such as a halved batch


def train(
    model: nn.Module,
    rows: Sequence[Any],
    valid: Sequence[Any],
    settings: LoopSettings,
    *,
    collate: Collate,
    metric: Metric,
    watch: str,
    work: Path,
    higher_is_better: bool = True,
    length: Length | None = None,
    loss: Loss | None = None,
    unlabelled: Sequence[Any] = (),
    log: Log = lambda values, step: None,
) -> TrainResult:
    """Trains `model` on `rows`, keeps what is best on `valid`; the model is changed in place and ends in eval mode.

    collate(k rows) -> tensors of k rows each, "labels" among them, the rest is what forward takes.
    metric(logits, labels) -> its values by name; arrays in the order of `valid`; `watch` names the one to choose by.
    length(row) -> tokens: rows of about one length then share a batch. Without it any rows do.
    loss(logits float32, labels) -> losses of any shape, summed and divided by the number of labels that are not -100, or
    of rows where labels are floats. Cross-entropy by default, with `class_weights` and `label_smoothing`.
    unlabelled: rows that get pseudo-labels, where `pseudo_confidence` is set.
    work: a folder of this run's own. A call with equal arguments goes on from the last checkpoint in it, or, where the
    run is over, loads what it came to; whoever has saved the model removes it.
    log(values, step): on the first process, every `log_steps` and after each validation.

    Raises TrainingError: no rows, one class only, a loss that is no number, out of memory with half a batch as well;
    StorageError: the disk is full.
    """
    _check(rows, valid, has_classes=loss is None)
    goal = Goal(collate, length, loss or _cross_entropy(settings), metric, watch, higher_is_better, log)
    if settings.pseudo_confidence is None or not len(unlabelled):
        return _train(model, rows, valid, settings, work, goal)
    # Lee 2013, "Pseudo-label": what a first model is sure of teaches a second one, which starts where the first did.
    first = _train(model, rows, valid, settings, work / "first", goal)
    logits = predict(model, unlabelled, collate=collate, length=length)
    added = pseudo_labelled(unlabelled, logits, settings.pseudo_confidence)
    load_model(model, work / "first" / _START)
    second = _train(model, [*rows, *added], valid, settings, work / "second", goal)
    is_better = second.best > first.best if higher_is_better else second.best < first.best
    load_model(model, work / ("second" if is_better else "first") / _FINAL)
    told = f"{len(added)} of {len(unlabelled)} rows pseudo-labelled: {watch} {first.best:.4f} before, {second.best:.4f} after"
    kept = second if is_better else first
    return replace(kept, seconds=first.seconds + second.seconds, notes=(*first.notes, *second.notes, told))


def pseudo_labelled(rows: Sequence[Mapping[str, Any]], logits: np.ndarray, confidence: float) -> list[dict[str, Any]]:
    """The rows whose likeliest class has at least this probability, with that class as label. logits: (n, classes)."""
    sure, label = torch.from_numpy(logits).softmax(-1).max(-1)
    return [{**row, "labels": int(label[place])} for place, row in enumerate(rows) if sure[place] >= confidence]


def predict(
    model: nn.Module,
    rows: Sequence[Any],
    *,
    collate: Collate,
    length: Length | None = None,
    batch_size: int = 64,
    precision: Precision = "auto",
) -> np.ndarray:
    """Logits (n, ...) float32 of n rows, in their order, on the device that the model is on. At least one row."""
    device = next(model.parameters()).device
    order = longest_first(np.array([length(row) if length else 0 for row in rows]))
    parts = []
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=_is_bf16(precision)):
        for start in range(0, len(order), batch_size):
            batch = collate([rows[place] for place in order[start : start + batch_size]])
            outputs = model(**{key: tensor.to(device) for key, tensor in batch.items() if key != "labels"})
            logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]
            parts.append(logits.float().cpu().numpy())
    return np.concatenate(parts)[np.argsort(order)]


def _train(
    model: nn.Module, rows: Sequence[Any], valid: Sequence[Any], settings: LoopSettings, work: Path, goal: Goal
) -> TrainResult:
    """One run. Where a batch does not fit into memory, a second try cuts it into twice as many parts."""
    began, parts = time.perf_counter(), settings.accumulate
    notes: tuple[str, ...] = ()
    arguments = _arguments(work, settings, parts, len(rows), goal)  # joins the other processes, if there are any
    if arguments.should_save:
        _open(work, _fingerprint(model, rows, valid, settings, goal))
        save_weights(model, work / _START)
    _wait_for_all()
    if (work / _DONE).exists():
        load_model(model.eval(), work / _FINAL)
        return TrainResult(**json.loads((work / _DONE).read_text()))
    order = TrainOrder(goal.lengths(rows), settings.batch_size, settings.seed)
    while True:
        try:
            with _prepared(model, settings):
                trainer = OneWayTrainer(
                    model, arguments, rows, valid, goal=goal, order=order,
                    patience=settings.patience, epsilon=settings.adversarial_epsilon,
                )  # fmt: skip
                trainer.fit()
                break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        told = f"out of memory with {arguments.per_device_train_batch_size} rows at once"
        if notes or arguments.world_size > 1 or settings.batch_size % (2 * parts):
            raise TrainingError(f"{told}: raise accumulate (now {parts}) or shorten the longest rows")
        parts, notes = 2 * parts, (f"{told}: the batch is cut into {2 * parts} parts",)
        _LOG.warning("%s", notes[0])
        del trainer
        gc.collect()
        torch.cuda.empty_cache()
        load_model(model, work / _START)
        arguments = _arguments(work, settings, parts, len(rows), goal)
    best, best_step = trainer.best
    result = TrainResult(
        best, best_step, trainer.state.global_step, time.perf_counter() - began, tuple(trainer.state.log_history), notes
    )
    if arguments.should_save:
        save_weights(model, work / _FINAL)
        (work / _DONE).write_text(json.dumps(asdict(result)))
    _wait_for_all()
    return result


@contextmanager
def _prepared(model: nn.Module, settings: LoopSettings) -> Iterator[None]:
    """Inside, what the settings say is trained, with their dropout."""
    with ExitStack() as stack:
        if settings.tune == "frozen":
            stack.enter_context(tune.frozen(model, settings.frozen_layers))
        if settings.tune == "lora":
            stack.enter_context(tune.lora(model, settings.lora_rank, settings.seed))
        if settings.dropout is not None:
            for part in model.modules():
                if isinstance(part, nn.Dropout):
                    part.p = settings.dropout
        if settings.compile:
            model.compile()
            stack.callback(setattr, model, "_compiled_call_impl", None)
        yield


def _arguments(work: Path, settings: LoopSettings, parts: int, n_rows: int, goal: Goal) -> TrainingArguments:
    """Our settings in the Trainer's words; `parts` that a process cuts its batch into. Raises TrainingError."""
    on_cpu = not torch.cuda.is_available()
    steps_per_epoch = -(-n_rows // settings.batch_size)
    arguments = TrainingArguments(
        output_dir=str(work), use_cpu=on_cpu, ddp_backend="gloo" if on_cpu and "RANK" in os.environ else None,
        bf16=_is_bf16(settings.precision),         gradient_accumulation_steps=parts, num_train_epochs=settings.epochs, max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate, lr_scheduler_type=settings.schedule, warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay, max_grad_norm=settings.clip_norm, seed=settings.seed,
        eval_strategy="steps", eval_steps=max(1, round(steps_per_epoch / settings.evaluations)),
        save_strategy="steps" if settings.checkpoint_steps else "no", save_steps=settings.checkpoint_steps or 500,
        logging_steps=settings.log_steps, logging_nan_inf_filter=False, log_level="error", disable_tqdm=True, report_to=[],
        metric_for_best_model=goal.watch, greater_is_better=goal.higher_is_better,
        label_names=["labels"], remove_unused_columns=False,
    )  # fmt: skip
    at_once, rest = divmod(settings.batch_size, parts * arguments.world_size)
    if rest:
        raise TrainingError(
            f"batch_size {settings.batch_size} cannot be shared by {arguments.world_size} processes in {parts} parts each: "
            f"make it a multiple of {parts * arguments.world_size}"
        )
    arguments.per_device_train_batch_size, arguments.per_device_eval_batch_size = at_once, 2 * at_once
    return arguments


def _is_bf16(precision: Precision) -> bool:
    """Whether to compute in bf16: where it is asked for, or where this machine does not merely emulate it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu = torch.cpu.get_capabilities()
    return bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16"))


def _cross_entropy(settings: LoopSettings) -> Loss:
    """Losses of logits (..., classes) against labels (...) int."""
    weight = None if settings.class_weights is None else torch.tensor(settings.class_weights)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), None if weight is None else weight.to(logits.device),
            ignore_index=IGNORED, reduction="none", label_smoothing=settings.label_smoothing,
        )  # fmt: skip

    return loss


def _check(rows: Sequence[Any], valid: Sequence[Any], has_classes: bool) -> None:
    """Raises TrainingError where there is nothing to learn."""
    for what, part in (("training", rows), ("validation", valid)):
        if not len(part):
            raise TrainingError(f"no {what} rows: give the task more nights")
    if has_classes:
        classes = {int(label) for row in rows for label in np.ravel(row["labels"])} - {IGNORED}
        if len(classes) < 2:
            raise TrainingError(
                f"one class only in {len(rows)} training rows ({classes}): there is nothing to tell apart"
            )


def _fingerprint(
    model: nn.Module, rows: Sequence[Any], valid: Sequence[Any], settings: LoopSettings, goal: Goal
) -> str:
    """Hash of what a run comes from: a checkpoint of another run is no checkpoint of this one."""
    found = hashlib.sha256(f"{settings.digest} {goal.watch}".encode())
    tensors = list(model.state_dict().items())
    for part in (rows, valid):
        for start in range(0, len(part), 256):
            tensors += goal.collate([part[place] for place in range(start, min(start + 256, len(part)))]).items()
    for name, tensor in tensors:
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def _open(work: Path, fingerprint: str) -> None:
    """Makes the folder of a run, emptied of what another run left there."""
    kept = work / _RUN
    if kept.exists() and kept.read_text() != fingerprint:
        _LOG.warning("%s holds another run: it starts anew", work)
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    kept.write_text(fingerprint)


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
