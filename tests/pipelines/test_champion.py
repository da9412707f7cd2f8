from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines import champion
from pipelines.champion import Batch
from pipelines.core.errors import RegistryError
from pipelines.core.machine import Machine
from pipelines.core.registry import Version
from pipelines.core.storage import Store
from pipelines.stage import Context, StageResult
from tests.pipelines.test_report import PASSED
from tests.training.small_copy import shop

NIGHT = date(2026, 3, 1)
TABLES = ("creatives", "plan_copy")
TASK = "copywriter"


class One:
    """A registry that has a champion of the task."""

    def __init__(self, *given: Any) -> None:
        pass

    def champion(self, task: str, night: date) -> Version | None:
        assert task == TASK
        return Version("small-copywriter", "3", "run", tags={"content_sha256": "abc"})

    def fetch(self, version: Version) -> Path:
        return Path("/models") / version.name / version.version


class Empty(One):
    def champion(self, task: str, night: date) -> None:
        return None


class Down(One):
    def champion(self, task: str, night: date) -> None:
        raise RegistryError("no answer")


def context(root: Path, *, force: bool = False, tasks: tuple[Any, ...] = (TASK,)) -> Context:
    told = shop()
    told = told.model_copy(update={"models": told.models.model_copy(update={"tasks": tasks})})
    return Context(told, Machine(), Store(root, told.shop), root, force)


def batch() -> Batch:
    return Batch(TABLES, NIGHT, {"campaign_plan/2026-03-01": "p"}, "settings")


def make(made: Batch, here: Context) -> None:
    """Publishes empty tables of the batch; what is in them is of no matter here."""
    for table in made.tables:
        with here.store.staging() as staging:
            (staging / table).mkdir()
            (staging / table / "part-00000.parquet").write_bytes(b"")
            here.store.publish(
                table, NIGHT, staging / table, rows=0, inputs=made.inputs, config_hash=made.config_hash, audit=PASSED,
                counts={"model": "told"} if table == made.tables[0] else {},
            )  # fmt: skip


def test_a_champion_serves_and_stands_in_the_lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion, "Registry", One)
    server, made = batch().served(TASK, "templates word", context(tmp_path))
    assert server.job == {"folder": "/models/small-copywriter/3", "name": "small-copywriter", "version": "3"}
    assert server.told == {"model": "small-copywriter", "version": "3", "why": "champion"}
    assert made.inputs == batch().inputs | {"model/small-copywriter/3": "abc"}


@pytest.mark.parametrize(
    ("registry", "why"),
    [(Empty, "no champion: templates word"), (Down, "the model registry does not answer: templates word")],
)
def test_without_a_champion_another_stands_in(
    registry: type[One], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champion, "Registry", registry)
    server, made = batch().served(TASK, "templates word", context(tmp_path))
    assert server.job == {"folder": None, "name": "small-copywriter-baseline", "version": "none"}
    assert (server.why, made) == (why, batch())


def test_a_task_that_the_shop_does_not_train_has_no_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion, "Registry", One)
    server, made = batch().served(TASK, "templates word", context(tmp_path, tasks=()))
    assert (server.why, made) == ("no champion: templates word", batch())


def test_what_a_champion_made_stays_while_the_registry_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, result = context(tmp_path), StageResult("plan")
    monkeypatch.setattr(champion, "Registry", One)
    make(batch().served(TASK, "templates word", here)[1], here)
    monkeypatch.setattr(champion, "Registry", Down)
    kept = batch().served(TASK, "templates word", here)[1].keep(here, result)
    assert kept
    assert kept.counts == {"model": "told"}
    assert (result.n_made, len(result.manifests)) == (0, 2)


def test_what_is_forced_while_the_registry_is_down_is_not_said_to_be_the_champion_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = context(tmp_path, force=True)
    monkeypatch.setattr(champion, "Registry", One)
    make(batch().served(TASK, "templates word", here)[1], here)
    monkeypatch.setattr(champion, "Registry", Down)
    server, made = batch().served(TASK, "templates word", here)
    assert (server.folder, made) == (None, batch())
    assert made.keep(here, StageResult("plan")) is None


def test_a_new_champion_makes_its_tables_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = context(tmp_path)
    make(batch(), here)
    monkeypatch.setattr(champion, "Registry", One)
    assert batch().served(TASK, "templates word", here)[1].keep(here, StageResult("plan")) is None
    monkeypatch.setattr(champion, "Registry", Empty)
    assert batch().served(TASK, "templates word", here)[1].keep(here, StageResult("plan")) is not None
