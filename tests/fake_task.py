"""A task small enough to check by hand, in place of training/tasks/value.py, and a store it can learn from.

A customer's `x` drives the chance of `hit`. The model says sigmoid(quality * x): a setting makes it as good as a test
wants, 1 is the truth. The baseline says the same for everybody.
"""

import atexit
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.config import PROJECT
from pipelines.core.errors import NoDataError, TrainingError
from pipelines.core.machine import Machine
from pipelines.core.registry import Registry
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from pipelines.stage import Context
from pipelines.strategy import judgement
from training.task import Examples, Fitting, Measure

NAME = "value"
FIRST = date(2026, 3, 2)  # a Monday
NIGHTS = [FIRST + timedelta(days=day) for day in range(6)]
N_CUSTOMERS = 300


def hits(of: Any) -> Any:
    return lambda target, predicted, weight: of(target["hit"].to_numpy(), predicted["p_hit"].to_numpy(), weight)


@dataclass(frozen=True)
class FakeModel:
    quality: float
    rate: float
    kind: str

    def predict(self, rows: pa.Table) -> pa.Table:
        x = rows["x"].to_numpy()
        # a customer with a code that is missing or unknown, or without tags, is like any other
        assert len(rows["tags"].to_pylist()) == len(rows["code"]) == len(x)
        p = np.full(len(x), self.rate) if self.kind == "rates" else 1 / (1 + np.exp(-self.quality * x))
        return pa.table({"p_hit": p})

    def save(self, folder: Path) -> None:
        (folder / "model.json").write_text(json.dumps({"task": NAME, **vars(self)}))
        (folder / "more").mkdir()
        (folder / "more" / "weights.txt").write_text("1 2 3")


@dataclass(frozen=True)
class FakeTask:
    """Guesses whether a customer hits."""

    name: str = NAME
    metric: str = "log_loss"
    example_columns: tuple[str, ...] = ("x", "code", "tags")

    @property
    def measures(self) -> dict[str, Measure]:
        return {
            "log_loss": Measure(hits(judgement.log_loss), False, "mean of -ln p"),
            "roc_auc": Measure(hits(judgement.roc_auc), True, "chance that a hit scores higher"),
            "ece": Measure(hits(judgement.ece), False, "calibration error"),
        }

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        parts = [pq.read_table(path) for path in store.files("events", nights)]
        if not parts:
            raise NoDataError("no events")
        rows = pa.concat_tables(parts)
        return Examples(
            rows.select(["x", "code", "tags"]),
            rows.select(["hit"]),
            rows["user_key"].to_numpy(zero_copy_only=False),
            rows["segment"].to_numpy(zero_copy_only=False),
            rows["night"].to_numpy().astype("datetime64[D]"),
        )

    def baseline(self, train: Examples, how: Fitting) -> FakeModel:
        return FakeModel(0, float(np.mean(train.target["hit"].to_numpy())), "rates")

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> FakeModel:
        if how.settings.get("fails"):
            raise TrainingError("the loss is no number")
        if how.settings.get("hangs") and how.work:
            how.work.mkdir(parents=True, exist_ok=True)
            if not (how.work / "step").exists():
                (how.work / "step").touch()
                time.sleep(600)
        for step in range(3):
            how.log({"loss": 1.0 / (1 + step)}, step)
        return FakeModel(float(how.settings.get("quality", 1)), 0.5, "fake")

    def load(self, folder: Path) -> FakeModel:
        told = json.loads((folder / "model.json").read_text())
        return FakeModel(**{key: value for key, value in told.items() if key != "task"})


def install() -> None:
    """Makes `task_of("value")` this task, in this process."""
    module = ModuleType(f"training.tasks.{NAME}")
    module.TASK = FakeTask()  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module


def fill(store: Store, nights: list[date] = NIGHTS, *, audit: bool = True) -> None:
    """Publishes events of the nights that the task learns from: one row per customer and night."""
    for night in nights:
        rng = np.random.default_rng(night.toordinal())
        x = rng.normal(size=N_CUSTOMERS)
        rows = pa.table(
            {
                "user_key": [f"u{i}" for i in range(N_CUSTOMERS)],
                "segment": [("loyal", "sleepers", "")[i % 3] for i in range(N_CUSTOMERS)],
                "night": pa.array([night] * N_CUSTOMERS, pa.date32()),
                "x": x,
                "code": pa.array([None if i % 7 == 0 else i for i in range(N_CUSTOMERS)], pa.int64()),
                "tags": pa.array([["a", "b"][: i % 3] for i in range(N_CUSTOMERS)], pa.list_(pa.string())),
                "hit": (rng.random(N_CUSTOMERS) < 1 / (1 + np.exp(-x))).astype(np.int8),
            }
        )
        with store.staging() as staging:
            folder = staging / "events"
            folder.mkdir()
            pq.write_table(rows, folder / "part-00000.parquet")
            store.publish(
                "events", night, folder, rows=N_CUSTOMERS, inputs={}, config_hash="x", audit={"success": audit}
            )


def launch(module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path) -> dict[str, Any]:
    """In place of pipelines.launch.launch: the job runs in this process, where the task is this one."""
    out = folder / module
    out.mkdir(parents=True)
    told = json.loads(json.dumps({**spec, "out": str(out)}))
    result: dict[str, Any] = json.loads(json.dumps(import_module(module).run(told), allow_nan=False))
    return result


def context(root: Path, quality: float = 1, uri: str | None = None, **models: Any) -> Context:
    """One run of shop `fake`, whose challenger is as good as `quality` says; `models` as in conf/."""
    settings = {"value": {"quality": quality, **models.pop("settings", {})}}
    shop = Shop(
        shop="fake",
        landing={"events": Source(connector="jsonl", pattern="{night}.jsonl")},
        models=Models(tasks=("value",), settings=settings, **models),
    )
    return Context(shop, Machine(mlflow_uri=uri), Store(root, "fake"), root)


@cache
def _template() -> Path:
    """MLflow takes seconds to make its tables: once per test run."""
    root = Path(tempfile.mkdtemp(prefix="fake-registry-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    Registry("fake", root, None).client  # noqa: B018
    return root / "mlflow" / "mlflow.db"


def make_root(root: Path, *, data: bool = True) -> Path:
    """A root with an empty registry and, if wanted, the nights that the task learns from."""
    (root / "mlflow").mkdir(parents=True)
    shutil.copyfile(_template(), root / "mlflow" / "mlflow.db")
    if data:
        fill(Store(root, "fake"))
    return root


def environment(folder: Path) -> dict[str, str]:
    """For processes: Python starts with this task installed."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("from tests.fake_task import install\ninstall()\n")
    return {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{PROJECT}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # MLflow starts uvicorn by its name
    }
