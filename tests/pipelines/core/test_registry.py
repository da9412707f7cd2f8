import sqlite3
import stat
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from pipelines.core.errors import RegistryError
from pipelines.core.registry import CHALLENGER, CHAMPION, Registry, Version, folder_hash, training_digest
from tests.fake_task import make_root

TASK = "value"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry("fake", make_root(tmp_path / "root", data=False), None)


def add(registry: Registry, alias: str | None = None, **tags: str) -> Version:
    """Registers a version whose model is one small file."""
    folder = registry.root / "made" / str(time.monotonic_ns())
    model = folder / "artifacts" / "bundle" / "model"
    (model / "more").mkdir(parents=True)
    (model / "model.json").write_text('{"task": "value"}')
    (model / "more" / "weights").write_text("1 2 3")
    client, experiment = registry.client, registry.experiment(TASK)
    run = client.create_run(experiment)
    logged = client.create_logged_model(experiment, "value-fake", run.info.run_id)
    client.log_model_artifacts(logged.model_id, str(folder))
    tags = {"content_sha256": folder_hash(model), **tags}
    return registry.register(TASK, logged.model_id, run.info.run_id, tags, "the card", alias=alias)


def crown(registry: Registry, version: Version, night: str) -> None:
    registry.crown(TASK, version, registry.aliased(TASK, CHAMPION), date.fromisoformat(night))


def test_a_registry_that_nobody_used_is_empty_and_stays_unmade(tmp_path: Path) -> None:
    registry = Registry("fake", tmp_path, None)
    assert registry.champion(TASK, date(2026, 3, 1)) is None
    assert registry.aliased(TASK, CHALLENGER) is None
    assert registry.versions(TASK) == []
    assert list(tmp_path.iterdir()) == []


def test_a_version_keeps_what_was_said_of_it(registry: Registry) -> None:
    made = add(registry, CHALLENGER, kind="fake", judged_nights="2026-03-06 2026-03-07", data_last="2026-03-05")
    found = registry.get(TASK, "1")
    assert found == registry.aliased(TASK, CHALLENGER) == made
    assert (found.name, found.version, found.kind, found.description) == ("fake-value", "1", "fake", "the card")
    assert found.judged_nights == (date(2026, 3, 6), date(2026, 3, 7))
    assert (found.night("data_last"), found.night("promoted_night")) == (date(2026, 3, 5), None)
    assert registry.champion(TASK, date(2026, 3, 9)) is None


def test_only_the_owner_reads_the_store(registry: Registry) -> None:
    registry.experiment(TASK)
    assert stat.S_IMODE(registry.folder.stat().st_mode) == 0o700


def test_versions_are_found_by_their_tags_newest_first(registry: Registry) -> None:
    for digest in ("a", "b", "a"):
        add(registry, training_digest=digest)
    assert [version.version for version in registry.versions(TASK)] == ["3", "2", "1"]
    assert [version.version for version in registry.versions(TASK, training_digest="a")] == ["3", "1"]
    assert registry.versions(TASK, training_digest="c") == []
    assert registry.versions("effect") == []


def test_a_night_is_scored_by_who_was_champion_then_whatever_came_later(registry: Registry) -> None:
    for night in ("2026-03-02", "2026-03-09", "2026-03-16"):
        crown(registry, add(registry), night)

    def champion(night: str) -> str | None:
        found = registry.champion(TASK, date.fromisoformat(night))
        return found.version if found else None

    assert champion("2026-03-01") is None
    assert [champion(f"2026-03-{day}") for day in ("02", "08", "09", "15", "16", "30")] == [
        "1",
        "1",
        "2",
        "2",
        "3",
        "3",
    ]
    registry.dethrone(TASK, "rolled back")
    assert [champion(f"2026-03-{day}") for day in ("08", "15", "16", "30")] == ["1", "2", "2", "2"]


def test_a_new_champion_is_no_challenger_any_more_and_remembers_who_was_before(registry: Registry) -> None:
    crown(registry, add(registry), "2026-03-02")
    crown(registry, add(registry, CHALLENGER), "2026-03-09")
    champion = registry.aliased(TASK, CHAMPION)
    assert champion
    assert (champion.version, champion.previous_champion) == ("2", "1")
    assert registry.aliased(TASK, CHALLENGER) is None


def test_the_champion_may_not_have_changed_since_the_comparison(registry: Registry) -> None:
    first, second, third = (add(registry) for _ in range(3))
    crown(registry, first, "2026-03-02")
    crown(registry, second, "2026-03-09")
    with pytest.raises(
        RegistryError, match="compared with fake-value version 1, but the champion is fake-value version 2"
    ):
        registry.crown(TASK, third, first, date(2026, 3, 9))
    assert registry.aliased(TASK, CHAMPION) == registry.get(TASK, "2")


def test_rolling_back_needs_a_champion_before(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="no champion"):
        registry.dethrone(TASK, "rolled back")
    crown(registry, add(registry), "2026-03-02")
    with pytest.raises(RegistryError, match="version 1 has no champion before it"):
        registry.dethrone(TASK, "rolled back")


@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_a_model_whose_files_changed_is_not_handed_out(registry: Registry, change: str) -> None:
    version = add(registry)
    folder = registry.fetch(version)
    assert (folder / "more" / "weights").read_text() == "1 2 3"
    if change == "edit":
        (folder / "more" / "weights").write_text("1 2 4")
    elif change == "add":
        (folder / "more" / "code.py").write_text("")
    else:
        (folder / "more" / "weights").unlink()
    with pytest.raises(RegistryError, match="SHA-256 differs") as refused:
        registry.fetch(version)
    assert "\n" not in str(refused.value)


def test_a_model_whose_files_are_gone_is_named(registry: Registry) -> None:
    version = add(registry)
    registry.fetch(version).rename(registry.root / "elsewhere")
    with pytest.raises(RegistryError, match=r"fake-value version 1: artifacts/bundle/model is missing"):
        registry.fetch(version)


def test_the_hash_of_a_folder_knows_names_and_bytes_and_nothing_else(tmp_path: Path) -> None:
    for name, file in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in" / file).write_text("1")
    hashes = [folder_hash(tmp_path / name) for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_training_is_told_by_its_settings_and_its_partitions_in_any_order() -> None:
    assert training_digest("s", {"a": "1", "b": "2"}) == training_digest("s", {"b": "2", "a": "1"})
    others = [training_digest("t", {"a": "1"}), training_digest("s", {"a": "1"}), training_digest("s", {"a": "2"})]
    assert len(set(others)) == 3


@pytest.fixture
def locked(registry: Registry) -> Iterator[Registry]:
    """Another process writes and does not end."""
    with sqlite3.connect(registry.folder / "mlflow.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        yield registry
        other.rollback()


def test_a_store_that_another_process_holds_is_one_line(locked: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.core.mlflow_client._ANSWER_SECONDS", 0.1)
    with pytest.raises(RegistryError, match="does not answer: database is locked") as told:
        locked.champion(TASK, date(2026, 3, 1))
    assert "\n" not in str(told.value)


def test_a_store_that_is_no_database_is_one_line(registry: Registry) -> None:
    (registry.folder / "mlflow.db").write_text("not a database " * 100)
    with pytest.raises(RegistryError, match="file is not a database"):
        registry.champion(TASK, date(2026, 3, 1))


def test_a_store_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow" / "mlflow.db").mkdir(parents=True)
    with pytest.raises(RegistryError, match="unable to open database file"):
        Registry("fake", tmp_path, None).experiment(TASK)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow").write_text("in the way")
    with pytest.raises(RegistryError, match=r"does not answer: .*mlflow"):
        Registry("fake", tmp_path, None).experiment(TASK)


def test_a_server_that_is_down_is_one_line(tmp_path: Path) -> None:
    down = Registry("fake", tmp_path, "http://127.0.0.1:9")
    for ask in (
        lambda: down.champion(TASK, date(2026, 3, 1)),
        lambda: down.versions(TASK),
        lambda: down.experiment(TASK),
    ):
        with pytest.raises(RegistryError, match=r"the model registry http://127.0.0.1:9 does not answer") as told:
            ask()
        assert "\n" not in str(told.value)
        assert "mlflow_uri" in str(told.value)
