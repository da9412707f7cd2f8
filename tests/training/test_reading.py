from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.core.storage import Store
from tests.fake_task import NIGHTS, fill
from training.reading import Reading


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path, "fake")
    fill(store, NIGHTS[1:5])
    return store


def test_what_came_after_the_limit_is_not_there(store: Store) -> None:
    reading = Reading(store.root, store.shop, NIGHTS[2])
    assert reading.nights("events") == NIGHTS[1:3]
    assert reading.files("events", NIGHTS) == store.files("events", NIGHTS[:3])
    assert reading.manifest("events", NIGHTS[3]) is None


def test_lineage_runs_from_the_first_night_read_to_the_limit_and_names_what_was_missing(store: Store) -> None:
    reading = Reading(store.root, store.shop, NIGHTS[3])
    assert reading.lineage() == {}
    reading.files("events", [NIGHTS[2]])
    assert reading.lineage() == store.inputs("events", NIGHTS[2:4])
    reading.files("events", [NIGHTS[0]])
    reading.manifest("catalog", NIGHTS[3])
    found = reading.lineage()
    assert found == store.inputs("events", NIGHTS[:4]) | store.inputs("catalog", NIGHTS[3:4])
    assert found[f"events/{NIGHTS[0]}"] == found[f"catalog/{NIGHTS[3]}"] == "absent"


def test_a_night_beyond_the_limit_is_no_lineage(store: Store) -> None:
    reading = Reading(store.root, store.shop, NIGHTS[2])
    reading.files("events", [NIGHTS[2] + timedelta(days=1)])
    assert reading.lineage() == {}


def test_a_later_night_may_be_opened_where_nothing_before_tells(store: Store) -> None:
    reading = Reading(store.root, store.shop, NIGHTS[2])
    assert reading.open_next("catalog") is None
    assert reading.open_next("events") == NIGHTS[3]
    assert reading.files("events", NIGHTS) == store.files("events", NIGHTS[:4])
    assert reading.lineage() == store.inputs("events", NIGHTS[:4])
