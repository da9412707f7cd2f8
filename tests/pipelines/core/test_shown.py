"""What was recommended joined to what was done, counted by hand."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core import shown
from pipelines.core.columns import Columns as C
from pipelines.core.shown import Names, nights_shown, read_shown
from pipelines.core.storage import Store
from tests.pipelines.test_report import publish

EVE, NIGHT = date(2026, 3, 9), date(2026, 3, 10)


def slot(user: str, place: int, item: str, **more: Any) -> dict[str, Any]:
    return {
        C.USER_KEY: user, C.SLOT: place, C.ITEM_ID: item, C.SOURCE: "own", C.REASON_CODE: "again", C.PROPENSITY: 0.95,
        C.IS_EXPLORE: False, C.MODEL_NAME: "recommender", C.MODEL_VERSION: "3", **more,
    }  # fmt: skip


def event(user: str, kind: str, item: str, **more: Any) -> dict[str, Any]:
    return {C.USER_KEY: user, C.EVENT_TYPE: kind, C.ITEM_ID: item, C.IS_BOT: False, **more}


def ours(user: str, kind: str, item: str, **more: Any) -> dict[str, Any]:
    return event(user, kind, item, **{C.CHANNEL: "recommendation", **more})


def test_impressions_clicks_and_purchases_find_their_slot(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    lists = [
        slot("b", 1, "x"),
        slot("a", 2, "y", is_explore=True, propensity=0.01),
        slot("a", 1, "x"),
        slot("c", 1, "x"),
    ]
    publish(store, "recommendations", EVE, lists)
    done = [
        ours("a", "impression", "x"), ours("a", "impression", "y"), ours("a", "impression", "x"),
        ours("a", "click", "y"), event("a", "purchase", "y", price_cents=500, quantity=2),
        event("a", "purchase", "x", price_cents=900),  # not clicked where it was recommended
        event("a", "click", "x"),  # on another page
        ours("b", "click", "x"),  # whose impression was lost
        event("b", "purchase", "x", price_cents=-300),  # a return
        ours("a", "impression", "z"), ours("d", "impression", "x"),  # of no list
        ours("c", "impression", "x", is_bot=True),
    ]  # fmt: skip
    publish(store, "events", NIGHT, done)
    found = read_shown([NIGHT], store)
    assert found.user.texts.tolist() == ["a", "a", "b", "c"]
    assert found.slot.tolist() == [1, 2, 1, 1]
    assert found.is_shown.tolist() == [True, True, True, False]
    assert found.is_clicked.tolist() == [False, True, True, False]
    assert found.is_bought.tolist() == [False, True, False, False]
    assert found.spent_cents.tolist() == [0, 1_000, 0, 0]
    assert found.is_explore.tolist() == [False, True, False, False]
    assert found.propensity.tolist() == [0.95, 0.01, 0.95, 0.95]
    assert set(found.model.texts) == {"recommender 3"}
    assert (found.night == np.datetime64("2026-03-10")).all()
    assert found.take(found.is_clicked).item.texts.tolist() == ["y", "x"]


def test_texts_are_kept_once_and_stay_what_they_were_when_nights_are_joined() -> None:
    one, two = Names.of(np.array(["b", "a", "b"])), Names.of(np.array(["c", "b"]))
    both = Names.joined([one, two])
    assert both.texts.tolist() == ["b", "a", "b", "c", "b"]
    assert both.known.tolist() == ["a", "b", "c"]
    assert both[np.array([True, False, False, True, False])].texts.tolist() == ["b", "c"]


def test_the_newest_nights_are_read_as_far_as_their_lists_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, "tiny")
    for nth in range(3):
        publish(store, "recommendations", EVE + timedelta(days=nth), [slot("a", 1, "x"), slot("b", 1, "x")])
        publish(store, "events", NIGHT + timedelta(days=nth), [event("a", "view", "x")])
    monkeypatch.setattr(shown, "MOST_ROWS", 4)
    assert nights_shown(date(2026, 4, 1), store, 9) == [NIGHT + timedelta(days=1), NIGHT + timedelta(days=2)]


def test_nights_without_lists_or_events_are_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    assert len(read_shown([NIGHT], store)) == 0
    for nth in range(3):
        publish(store, "recommendations", EVE + timedelta(days=nth), [slot("a", 1, f"i{nth}")] if nth != 1 else [])
    for nth in range(2):
        publish(store, "events", NIGHT + timedelta(days=nth), [event("a", "view", "x")])
    assert nights_shown(date(2026, 4, 1), store, 9) == [NIGHT, NIGHT + timedelta(days=1)]
    assert nights_shown(date(2026, 4, 1), store, 1) == [NIGHT + timedelta(days=1)]
    assert nights_shown(NIGHT, store, 9) == [NIGHT]
    found = read_shown([NIGHT - timedelta(days=1), NIGHT, NIGHT + timedelta(days=1)], store)
    assert found.item.texts.tolist() == ["i0"]
    assert not found.is_shown.any()
