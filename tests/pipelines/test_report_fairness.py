"""The report's section on fairness: what groups get is told as the plan kept it, what came of it is measured."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.fairness import FairnessGate
from pipelines.core.storage import Store
from pipelines.report_fairness import fairness, measured
from tests.pipelines.test_report import publish

NIGHT = date(2026, 3, 10)
EVE = NIGHT - timedelta(days=1)
N = 200
SHOP = load_shop("demo").model_copy(update={"fairness_gate": FairnessGate(column=C.PRICE_BAND, max_treated_gap=0.2)})


def band(number: int) -> str:
    return "few" if number >= 190 else "high" if number % 2 else "low"


def is_held(number: int) -> bool:
    return number % 4 < 2


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two nights on which who is not held out spends 300 in the high band, 100 in the low one, and who is spends 100."""
    made = Store(tmp_path, "demo")
    keys = [f"{number:064x}" for number in range(N)]
    publish(made, "user_profiles", NIGHT, [{C.USER_KEY: key, C.PRICE_BAND: band(i)} for i, key in enumerate(keys)])
    plan = [{C.USER_KEY: key, C.IS_HOLDOUT: is_held(i)} for i, key in enumerate(keys)]
    luck = np.random.default_rng(0).integers(-20, 21, N)
    bought = {C.EVENT_TYPE: "purchase", C.QUANTITY: 1, C.IS_BOT: False}
    for night in (EVE, NIGHT):
        publish(made, "campaign_plan", night - timedelta(days=1), plan)
        cents = [(300 if band(i) == "high" and not is_held(i) else 100) + int(luck[i]) for i in range(N)]
        events = [{C.USER_KEY: key, C.PRICE_CENTS: paid, **bought} for key, paid in zip(keys, cents, strict=True)]
        publish(made, "events", night, [*events, {C.USER_KEY: keys[1], C.EVENT_TYPE: "view", C.PRICE_CENTS: 9_000}])
    return made


def expecting(store: Store, cents: float) -> None:
    """Reasons that expect this lift of all who are not held out, for the last night alone."""
    told = [i for i in range(N) if not is_held(i)]
    parts = [(i, rank, share) for i in told for rank, share in enumerate((0.25, 0.75))]
    rows = [{C.USER_KEY: f"{i:064x}", C.RANK: rank, C.CONTRIBUTION_CENTS: share * cents} for i, rank, share in parts]
    publish(store, "plan_reasons", EVE, rows)


def planned(store: Store, counts: dict[str, Any]) -> None:
    with store.staging() as staging:
        (staging / "campaign_plan").mkdir()
        store.publish(
            "campaign_plan", NIGHT, staging / "campaign_plan", rows=0, inputs={}, config_hash="x", counts=counts
        )


def test_the_lift_of_a_group_is_measured_against_its_own_holdout(store: Store) -> None:
    found = measured(NIGHT, SHOP, store)
    assert found["nights"] == 2
    high, low, few = (found["groups"][name] for name in ("high", "low", "few"))
    assert (high["planned"], high["held"]) == (47, 48)
    assert high["lift_cents"]["low"] < 200 < high["lift_cents"]["high"]
    assert high["lift_cents"]["high"] - high["lift_cents"]["low"] < 20  # cents, though a customer counts once
    assert low["lift_cents"]["low"] < 0 < low["lift_cents"]["high"]
    assert few["lift_cents"] is None, "too few"
    assert high["expected_cents"] is None, "no plan had reasons"


def test_what_was_expected_is_held_against_the_same_nights(store: Store) -> None:
    expecting(store, 200.0)
    found = measured(NIGHT, SHOP, store)
    assert found["nights"] == 1
    assert {name: one["expected_cents"] for name, one in found["groups"].items()} == {
        "few": 200,
        "high": 200,
        "low": 200,
    }


TOLD = {
    "column": C.PRICE_BAND, "customers": 95,
    "groups": [{"name": name, "customers": n, "means": {}} for name, n in (("high", 48), ("low", 47))],
    "gaps": [{"measure": "treated", "highest": "high", "lowest": "low", "difference": {"low": 0.1}, "bound": 0.2}],
}  # fmt: skip


def test_the_section_names_the_groups_in_which_the_model_is_off(store: Store) -> None:
    expecting(store, 200.0)
    planned(store, {"fairness": TOLD})
    found = fairness(NIGHT, SHOP, store)
    assert found["off"] == ["low"]
    assert [(group["name"], group["measured"]["planned"]) for group in found["groups"]] == [("high", 47), ("low", 47)]
    assert (found["gaps"][0]["words"], found["gaps"][0]["passed"]) == ("share who are sent something", True)


def test_without_an_expectation_nothing_is_off_and_without_a_plan_the_section_says_so(store: Store) -> None:
    assert "no plan for tomorrow" in fairness(NIGHT, SHOP, store)["missing"]
    planned(store, {"fairness": TOLD})
    assert fairness(NIGHT, SHOP, store)["off"] is None
