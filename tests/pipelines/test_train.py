from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import train as module
from pipelines.core.errors import NoDataError, RegistryError, TrainingError, WrongUseError
from pipelines.core.registry import CHALLENGER, CHAMPION
from pipelines.train import is_due, newest_night, registry_of, split, train
from tests import fake_task
from tests.fake_task import NIGHTS, context, fill, make_root

LAST = NIGHTS[-1]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the jobs that were started."""
    started: list[str] = []

    def launch(name: str, *args: Any) -> dict[str, Any]:
        started.append(name)
        return fake_task.launch(name, *args)

    monkeypatch.setattr(module, "launch", launch)
    fake_task.install()
    return started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def test_nights_are_split_by_time_and_the_newest_judge(root: Path) -> None:
    assert split("value", LAST, context(root, judged_nights=2, valid_nights=1)) == {
        "train": NIGHTS[:3],
        "valid": NIGHTS[3:4],
        "judged": NIGHTS[4:],
    }
    assert split("value", NIGHTS[4], context(root, judged_nights=1, valid_nights=2, train_nights=1)) == {
        "train": NIGHTS[1:2],
        "valid": NIGHTS[2:4],
        "judged": NIGHTS[4:5],
    }


def test_too_few_nights_are_told_without_starting_anything(root: Path, jobs: list[str]) -> None:
    with pytest.raises(NoDataError, match="3 nights of events up to 2026-03-04, 4 are needed"):
        train("value", NIGHTS[2], context(root))
    with pytest.raises(NoDataError, match="0 nights of deliveries"):
        newest_night("effect", context(root))
    assert jobs == []


def test_an_unknown_task_is_wrong_use(root: Path) -> None:
    with pytest.raises(
        WrongUseError,
        match="unknown task 'magic': expected behaviour, copywriter, effect, policy, pricing, recommender, search, sentiment, "
        "value",
    ):
        train("magic", LAST, context(root))


def test_the_first_training_registers_the_baseline_and_a_challenger(root: Path, jobs: list[str]) -> None:
    made = train("value", LAST, context(root))
    assert made == {"name": "fake-value", "version": "2", "kind": "fake", "made": True}
    registry = registry_of(context(root))
    baseline, challenger = registry.get("value", "1"), registry.get("value", "2")
    assert (baseline.kind, baseline.tags["role"]) == ("rates", "baseline")
    assert (challenger.kind, challenger.tags["role"]) == ("fake", "challenger")
    assert registry.aliased("value", CHALLENGER) == challenger
    assert registry.aliased("value", CHAMPION) is None
    assert challenger.judged_nights == tuple(NIGHTS[4:])
    assert (challenger.night("data_first"), challenger.night("data_last")) == (NIGHTS[0], NIGHTS[3])


def test_nothing_is_trained_twice(root: Path, jobs: list[str]) -> None:
    first = train("value", LAST, context(root))
    assert train("value", LAST, context(root)) == {**first, "made": False}
    assert jobs == ["training.fit"]
    assert len(registry_of(context(root)).versions("value")) == 2


def test_other_settings_data_or_nights_are_another_training(root: Path, jobs: list[str]) -> None:
    numbers = [
        train("value", LAST, context(root))["version"],
        train("value", LAST, context(root, quality=2))["version"],
    ]
    numbers.append(train("value", NIGHTS[-2], context(root))["version"])
    fill(context(root).store, [NIGHTS[0] - timedelta(days=1)])
    numbers.append(train("value", LAST, context(root))["version"])
    assert numbers == ["2", "3", "4", "5"]  # and no second baseline


def test_a_change_of_the_judged_nights_alone_trains_nothing(root: Path, jobs: list[str]) -> None:
    """A model has not seen them, so it cannot differ."""
    made = train("value", LAST, context(root))
    with context(root).store.staging() as staging:
        (staging / "events").mkdir()
        (staging / "events" / "part-00000.parquet").write_bytes(b"")
        context(root).store.publish("events", LAST, staging / "events", rows=1, inputs={}, config_hash="")
    assert train("value", LAST, context(root)) == {**made, "made": False}


def test_a_training_that_fails_registers_nothing_and_the_next_one_does(root: Path, jobs: list[str]) -> None:
    with pytest.raises(TrainingError, match="the loss is no number"):
        train("value", LAST, context(root, settings={"fails": True}))
    registry = registry_of(context(root))
    assert registry.versions("value") == []
    runs = registry.client.search_runs([registry.experiment("value")])
    assert [run.info.status for run in runs] == ["FAILED"]
    assert train("value", LAST, context(root))["version"] == "2"


def test_training_is_due_on_anchor_nights_and_while_there_is_no_champion(root: Path, jobs: list[str]) -> None:
    monday, tuesday = NIGHTS[0], NIGHTS[1]
    assert is_due("value", tuesday, context(root))
    train("value", LAST, context(root))
    registry = registry_of(context(root))
    registry.crown("value", registry.get("value", "1"), None, monday)
    assert is_due("value", monday, context(root))
    assert not is_due("value", tuesday, context(root))


def test_a_registry_that_is_down_is_found_out_before_anything_is_trained(root: Path, jobs: list[str]) -> None:
    down = context(root, uri="http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="does not answer"):
        train("value", LAST, down)
    with pytest.raises(RegistryError, match="does not answer"):
        is_due("value", NIGHTS[1], down)
    assert jobs == []
