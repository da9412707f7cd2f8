"""Models that learnt from erased customers: told, marked, without example rows, and replaced at the next opportunity."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines import promote as module
from pipelines import train as training
from pipelines.core.registry import CHAMPION, LINEAGE_FILE, RETRAIN
from pipelines.core.storage import ERASURE
from pipelines.erase_journal import Change, Journal
from pipelines.erase_models import mark_models
from pipelines.promote import promote
from pipelines.servers import mlflow
from pipelines.servers.health import is_healthy
from pipelines.train import is_due, registry_of, train
from tests import fake_task
from tests.fake_task import NIGHTS, context, make_root
from tests.site import free_ports, until

TASK, LAST, PERSON = "value", NIGHTS[-1], "u5"


@pytest.fixture(autouse=True)
def jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run in this process."""
    for one in (module, training):
        monkeypatch.setattr(one, "launch", fake_task.launch)
    fake_task.install()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def contest(root: Path, uri: str | None = None, **settings: Any) -> Any:
    made = train(TASK, LAST, context(root, uri=uri, settings=settings))
    return promote(TASK, LAST, context(root, uri=uri, settings=settings), made["version"])


def erase(root: Path, nights: list[date], uri: str | None = None) -> list[dict[str, str]]:
    """Cuts PERSON out of the events of these nights and marks the models."""
    one = context(root, uri=uri)
    store = one.store
    (store.folder / ERASURE).mkdir(exist_ok=True)
    with store.staging() as staging:
        journal = Journal(store, "0123456789abcdef", staging)
        journal.close()
        for night in nights:
            before = store.manifest("events", night)
            assert before
            folder = staging / night.isoformat()
            folder.mkdir()
            rows = pq.read_table(store.files("events", [night])[0], partitioning=None)
            pq.write_table(rows.filter(pc.not_equal(rows["user_key"], PERSON)), folder / "part-00000.parquet")
            after = store.publish(
                "events", night, folder, rows=before.rows - 1, inputs={}, config_hash="x", audit={"success": True}
            )
            change = Change("events", 1, before.content_hash, after.content_hash)
            journal.note(f"events/{night}", change)
        found = mark_models(one, "0123456789abcdef", journal, staging)
        journal.close()
    return found


def examples(root: Path) -> list[int]:
    """Rows in every file of a logged model that shows some."""
    found = [pa.ipc.open_file(path).read_all().num_rows for path in root.rglob("rows.arrow")]
    for path in root.rglob("*input_example.json"):
        told = json.loads(path.read_text())
        found.append(len(told.get("dataframe_split", told)["data"]))
    return found


def test_models_that_learnt_from_the_person_are_told_marked_and_emptied_of_example_rows(root: Path) -> None:
    contest(root)
    assert sorted(set(examples(root))) == [5]
    assert len(examples(root)) == 6
    told = erase(root, NIGHTS[:1])
    assert sorted(told, key=lambda one: one["version"]) == [
        {"name": "fake-value", "version": "1", "alias": ""},
        {"name": "fake-value", "version": "2", "alias": "champion"},
    ]
    assert set(examples(root)) == {0}
    registry = registry_of(context(root))
    champion = registry.aliased(TASK, CHAMPION)
    assert champion
    assert champion.tags[RETRAIN] == "erasure 0123456789abcdef"
    registry.fetch(champion)  # it goes on serving: its files are those that were registered
    assert erase(root, []) == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """MLflow's server on loopback, its address and its folder."""
    folder, (port,) = tmp_path / "server", free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", *mlflow.command(port)],
        env={**fake_task.environment(tmp_path / "site"), **mlflow.environment(folder, port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: is_healthy("mlflow", url))
        yield url, folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_models_behind_mlflows_server_are_marked_and_emptied_too(
    root: Path, server: tuple[str, Path], tmp_path: Path
) -> None:
    url, folder = server
    contest(root, url)
    registry = registry_of(context(root, uri=url))
    # as a training leaves it that is killed before it registers its model
    client = registry.client
    left = client.create_logged_model(registry.experiment(TASK), "left")
    shutil.copytree(next(folder.rglob("bundle")), tmp_path / "left" / "artifacts" / "bundle")
    client.log_model_artifacts(left.model_id, str(tmp_path / "left"))
    assert set(examples(folder)) == {5}
    told = erase(root, NIGHTS[:1], url)
    assert [one["alias"] for one in sorted(told, key=lambda one: one["version"])] == ["", "champion"]
    assert len(examples(folder)) == 7
    assert set(examples(folder)) == {0}
    champion = registry.aliased(TASK, CHAMPION)
    assert champion
    assert champion.tags[RETRAIN] == "erasure 0123456789abcdef"
    registry.fetch(champion)


def test_a_model_that_never_saw_the_persons_partitions_is_left_alone(root: Path) -> None:
    contest(root)
    registry = registry_of(context(root))
    champion = registry.aliased(TASK, CHAMPION)
    assert champion
    learnt_from = json.loads(registry.file(champion, LINEAGE_FILE).read_text())
    assert f"events/{LAST}" not in learnt_from
    assert erase(root, [LAST]) == []
    assert set(examples(root)) == {5}
    assert RETRAIN not in registry.get(TASK, champion.version).tags


def test_a_marked_champion_is_due_on_any_night_until_something_was_trained_without_the_person(root: Path) -> None:
    contest(root)
    night = LAST + timedelta(days=1)
    assert night.weekday() != 0
    assert not is_due(TASK, night, context(root))
    erase(root, NIGHTS[:1])
    assert is_due(TASK, night, context(root))
    assert train(TASK, LAST, context(root))["made"]
    assert not is_due(TASK, night, context(root))


def test_a_tie_replaces_a_marked_champion_and_a_worse_model_does_not(root: Path) -> None:
    first = contest(root)
    assert contest(root, note="again").champion == first.champion  # a tie keeps who has nothing against them
    erase(root, NIGHTS[:1])
    worse = contest(root, quality=-1)
    assert (worse.verdict, worse.champion) == ("kept", first.champion)
    equal = contest(root, note="without the person")
    assert (equal.verdict, equal.champion) == ("promoted", equal.version), equal.reasons
    assert any("a tie is enough" in reason for reason in equal.reasons)


def test_a_marked_challenger_is_not_promoted(root: Path) -> None:
    made = train(TASK, LAST, context(root))
    erase(root, NIGHTS[:1])
    verdict = promote(TASK, LAST, context(root), made["version"])
    assert verdict.verdict == "kept"
    assert any(reason.startswith("FAIL erasure: ") for reason in verdict.reasons)
