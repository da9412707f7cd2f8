from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import NoDataError
from pipelines.core.labelling import record
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from training.tasks.sentiment import POSITIVE, TASK

NIGHTS = (date(2026, 3, 1), date(2026, 3, 2))
SHOP = Shop(shop="small", landing={"events": Source(connector="jsonl", pattern="{night}/*")})
Row = tuple[str, str | None, int | None, str | None]  # id, user, stars, text


def publish(store: Store, night: date, rows: list[Row]) -> None:
    """Reviews, in the columns of the table."""
    when = datetime(night.year, night.month, night.day, 12, tzinfo=UTC)
    names = ("review_id", "user_key", "rating", "text")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    kinds = (pa.string(), pa.string(), pa.int64(), pa.string())
    table = pa.table({name: pa.array(columns[name], kind) for name, kind in zip(names, kinds, strict=True)})
    table = table.append_column("occurred_at", pa.array([when] * len(rows)))
    with store.staging() as staging:
        folder = staging / "reviews"
        folder.mkdir()
        pq.write_table(table, folder / "part-00000.parquet")
        store.publish("reviews", night, folder, rows=len(table), inputs={}, config_hash="x")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path, "small")
    publish(found, NIGHTS[0], [("r2", "ann", 5, "good"), ("r1", None, 1, "bad"), ("r3", "ben", 3, "so so")])
    publish(found, NIGHTS[1], [("r4", "cas", 4, "fits"), ("r5", "cas", 2, " "), ("r6", "dan", None, "poor")])
    return found


def test_an_example_is_a_review_with_an_opinion_and_a_text(store: Store) -> None:
    """Not three stars, none, or no text; in the order of nights, then of ids."""
    found = TASK.examples(SHOP, store, NIGHTS)
    assert found.rows["text"].to_pylist() == ["bad", "good", "fits"]
    assert found.target[POSITIVE].to_pylist() == [0.0, 1.0, 1.0]
    assert found.customer.tolist() == ["", "ann", "cas"]
    assert [str(night) for night in found.night] == ["2026-03-01", "2026-03-01", "2026-03-02"]


def test_what_a_person_said_of_a_review_holds_over_its_stars(store: Store) -> None:
    record(store, "sentiment", {"r2": "negative", "r1": "neutral", "r6": "negative", "r3": "positive"}, "mia")
    found = TASK.examples(SHOP, store, NIGHTS)
    told = dict(zip(found.rows["text"].to_pylist(), found.target[POSITIVE].to_pylist(), strict=True))
    assert told == {"good": 0.0, "so so": 1.0, "fits": 1.0, "poor": 0.0}


def test_only_the_nights_that_are_asked_for_are_read(store: Store) -> None:
    assert TASK.examples(SHOP, store, NIGHTS[1:]).rows["text"].to_pylist() == ["fits"]
    with pytest.raises(NoDataError, match="no review with a text and with stars other than three in 1 nights"):
        TASK.examples(SHOP, store, (date(2026, 3, 9),))


def test_of_too_many_reviews_the_newest_are_kept(store: Store) -> None:
    told = [(f"s{n:03d}", "eve", 5 if n % 2 else 1, f"text {n}") for n in range(150)]
    publish(store, date(2026, 3, 3), told)
    few = SHOP.model_copy(update={"models": Models(settings={"sentiment": {"max_examples": 100}})})
    found = TASK.examples(few, store, (*NIGHTS, date(2026, 3, 3)))
    assert found.rows["text"].to_pylist() == [f"text {n}" for n in range(50, 150)]
