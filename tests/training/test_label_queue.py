"""The queue: which texts it reads, what it knows of them, and why it asks."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.labelling import INTENT, SENTIMENT, record
from pipelines.core.storage import Store
from training.label_queue import read_told, reasons, run

NIGHT = date(2026, 3, 1)
NAMES = ("negative", "positive")


def publish(store: Store, table: str, rows: list[dict[str, object]]) -> None:
    began = datetime(2026, 3, 1, tzinfo=UTC)
    told = [row | {"occurred_at": began + timedelta(minutes=at)} for at, row in enumerate(rows)]
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        pq.write_table(pa.Table.from_pylist(told), folder / "part-00000.parquet")
        store.publish(table, NIGHT, folder, rows=len(rows), inputs={}, config_hash="x")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path, "small")
    told = [(f"g{n}", 5, f"lovely warm coat number {n}") for n in range(8)]
    told += [(f"b{n}", 1, f"poor torn shoe number {n}") for n in range(8)]
    told += [("odd", 5, "poor torn shoe of ann@lee.org"), ("mid", 3, "lovely coat, torn shoe"), ("no", 3, " ")]
    publish(found, "reviews", [{"review_id": one, "rating": stars, "text": text} for one, stars, text in told])
    return found


def spec(store: Store, task: str, n: int, examples: list[list[str]]) -> dict[str, object]:
    return {"root": str(store.root), "shop": "small", "task": task, "n": n, "examples": examples, "threads": 1,
            "weights": str(store.root / "weights")}  # fmt: skip


def test_rows_are_distinct_masked_and_say_why(store: Store) -> None:
    found = run(spec(store, SENTIMENT, 18, []))
    rows = {row["text_id"]: row for row in found["rows"]}
    assert len(rows) == len(found["rows"]) == found["waiting"] == 18
    assert found["by"] == "words"  # no weights are on disk
    assert rows["odd"]["text"] == "poor torn shoe of [email]"
    assert rows["odd"]["likely"] == "negative"
    assert "its stars say positive, its words negative" in rows["odd"]["why"]
    assert all(row["why"] for row in rows.values())


def test_the_same_is_asked_again_and_what_a_person_labelled_is_not(store: Store) -> None:
    first = run(spec(store, SENTIMENT, 3, []))
    assert run(spec(store, SENTIMENT, 3, [])) == first
    said = {row["text_id"]: "neutral" for row in first["rows"]}
    record(store, SENTIMENT, said, "mia")
    then = run(spec(store, SENTIMENT, 18, []))
    assert not said.keys() & {row["text_id"] for row in then["rows"]}
    assert then["waiting"] == 15


def test_of_messages_the_customers_are_read_equal_ones_once_beside_the_knowledge_s_phrases(store: Store) -> None:
    told = [("m1", "customer", "where is it"), ("m2", "agent", "on its way"), ("m3", "customer", "where is it")]
    publish(store, "messages", [{"message_id": one, "sender": by, "text": text} for one, by, text in told])
    found = read_told(store, INTENT, [("track my parcel", "track")])
    assert found.ids == ["m3", ""]
    assert found.labels == ["", "track"]
    assert found.is_asked.tolist() == [True, False]
    row = run(spec(store, INTENT, 5, [["track my parcel", "track"], ["cancel my order", "cancel"]]))["rows"]
    assert [one["text_id"] for one in row] == ["m3"]


def test_a_shop_in_which_all_is_labelled_has_nothing_to_ask(store: Store) -> None:
    told = read_told(store, SENTIMENT, [])
    record(store, SENTIMENT, dict.fromkeys(told.ids, "positive"), "mia")
    assert run(spec(store, SENTIMENT, 5, [])) == {"rows": [], "waiting": 0, "by": "nothing"}


def test_reasons_are_in_words() -> None:
    unsure, sure = np.array([0.45, 0.55]), np.array([0.05, 0.95])
    assert reasons(unsure, NAMES, "", 0.1, 7) == [
        "unsure between positive (55%) and negative (45%)",
        "unlike anything labelled",
        "7 others are like it",
    ]
    assert reasons(sure, NAMES, "positive", None, 0) == ["the nearest to what is not covered yet"]
