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
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_model
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainingArguments

from pipelines.core.errors import TrainingError
from training import tune
from training.checkpoints import checkpoints, save_weights
from training.loop_data import IGNORED, Padding, TrainOrder, longest_first
from training.loop_settings import LoopSettings, Precision, arguments_of, is_bf16
from training.loop_trainer import Collate, Goal, Length, Log, Loss, Metric, OneWayTrainer, TrainResult, logits_of

__all__ = ["IGNORED", "LoopSettings", "Padding", "TrainResult", "predict", "train"]

_LOG = logging.getLogger(__name__)
_START, _FINAL, _RUN, _DONE = "start.safetensors", "final.safetensors", "run", "done.json"


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
    return replace(kept, seconds=first.seconds + second.seconds, notes=[*first.notes, *second.notes, told])


def pseudo_labelled(rows: Sequence[Mapping[str, Any]], logits: np.ndarray, confidence: float) -> list[dict[str, Any]]:
    """The rows whose likeliest class has at least this probability, with that class as label. logits: (n, classes).

    Of rows with a label per position, where logits are (n, l, classes), the positions that are sure, but for IGNORED ones.
    """
    sure, label = (found.numpy() for found in torch.from_numpy(logits).softmax(-1).max(-1))
    told = np.where(sure >= confidence, label, IGNORED)
    if told.ndim == 2:
        asked = [np.asarray(row["labels"]) for row in rows]
        new = [np.where(old == IGNORED, IGNORED, told[place, : len(old)]) for place, old in enumerate(asked)]
    else:
        new = told.tolist()
    return [{**row, "labels": labels} for row, labels in zip(rows, new, strict=True) if np.any(labels != IGNORED)]


def predict(
    model: nn.Module,
    rows: Sequence[Any],
    *,
    collate: Collate,
    length: Length | None = None,
    batch_size: int = 64,
    precision: Precision = "auto",
) -> np.ndarray:
    """Logits (n, ...) float32 of n rows, in their order, on the device that the model is on. At least one row.

    Of shorter sequences the positions behind their end are zeros.
    """
    device = next(model.parameters()).device
    order = longest_first(np.array([length(row) if length else 0 for row in rows]))
    parts = []
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=is_bf16(precision)):
        for start in range(0, len(order), batch_size):
            batch = collate([rows[place] for place in order[start : start + batch_size]])
            logits = logits_of(model(**{key: tensor.to(device) for key, tensor in batch.items() if key != "labels"}))
            parts.append(logits.cpu().numpy())
    if parts[0].ndim == 3:
        longest = max(part.shape[1] for part in parts)
        parts = [np.pad(part, ((0, 0), (0, longest - part.shape[1]), (0, 0))) for part in parts]
    return np.concatenate(parts)[np.argsort(order)]


def _train(
    model: nn.Module, rows: Sequence[Any], valid: Sequence[Any], settings: LoopSettings, work: Path, goal: Goal
) -> TrainResult:
    """One run. Where a batch does not fit into memory, a second try cuts it into twice as many parts."""
    parts = settings.accumulate
    arguments = arguments_of(settings, work, parts, len(rows), goal.watch, goal.higher_is_better)
    if arguments.should_save:
        _open(work, _fingerprint(model, rows, valid, settings, goal))
        save_weights(model, work / _START)
    _wait_for_all()
    if (work / _DONE).exists():
        load_model(model.eval(), work / _FINAL)
        return TrainResult(**json.loads((work / _DONE).read_text()))
    result = _attempt(model, rows, valid, settings, arguments, goal)
    notes: list[str] = []
    if result is None:
        told = f"out of memory with {arguments.per_device_train_batch_size} rows at once"
        if arguments.world_size == 1 and settings.batch_size % (2 * parts) == 0:
            notes.append(f"{told}: the batch is cut into {2 * parts} parts")
            _LOG.warning("%s", notes[0])
            load_model(model, work / _START)
            arguments = arguments_of(settings, work, 2 * parts, len(rows), goal.watch, goal.higher_is_better)
            told = f"{told} and with {arguments.per_device_train_batch_size}"
            gc.collect()
            torch.cuda.empty_cache()
            result = _attempt(model, rows, valid, settings, arguments, goal)
        if result is None:
            raise TrainingError(
                f"{told}: raise accumulate (now {parts}), shorten the longest rows or take a smaller model"
            )
    result = replace(result, notes=notes)
    if arguments.should_save:
        save_weights(model, work / _FINAL)
        (work / _DONE).write_text(json.dumps(asdict(result)))
        for folder in checkpoints(work):
            shutil.rmtree(folder)
    _wait_for_all()
    return result


def _attempt(
    model: nn.Module, rows: Sequence[Any], valid: Sequence[Any], settings: LoopSettings, arguments: TrainingArguments,
    goal: Goal,
) -> TrainResult | None:  # fmt: skip
    """One try, from the newest checkpoint; None where memory was too small."""
    try:
        with _prepared(model, settings):
            order = TrainOrder(goal.lengths(rows), settings.batch_size, settings.seed)
            trainer = OneWayTrainer(
                model, arguments, rows, valid, goal=goal, order=order, patience=settings.patience,
                epsilon=settings.adversarial_epsilon,
            )  # fmt: skip
            return trainer.fit()
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
    return None


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
        for part in model.modules():
            if isinstance(part, PreTrainedModel) and not torch.cuda.is_available():
                # With dropout there is no fused attention for CPUs, and what stands in for it is 8-14% slower than this.
                stack.callback(part.set_attn_implementation, part.config._attn_implementation)
                part.set_attn_implementation("eager")
                break  # the parts of a model follow it
        if settings.compile:
            model.compile()
            stack.callback(setattr, model, "_compiled_call_impl", None)
        yield


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


def _is_out_of_memory(error: BaseException) -> bool:
    told = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
