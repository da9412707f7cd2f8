"""Whether expectations come true, on a store small enough to count by hand."""

from datetime import timedelta
from pathlib import Path

import pytest

from pipelines import report
from pipelines.core.storage import Store
from pipelines.report_calibration import calibration, nights_scored
from tests.pipelines.test_readout_compare import EVE, NONE, SAVE, SHOP, answer, bought, lived, planned, publish, sent

NIGHT = EVE + timedelta(days=1)
USERS = [f"u{i:03}" for i in range(20)]


def scores(user: str, strategy: str, p_click: float, p_conversion: float) -> dict[str, object]:
    return {"user_key": user, "strategy_id": strategy, "p_click": p_click, "p_conversion": p_conversion}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """All but the last two are to be sent something; one bounces, one is sent something else. Of the first half 5% of clicks
    are expected and one clicks, of the second half 50% and four click; three buy."""
    found = Store(tmp_path, "tiny")
    plan = [planned(user, SAVE if i < 18 else NONE) for i, user in enumerate(USERS)]
    messages = [sent(f"d{i}", user, NIGHT) for i, user in enumerate(USERS[:16])]
    messages += [sent("d16", USERS[16], NIGHT, "bounced"), sent("d17", USERS[17], NIGHT, strategy_id="another")]
    clicks = [answer(f"o{i}", f"d{i}", USERS[i], "click") for i in (0, 8, 9, 10, 11, 17)]
    lived(
        found, 0, plan, [bought(USERS[i], 500) for i in (1, 8, 9, 19)], deliveries=messages,
        outcomes=[*clicks, answer("again", "d0", USERS[0], "click"), answer("other", "d1", USERS[1])],
    )  # fmt: skip
    told = [scores(user, SAVE, 0.05 if i < 8 else 0.5, 0.1) for i, user in enumerate(USERS)]
    publish(found, "strategy_scores", EVE, [*told, *(scores(user, "another", 0.99, 0.99) for user in USERS)])
    return found


def test_what_was_expected_of_delivered_messages_stands_beside_what_came(store: Store) -> None:
    found = calibration(NIGHT, SHOP, store)
    assert (found["nights"], found["messages"]) == (1, 16)
    clicks, purchases = found["measures"]
    assert (clicks["expected"], clicks["told"]["k"], clicks["told"]["n"]) == (pytest.approx(0.275), 5, 16)
    assert (purchases["expected"], purchases["told"]["k"]) == (pytest.approx(0.1), 3)
    assert [group["told"]["n"] for group in clicks["groups"]] == [4, 3, 3, 3, 3]
    assert [group["told"]["k"] for group in clicks["groups"]] == [1, 0, 2, 2, 0]
    assert [group["expected"] for group in clicks["groups"]] == pytest.approx([0.05, 0.05, 0.35, 0.5, 0.5], abs=1e-6)
    assert f"strategy_scores/{EVE}" in report._inputs(NIGHT, SHOP, store)


def test_before_a_scored_message_was_answered_a_sentence_says_so(tmp_path: Path) -> None:
    bare = Store(tmp_path, "tiny")
    assert calibration(NIGHT, SHOP, bare)["missing"].startswith("No message that a model had scored")
    lived(bare, 0, [planned(USERS[0], SAVE)], [], deliveries=[sent("d", USERS[0], NIGHT)])
    assert nights_scored(NIGHT, bare) == []
    assert calibration(NIGHT, SHOP, bare)["missing"].startswith("No message that a model had scored")


def test_the_newest_nights_are_read_as_far_as_they_are_few_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.report_calibration.MOST_SCORES", 39)
    assert nights_scored(NIGHT, store) == []
    monkeypatch.setattr("pipelines.report_calibration.MOST_SCORES", 40)
    assert nights_scored(NIGHT, store) == [EVE]
