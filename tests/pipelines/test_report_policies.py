"""The report's sections on how good the choosing is, on stores small enough to count by hand."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import report
from pipelines.core.storage import Store
from pipelines.judged_policies import keep, last_kept
from pipelines.report_numbers import collect
from pipelines.report_policies import policies, uplift
from tests.pipelines import test_report
from tests.pipelines.test_readout_compare import EVE, NONE, SAVE, SHOP, bought, lived, planned

NIGHT = EVE + timedelta(days=1)
N = 160
USERS = [f"u{i:03}" for i in range(N)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


def ranked_night(store: Store, n: int = N) -> date:
    """Half are sent something, two after two. Of whom little is expected, the second half, all buy; of others who was."""
    plan = [
        planned(user, SAVE if i % 4 < 2 else NONE, lot_expected_cents=float(N - i)) for i, user in enumerate(USERS[:n])
    ]
    return lived(store, 0, plan, [bought(user, 500) for i, user in enumerate(USERS[:n]) if i % 4 < 2 or i >= n // 2])


def test_messages_bring_most_to_those_of_whom_the_model_expected_most(store: Store) -> None:
    found = uplift(ranked_night(store), SHOP, store)
    assert (found["nights"], found["rows"], found["customers"], found["sent"]) == (1, N, N, N // 2)
    profit, purchases = found["curves"]
    assert (profit["unit"], purchases["unit"]) == ("cents", "purchases")
    by_share = {point["share"]: point["value"] for point in purchases["points"]}
    assert by_share[0.5] == pytest.approx(500, abs=60)  # per 1,000 customers: half of all are moved
    assert by_share[1.0] == pytest.approx(500, abs=60)
    assert purchases["ahead"]["value"] == pytest.approx(150, abs=40)  # 300 of the top 30%, 150 of 30% by lot
    assert purchases["ahead"]["low"] > 0
    assert profit["points"][-1]["value"] == pytest.approx(0.5 * 500 * 0.4, abs=15)  # nobody told what a message cost
    json.dumps(found)


def test_curves_wait_for_buyers_of_both_kinds_among_those_ranked(store: Store) -> None:
    assert uplift(NIGHT, SHOP, store)["missing"].startswith("No night has been lived on which a lot decided")
    lived(store, 0, [planned(user) for user in USERS], [])  # no model had ranked them
    assert uplift(NIGHT, SHOP, store)["missing"].startswith("No night has been lived on which a lot decided")
    few = uplift(ranked_night(store, 32), SHOP, store)["missing"]
    assert "in 1 night, 16 bought on a night with a message and 8 on one without; curves are drawn from 10" in few


def test_a_shop_that_names_no_prices_has_a_curve_of_purchases_alone(store: Store) -> None:
    plan = [planned(user, SAVE if i % 2 else NONE, lot_expected_cents=1.0) for i, user in enumerate(USERS)]
    night = lived(store, 0, plan, [bought(user, None) for user in USERS])
    assert [curve["name"] for curve in uplift(night, SHOP, store)["curves"]] == ["purchases"]


def judged(**more: Any) -> dict[str, Any]:
    """What promotion keeps (pipelines/promote.py)."""

    def around(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 2, "high": value + 2}

    return {
        "night": NIGHT.isoformat(), "first": "2026-03-06", "last": "2026-03-09", "verdict": "promoted", "rows": 900,
        "versions": {"challenger": "tiny-effect version 3", "champion": "tiny-effect version 2"}, "disagree": 0.4,
        "effective_rows": 80.0, "challenger": around(9), "champion": around(7), "difference": around(2),
        "by_lot": around(4), "send_nothing": around(5), **more,
    }  # fmt: skip


def test_the_policies_stand_in_a_fixed_order_as_promotion_kept_them(store: Store) -> None:
    keep(judged(), NIGHT, store)
    found = policies(NIGHT, store)
    assert [(row["name"], row["value"]) for row in found["policies"]] == [
        ("the challenger, tiny-effect version 3", 9),
        ("who served, tiny-effect version 2", 7),
        ("lots, as drawn", 4),
        ("sending nothing", 5),
    ]
    assert (found["can_tell"], found["difference"]["value"]) == (True, 2)
    keep(judged(effective_rows=3.0), NIGHT, store)
    assert not policies(NIGHT, store)["can_tell"]


def test_a_night_s_report_knows_no_later_promotion(store: Store) -> None:
    for days in (0, 7):
        keep(judged(rows=100 + days), NIGHT + timedelta(days=days), store)
    rows = [policies(NIGHT + timedelta(days=days), store).get("rows") for days in (-1, 0, 6, 7, 20)]
    assert rows == [None, 100, 100, 107, 107]
    assert last_kept(NIGHT - timedelta(days=1), store) is None


def test_the_page_draws_both_and_says_each_in_a_sentence(store: Store, tmp_path: Path) -> None:
    whole = Store(tmp_path / "whole", "tiny")
    test_report.with_everything(whole)
    before = report._inputs(NIGHT, test_report.shop_of(), whole)
    keep(judged(), NIGHT, whole)
    after = report._inputs(NIGHT, test_report.shop_of(), whole)
    assert set(after) - set(before) == {"evaluations/policies/2026-03-10"}
    numbers = collect(NIGHT, test_report.shop_of(), whole) | {"uplift": uplift(ranked_night(store), SHOP, store)}
    text = report.page(numbers)
    assert text.count('class="area tall"') == 2
    assert "The 30% ranked highest brought +150.00 purchases beside as many by lot" in text
    assert text.count("the ranking is better than chance.") == 2
    assert "The challenger would have earned +2.00 ct beside the champion, interval +0.00 ct to +4.00 ct." in text
    assert "it was promoted." in text


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 5}', '{"rows": 0}'])
def test_what_cannot_be_compared_or_read_is_said_in_a_sentence(store: Store, text: str) -> None:
    keep({}, NIGHT, store)
    assert "policies cannot be compared yet" in policies(NIGHT, store)["missing"]
    path = last_kept(NIGHT, store)
    assert path
    path.write_text(text)
    assert set(policies(NIGHT, store)) == {"missing"}
