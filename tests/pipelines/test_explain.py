"""The part of the plan stage that publishes reasons: when there are none, and how one customer's are read."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines import explain
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.errors import RegistryError
from pipelines.core.machine import Machine
from pipelines.core.storage import Store
from pipelines.stage import Context, StageResult
from tests.pipelines.test_report import publish

NIGHT = date(2026, 3, 1)
ANN, BEN = f"{1:064x}", f"{2:064x}"
REASONS = [
    (0, "usual", "the usual customer gets push.none.evening.x1.plain", 20.0),
    (1, "answers", "clicked 3 of 5 by email", 0.42),
    (2, "visits", "here tonight, no visit in 28 nights", -0.205),
    (3, "offer", "10% off", 0.15),
    (4, "rest", "9 other factors", 0.0),
]


def reason(user: str, rank: int, factor: str, told: str, cents: float) -> dict[str, Any]:
    row = {C.USER_KEY: user, C.RANK: rank, C.STRATEGY_ID: "x", C.FACTOR: factor}
    return row | {C.TOLD: told, C.CONTRIBUTION_CENTS: cents}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A night with a plan by version 3, scores, and reasons of an earlier plan."""
    store = Store(tmp_path, "demo")
    publish(store, "strategy_scores", NIGHT, [])
    publish(store, explain.TABLE, NIGHT, [reason(user, *told) for user in (BEN, ANN) for told in REASONS[::-1]])
    return Context(load_shop("demo"), Machine(), store, tmp_path / "landing")


def planned(context: Context, **counts: Any) -> None:
    store = context.store
    with store.staging() as staging:
        (staging / "campaign_plan").mkdir()
        told = {"treated": 5, "model": {"name": "demo-effect", "version": "3"}} | counts
        store.publish(
            "campaign_plan", NIGHT, staging / "campaign_plan", rows=9, inputs={}, config_hash="x", counts=told
        )


def test_one_customer_s_reasons_are_read_by_rank_and_said_in_words(context: Context) -> None:
    found = explain.reasons_of(ANN, NIGHT, context.store)
    assert [one.rank for one in found] == [0, 1, 2, 3, 4]
    assert str(found[1]) == "clicked 3 of 5 by email: +0.42 ct"
    assert str(found[2]) == "here tonight, no visit in 28 nights: −0.20 ct"
    assert sum(one.cents for one in found) == pytest.approx(20.365)
    assert explain.reasons_of("0" * 64, NIGHT, context.store) == []


@pytest.mark.parametrize("counts", [{"model": None}, {"treated": 0}])
def test_a_plan_by_lot_and_one_that_sends_nothing_have_no_reasons_and_earlier_ones_go(
    context: Context, counts: dict[str, Any]
) -> None:
    planned(context, **counts)
    result = explain.run(NIGHT, context, StageResult("plan"))
    assert result.manifests == {}
    assert context.store.manifest(explain.TABLE, NIGHT) is None


def test_a_registry_that_is_down_costs_the_reasons_and_not_the_plan(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> None:
        raise RegistryError("no answer; start it")

    planned(context)
    notes: list[str] = []
    monkeypatch.setattr("pipelines.explain.Registry.get", down)
    here = Context(context.shop, context.machine, context.store, context.landing, progress=notes.append)
    assert explain.run(NIGHT, here, StageResult("plan")).n_made == 0
    assert notes == ["no reasons for the plan, the model registry failed: no answer; start it"]
    assert context.store.manifest(explain.TABLE, NIGHT) is None
    assert context.store.manifest("campaign_plan", NIGHT) is not None
