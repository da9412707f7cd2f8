"""The report's sections on models and on the loop whose truth is known."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.report_models import closed_loop, closed_loop_file, models

NIGHT = date(2026, 3, 10)
DEMO = load_shop("demo")
MODEL = {"name": "m", "version": "3", "expected_profit_cents": 12.5, "gap": 0.0}
COUNTS = {"rows": 5, "holdout": 1, "by_lot": 1, "model": MODEL}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "var", "demo")


def publish(store: Store, table: str, rows: dict[str, list[Any]], counts: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        pq.write_table(pa.table(rows), folder / "part-00000.parquet")
        n = len(next(iter(rows.values())))
        store.publish(table, NIGHT, folder, rows=n, inputs={}, config_hash="c", audit={}, counts=counts)


def with_plan(store: Store, counts: dict[str, Any]) -> None:
    rows: dict[str, list[Any]] = {
        C.WHY: ["exploit: 5.0 cents", "exploit: 9.5 cents", "exploit: nothing", "explore: 1 of 4", "holdout: gets"],
        C.STRATEGY_ID: ["a", "b", "none", "a", "none"],
        C.CHANNEL: ["email", "push", "", "email", ""],
        C.EXPECTED_PROFIT_CENTS: [5.0, 9.5, 0.0, -2.0, 0.0],
    }
    publish(store, "campaign_plan", rows, counts)


def played(plan: float = 300.0) -> dict[str, Any]:
    """What pipelines/closed_loop/evaluate.py writes, as far as the report reads it."""

    def around(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 50, "high": value + 50}

    values = {
        "random": around(-400.0),
        "single": around(200.0),
        "plan": around(plan),
        "oracle": around(900.0),
    }
    spans = {
        name: {
            "nights": nights,
            "profit_cents": values,
            "plan_minus_cents": {who: around(plan - one["value"]) for who, one in values.items() if who != "plan"},
            "share_of_random_regret": {"plan": {"value": 0.4, "low": 0.3, "high": 0.5}},
        }
        for name, nights in (("all_nights", 30), ("last_week", 7))
    }
    summary = {**spans, "expected_of_chosen_cents": 500, "true_of_chosen_cents": 310}
    return {"customers": 2_000, "seeds": [{}, {}], "summary": summary}


def write_loop(store: Store, text: str) -> None:
    path = closed_loop_file(store)
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_models_tells_what_another_budget_would_earn_where_the_plan_found_out(store: Store) -> None:
    points = [
        {"budget_cents": budget, "profit_cents": profit, "price": price}
        for budget, profit, price in ((50, 300.0, 5.0), (100, 500.0, 3.0), (125, 560.0, 2.0), (200, 650.0, 1.0))
    ]
    with_plan(store, {**COUNTS, "budget_cents": 100, "budget_curve": points})
    told = models(NIGHT, store)["budget_curve"]
    assert told["here"] == points[1]
    assert told["more"] == {"budget_cents": 25, "profit_cents": 60.0}
    with_plan(store, {**COUNTS, "budget_cents": 100, "budget_curve": []})
    assert "budget_curve" not in models(NIGHT, store)


def test_models_tells_who_scored_and_what_is_expected_of_those_chosen_by_score(store: Store) -> None:
    with_plan(store, COUNTS)
    publish(store, "strategy_scores", {C.USER_KEY: ["u"] * 8}, {"why": "champion"})
    assert models(NIGHT, store) == {
        "model": MODEL,
        "why": "champion",
        "pairs": 8,
        "by_lot": 1,
        "by_score": 3,
        "lot_share": 0.25,
        "chosen": 2,
        "frequencies": [],
        "by_channel": [
            {"name": "email", "customers": 1, "profit_cents": 5.0},
            {"name": "push", "customers": 1, "profit_cents": 9.5},
        ],
    }


def test_models_names_the_policy_that_thinks_of_later_nights(store: Store) -> None:
    with_plan(store, {**COUNTS, "model": {**MODEL, "later_cents": -3.5}})
    publish(store, "strategy_scores", {C.USER_KEY: ["u"] * 8}, {"why": "champion", "policy": "m-policy version 2"})
    found = models(NIGHT, store)
    assert (found["policy"], found["model"]["later_cents"]) == ("m-policy version 2", -3.5)


def test_without_scores_models_says_that_all_was_drawn_by_lot(store: Store) -> None:
    with_plan(store, {**COUNTS, "model": None, "by_lot": 4})
    found = models(NIGHT, store)
    assert (found["model"], found["why"], found["pairs"], found["by_lot"], found["by_score"]) == (None, None, 0, 4, 0)


def test_without_a_plan_the_section_says_so(store: Store) -> None:
    assert "no plan" in models(NIGHT, store)["missing"]


def test_only_a_simulated_shop_has_a_loop_whose_truth_is_known(store: Store) -> None:
    assert DEMO.simulator is not None
    real: Shop = DEMO.model_copy(update={"simulator": None})
    assert closed_loop(real, store) is None
    assert "simulate --shop demo --nights 30 --evaluate" in (closed_loop(DEMO, store) or {})["missing"]


def test_the_loop_s_policies_stand_in_a_fixed_order_with_the_plan_s_lead(store: Store) -> None:
    write_loop(store, json.dumps(played()))
    found = closed_loop(DEMO, store)
    assert found is not None
    assert (found["seeds"], found["customers"], found["expected_cents"], found["true_cents"]) == (2, 2_000, 500, 310)
    first = found["spans"][0]["policies"]
    assert [(row["value"], row["is_plan"], (row["ahead"] or {}).get("value")) for row in first] == [
        (-400.0, False, 700.0),
        (200.0, False, 100.0),
        (300.0, True, None),
        (900.0, False, -600.0),
    ]


@pytest.mark.parametrize("text", ["", "[]", '{"summary": {}}', "null"])
def test_a_file_that_is_no_such_evaluation_counts_as_none(store: Store, text: str) -> None:
    write_loop(store, text)
    assert "has not been played" in (closed_loop(DEMO, store) or {})["missing"]
