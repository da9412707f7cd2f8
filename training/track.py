"""The tracker: one MLflow run per training. What was learnt from, with what settings, how it went, and the model itself.

Metrics are kept back and written in batches, so that logging costs next to nothing; `NullTracker` has the same signature
and tells nobody. A run that a killed process left open is marked as killed by the next one of the same task.
"""

import contextlib
import json
import resource
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa

from pipelines.core.registry import Registry
from training.plots import Figures
from training.signature import lists, plain, signature
from training.task import Model

BATCH: Final = 1_000  # metrics in one request, MLflow's most
FLUSH_SECONDS: Final = 10.0  # a long training shows where it is
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "lightgbm", "safetensors", "torch", "transformers")


class Tracker(Protocol):
    """Where a training tells what it does."""

    run_id: str

    def params(self, values: Mapping[str, Any]) -> None:
        """Settings; nested mappings become keys with dots."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Numbers at a step: of several steps, a curve."""

    def data(self, context: str, rows: pa.Table, digest: str, lineage: Mapping[str, str]) -> None:
        """What was learnt from ("train") or chosen on ("valid"): size, schema, digest, partitions."""

    def figures(self, figures: Figures) -> None:
        """PNG files by their path."""

    def text(self, text: str, path: str) -> None:
        """A text file."""

    def model(self, model: Model, bundle: Path, rows: pa.Table) -> str:
        """The bundle of a saved model (see fit.py), with an example of its rows. Returns the logged model's id."""


class NullTracker:
    """Tells nobody."""

    run_id = ""

    def params(self, values: Mapping[str, Any]) -> None: ...
    def metrics(self, values: Mapping[str, float], step: int = 0) -> None: ...
    def data(self, context: str, rows: pa.Table, digest: str, lineage: Mapping[str, str]) -> None: ...
    def figures(self, figures: Figures) -> None: ...
    def text(self, text: str, path: str) -> None: ...
    def model(self, model: Model, bundle: Path, rows: pa.Table) -> str:
        return ""


class MlflowTracker:
    """Writes one run of MLflow; `seconds` is what that cost."""

    def __init__(self, registry: Registry, task: str, run_id: str) -> None:
        self.run_id = run_id
        self.seconds = 0.0
        self._registry = registry
        self._task = task
        self._client = registry.client
        self._waiting: list[Any] = []
        self._flushed_at = time.monotonic()

    def params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        with self._timed():
            flat = [Param(key, str(value)) for key, value in flatten(values)]
            self._client.log_batch(self.run_id, params=flat[:100])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        self._waiting += [Metric(key, float(value), now, step) for key, value in values.items()]
        if len(self._waiting) >= BATCH or time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the metrics that wait."""
        with self._timed():
            while self._waiting:
                self._client.log_batch(self.run_id, metrics=self._waiting[:BATCH])
                del self._waiting[:BATCH]
            self._flushed_at = time.monotonic()

    def data(self, context: str, rows: pa.Table, digest: str, lineage: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tables = sorted({name.partition("/")[0] for name in lineage})
        source = {"tables": tables, "partitions": len(lineage), "hashes": "lineage.json"}
        schema = {"arrow": {field.name: str(field.type) for field in rows.schema}}
        told = Dataset(
            f"{self._registry.shop}-{self._task}-{context}", digest[:36], "nightmarket", json.dumps(source),
            json.dumps(schema), json.dumps({"num_rows": rows.num_rows}),
        )  # fmt: skip
        with self._timed():
            self._client.log_inputs(self.run_id, [DatasetInput(told, [InputTag("mlflow.data.context", context)])])

    def figures(self, figures: Figures) -> None:
        with self._timed():
            for path, figure in figures.items():
                self._client.log_figure(self.run_id, figure, path, save_kwargs={"dpi": 80})

    def text(self, text: str, path: str) -> None:
        with self._timed():
            self._client.log_text(self.run_id, text, path)

    def model(self, model: Model, bundle: Path, rows: pa.Table) -> str:
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model as Described
        from mlflow.pyfunc import save_model

        example = plain(rows)
        with pa.ipc.new_file(bundle / "rows.arrow", example.schema) as file:
            file.write_table(example)
        with self._timed(), tempfile.TemporaryDirectory() as temporary:
            logged = self._client.create_logged_model(
                self._registry.experiment(self._task), f"{self._task}-{model.kind}", self.run_id, model_type=model.kind
            )
            out = Path(temporary) / "logged"
            save_model(
                out,
                python_model=str(Path(__file__).with_name("serve.py")),
                artifacts={"bundle": str(bundle)},
                signature=signature(example, model.predict(example)),
                input_example=example.to_pandas().assign(**lists(example)),
                pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _REQUIREMENTS],
                mlflow_model=Described(model_id=logged.model_id, run_id=self.run_id),
            )
            self._client.log_model_artifacts(logged.model_id, str(out))
            self._client.finalize_logged_model(logged.model_id, "READY")
            self._client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, 0)])
        return str(logged.model_id)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        with self._registry.answering():
            yield
        self.seconds += time.perf_counter() - started


@contextlib.contextmanager
def tracking(registry: Registry, task: str, run_name: str, tags: Mapping[str, str]) -> Iterator[MlflowTracker]:
    """A run from start to end, failed if the body raises. Runs of this task and root that dead processes left are closed.

    Call it under the task's lock: every other open run of the task is dead then.
    """
    experiment = registry.experiment(task)
    client = registry.client
    here = {"host": socket.gethostname(), "root": str(registry.root)}
    with registry.answering():
        for left in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
            if {key: left.data.tags.get(key) for key in here} == here:
                client.set_terminated(left.info.run_id, "KILLED")
        run = client.create_run(experiment, run_name=run_name, tags={**tags, **here})
    tracker = MlflowTracker(registry, task, run.info.run_id)
    monitor = _system_monitor(run.info.run_id, registry.uri)
    started = time.perf_counter()
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        tracker.metrics(
            {
                "seconds": time.perf_counter() - started,
                "cpu_seconds": used.ru_utime + used.ru_stime,
                "peak_memory_mb": used.ru_maxrss / 1024,
            }
        )
        monitor.finish()
        tracker.flush()
        with registry.answering():
            client.set_terminated(run.info.run_id, status)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} -> ("a.b", 1)."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _system_monitor(run_id: str, uri: str) -> Any:
    """CPU, memory, disk, network and GPU of the machine, every 10 seconds, in a thread of MLflow's."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, tracking_uri=uri)
    monitor.start()
    return monitor
