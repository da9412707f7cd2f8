import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipelines.core import storage
from pipelines.core.errors import LockedError, StorageError
from pipelines.core.storage import ABSENT, MANIFEST, Manifest, Store, content_hash, window

FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "corner")


Publish = Callable[..., Manifest]


@pytest.fixture
def publish(store: Store) -> Publish:
    """publish(table, night, text, inputs={...}) -> manifest of a partition with one file of that text."""

    def make(table: str, night: date, text: str, inputs: dict[str, str] | None = None) -> Manifest:
        return publish_text(store, table, night, text, inputs)

    return make


def publish_text(store: Store, table: str, night: date, text: str, inputs: dict[str, str] | None = None) -> Manifest:
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        (folder / "part-00000.parquet").write_text(text)
        return store.publish(table, night, folder, rows=len(text), inputs=inputs or {}, config_hash="c")


def is_whole(partition: Path) -> bool:
    """One look at a partition through an open folder: its manifest tells the hash of its files."""
    folder = os.open(partition, os.O_RDONLY)
    try:
        return bool(json.loads(read_at(folder, MANIFEST))["rows"] == len(read_at(folder, "part-00000.parquet")))
    except FileNotFoundError:  # exchanged and deleted since it was opened: nothing of it was believed
        return is_whole(partition)
    finally:
        os.close(folder)


def read_at(folder: int, name: str) -> str:
    with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder)) as file:
        return file.read()


def test_a_partition_lies_at_root_shop_layer_table_night_with_its_manifest_inside(
    store: Store, publish: Publish
) -> None:
    made = publish("events", FIRST, "rows")
    folder = store.root / "corner" / "clean" / "events" / "night=2026-03-01"
    assert store.partition("events", FIRST) == folder
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "part-00000.parquet"]
    assert store.manifest("events", FIRST) == made
    assert made.content_hash == content_hash(folder)
    assert store.nights("events") == [FIRST]
    assert store.files("events", [FIRST, SECOND]) == [folder / "part-00000.parquet"]


def test_raw_tables_are_partitioned_by_arrival(store: Store) -> None:
    assert store.partition("raw_events", FIRST).name == "arrival=2026-03-01"


def test_an_undeclared_table_is_refused_with_the_declared_ones_named(store: Store) -> None:
    with pytest.raises(StorageError, match=r"no table 'event'; declared are raw_events, .*nightly_report"):
        store.partition("event", FIRST)


def test_publishing_the_same_again_changes_no_byte_and_leaves_no_staging(store: Store, publish: Publish) -> None:
    def state() -> dict[str, bytes]:
        files = [path for path in (store.folder / "clean").rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in files}

    publish("events", FIRST, "rows", {"raw_events/2026-03-01": "aa"})
    before = state()
    publish("events", FIRST, "rows", {"raw_events/2026-03-01": "aa"})
    assert state() == before
    assert list((store.folder / ".staging").iterdir()) == []


def test_a_manifest_holds_no_time_no_host_and_no_process(store: Store, publish: Publish) -> None:
    first = publish("events", FIRST, "rows")
    other = publish_text(Store(store.root / "elsewhere", "corner"), "events", FIRST, "rows")
    assert first.to_json() == other.to_json()


def test_a_damaged_manifest_is_told_with_its_path(store: Store, publish: Publish) -> None:
    publish("events", FIRST, "rows")
    path = store.partition("events", FIRST) / MANIFEST
    path.write_text('{"table": ')
    with pytest.raises(StorageError, match=rf"{path}: damaged manifest .*delete that folder and run the night again"):
        store.manifest("events", FIRST)


def test_is_current_only_with_the_same_inputs_configuration_and_code(
    store: Store, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"raw_events/2026-03-01": "aa"}
    assert not store.is_current("events", FIRST, inputs, "c")
    publish("events", FIRST, "rows", inputs)
    assert store.is_current("events", FIRST, inputs, "c")
    assert not store.is_current("events", FIRST, {"raw_events/2026-03-01": "bb"}, "c")
    assert not store.is_current("events", FIRST, inputs, "d")
    monkeypatch.setattr(storage, "code_version", lambda: "other")
    assert not store.is_current("events", FIRST, inputs, "c")


def test_a_changed_input_marks_all_that_depends_on_it_stale_and_nothing_else(store: Store, publish: Publish) -> None:
    raw = publish("raw_events", FIRST, "one").content_hash
    events = publish("events", FIRST, "rows", {"raw_events/2026-03-01": raw}).content_hash
    publish("sessions", FIRST, "made", {"events/2026-03-01": events})
    publish("events", SECOND, "others")
    publish("raw_events", FIRST, "one, late two")
    store.mark_stale()
    stale = {(m.table, m.partition): m.stale for m in store._all_manifests() if m.stale}
    assert stale == {
        ("events", "2026-03-01"): ["raw_events/2026-03-01"],
        ("sessions", "2026-03-01"): ["events/2026-03-01"],
    }
    assert store.stale_nights() == [FIRST]

    publish("raw_events", FIRST, "one")  # as it was: what was made of it is right again
    store.mark_stale()
    assert store.stale_nights() == []


def test_an_input_that_was_absent_and_came_makes_its_reader_stale(store: Store, publish: Publish) -> None:
    publish("sessions", SECOND, "made", {"events/2026-03-01": ABSENT})
    store.mark_stale()
    assert store.stale_nights() == []
    publish("events", FIRST, "rows")
    store.mark_stale()
    assert store.stale_nights() == [SECOND]


def test_what_is_made_on_demand_asks_for_no_night_to_be_run_again(store: Store, publish: Publish) -> None:
    publish("experiment_readout", SECOND, "made", {"events/2026-03-01": ABSENT})
    publish("events", FIRST, "rows")
    store.mark_stale()
    told = store.manifest("experiment_readout", SECOND)
    assert told
    assert told.stale == ["events/2026-03-01"]  # so it is made anew once it is asked for
    assert store.stale_nights() == []


def test_files_that_landed_are_no_tables_and_never_make_stale(store: Store, publish: Publish) -> None:
    publish("raw_events", FIRST, "one", {"landing/2026-03-01/events.jsonl": "aa"})
    store.mark_stale()
    assert store.stale_nights() == []


def test_a_stage_that_fails_publishes_nothing_and_leaves_no_staging(store: Store, publish: Publish) -> None:
    before = publish("events", FIRST, "rows")
    with pytest.raises(RuntimeError), store.staging() as staging:  # noqa: PT012 - the failure is inside on purpose
        (staging / "half").write_text("half")
        raise RuntimeError
    assert store.manifest("events", FIRST) == before
    assert list((store.folder / ".staging").iterdir()) == []


def test_staging_of_the_dead_is_swept_and_that_of_the_living_is_left(store: Store) -> None:
    with store.staging() as mine:
        child = FORK.Process(target=_die_in_staging, args=(store,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        (store.folder / ".staging" / "just-made").mkdir()  # killed between mkdir and its mark of life
        assert len(list((store.folder / ".staging").iterdir())) == 3
        with store.staging() as other:
            assert sorted((store.folder / ".staging").iterdir()) == sorted([mine, other])


def _die_in_staging(store: Store) -> None:
    with store.staging() as folder:
        (folder / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_lock_is_held_against_others_and_free_at_once_when_its_owner_is_killed(store: Store) -> None:
    ready = FORK.Event()
    child = FORK.Process(target=_hold, args=(store, ready))
    child.start()
    assert ready.wait(10)
    with (
        pytest.raises(LockedError, match=rf"shop corner, night-x: process {child.pid} is working on it; wait"),
        store.lock("night-x", wait=False),
    ):
        pass
    with store.lock("night-y", wait=False):
        pass  # another night is another lock
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    with store.lock("night-x", wait=False):
        pass


def _hold(store: Store, ready: "multiprocessing.synchronize.Event") -> None:
    with store.lock("night-x", wait=False):
        ready.set()
        signal.pause()


def test_a_reader_sees_whole_partitions_only_while_one_is_exchanged_and_marked_many_times(store: Store) -> None:
    publish_text(store, "events", FIRST, "x", {"raw_events/2026-03-01": ABSENT})
    done = FORK.Event()
    children = [FORK.Process(target=work, args=(store, done)) for work in (_republish, _mark)]
    for child in children:
        child.start()
    partition = store.partition("events", FIRST)
    looks = 0
    while children[0].is_alive() or looks < 200:
        assert is_whole(partition)
        looks += 1
    done.set()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert is_whole(partition)


def _republish(store: Store, done: object) -> None:
    for n in range(100):
        publish_text(store, "events", FIRST, "x" * (n % 7 + 1), {"raw_events/2026-03-01": ABSENT})
        if n % 10 == 0:  # its coming and going changes the marks
            publish_text(store, "raw_events", FIRST, "x" * n)


def _mark(store: Store, done: "multiprocessing.synchronize.Event") -> None:
    while not done.is_set():
        store.mark_stale()


def test_the_file_system_s_refusals_become_one_line(store: Store, tmp_path: Path) -> None:
    (tmp_path / "corner").write_text("a file in place of the folder")
    with pytest.raises(StorageError, match="nothing was published"), store.staging():
        pass
    for code, text in ((28, "disk is full"), (13, "no permission"), (30, "no permission"), (5, "Input/output error")):
        told = str(storage.storage_error(tmp_path, OSError(code, os.strerror(code))))
        assert text in told
        assert "\n" not in told


def test_a_folder_is_replaced_where_the_file_system_can_exchange_and_refused_where_not(
    store: Store, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = publish("events", FIRST, "rows")

    class OldDisk:
        def renameat2(self, *args: object) -> int:
            storage.ctypes.set_errno(22)
            return -1

    monkeypatch.setattr(storage.ctypes, "CDLL", lambda *args, **kwargs: OldDisk())
    with pytest.raises(StorageError, match="cannot exchange folders atomically; use a local disk"):
        publish("events", FIRST, "new rows")
    assert store.manifest("events", FIRST) == before


def test_window_is_the_nights_that_end_with_one() -> None:
    assert window(SECOND, 3) == [date(2026, 2, 28), FIRST, SECOND]


def test_content_hash_knows_names_and_bytes_but_not_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").write_text("a")
    one = content_hash(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    assert content_hash(tmp_path) == one
    shutil.move(tmp_path / "part-00000.parquet", tmp_path / "part-00001.parquet")
    assert content_hash(tmp_path) != one
