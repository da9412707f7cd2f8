"""What may go wrong during training: killed, damaged, out of memory, out of disk, no numbers, nothing to learn."""

import importlib.util
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pipelines.core.errors import TrainingError
from tests.small_disk import mounted
from training import loop, loop_settings

PROJECT = Path(__file__).resolve().parents[2]
JOB = Path(__file__).with_name("tiny_loop.py")
_SPEC = importlib.util.spec_from_file_location("tiny_loop", JOB)
assert _SPEC is not None
assert _SPEC.loader is not None
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)
SIGKILLED = -9


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def job(folder: Path, *prefix: str, launcher: tuple[str, ...] = (), **spec: Any) -> subprocess.CompletedProcess[str]:
    """Runs tests/training/tiny_loop.py to its end, or to where it kills itself."""
    folder.mkdir(exist_ok=True)
    (folder / "spec.json").write_text(json.dumps({"work": str(folder / "work"), "out": str(folder / "out"), **spec}))
    command = [*prefix, sys.executable, *launcher, str(JOB), str(folder / "spec.json")]
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


# -- killed ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], loop.TrainResult]:
    torch.set_num_threads(1)
    model = tiny.make_model()
    result = tiny.fit(model, tmp_path_factory.mktemp("uninterrupted"), checkpoint_steps=4)
    return weights(model), result


@pytest.mark.parametrize(
    "killed",
    [
        pytest.param([{"kill_at": 7}, {"kill_at": 14}], id="twice, in the middle of an epoch and after a validation"),
        pytest.param([{"kill_in_save": "checkpoint-12"}], id="while it writes a checkpoint"),
        pytest.param([{"kill_in_save": "best"}], id="while it writes the best weights"),
    ],
)
def test_a_killed_run_goes_on_to_the_same_weights(
    tmp_path: Path, uninterrupted: tuple[dict[str, torch.Tensor], loop.TrainResult], killed: list[dict[str, Any]]
) -> None:
    settings = {"checkpoint_steps": 4}
    for how in killed:
        ended = job(tmp_path, settings=settings, **how)
        assert ended.returncode == SIGKILLED, ended.stderr
    model, steps = tiny.make_model(), []
    result = tiny.fit(model, tmp_path / "work", log=lambda _, step: steps.append(step), **settings)
    expected, whole = uninterrupted
    assert_equal(weights(model), expected)
    assert result.curve == whole.curve
    assert (result.best, result.best_step, result.steps) == (whole.best, whole.best_step, whole.steps)
    first = {7: 5, 14: 13}.get(killed[-1].get("kill_at", 0), 9 if "12" in str(killed) else 5)
    assert steps[0] == first  # it did go on, and not start anew


def test_a_run_that_is_over_is_not_run_again(
    tmp_path: Path, uninterrupted: tuple[dict[str, torch.Tensor], loop.TrainResult]
) -> None:
    first = tiny.fit(tiny.make_model(), tmp_path, checkpoint_steps=4)
    model = tiny.make_model()
    second = tiny.fit(model, tmp_path, checkpoint_steps=4, log=lambda *_: pytest.fail("trained again"))
    assert second == first
    assert_equal(weights(model), uninterrupted[0])
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("other", ["settings", "rows", "weights"])
def test_the_checkpoint_of_another_run_is_not_gone_on_from(
    tmp_path: Path, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.fit(tiny.make_model(), tmp_path, epochs=1)
    changed: dict[str, Any] = {"epochs": 1}
    if other == "settings":
        changed["learning_rate"] = 1e-3
    if other == "rows":
        changed["rows"] = [*tiny.make_rows()[:-1], {"input_ids": [5, 6, 7], "labels": 1}]
    steps: list[int] = []
    tiny.fit(tiny.make_model(seed=int(other == "weights")), tmp_path, log=lambda _, step: steps.append(step), **changed)
    assert steps[0] == 1
    assert f"{tmp_path} holds another run: it starts anew" in caplog.text


# -- damaged ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a run that was stopped after its checkpoint at step 8."""

    def stop(values: Any, step: int) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.fit(tiny.make_model(), tmp_path, checkpoint_steps=4, log=stop)
    assert [folder.name for folder in tmp_path.glob("checkpoint-*")] == ["checkpoint-8"]
    return tmp_path


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("file", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_code_in_a_checkpoint_is_never_run(stopped: Path, file: str) -> None:
    marker = stopped / "ran"
    torch.save(Bomb(marker), stopped / "checkpoint-8" / file)
    with (stopped / "checkpoint-8" / file).open("rb") as stream:
        torch.load(stream, weights_only=False)
    assert marker.exists()  # the bomb works
    marker.unlink()
    with pytest.raises(TrainingError, match=r"checkpoint-8 cannot be read \(.*\): remove it to start anew"):
        tiny.fit(tiny.make_model(), stopped, checkpoint_steps=4)
    assert not marker.exists()


def test_a_checkpoint_holds_tensors_and_json_alone(stopped: Path) -> None:
    names = {path.name for path in (stopped / "checkpoint-8").iterdir()}
    assert names == {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
    for path in (stopped / "checkpoint-8").glob("*.p*t*"):
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(path.read_bytes())


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt"])
def test_a_damaged_checkpoint_is_told_in_one_line(stopped: Path, file: str) -> None:
    path = stopped / "checkpoint-8" / file
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="checkpoint-8 cannot be read") as told:
        tiny.fit(tiny.make_model(), stopped, checkpoint_steps=4)
    assert "\n" not in str(told.value)


# -- no numbers, nothing to learn ------------------------------------------------------------------------------------------


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, labels, reduction="none")


def test_a_loss_that_is_no_number_ends_the_run_and_nothing_is_kept_of_it(tmp_path: Path) -> None:
    calls: list[int] = []

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return cross_entropy(logits, labels) * (float("nan") if len(calls) == 3 else 1)

    with pytest.raises(TrainingError, match=r"the loss is no number at step 5: .* lower learning_rate"):
        tiny.fit(tiny.make_model(), tmp_path, loss=loss, log_steps=100, checkpoint_steps=5)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "start.safetensors"}


def test_a_gradient_that_is_no_number_ends_the_run_too(tmp_path: Path) -> None:
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits, labels) + (logits[:, 0] * 0).sqrt()  # 0 itself, with an endless slope

    with pytest.raises(TrainingError, match="the gradient is no number at step 1"):
        tiny.fit(tiny.make_model(), tmp_path, loss=loss)
    assert not (tmp_path / "best.safetensors").exists()


def test_a_metric_that_is_no_number_or_missing_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="s is nan on the validation rows at step 5"):
        tiny.fit(tiny.make_model(), tmp_path / "a", metric=lambda *_: {"s": float("nan")}, watch="s")
    with pytest.raises(TrainingError, match="no metric 'f1' to watch; measured are accuracy, loss"):
        tiny.fit(tiny.make_model(), tmp_path / "b", watch="f1")


def test_nothing_to_learn_is_told(tmp_path: Path) -> None:
    rows, model = tiny.make_rows(), tiny.make_model()
    settings, told = loop.LoopSettings(), {"collate": loop.Padding(), "metric": tiny.accuracy, "watch": "accuracy"}
    with pytest.raises(TrainingError, match="no training rows"):
        loop.train(model, [], rows, settings, work=tmp_path, **told)
    with pytest.raises(TrainingError, match="no validation rows"):
        loop.train(model, rows, [], settings, work=tmp_path, **told)
    with pytest.raises(TrainingError, match=r"one class only in 80 training rows \(\{1\}\)"):
        tiny.fit(model, tmp_path, rows=[{**row, "labels": 1} for row in rows])
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_cut_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size 10 is no multiple of accumulate 4"):
        loop.LoopSettings(batch_size=10, accumulate=4)
    with pytest.raises(TrainingError, match="batch_size 8 cannot be cut into 3 parts on each of 1 processes"):
        loop_settings.arguments_of(loop.LoopSettings(batch_size=8), tmp_path, 3, 80, "accuracy", higher_is_better=True)


# -- out of memory, out of disk --------------------------------------------------------------------------------------------


class Hungry(nn.Module):
    """Asks for more memory than any machine has where a batch has more than `most` rows."""

    def __init__(self, most: int, from_call: int = 1) -> None:
        super().__init__()
        self.bert, self.most, self.calls, self.from_call = tiny.make_model(dropout=0), most, 0, from_call

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        self.calls += self.training
        if self.training and len(input_ids) > self.most and self.calls >= self.from_call:
            torch.empty(1 << 50)
        return self.bert(input_ids, attention_mask)


@pytest.mark.parametrize("from_call", [1, 8])
def test_out_of_memory_halves_the_batch_once_and_comes_to_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, from_call: int
) -> None:
    hungry, frugal = Hungry(8, from_call), Hungry(8)
    with caplog.at_level(logging.WARNING):
        result = tiny.fit(hungry, tmp_path / "a")
    told = "out of memory with 16 rows at once: the batch is cut into 2 parts"
    assert result.notes == [told]
    assert caplog.messages == [told]
    expected = tiny.fit(frugal, tmp_path / "b", accumulate=2)
    assert expected.notes == []
    assert_equal(weights(hungry), weights(frugal))
    assert result.curve == expected.curve


def test_out_of_memory_twice_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"out of memory with 16 rows at once and with 8: raise accumulate \(now 1\)"
    ):
        tiny.fit(Hungry(4), tmp_path)


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    def broken(rows: Any) -> Any:
        raise RuntimeError("a bug of ours")

    with pytest.raises(RuntimeError, match="a bug of ours"):
        tiny.fit(tiny.make_model(), tmp_path, collate=broken)


@pytest.mark.parametrize("checkpoint_steps", [5, None], ids=["a checkpoint", "the best weights"])
def test_a_full_disk_is_one_line(tmp_path: Path, checkpoint_steps: int | None) -> None:
    """30,000 bytes of weights: start and a part of what comes next fit on the disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    ended = job(
        tmp_path, *mounted(disk, "size=48k"), work=str(disk / "work"), settings={"checkpoint_steps": checkpoint_steps}
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{disk}/work: the disk is full")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


# -- several processes -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_come_to_what_one_comes_to(tmp_path: Path) -> None:
    settings = {"checkpoint_steps": 4, "patience": 3}
    model = tiny.make_model(dropout=0)
    alone = tiny.fit(model, tmp_path / "alone", **settings)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2")
    ended = job(tmp_path, launcher=launcher, settings=settings, dropout=0)
    assert ended.returncode == 0, ended.stderr
    results = [json.loads((tmp_path / "out" / rank / "result.json").read_text()) for rank in "01"]
    assert results[0] == results[1]
    assert results[0]["steps"] == alone.steps
    for together, entry in zip(results[0]["curve"], alone.curve, strict=True):
        assert together == pytest.approx(entry, abs=2e-4)
    both = [load_file(tmp_path / "out" / rank / "model.safetensors") for rank in "01"]
    assert_equal(both[0], both[1])
    for name, tensor in weights(model).items():
        torch.testing.assert_close(both[0][name], tensor, atol=2e-3, rtol=0)
