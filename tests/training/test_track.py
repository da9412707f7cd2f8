"""What is told to MLflow, and how it is written."""

import inspect
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.core.errors import RegistryError, TrainingError
from pipelines.core.registry import Registry
from tests import fake_task
from tests.fake_task import FakeModel, make_root
from training import track
from training.serve import to_arrow
from training.signature import plain, signature
from training.track import MlflowTracker, NullTracker, flatten, tracking

TAGS = {"trained_night": "2026-03-07"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry("fake", make_root(tmp_path / "root", data=False), None)


def test_the_null_tracker_has_the_signature_of_the_real_one() -> None:
    def signatures(kind: type) -> dict[str, Any]:
        return {
            name: inspect.signature(one)
            for name, one in vars(kind).items()
            if inspect.isfunction(one) and name[0] != "_"
        }

    null, real = signatures(NullTracker), signatures(MlflowTracker)
    assert null == {name: real[name] for name in null}
    assert {"params", "metrics", "data", "figures", "text", "model"} <= set(null)


def test_metrics_are_written_in_batches(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    log_batch = mlflow.MlflowClient.log_batch

    def counting(client: Any, run_id: str, metrics: Any = (), **kwargs: Any) -> Any:
        sizes.append(len(metrics))
        return log_batch(client, run_id, metrics=metrics, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", counting)
    with tracking(registry, "value", "a run", TAGS) as tracker:
        for step in range(900):
            tracker.metrics({"loss": 1 / (1 + step), "rate": 0.1}, step)
    own = 3  # seconds, cpu_seconds, peak_memory_mb
    assert sum(sizes) == 2 * 900 + own
    assert len(sizes) == 2
    history = registry.client.get_metric_history(tracker.run_id, "loss")
    assert [metric.value for metric in history] == [1 / (1 + step) for step in range(900)]


def test_a_long_training_shows_where_it_is(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "FLUSH_SECONDS", 0.0)
    with tracking(registry, "value", "a run", TAGS) as tracker:
        tracker.metrics({"loss": 0.5}, 7)
        run = registry.client.get_run(tracker.run_id)
        assert (run.data.metrics["loss"], run.info.status) == (0.5, "RUNNING")


def test_a_run_that_raises_is_failed_and_keeps_its_metrics(registry: Registry) -> None:
    def fail() -> None:
        with tracking(registry, "value", "a run", TAGS) as tracker:
            told.append(tracker)
            tracker.metrics({"loss": 2.5}, 1)
            raise TrainingError("the loss is no number")

    told: list[MlflowTracker] = []
    with pytest.raises(TrainingError):
        fail()
    (tracker,) = told
    run = registry.client.get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics["loss"], run.data.tags["trained_night"]) == ("FAILED", 2.5, "2026-03-07")


def test_runs_that_dead_processes_left_are_closed_and_other_machines_let_alone(registry: Registry) -> None:
    experiment = registry.experiment("value")
    with tracking(registry, "value", "a run", TAGS) as tracker:
        own = registry.client.get_run(tracker.run_id).data.tags
    mine = registry.client.create_run(experiment, tags={key: own[key] for key in ("host", "root")})
    other = registry.client.create_run(experiment, tags={"host": "elsewhere", "root": own["root"]})
    with tracking(registry, "value", "another", TAGS):
        pass
    status = [registry.client.get_run(run.info.run_id).info.status for run in (mine, other)]
    assert status == ["KILLED", "RUNNING"]


def test_a_registry_that_is_down_is_one_line(tmp_path: Path) -> None:
    down = Registry("fake", tmp_path, "http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="does not answer"), tracking(down, "value", "a run", TAGS):
        pytest.fail("it started")


def test_nested_settings_become_flat_keys() -> None:
    assert dict(flatten({"a": 1, "b": {"c": [2], "d": {"e": None}}})) == {"a": 1, "b.c": [2], "b.d.e": None}


ROWS = pa.table(
    {
        "x": [0.5, None],
        "whole": pa.array([1, 2], pa.int64()),
        "missing": pa.array([1, None], pa.int32()),
        "text": ["a", None],
        "few": pa.array(["a", "b"]).dictionary_encode(),
        "is_new": [True, False],
        "at": pa.array([0, 1], pa.timestamp("us")),
        "types": pa.array([["view", "buy"], []], pa.list_(pa.string())),
        "gaps": pa.array([[1.5], [2.0, 3.0]], pa.list_(pa.float64())),
    }
)


def test_the_signature_knows_every_kind_of_column() -> None:
    told = {one.name: str(one.type) for one in signature(plain(ROWS), pa.table({"p_buy": [0.5]})).inputs}
    assert told == {
        "x": "DataType.double", "whole": "DataType.long", "missing": "DataType.double", "text": "DataType.string",
        "few": "DataType.string", "is_new": "DataType.boolean", "at": "DataType.datetime",
        "types": "Array(string)", "gaps": "Array(double)",
    }  # fmt: skip


def test_rows_come_back_from_pandas_as_they_went() -> None:
    rows = plain(ROWS)
    assert to_arrow(rows.to_pandas(), rows.schema).equals(rows)
    shuffled = rows.to_pandas()[["types", "x"]].assign(unknown=1)
    found = to_arrow(shuffled, rows.schema)
    assert found.schema == rows.schema
    assert found["types"].equals(rows["types"])
    assert found["whole"].null_count == 2


def test_a_logged_model_loads_by_mlflow_and_predicts_the_same(registry: Registry, tmp_path: Path) -> None:
    fake_task.install()
    rows = pa.table(
        {
            "x": [0.5, -1.0],
            "code": pa.array([1, None], pa.int64()),
            "tags": pa.array([["a"], []], pa.list_(pa.string())),
        }
    )
    model = FakeModel(1, 0.5, "fake")
    for name in ("model", "baseline"):
        (tmp_path / "bundle" / name).mkdir(parents=True)
        model.save(tmp_path / "bundle" / name)
    with tracking(registry, "value", "a run", TAGS) as tracker:
        logged = tracker.model(model, tmp_path / "bundle", rows)
    loaded = mlflow.pyfunc.load_model(f"models:/{logged}")
    found = loaded.predict(rows.to_pandas().assign(tags=rows["tags"].to_pylist()))
    pd.testing.assert_frame_equal(found, model.predict(rows).to_pandas())
    np.testing.assert_allclose(found["p_hit"], 1 / (1 + np.exp([-0.5, 1.0])))
    assert loaded.metadata.get_input_schema().input_names() == ["x", "code", "tags"]
    assert list(loaded.input_example["x"]) == [0.5, -1.0]
