import json
from datetime import date
from pathlib import Path

import pytest

from pipelines.core.errors import StorageError, WrongUseError
from pipelines.core.storage import Store, code_version
from pipelines.run_record import STAGES, RunRecord, new_run_id, open_record, record_path

NIGHT = date(2026, 3, 2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


def test_a_record_is_one_json_file_with_all_that_binds_a_run(store: Store) -> None:
    record = RunRecord("tiny", NIGHT, "duckdb", "run-1", {"land": {"seconds": 1.5}}, "it broke", {"log": "http://x"})
    path = record.write(store, {"shop": "a", "machine": "b"})
    assert path == store.folder / "runs" / "run-1.json"
    found = json.loads(path.read_text())
    assert found.pop("peak_memory_mb") > 0
    assert found == {
        "run_id": "run-1",
        "shop": "tiny",
        "night": "2026-03-02",
        "engine": "duckdb",
        "code_version": code_version(),
        "config": {"shop": "a", "machine": "b"},
        "stages": {"land": {"seconds": 1.5}},
        "error": "it broke",
        "links": {"log": "http://x"},
        "summary": {},
    }


def test_a_record_that_is_opened_again_goes_on_where_it_was(store: Store) -> None:
    first = open_record(store, NIGHT, "duckdb", "run-1")
    assert (first.stages, first.error, first.links, first.summary) == ({}, None, {}, {})
    first.stages["land"] = {"seconds": 1.5}
    first.links["log of land"] = "http://x"
    first.error, first.peak_memory_mb = "it broke", 1 << 30
    first.write(store, {})
    second = open_record(store, NIGHT, "duckdb", "run-1")
    assert (second.stages, second.error, second.links) == (first.stages, "it broke", first.links)
    second.write(store, {})
    assert json.loads(record_path(store, "run-1").read_text())["peak_memory_mb"] == 1 << 30, (
        "the largest of all processes"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stages": {}}', "null", "7"])
def test_a_damaged_record_is_told_with_what_to_do(text: str, store: Store) -> None:
    path = record_path(store, "run-1")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(StorageError, match=r"run-1\.json: damaged run record .*; delete it and run the night again"):
        open_record(store, NIGHT, "duckdb", "run-1")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../key", "a/b", "/key", ".hidden", "a b", "a\0", "a\n", "x" * 201, "näht"]
)
def test_a_name_that_is_no_run_id_is_refused(name: str, store: Store) -> None:
    with pytest.raises(WrongUseError, match="is no run id: expected letters, digits"):
        record_path(store, name)


def test_new_run_ids_are_names_and_differ(store: Store) -> None:
    made = {new_run_id() for _ in range(100)}
    assert len(made) == 100
    assert all(record_path(store, name).parent == store.folder / "runs" for name in made)


def test_writing_leaves_nothing_but_the_record(store: Store) -> None:
    for _ in range(2):
        open_record(store, NIGHT, "duckdb", "run-1").write(store, {})
    assert [path.name for path in (store.folder / "runs").iterdir()] == ["run-1.json"]


def test_stages_are_those_that_a_night_runs() -> None:
    from pipelines.night import _WORK

    assert tuple(_WORK) == STAGES
