import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.columns import Columns as C
from pipelines.core.labelling import record
from pipelines.core.servicing import Service
from pipelines.core.storage import Store
from tests.training.language.desk_knowledge import KNOWLEDGE, WORDS, ByWord
from training.language.conversations import (
    MESSAGES,
    SCHEMA,
    conversations_of,
    counts_of,
    labelled,
    messages_tonight,
)

NIGHT = date(2026, 3, 14)
SERVICE = Service(knowledge="demo")


def messages(**talks: list[str]) -> pa.Table:
    """Talks by id, a user each; a turn that starts with "-" is the desk's."""
    rows = []
    for name, turns in talks.items():
        for at, text in enumerate(turns):
            rows.append({
                C.MESSAGE_ID: f"{name}{at}", C.CONVERSATION_ID: name, C.USER_KEY: f"{ord(name[0]):064x}",
                C.SENDER: "agent" if text.startswith("-") else "customer", C.TEXT: text.removeprefix("-"),
                C.OCCURRED_AT: datetime(2026, 3, 14, 12) + timedelta(minutes=at),
            })  # fmt: skip
    return pa.Table.from_pylist(rows)


def read(**talks: list[str]) -> dict[str, dict[str, Any]]:
    table = conversations_of(messages(**talks), KNOWLEDGE, ByWord(), None, SERVICE)
    assert table.schema == SCHEMA
    return {row[C.CONVERSATION_ID]: row for row in table.to_pylist()}


def test_a_row_tells_wish_mood_and_end() -> None:
    found = read(
        a=["hello", "my parcel is late, order A-20458", "-we ask the carrier", "please cancel", "-done"],
        b=["in stock?", "-yes", "thanks"],
        c=["this is terrible!", "-sorry", "thanks for nothing"],
        d=["do you ship abroad, to other countries", "-to Norway"],
        e=["blue sky"],
    )
    told = {
        name: (row[C.INTENT], row[C.LAST_INTENT], row[C.TOPIC], row[C.N_TURNS], row[C.MOOD])
        for name, row in found.items()
    }
    assert told == {
        "a": ("status", "cancel", "t", 3, "negative"),
        "b": ("stock", "stock", "t", 2, "positive"),
        "c": ("complaint", "complaint", "t", 2, "positive"),
        "d": ("abroad", "abroad", "delivery", 1, "neutral"),
        "e": (None, None, None, 1, "neutral"),
    }
    flags = (C.IS_RESOLVED, C.IS_COMPLAINT, C.IS_OUT_OF_SCOPE)
    assert {name: tuple(row[flag] for flag in flags) for name, row in found.items()} == {
        "a": (False, False, False),
        "b": (True, False, False),
        "c": (True, True, False),
        "d": (True, False, False),
        "e": (False, False, True),
    }
    assert found["c"][C.IS_HANDED_OVER]
    assert json.loads(found["a"][C.TRANSCRIPT])[1] == ["customer", "my parcel is late, order [order]"]


def test_words_of_another_customer_under_the_same_id_tell_nothing() -> None:
    table = messages(a=["in stock?", "thanks", "I hate you"])
    keys = pa.array(["1" * 64, "1" * 64, "2" * 64])
    shared = table.set_column(table.schema.get_field_index(C.USER_KEY), C.USER_KEY, keys)
    [row] = conversations_of(shared, KNOWLEDGE, ByWord(), None, SERVICE).to_pylist()
    assert (row[C.USER_KEY], row[C.N_TURNS], row[C.MOOD]) == ("1" * 64, 2, "positive")
    assert "hate" not in row[C.TRANSCRIPT]


def test_a_talk_in_which_the_customer_says_nothing_has_no_row_and_none_is_fine() -> None:
    assert read(a=["-hello?"]) == {}
    none = conversations_of(messages(a=["hi"]).slice(0, 0), KNOWLEDGE, ByWord(), None, SERVICE)
    assert (none.num_rows, none.schema) == (0, SCHEMA)
    assert counts_of(none)["conversations"] == 0


def test_the_order_of_messages_does_not_matter_and_counts_are_those_of_the_rows() -> None:
    talks = {"a": ["late", "-sorry", "thanks"], "b": ["terrible"], "c": ["blue sky"]}
    table = messages(**talks)
    one = conversations_of(table, KNOWLEDGE, ByWord(), None, SERVICE)
    turned = conversations_of(table.take(list(range(len(table)))[::-1]), KNOWLEDGE, ByWord(), None, SERVICE)
    assert one == turned
    assert counts_of(one) == {
        "conversations": 3, "out_of_scope": 1, "complaints": 1, "resolved": 1, "handed_over": 1,
        "intents": {"complaint": 1, "status": 1}, "moods": {"negative": 1, "neutral": 1, "positive": 1},
    }  # fmt: skip


TURN = st.one_of(st.text(max_size=30), st.sampled_from([*WORDS, "-yes", "-no", "thanks!", "WHERE IS MY PARCEL NOW"]))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), st.lists(TURN, min_size=1, max_size=5), min_size=1))
def test_every_talk_with_a_customer_has_one_row_whatever_is_written(talks: dict[str, list[str]]) -> None:
    found = read(**talks)
    spoken = {name: [turn for turn in turns if not turn.startswith("-")] for name, turns in talks.items()}
    assert {name: row[C.N_TURNS] for name, row in found.items()} == {n: len(t) for n, t in spoken.items() if t}
    for row in found.values():
        assert (row[C.INTENT] is None) == (row[C.TOPIC] is None) == (row[C.CONFIDENCE] is None)
        assert not (row[C.IS_OUT_OF_SCOPE] and row[C.INTENT])


def put(store: Store, night: date, table: pa.Table) -> None:
    folder = store.partition("messages", night)
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-00000.parquet")


@pytest.mark.parametrize(("window_nights", "n"), [(7, 3), (1, 1)])
def test_a_talk_that_goes_on_tonight_is_read_from_its_beginning(tmp_path: Path, window_nights: int, n: int) -> None:
    store = Store(tmp_path, "tiny")
    put(store, NIGHT - timedelta(days=2), messages(a=["late", "-sorry"], b=["in stock?"]))
    put(store, NIGHT, messages(a=["still late"]))
    found = messages_tonight(store, NIGHT, window_nights)
    assert set(found[C.CONVERSATION_ID].to_pylist()) == {"a"}
    assert found.num_rows == n
    nothing = messages_tonight(store, NIGHT + timedelta(days=1), 7)
    assert (nothing.num_rows, tuple(nothing.schema.names)) == (0, MESSAGES)


def test_messages_that_a_person_labelled_are_examples_where_the_intent_is_still_known(tmp_path: Path) -> None:
    store, known = Store(tmp_path, "tiny"), KNOWLEDGE.intents[0].id
    assert labelled(store, KNOWLEDGE) == []
    with store.staging() as staging:
        folder = staging / "messages"
        folder.mkdir()
        pq.write_table(messages(a=["one", "two", "three"]), folder / "part-00000.parquet")
        store.publish("messages", NIGHT, folder, rows=3, inputs={}, config_hash="x")
    record(store, "intent", {"a0": known, "a1": "out_of_scope", "a2": "an_intent_of_last_year"}, "mia")
    assert labelled(store, KNOWLEDGE) == [("one", known)]
