"""The one shape of all tasks: what examples they draw, how they fit, how they are judged, how they predict.

A task is a module-level object in training/tasks/NAME.py, found by `task_of("NAME")`. A model is what a task fits or loads
again: plain data in, plain data out, one row in, one row out, whatever it is made of.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from pipelines.core.errors import WrongUseError
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Store

TASKS = ("behaviour", "copywriter", "effect", "policy", "pricing", "recommender", "search", "sentiment", "value")
SettingsOf = TypeVar("SettingsOf", bound=Settings)


@dataclass(frozen=True)
class Examples:
    """n examples in time order of their target. What a model may see is in `rows`, what came true in `target`."""

    rows: pa.Table  # n rows of features
    target: pa.Table  # n rows
    customer: np.ndarray  # (n,) user keys: what is resampled together for intervals
    segment: np.ndarray  # (n,) names of the customers' segments, "" where unknown: for the table per segment
    night: np.ndarray  # (n,) datetime64[D], the night that the target belongs to

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def take(self, where: np.ndarray) -> "Examples":
        """The examples at positions (k,) int, or where a mask (n,) bool is true."""
        places = np.flatnonzero(where) if where.dtype == bool else where
        return Examples(
            self.rows.take(places), self.target.take(places), self.customer[places], self.segment[places],
            self.night[places],
        )  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """One number that says how good predictions are.

    `of(target, predicted, weight)`: tables of n rows and weights, how often each row counts: (n,) float64 -> a number, or
    (draws, n), one resample of customers a row -> (draws,) numbers, as the metrics of pipelines.strategy.judgement give.
    """

    of: Callable[[pa.Table, pa.Table, np.ndarray], np.ndarray]
    higher_is_better: bool
    docs: str


class Model(Protocol):
    """What scores rows. Saved as safetensors, LightGBM text and JSON, never as pickle."""

    kind: str  # what it is made of, such as "lightgbm" or "rates"; written into model.json, so that `load` knows

    def predict(self, rows: pa.Table) -> pa.Table:
        """n rows of features (extra columns are ignored, unknown categories are fine) -> n rows of predictions."""
        ...

    def save(self, folder: Path) -> None:
        """Writes model.json ({"task", "kind", ...}) and what else it needs into an existing, empty folder."""
        ...


@dataclass(frozen=True)
class Fitting:
    """How to fit: everything that is not data. Equal Fitting and equal examples give an equal model."""

    seed: int = 20260301
    threads: int = 2
    settings: Mapping[str, Any] = field(default_factory=dict)  # the task's own, checked by its pydantic Settings
    work: Path | None = None  # for checkpoints; a second call with the same folder goes on from there
    weights: Path | None = None  # where pretrained weights are cached
    log: Callable[[Mapping[str, float], int], None] = lambda values, step: (
        None
    )  # learning curves, batched by the tracker


class Task(Protocol):
    """One model of the night."""

    name: str
    metric: str  # key of `measures` that promotion decides on
    measures: Mapping[str, Measure]
    example_columns: tuple[str, ...]  # of `rows`, that a model needs

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        """Examples whose targets lie in `nights`, features from before them. Raises NoDataError where there are none."""
        ...

    def baseline(self, train: Examples, how: Fitting) -> Model:
        """The simple model that has to be beaten, and that serves until it is."""
        ...

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> Model:
        """The challenger: fitted on `train`, choices made on `valid` (later nights). Raises TrainingError in one line."""
        ...

    def load(self, folder: Path) -> Model:
        """A model as it was saved, baselines included. Raises TrainingError for a folder that is none of this task's."""
        ...


@runtime_checkable
class PolicyTask(Protocol):
    """A task whose model also chooses what is sent: a policy that can be judged by the logs of another."""

    def compare_policies(
        self, shop: Shop, store: Store, examples: Examples, challenger: Any, champion: Any
    ) -> dict[str, Any]:
        """What both models' policies would have earned on these examples, as pipelines.strategy.judgement.judge_policy
        takes it."""
        ...


def task_of(name: str) -> Task:
    """The task by name. Raises WrongUseError."""
    if name not in TASKS:
        raise WrongUseError(f"unknown task '{name}': expected {', '.join(TASKS)}")
    task: Task = import_module(f"training.tasks.{name}").TASK
    return task


def settings_of(kind: type[SettingsOf], task: str, told: Mapping[str, Any]) -> SettingsOf:
    """What a shop's models.settings say of a task. Raises WrongUseError that names the first wrong key."""
    try:
        return kind.model_validate(dict(told))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(kind.model_fields)
        raise WrongUseError(
            f"models.settings.{task}.{where}: {first['msg']} (found {first['input']!r:.80}); allowed keys: {allowed}"
        ) from None
