"""Hugging Face's Trainer with what an unattended night needs: exact resume, whole checkpoints, errors in one line.

Only training/loop.py uses it.
"""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from pipelines.core.errors import TrainingError
from training.adversarial import pushed
from training.checkpoints import checkpoints, reading, save_weights, writing
from training.loop_data import IGNORED, TrainOrder, longest_first

Collate = Callable[[Sequence[Any]], dict[str, Tensor]]
Length = Callable[[Any], int]
Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[np.ndarray, np.ndarray], dict[str, float]]
Log = Callable[[Mapping[str, float], int], None]
_MODEL, _BEST, _PARTIAL = "model.safetensors", "best.safetensors", "partial"
_NOT_LOGGED = ("epoch", "runtime", "per_second", "preparation_time")


@dataclass(frozen=True)
class Goal:
    """What is asked of a run, as `train` in training/loop.py explains it."""

    collate: Collate
    length: Length | None
    loss: Loss
    metric: Metric
    watch: str
    higher_is_better: bool
    log: Log

    def lengths(self, rows: Sequence[Any]) -> np.ndarray:
        """(n,) int; all 0 where no lengths are told."""
        return np.array([self.length(row) if self.length else 0 for row in rows])


@dataclass(frozen=True)
class TrainResult:
    """What a run came to; the model holds the weights of `best_step`."""

    best: float  # the watched metric on the validation rows
    best_step: int
    steps: int  # optimizer steps done, those before a resume included
    seconds: float  # since the start or the last resume
    curve: list[dict[str, float]]  # {"step", "loss", ...} and {"step", "valid_<metric>", ...} in time order
    notes: list[str]  # what a reader should know, such as a halved batch


class OneWayTrainer(Trainer):
    """`epsilon` is the length of the adversarial push, 0 for none; `patience` is counted in validations."""

    def __init__(
        self, model: nn.Module, args: TrainingArguments, rows: Any, valid: Any, *, goal: Goal, order: TrainOrder,
        patience: int | None, epsilon: float,
    ) -> None:  # fmt: skip
        self._bare, self._work = model, Path(str(args.output_dir))
        self._goal, self._order, self._valid_order = goal, order, longest_first(goal.lengths(valid))
        self._patience, self._epsilon = patience, epsilon
        super().__init__(
            model, args, train_dataset=rows, eval_dataset=valid, data_collator=goal.collate,
            compute_loss_func=self._mean_loss, compute_metrics=self._measure,
        )  # fmt: skip
        self.model_accepts_loss_kwargs = False  # the loss is ours, whatever the model's forward takes
        self.remove_callback(PrinterCallback)
        self.add_callback(_SetEpoch(order))

    @property
    def best(self) -> tuple[float, int]:
        """The watched metric where it was best first, and that step. There was at least one validation."""
        sign = 1 if self.args.greater_is_better else -1
        found = max(self._validations, key=lambda entry: (sign * entry[f"valid_{self._goal.watch}"], -entry["step"]))
        return found[f"valid_{self._goal.watch}"], int(found["step"])

    @property
    def _validations(self) -> list[dict[str, float]]:
        return [entry for entry in self.state.log_history if f"valid_{self._goal.watch}" in entry]

    def fit(self) -> TrainResult:
        """Trains, from the newest checkpoint if there is one, and leaves the best weights in the bare model."""
        found, began = checkpoints(self._work), time.perf_counter()
        try:
            self.train(resume_from_checkpoint=str(found[-1]) if found else None)
            load_model(self._bare, self._work / _BEST)
            seconds = time.perf_counter() - began
            return TrainResult(*self.best, self.state.global_step, seconds, self.state.log_history, [])
        finally:
            self._bare.eval()
            for patched in ("forward", "_original_forward", "_is_accelerate_prepared"):
                self._bare.__dict__.pop(patched, None)  # accelerate's autocast would stay on the model

    # What goes through the model

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self._order

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        return self._valid_order.tolist()

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        """What the sum of losses of one optimizer step is divided by, over all its parts and processes."""
        count = torch.stack([_items(batch["labels"]) for batch in batch_samples]).sum().to(device)
        gathered: Tensor = self.accelerator.gather(count)
        return gathered.sum()

    def _mean_loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor) -> Tensor:
        return self._goal.loss(logits_of(outputs), labels).sum() / num_items_in_batch

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[None, Tensor, Tensor]:
        batch = self._prepare_inputs(inputs)
        labels = batch.pop("labels")
        with torch.no_grad():
            return None, logits_of(model(**batch)), labels

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self._epsilon:
            with pushed(self._bare, self._epsilon):
                super().training_step(model, inputs, num_items_in_batch)
        return loss

    def _measure(self, predictions: EvalPrediction) -> dict[str, float]:
        """The loss and the metrics, in the order of the validation rows; they came longest first."""
        place = np.argsort(self._valid_order)
        logits, labels = predictions.predictions[place], predictions.label_ids[place]
        losses = self._goal.loss(torch.from_numpy(logits), torch.from_numpy(labels))
        loss = (losses.sum() / _items(torch.from_numpy(labels))).item()
        measured = {"loss": loss, **self._goal.metric(logits, labels)}
        if self._goal.watch not in measured:
            raise TrainingError(f"no metric '{self._goal.watch}' to watch; measured are {', '.join(sorted(measured))}")
        return measured

    # What is kept

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "train_loss" in logs:
            return  # the Trainer's summary of the run
        values = {
            name.replace("eval_", "valid_", 1): float(value)
            for name, value in logs.items()
            if not name.endswith(_NOT_LOGGED)
        }
        self.state.log_history.append({"step": self.state.global_step, **values})
        if self.is_world_process_zero():
            self._goal.log(values, self.state.global_step)

    def _maybe_log_save_evaluate(self, tr_loss: Tensor, grad_norm: Any, *rest: Any, **named: Any) -> None:
        """The Trainer's, but a loss that is no number ends the run before anything of it is kept."""
        control = self.control
        if control.should_log or control.should_evaluate or control.should_save:
            for what, value in (("loss", tr_loss), ("gradient", grad_norm)):
                if value is not None and not math.isfinite(value):
                    raise TrainingError(
                        f"the {what} is no number at step {self.state.global_step}: look for broken values in the rows, "
                        f"or lower learning_rate ({self.args.learning_rate:g}), or set precision to fp32"
                    )
        if control.should_training_stop:
            control.should_save = False  # the end of a run is kept by who asked for it
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, *rest, **named)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Keeps the best weights; stops, without a checkpoint, when patience is at its end."""
        value = metrics[f"eval_{self._goal.watch}"]
        if not math.isfinite(value):
            raise TrainingError(
                f"{self._goal.watch} is {value} on the validation rows at step {self.state.global_step}"
            )
        is_best = self.best == (value, self.state.global_step)
        if is_best:
            self.save_weights(self._work / _BEST)
        elif self._patience is not None:
            later = [entry for entry in self._validations if entry["step"] > self.best[1]]
            if len(later) >= self._patience:
                self.control.should_training_stop, self.control.should_save = True, False
        return is_best

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Writes a checkpoint beside the others and moves it there when it is whole; the older ones then go."""
        partial = self._work / _PARTIAL
        if self.args.should_save:
            shutil.rmtree(partial, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        with writing(partial):
            super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            older = checkpoints(self._work)
            name = f"checkpoint-{self.state.global_step}"
            (partial / name).rename(self._work / name)
            for folder in older:
                shutil.rmtree(folder)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._work / _PARTIAL)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Weights alone: the Trainer's would also pickle its arguments."""
        folder = Path(str(output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self._bare, str(folder / _MODEL))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        with reading(resume_from_checkpoint):
            load_model(self._bare, Path(resume_from_checkpoint) / _MODEL)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with reading(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with reading(checkpoint):
            super()._load_rng_state(checkpoint)

    def save_weights(self, path: Path) -> None:
        """Writes the weights, whole or not at all. All processes call it, one writes."""
        if self.args.should_save:
            save_weights(self._bare, path)
        self.accelerator.wait_for_everyone()


def logits_of(outputs: Any) -> Tensor:
    """A model's logits, float32: under that name, or first."""
    logits: Tensor = outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]
    return logits.float()


class _SetEpoch(TrainerCallback):
    def __init__(self, order: TrainOrder) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.order.epoch = int(state.epoch or 0)


def _items(labels: Tensor) -> Tensor:
    """How many losses count: labels that are not ignored, or rows where labels are numbers to be met."""
    if labels.is_floating_point():
        return torch.tensor(len(labels), device=labels.device)
    return (labels != IGNORED).sum()
