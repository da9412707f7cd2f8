"""The desk on the command line and behind MLflow: one process that answers, and what a wrong line is told."""

import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from pipelines.answer import answers, save
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_knowledge
from pipelines.core.errors import WrongUseError
from pipelines.core.machine import Machine
from pipelines.core.servicing import Service
from pipelines.core.shop import Shop, Source
from pipelines.core.storage import Store
from pipelines.stage import Context
from tests.pipelines.test_report import publish
from training.language.desk import MAX_CHARS, Desk

NIGHT = date(2026, 3, 14)
TITLES = ("Lumo foldable desk lamp, steel", "Kite kettle, glass", *(f"Brand{i} thing" for i in range(20)))


def context(root: Path, *, has_desk: bool = True) -> Context:
    service = Service(knowledge="demo") if has_desk else None
    shop = Shop(shop="tiny", landing={"events": Source(connector="jsonl", pattern="{night}/*")}, service=service)
    store = Store(root, "tiny")
    if not store.nights("catalog"):
        goods = [{C.ITEM_ID: title, C.TITLE: title, C.PRICE_CENTS: 1999, C.STOCK: 3} for title in TITLES]
        publish(store, "catalog", NIGHT, goods)
    return Context(shop, Machine(), store, root)


def test_a_conversation_is_answered_line_by_line_and_conversations_as_json_each_by_itself(tmp_path: Path) -> None:
    lines = ["is the foldable lamp in stock?\n", "please cancel my order\n", "A-20458\n"]
    told = [one["answer"] for one in answers(lines, context(tmp_path), is_json=False)]
    assert told == [
        "Lumo foldable desk lamp, steel: in stock, 19.99 EUR.",
        "Which order is it about? Its number stands in the confirmation e-mail.",
        "You want to cancel order A-20458. Is that right?",
    ]
    turns = [line.strip() for line in lines]
    asked = [
        {"conversation_id": "c1", "turns": turns},
        {"conversation_id": "c2", "turns": ["转人工"], "today": "2026-03-14"},
    ]
    found = list(answers([json.dumps(one) for one in asked] + ["\n"], context(tmp_path), is_json=True))
    assert [(one["conversation_id"], one["answer"], one["hand_over"]) for one in found] == [
        ("c1", told[-1], False),
        ("c2", "马上为您转接同事。", True),
    ]
    assert json.loads(found[0]["state"])["slots"]["order_number"] == "A-20458"
    assert not list(tmp_path.rglob("*.json*")) or "A-20458" not in "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*.json*")
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("hello", "line 1: not JSON; expected a JSON object such as"),
        ('["hello"]', "line 1: no turns"),
        ('{"conversation_id": "c", "turns": [1]}', "line 1: no turns"),
        ('{"turns": ["hello"]}', "line 1: no conversation_id"),
        ('{"conversation_id": "c", "turns": ["hello"], "prompt": "x"}', r"line 1: unknown keys \['prompt'\]"),
        (
            '{"conversation_id": "c", "turns": ["hello"], "today": "soon"}',
            "line 1: today is no date: expected YYYY-MM-DD",
        ),
    ],
)
def test_a_line_that_asks_nothing_is_told_where_and_what_was_expected(
    line: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import contextlib

    from pipelines import answer

    monkeypatch.setattr(answer, "conversation", lambda *_: contextlib.nullcontext(lambda request: request))
    with pytest.raises(WrongUseError, match=told):
        list(answers([line], context(tmp_path), is_json=True))


def test_a_shop_without_a_desk_is_told_what_to_add_and_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match=r"shop 'tiny' has no desk: add `service: \{knowledge: NAME\}`"):
        list(answers(["hello"], context(tmp_path, has_desk=False), is_json=False))
    with pytest.raises(WrongUseError, match="is there already; name a new folder"):
        save(tmp_path, context(tmp_path))


def test_a_desk_that_is_saved_answers_as_the_one_it_was_saved_from(tmp_path: Path) -> None:
    from mlflow.pyfunc import load_model

    from training.serve_desk import save as write

    here = context(tmp_path / "root")
    desk = Desk.of(here.shop, load_knowledge("demo"), here.store)
    assert Desk.from_json(json.loads(json.dumps(desk.to_json()))) == desk
    write(desk, tmp_path / "desk")
    served = load_model(str(tmp_path / "desk"))
    talks = [
        ["is the foldable lamp in stock?"],
        ["hello", "please cancel order A-20458", "yes"],
        ["谢谢"],
        [""],
        ["x" * 3 * MAX_CHARS],
    ]
    rows = pd.DataFrame(
        {
            "conversation_id": [f"c{i}" for i in range(5)],
            "turns": list(map(json.dumps, talks)),
            "today": ["2026-03-14"] * 5,
        }
    )
    told = served.predict(rows)
    is_open = desk.open()
    assert told.to_dict("records") == [is_open.answer(f"c{i}", turns, NIGHT) for i, turns in enumerate(talks)]
    assert told["answer"][1].startswith("A colleague cancels order A-20458 now")
    for wrong in ("hello", '"hello"', "[1]"):
        with pytest.raises(WrongUseError, match="turns: "):
            served.predict(rows.assign(turns=wrong))
    assert not [path for path in (tmp_path / "desk").rglob("*") if path.suffix in (".pkl", ".pickle")]


def test_with_encoders_wishes_are_read_by_the_intent_model_of_the_same_phrases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.language.desk import reader_of
    from training.language.intent_model import IntentModel

    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path))
    knowledge, fit, asked = load_knowledge("demo"), IntentModel.fit, []

    def without_weights(texts: list[str], labels: list[str], *, weights: Path) -> IntentModel:
        asked.append(weights)
        return fit(texts, labels, threads=1, noisy_copies=0, rejects=False)

    monkeypatch.setattr(IntentModel, "fit", without_weights)
    reader = reader_of(knowledge, Service(knowledge="demo", encoders=True))
    assert asked == [tmp_path / "weights"]
    assert reader.predict(["please cancel my order"]).label[0] == "cancel"
    desk = Desk(
        knowledge,
        Service(knowledge="demo", encoders=True),
        Desk.of(context(tmp_path).shop, knowledge, context(tmp_path).store).goods,
    )
    assert desk.open().answer("c", ["please cancel my order"], NIGHT)["intent"] == "cancel"
