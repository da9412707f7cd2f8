import json
import multiprocessing
from pathlib import Path

import pytest

from pipelines.core.errors import StorageError
from pipelines.core.storage import Store
from pipelines.review_ledger import decisions, history, ledger_file, record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


def test_nothing_is_decided_where_nobody_has(store: Store) -> None:
    assert decisions(store) == {}
    assert history(store) == []


def test_the_newest_decision_of_each_creative_holds_and_all_are_kept(store: Store) -> None:
    record(store, "aaaa1111", "approved", "mia")
    record(store, "bbbb2222", "rejected", "mia", "too loud")
    record(store, "aaaa1111", "rejected", "leo", "seen again")
    assert decisions(store) == {"aaaa1111": "rejected", "bbbb2222": "rejected"}
    assert [(one.creative_id, one.decision, one.who, one.note) for one in history(store)] == [
        ("aaaa1111", "approved", "mia", ""),
        ("bbbb2222", "rejected", "mia", "too loud"),
        ("aaaa1111", "rejected", "leo", "seen again"),
    ]
    assert all(one.at.endswith("+00:00") for one in history(store))


def test_the_same_decision_again_is_no_new_line_but_another_person_s_is(store: Store) -> None:
    first, is_new = record(store, "aaaa1111", "approved", "mia", "fine")
    assert is_new
    assert record(store, "aaaa1111", "approved", "mia") == (first, False)
    assert record(store, "aaaa1111", "approved", "mia", "fine") == (first, False)
    assert record(store, "aaaa1111", "approved", "mia", "really fine")[1]
    assert record(store, "aaaa1111", "approved", "leo")[1]
    assert len(history(store)) == 3


@pytest.mark.parametrize("n_bytes", [1, 20, 80])
def test_a_line_that_a_crash_cut_off_counts_for_nothing_and_hurts_nothing(store: Store, n_bytes: int) -> None:
    record(store, "aaaa1111", "approved", "mia")
    whole = ledger_file(store).read_bytes()
    ledger_file(store).write_bytes(whole + whole.replace(b"approved", b"rejected")[:n_bytes])
    assert decisions(store) == {"aaaa1111": "approved"}
    record(store, "bbbb2222", "rejected", "leo", "no")
    assert decisions(store) == {"aaaa1111": "approved", "bbbb2222": "rejected"}
    assert ledger_file(store).read_bytes().startswith(whole)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"creative_id": "a"}', '{"creative_id":"a","decision":"maybe","who":"x","at":"t"}']
)
def test_a_damaged_line_is_told_with_its_number(store: Store, line: str) -> None:
    record(store, "aaaa1111", "approved", "mia")
    with ledger_file(store).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(StorageError, match=r"ledger\.jsonl: line 2: no decision"):
        decisions(store)


def test_the_ledger_holds_who_and_when_and_no_text(store: Store) -> None:
    record(store, "aaaa1111", "approved", "mia", "line\nbreak is escaped")
    (line,) = ledger_file(store).read_text().splitlines()
    assert set(json.loads(line)) == {"creative_id", "decision", "who", "at", "note"}


def _decide(root: Path, worker: int) -> None:
    for n in range(20):
        record(Store(root, "tiny"), f"{worker:04d}{n:04d}", "approved", f"w{worker}")


def test_several_who_decide_at_once_lose_no_line(store: Store, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_decide, args=(tmp_path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(decisions(store)) == len(history(store)) == 60
