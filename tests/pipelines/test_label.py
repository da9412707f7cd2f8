"""Labels from people: what is taken and what is refused, kept once, gone with the texts that they are of."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.config import load_knowledge
from pipelines.core.errors import StorageError, WrongUseError
from pipelines.core.labelling import INTENT, SENTIMENT, digest_of_labels, labels_file, labels_of, record
from pipelines.core.servicing import Service
from pipelines.core.shop import Shop, Source
from pipelines.core.storage import Store
from pipelines.erase_journal import Journal
from pipelines.erase_labels import erase_labels
from pipelines.label import keep, names_of, parse

NIGHT = date(2026, 3, 1)
SHOP = Shop(
    shop="small",
    landing={"events": Source(connector="jsonl", pattern="{night}/*")},
    service=Service(knowledge="demo"),
)


def publish(store: Store, table: str, rows: list[dict[str, str]]) -> None:
    told = [row | {"occurred_at": datetime(2026, 3, 1, 12, tzinfo=UTC)} for row in rows]
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        pq.write_table(pa.Table.from_pylist(told), folder / "part-00000.parquet")
        store.publish(table, NIGHT, folder, rows=len(rows), inputs={}, config_hash="x")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path, "small")
    publish(found, "reviews", [{"review_id": f"r{n}", "user_key": who} for n, who in enumerate("aab")])
    spoken = [("m1", "a", "customer"), ("m2", "a", "agent"), ("m3", "b", "customer")]
    publish(found, "messages", [{"message_id": one, "user_key": who, "sender": by} for one, who, by in spoken])
    return found


def test_a_label_is_kept_with_who_and_when_and_the_same_again_is_no_new_line(store: Store) -> None:
    assert keep(SENTIMENT, {"r0": "positive", "r1": "neutral"}, "mia", SHOP, store)["new"] == 2
    assert keep(SENTIMENT, {"r0": "positive", "r1": "negative"}, "leo", SHOP, store)["new"] == 1
    assert labels_of(store, SENTIMENT) == {"r0": "positive", "r1": "negative"}
    lines = [json.loads(line) for line in labels_file(store, SENTIMENT).read_text().splitlines()]
    assert [(line["text_id"], line["label"], line["who"]) for line in lines] == [
        ("r0", "positive", "mia"),
        ("r1", "neutral", "mia"),
        ("r1", "negative", "leo"),
    ]
    assert all(line["at"].endswith("+00:00") for line in lines)


@pytest.mark.parametrize(
    ("task", "labels", "who", "told"),
    [
        (SENTIMENT, {"r0": "positive", "r9": "negative"}, "mia", "no text 'r9' in table reviews"),
        (SENTIMENT, {"r0": "great"}, "mia", "label 'great': expected one of positive, negative, neutral"),
        (INTENT, {"m1": "fly"}, "mia", "label 'fly': expected one of "),
        (INTENT, {"m2": "out_of_scope"}, "mia", "no text 'm2' in table messages"),  # the desk's own words
        (SENTIMENT, {"r0": "positive"}, "m\ni", "expected a person's name"),
        ("mood", {"r0": "positive"}, "mia", "--task mood: expected sentiment or intent"),
    ],
)
def test_what_is_no_label_text_or_name_is_refused_and_nothing_is_kept(
    store: Store, task: str, labels: dict[str, str], who: str, told: str
) -> None:
    with pytest.raises(WrongUseError, match=told):
        keep(task, labels, who, SHOP, store)
    assert not labels_file(store, task).exists()


def test_intents_are_those_of_the_shop_s_knowledge(store: Store) -> None:
    known = names_of(INTENT, SHOP)
    assert known == (*(one.id for one in load_knowledge("demo").intents), "out_of_scope")
    assert keep(INTENT, {"m1": known[0], "m3": "out_of_scope"}, "mia", SHOP, store)["new"] == 2
    with pytest.raises(WrongUseError, match="no 'service' in its configuration"):
        names_of(INTENT, SHOP.model_copy(update={"service": None}))


def test_labels_come_by_option_or_as_lines_of_json() -> None:
    lines = ['{"text_id": "r1", "label": "negative"}\n', "\n"]
    assert parse(["a=b=positive", "-"], lines) == {"a=b": "positive", "r1": "negative"}
    for told in ("r1", "=positive", "r1="):
        with pytest.raises(WrongUseError, match="expected TEXT_ID=LABEL"):
            parse([told], [])
    for line in ("{", "[]", '{"text_id": 3, "label": "positive"}', '{"text_id": "r1"}'):
        with pytest.raises(WrongUseError, match="standard input, line 1: expected"):
            parse(["-"], [line])


def test_what_a_crash_left_of_a_line_is_cut_off_and_a_damaged_line_is_told(store: Store) -> None:
    record(store, SENTIMENT, {"r0": "positive"}, "mia")
    path = labels_file(store, SENTIMENT)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert labels_of(store, SENTIMENT) == {"r0": "positive"}
    before = digest_of_labels(store, SENTIMENT)
    record(store, SENTIMENT, {"r2": "negative"}, "mia")
    assert path.read_bytes().startswith(whole)
    assert labels_of(store, SENTIMENT) == {"r0": "positive", "r2": "negative"}
    assert digest_of_labels(store, SENTIMENT) != before
    path.write_bytes(whole + b"{}\n")
    with pytest.raises(StorageError, match="line 2: no label"):
        labels_of(store, SENTIMENT)


def test_labels_of_an_erased_customer_s_texts_go_and_those_of_texts_that_are_kept_no_longer(store: Store) -> None:
    record(store, SENTIMENT, {"r0": "positive", "r1": "negative", "r2": "positive", "gone": "neutral"}, "mia")
    record(store, INTENT, {"m3": "out_of_scope"}, "mia")
    others = labels_file(store, INTENT).read_bytes()
    with store.staging() as staging:
        (store.folder / "erasure").mkdir(exist_ok=True)
        journal = Journal(store, "0" * 16, staging)
        for _ in range(2):  # as after a kill
            erase_labels(store, ["a"], journal, staging)
    assert labels_of(store, SENTIMENT) == {"r2": "positive"}
    assert labels_file(store, INTENT).read_bytes() == others
    assert journal.totals() == {"labels": 3}
