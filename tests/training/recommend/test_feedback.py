"""Examples from what was recommended, without the favour of the slot."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.shown import Names, Shown
from pipelines.core.storage import Store
from tests.pipelines.test_report import publish
from training.recommend.feedback import (
    BOUGHT,
    CLICKED,
    NIGHTS,
    REFUSED,
    Answers,
    answers_of,
    of_customers,
    read_answers,
)


def lived(n: int, rng: np.random.Generator) -> tuple[Shown, dict[str, float]]:
    """n looks at two items: one that is liked twice as much but mostly stands in slot 8, one mostly in slot 1."""
    liked = {"hidden": 0.12, "shown off": 0.06}
    item = rng.choice(list(liked), n)
    by_lot = rng.random(n) < 0.3
    slot = np.where(by_lot, rng.integers(1, 9, n), np.where(item == "hidden", 8, 1))
    click = rng.random(n) < np.vectorize(liked.get)(item) * slot**-0.7
    none = np.zeros(n, dtype=bool)
    text = Names.of(np.full(n, ""))
    day = np.full(n, np.datetime64("2026-03-10"))
    shown = Shown(
        day, Names.of(np.arange(n).astype(str)), slot, Names.of(item), text, text, text, np.ones(n), by_lot, ~none, click,
        click & (rng.random(n) < 0.1), np.zeros(n),
    )  # fmt: skip
    return shown, liked


def test_weights_take_off_the_favour_of_the_slot() -> None:
    shown, liked = lived(120_000, np.random.default_rng(1))
    found = answers_of(shown)
    clicked = found.label != REFUSED
    items = found.item.texts
    told = {name: np.average(clicked[items == name], weights=found.weight[items == name]) for name in liked}
    raw = {name: clicked[items == name].mean() for name in liked}
    assert raw["hidden"] < raw["shown off"]  # what clicks alone would teach
    for name, truth in liked.items():
        assert told[name] == pytest.approx(truth, rel=0.12)
    assert (found.weight > 0).all()


def test_who_did_not_come_teaches_nothing_and_labels_tell_what_was_bought() -> None:
    shown, _ = lived(200, np.random.default_rng(2))
    shown.is_shown[:100] = False
    found = answers_of(shown)
    assert found.user.texts.tolist() == shown.user.texts[100:].tolist()
    expected = np.where(shown.is_bought, BOUGHT, np.where(shown.is_clicked, CLICKED, REFUSED))[100:]
    np.testing.assert_array_equal(found.label, expected)
    np.testing.assert_array_equal(found.is_explore, shown.is_explore[100:])


def test_answers_become_lists_of_the_customers_of_a_night() -> None:
    night = date(2026, 3, 10)
    user, item = np.array(["b", "a", "b", "c", "a"]), np.array(["i1", "i2", "i3", "i4", "i5"])
    day = np.array(["2026-03-10"] * 4 + ["2026-03-11"], dtype="datetime64[D]")
    answers = Answers(
        day,
        Names.of(user),
        Names.of(item),
        np.array([0, 1, 2, 0, 0]),
        np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        np.zeros(5, dtype=bool),
    )
    assert of_customers(answers, night, ["a", "nobody", "b"]).to_pylist() == [
        {"shown": ["i2"], "answer": [CLICKED], "answer_weight": [2.0]},
        {"shown": [], "answer": [], "answer_weight": []},
        {"shown": ["i1", "i3"], "answer": [REFUSED, BOUGHT], "answer_weight": [1.0, 3.0]},
    ]
    assert of_customers(answers, night, []).num_rows == 0


def test_answers_of_the_store_end_with_the_night_asked_for_and_are_empty_before_the_first(tmp_path: Path) -> None:
    store, eve = Store(tmp_path, "tiny"), date(2026, 3, 9)
    assert len(read_answers(eve, store)) == 0
    for nth in range(2):
        row = {C.USER_KEY: "a", C.SLOT: 1, C.ITEM_ID: f"i{nth}", C.PROPENSITY: 1.0, C.IS_EXPLORE: False}
        publish(store, "recommendations", eve + timedelta(days=nth), [row])
        seen = {C.USER_KEY: "a", C.EVENT_TYPE: "impression", C.ITEM_ID: f"i{nth}", C.CHANNEL: "recommendation"}
        publish(store, "events", eve + timedelta(days=nth + 1), [seen])
    assert read_answers(eve + timedelta(days=1), store).item.texts.tolist() == ["i0"]
    assert read_answers(eve + timedelta(days=5), store).item.texts.tolist() == ["i0", "i1"]
    assert NIGHTS >= 2
