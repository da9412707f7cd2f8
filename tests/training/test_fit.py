"""The job that fits, tells and registers: whole, killed, and again."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.config import PROJECT
from pipelines.core.registry import LINEAGE_FILE, Registry
from tests import fake_task
from tests.fake_task import NIGHTS, context, environment, fill, make_root
from training import fit

pytest.importorskip("mlflow")


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    """As pipelines/train.py writes it."""
    fake_task.install()
    root = make_root(tmp_path / "root")
    nights = [night.isoformat() for night in NIGHTS]
    return {
        "shop": context(root).shop.model_dump(mode="json"), "root": str(root), "mlflow_uri": None, "task": "value",
        "night": nights[-1], "train": nights[:3], "valid": nights[3:4], "judged": nights[4:], "basis": "b", "settings": {},
        "threads": 1, "weights": str(root / "weights"), "checkpoints": str(root / "checkpoints"), "out": str(tmp_path / "out"),
    }  # fmt: skip


def registry_of(spec: dict[str, Any]) -> Registry:
    return Registry("fake", Path(spec["root"]), None)


def runs(spec: dict[str, Any]) -> list[Any]:
    """MLflow's runs, oldest first."""
    registry = registry_of(spec)
    return list(registry.client.search_runs([registry.experiment("value")], order_by=["attributes.start_time ASC"]))


def test_a_run_tells_all_that_a_reviewer_asks_for(spec: dict[str, Any]) -> None:
    assert fit.run(spec) == {"name": "fake-value", "version": "2", "kind": "fake", "made": True}
    registry, (run,) = registry_of(spec), runs(spec)
    assert run.info.status == "FINISHED"
    assert {"seed", "train", "valid"} <= set(run.data.params)
    assert {"loss", "valid_challenger_log_loss", "valid_baseline_log_loss", "peak_memory_mb"} <= set(run.data.metrics)
    assert [m.value for m in registry.client.get_metric_history(run.info.run_id, "loss")] == [1, 1 / 2, 1 / 3]
    inputs = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert {name: json.loads(data.profile)["num_rows"] for name, data in inputs.items()} == {"train": 900, "valid": 300}
    files = {file.path for folder in ("", "plots") for file in registry.client.list_artifacts(run.info.run_id, folder)}
    assert {"card_challenger.md", "card_baseline.md", "plots/calibration.png"} <= files
    version = registry.get("value", "2")
    assert version.run_id == run.info.run_id
    assert "validation nights" in version.description
    assert "minus baseline" in version.description


def test_lineage_is_what_was_read_and_ends_before_the_judged_nights(spec: dict[str, Any]) -> None:
    fit.run(spec)
    registry = registry_of(spec)
    found = json.loads(registry.file(registry.get("value", "2"), LINEAGE_FILE).read_text())
    store = context(Path(spec["root"])).store
    assert found == store.inputs("events", NIGHTS[:4])
    assert "absent" not in found.values()


def test_the_logged_model_holds_no_pickle(spec: dict[str, Any]) -> None:
    fit.run(spec)
    files = [path for path in (Path(spec["root"]) / "mlflow" / "artifacts").rglob("*") if path.is_file()]
    assert {"MLmodel", "serve.py", "model.json", "rows.arrow", "input_example.json"} <= {path.name for path in files}
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin")]
    assert not [path for path in files if path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")]


def test_an_equal_training_registers_nothing_and_fits_nothing(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit.run(spec)
    monkeypatch.setattr(fake_task.FakeTask, "fit", lambda *args: pytest.fail("it was fitted again"))
    assert fit.run(spec | {"out": spec["out"] + "2"}) == {
        "name": "fake-value",
        "version": "2",
        "kind": "fake",
        "made": False,
    }
    assert len(runs(spec)) == 1


def test_data_that_comes_late_makes_another_training(spec: dict[str, Any]) -> None:
    fit.run(spec)
    fill(context(Path(spec["root"])).store, NIGHTS[:1], audit=False)  # the same rows, so the same hash
    assert not fit.run(spec | {"out": spec["out"] + "2"})["made"]
    fit.run(spec | {"out": spec["out"] + "3", "train": spec["train"][1:]})
    assert len(registry_of(spec).versions("value")) == 3


@pytest.mark.slow
def test_a_training_that_is_killed_leaves_nothing_half_and_the_next_goes_on(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    """The fake task's fit writes a checkpoint and hangs, once."""
    out = tmp_path / "first"
    out.mkdir()
    file = out / "fit.json"
    file.write_text(json.dumps(spec | {"settings": {"hangs": True}, "out": str(out)}))
    process = subprocess.Popen(
        [sys.executable, "-m", "training.fit", str(file)], cwd=PROJECT, env=environment(tmp_path / "python")
    )
    checkpoints = Path(spec["checkpoints"])
    deadline = time.monotonic() + 120
    while not list(checkpoints.rglob("step")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [run.info.status for run in runs(spec)] == ["RUNNING"]
    assert registry_of(spec).versions("value") == []
    assert (
        fit.run(spec | {"settings": {"hangs": True}})["version"] == "2"
    )  # it found the checkpoint, so it did not hang
    assert [run.info.status for run in runs(spec)] == ["KILLED", "FINISHED"]
    assert not list(checkpoints.iterdir())
