"""Fairness of a plan: what its groups get, a planted bias, and who is compared."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import fairness, plan
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.errors import AuditError, ConfigError, NoDataError
from pipelines.core.fairness import FairnessGate
from pipelines.core.machine import Machine
from pipelines.core.settings import read_yaml
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.stage import Context
from pipelines.strategy.candidates import candidates

NIGHT = date(2026, 3, 1)
N = 400
KEYS = [f"{i:064x}" for i in range(N)]
BANDS = ["low" if i % 2 else "high" for i in range(N)]
WARM = "email.none.evening.x1.warm"
STRATEGY = load_shop("demo").strategy.model_copy(update={"nightly_budget_cents": 250, "explore_percent": 5})


def shop(**rules: Any) -> Shop:
    """The demo shop with money for some 250 of 400 customers."""
    update = {"strategy": STRATEGY, "fairness_gate": FairnessGate(column=C.PRICE_BAND, **rules)}
    return load_shop("demo").model_copy(update=update)


def write(store: Store, table: str, rows: dict[str, list[Any]]) -> None:
    folder = store.partition(table, NIGHT)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), folder / "part-00000.parquet")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Customers in two price bands, alike in all that the plan looks at."""
    made = Store(tmp_path, "demo")
    profiles = {C.USER_KEY: KEYS, C.AVG_ORDER_CENTS: [4_000] * N, C.TOP_CATEGORY_ID: ["c1"] * N, C.PRICE_BAND: BANDS}
    write(made, "user_profiles", profiles | {C.N_PURCHASES: [i // 2 for i in range(N)]})
    write(made, "segments", {C.USER_KEY: KEYS, C.SEGMENT_ID: [0] * N, C.SEGMENT_NAME: ["all"] * N})
    return made


def score(store: Store, *, bias: float) -> None:
    """One strategy pays, for all about alike; `bias`: the share of it that a model takes from customers of the low band."""
    names = [candidate.strategy_id for candidate in candidates(STRATEGY)]
    lift = [(100.0 + i % 7) * (1 - bias * (BANDS[i] == "low")) for i in range(N)]
    pairs = [(i, name) for i in range(N) for name in names]
    zeros = [0.0] * len(pairs)
    rows: dict[str, list[Any]] = {
        C.USER_KEY: [KEYS[i] for i, _ in pairs],
        C.STRATEGY_ID: [name for _, name in pairs],
        **dict.fromkeys((C.P_CLICK, C.P_CONVERSION, C.P_COMPLAINT, C.LIFT_CONVERSION), zeros),
        C.SPEND_CENTS: [1_000.0] * len(pairs),
        C.LIFT_SPEND_CENTS: [lift[i] if name == WARM else 0.0 for i, name in pairs],
        C.MODEL_NAME: ["demo-effect"] * len(pairs),
        C.MODEL_VERSION: ["3"] * len(pairs),
    }
    write(store, "strategy_scores", rows)


def judged(store: Store, of: Shop, folder: Path) -> dict[str, Any]:
    plan.build(NIGHT, of, store, folder)
    return fairness.judge(NIGHT, of, store, folder / plan.TABLE)


def test_a_scoring_that_disfavours_a_group_stops_the_plan_and_nothing_is_published(
    store: Store, tmp_path: Path
) -> None:
    score(store, bias=0.5)
    of = shop(max_treated_gap=0.2)
    expected = (
        r"2026-03-01: the plan is unfair between groups of price_band: share who are sent something: 'high' is "
        r"0\.\d+ \[0\.\d+, 0\.\d+\] above 'low', at most 0\.2 is allowed \(fairness_gate\.max_treated_gap\); nothing was published"
    )
    with pytest.raises(AuditError, match=expected) as stopped:
        plan.run(NIGHT, Context(of, Machine(), store, tmp_path / "landing"))
    assert stopped.value.exit_code == 3
    assert not store.partition(plan.TABLE, NIGHT).exists()


def test_without_the_bias_the_same_bound_lets_the_plan_pass(store: Store, tmp_path: Path) -> None:
    score(store, bias=0.0)
    found = judged(store, shop(max_treated_gap=0.2), tmp_path / "staging")
    gap = next(one for one in found["gaps"] if one["measure"] == "treated")
    assert abs(gap["difference"]["value"]) < 0.1
    assert gap["bound"] == 0.2


def test_without_a_bound_a_bias_is_measured_and_told(store: Store, tmp_path: Path) -> None:
    score(store, bias=0.5)
    found = judged(store, shop(), tmp_path / "staging")
    rows = pq.read_table(tmp_path / "staging" / plan.TABLE / "part-00000.parquet").to_pylist()
    bands = dict(zip(KEYS, BANDS, strict=True))
    for group in found["groups"]:
        mine = [row for row in rows if bands[row[C.USER_KEY]] == group["name"] and not row[C.IS_HOLDOUT]]
        sent = [row for row in mine if row[C.STRATEGY_ID] != "none"]
        assert group["customers"] == len(mine)
        assert group["means"]["treated"]["value"] == pytest.approx(len(sent) / len(mine))
        profit = sum(row[C.EXPECTED_PROFIT_CENTS] for row in mine) / len(mine)
        assert group["means"]["profit_cents"]["value"] == pytest.approx(profit)
    gap = next(one for one in found["gaps"] if one["measure"] == "treated")
    assert (gap["highest"], gap["lowest"], gap["bound"]) == ("high", "low", None)
    assert gap["difference"]["low"] > 0.2
    assert gap["ratio"] < 0.6


def test_who_cannot_be_written_to_is_not_held_against_the_plan(store: Store, tmp_path: Path) -> None:
    """Customers of the low band have all unsubscribed: their own decision."""
    score(store, bias=0.0)
    gone = [key for key, band in zip(KEYS, BANDS, strict=True) if band == "low"]
    channels = ("email", "push", "sms")
    rows = [(key, channel) for key in gone for channel in channels]
    write(
        store,
        "channel_response",
        {
            C.USER_KEY: [key for key, _ in rows], C.CHANNEL: [channel for _, channel in rows],
            C.N_DELIVERIES_CAP_WINDOW: [0] * len(rows), C.N_COMPLAINTS: [0] * len(rows), C.IS_SUPPRESSED: [True] * len(rows),
        },
    )  # fmt: skip
    found = judged(store, shop(max_treated_gap=0.1), tmp_path / "staging")
    assert [group["name"] for group in found["groups"]] == ["high"]
    assert found["gaps"] == []


def test_a_plan_drawn_by_lot_is_fair_and_expects_no_profit_of_a_group(store: Store, tmp_path: Path) -> None:
    found = judged(
        store, shop(max_treated_gap=0.1, max_discount_percent_gap=3, max_cost_cents_gap=1), tmp_path / "staging"
    )
    assert {gap["measure"] for gap in found["gaps"]} == {"treated", "discount_percent", "cost_cents"}


def test_groups_can_be_cut_from_a_number(store: Store, tmp_path: Path) -> None:
    score(store, bias=0.0)
    of = shop().model_copy(update={"fairness_gate": FairnessGate(column=C.N_PURCHASES)})
    found = judged(store, of, tmp_path / "staging")
    assert {group["name"] for group in found["groups"]} == {"n_purchases up to 99", "n_purchases above 99"}


def test_a_column_that_nobody_can_be_grouped_by_is_refused_with_those_that_can(tmp_path: Path) -> None:
    text = Path("conf/shops/yoochoose.yaml").read_text(encoding="utf-8")
    path = tmp_path / "yoochoose.yaml"
    path.write_text(text + "fairness_gate: {column: shoe_size}\n", encoding="utf-8")
    with pytest.raises(
        ConfigError,
        match=r"fairness_gate\.column: no column that customers can be grouped by; allowed are segment_name",
    ):
        read_yaml(path, Shop)


def test_a_night_without_segments_is_told(store: Store, tmp_path: Path) -> None:
    plan.build(NIGHT, shop(), store, tmp_path / "staging")
    (store.partition("segments", NIGHT) / "part-00000.parquet").unlink()
    of = shop().model_copy(update={"fairness_gate": FairnessGate()})
    with pytest.raises(NoDataError, match="no table segments; fairness needs it: run the features stage first"):
        fairness.judge(NIGHT, of, store, tmp_path / "staging" / plan.TABLE)
