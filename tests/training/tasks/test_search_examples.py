"""Searches and what was touched after them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.errors import NoDataError
from pipelines.core.storage import Store
from training.reading import Reading
from training.tasks.search import TASK
from training.tasks.search_examples import GAINS, ITEMS

NIGHT = date(2026, 3, 5)
START = datetime(2026, 3, 5, 12, tzinfo=UTC)
EVENTS = (  # user, session, minute, type, item, query, bot
    ("u1", "s1", 0, "search", None, " red shoes ", False),
    ("u1", "s1", 1, "view", "a", None, False),
    ("u1", "s1", 2, "view", "b", None, False),  # looked at on the way
    ("u1", "s1", 3, "purchase", "c", None, False),  # and this is what it came to
    ("u1", "s1", 4, "search", None, "lamp", False),
    ("u1", "s1", 5, "view", "d", None, False),
    ("u1", "s1", 6, "cart", "d", None, False),
    ("u1", "s1", 7, "search", None, "nothing came", False),
    ("u2", "s2", 0, "view", "a", None, False),  # without a search
    ("u2", "s2", 1, "search", None, "late", False),
    ("u2", "s2", 50, "view", "a", None, False),
    ("u3", "s3", 0, "search", None, "crawl", True),
    ("u3", "s3", 1, "view", "a", None, True),
)


class Files(Store):
    """A store of plain files: what is asked here needs no manifests."""

    def nights(self, table: str) -> list[date]:
        return [NIGHT] if table in ("events", "catalog") and self.files(table, [NIGHT]) else []

    def kept_from(self, layer: str) -> date:
        return date.min


@pytest.fixture
def store(tmp_path: Path) -> Files:
    made = Files(tmp_path, "demo")
    users, sessions, minutes, kinds, items, queries, bots = zip(*EVENTS, strict=True)
    events = {
        C.USER_KEY: users, C.SESSION_ID: sessions, C.OCCURRED_AT: [START + timedelta(minutes=one) for one in minutes],
        C.EVENT_TYPE: kinds, C.ITEM_ID: items, C.QUERY: queries, C.IS_BOT: bots,
    }  # fmt: skip
    catalog = {
        C.ITEM_ID: ["a", "b", "c", "d"], C.TITLE: ["red shoes", "blue shoes", "red boots", "lamp"], C.DESCRIPTION: [None] * 4,
        C.CATEGORY_PATH: ["x"] * 4, C.BRAND: ["y"] * 4, C.ATTRIBUTES: [None] * 4, C.PRICE_CENTS: [1] * 4, C.STOCK: [1] * 4,
    }  # fmt: skip
    for table, columns in (("events", events), ("catalog", catalog)):
        folder = made.partition(table, NIGHT)
        folder.mkdir(parents=True)
        pq.write_table(pa.table(columns), folder / "part-00000.parquet")
    return made


def test_a_search_is_answered_by_the_first_item_and_by_what_was_bought(store: Files) -> None:
    found = TASK.examples(load_shop("demo"), store, (NIGHT,))
    told = [
        (query, items, [round(gain, 6) for gain in gains])
        for query, items, gains in zip(
            found.rows[C.QUERY].to_pylist(),
            found.target[ITEMS].to_pylist(),
            found.target[GAINS].to_pylist(),
            strict=True,
        )
        if query
    ]
    assert told == [("red shoes", ["a", "c"], [0.3, 1.0]), ("lamp", ["d"], [0.7])]


def test_the_items_stand_among_the_rows_without_a_target(store: Files) -> None:
    found = TASK.examples(load_shop("demo"), store, (NIGHT,))
    assert found.rows[C.ITEM_ID].to_pylist() == ["a", "b", "c", "d", None, None]
    assert found.target[ITEMS].to_pylist()[:4] == [[]] * 4


def test_without_a_catalogue_there_is_nothing_to_learn(store: Files) -> None:
    (store.partition("catalog", NIGHT) / "part-00000.parquet").unlink()
    with pytest.raises(NoDataError, match="2 searches led to an item on 1 nights, no night has a catalogue"):
        TASK.examples(load_shop("demo"), store, (NIGHT,))


def test_a_history_without_a_catalogue_has_the_first_one_that_came_later(
    store: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = NIGHT + timedelta(days=3)
    store.partition("catalog", NIGHT).rename(store.partition("catalog", later))
    monkeypatch.setattr(Store, "nights", lambda self, table: [NIGHT] if table == "events" else [later])
    monkeypatch.setattr(Store, "kept_from", lambda self, layer: date.min)
    reading = Reading(store.root, store.shop, NIGHT)
    found = TASK.examples(load_shop("demo"), reading, (NIGHT,))
    assert found.rows[C.ITEM_ID].to_pylist()[:4] == ["a", "b", "c", "d"]
    assert f"catalog/{later}" in reading.lineage()
    assert reading.nights("catalog") == []  # nobody else sees it


def test_the_newest_catalogue_up_to_the_night_is_read_before_a_later_one(
    store: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = NIGHT + timedelta(days=1)
    monkeypatch.setattr(Files, "nights", lambda self, table: [NIGHT] if table == "events" else [NIGHT, later])
    found = TASK.examples(load_shop("demo"), store, (NIGHT,))
    assert len(found.rows) == 6
