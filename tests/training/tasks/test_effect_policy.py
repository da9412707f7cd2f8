"""The policy of an effect model by the logs of another: a shop of one night in which only the first strategy earns."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.strategy.candidates import NOTHING, Candidate, candidates
from pipelines.strategy.judgement import judge_policy
from tests.training.small_effect import profiles, with_strategies
from training.task import Examples, PolicyTask
from training.tasks.effect import TASK
from training.tasks.effect_examples import COMPLAINED
from training.tasks.effect_policy import compare_policies, greedy, propensities

SHOP = load_shop("demo")
KNOWN = candidates(SHOP.strategy)
NIGHT = date(2026, 3, 5)


class Believes:
    """Expects one strategy to bring much and all others nothing."""

    def __init__(self, best: int) -> None:
        self.best = best

    def score_grid(self, rows: pa.Table, strategies: list[Candidate]) -> dict[str, np.ndarray]:
        lift = np.zeros((len(rows), len(strategies)))
        lift[:, self.best] = 1_000.0
        return {C.SPEND_CENTS: 500.0 + lift, C.LIFT_SPEND_CENTS: lift, C.P_COMPLAINT: np.zeros(lift.shape)}


class Plans:
    """A store that holds one night's plan."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self.path = folder / "plan.parquet"
        pq.write_table(pa.table(plan), self.path)

    def files(self, table: str, nights: list[date]) -> list[str]:
        return [str(self.path)] if (table, nights) == ("campaign_plan", [NIGHT - timedelta(days=1)]) else []


def night(folder: Path, n: int, paying: int, **changed: Any) -> tuple[Examples, Plans]:
    """n customers get the first or the second strategy or nothing by lot; who gets `paying` pays 3,000 cents, others 500."""
    rng = np.random.default_rng(4)
    choice = rng.integers(-1, 2, n)
    ids = [KNOWN[k].strategy_id if k >= 0 else NOTHING for k in choice.tolist()]
    rows = with_strategies(profiles(n), [KNOWN[k] if k >= 0 else None for k in choice.tolist()])
    spent = np.where(choice == paying, 3_000.0, 500.0) + rng.normal(0, 50, n)
    target = pa.table({C.SPEND_CENTS: spent, COMPLAINED: np.where(choice >= 0, 0.0, np.nan)})
    keys = rows[C.USER_KEY].to_numpy(zero_copy_only=False)
    examples = Examples(rows, target, keys, np.full(n, ""), np.full(n, np.datetime64(NIGHT, "D")))
    plan = {
        C.USER_KEY: keys, C.STRATEGY_ID: ids, C.PROPENSITY: np.full(n, 1 / 3), C.IS_HOLDOUT: np.zeros(n, dtype=bool),
        C.N_ALLOWED: np.full(n, 2), C.WHY: ["explore: 1 of 3"] * n,
    }  # fmt: skip
    return examples, Plans(folder, plan | changed)


def test_the_model_that_knows_what_earns_is_worth_more(tmp_path: Path) -> None:
    examples, store = night(tmp_path, 1_200, paying=0)
    found = compare_policies(SHOP, store, examples, Believes(0), Believes(1))
    assert (found["rows"], found["disagree"]) == (1_200, 1.0)
    margin = SHOP.strategy.default_margin_percent / 100
    assert KNOWN[0].discount_percent == KNOWN[1].discount_percent == 0
    assert found["difference"]["value"] == pytest.approx(2_500 * margin, rel=0.05)
    assert found["challenger"]["value"] == pytest.approx(3_000 * margin - KNOWN[0].message_cost_cents, rel=0.05)
    assert judge_policy(found).passed
    turned = compare_policies(SHOP, store, examples, Believes(1), Believes(0))
    verdict = judge_policy(turned)
    assert not verdict.passed
    assert (verdict.check, verdict.text.startswith("clearly below: at least ")) == ("off_policy", True)


def test_sending_nothing_and_the_lots_stand_beside_both_models(tmp_path: Path) -> None:
    examples, store = night(tmp_path, 1_200, paying=0)
    found = compare_policies(SHOP, store, examples, Believes(0), Believes(1))
    margin, cost = SHOP.strategy.default_margin_percent / 100, KNOWN[0].message_cost_cents
    assert found["send_nothing"]["value"] == pytest.approx(500 * margin, rel=0.05)
    mean = (3_000 + 500 + 500) / 3 * margin - 2 / 3 * cost
    assert found["by_lot"]["value"] == pytest.approx(mean, rel=0.1)
    assert found["by_lot"]["low"] < mean < found["by_lot"]["high"]
    chosen = ["exploit: 5.0 cents more" if i % 4 else "no champion: explore: 1 of 3" for i in range(1_200)]
    fewer = compare_policies(SHOP, *night(tmp_path, 1_200, 0, **{C.WHY: chosen})[::-1], Believes(0), Believes(1))
    assert fewer["challenger"] == found["challenger"]
    assert fewer["by_lot"]["high"] - fewer["by_lot"]["low"] > 1.5 * (found["by_lot"]["high"] - found["by_lot"]["low"])
    whole = ["exploit: 5.0 cents more"] * 1_200
    assert "by_lot" not in compare_policies(
        SHOP, *night(tmp_path, 1_200, 0, **{C.WHY: whole})[::-1], Believes(0), Believes(1)
    )


def test_two_models_that_choose_alike_differ_by_nothing(tmp_path: Path) -> None:
    found = compare_policies(SHOP, *night(tmp_path, 60, 0)[::-1], Believes(0), Believes(0))
    assert found["difference"] == {"value": 0, "low": 0, "high": 0}
    assert judge_policy(found).text == "both would have chosen alike in 60 logged choices"


def test_few_choices_leave_the_log_unable_to_tell(tmp_path: Path) -> None:
    found = compare_policies(SHOP, *night(tmp_path, 18, 0)[::-1], Believes(0), Believes(1))
    verdict = judge_policy(found)
    assert verdict.passed
    assert found["effective_rows"] <= 18
    assert verdict.text.startswith("cannot tell: 18 logged choices tell the policies apart as")


def test_strategies_that_the_log_does_not_hold_are_not_judged(tmp_path: Path) -> None:
    found = compare_policies(SHOP, *night(tmp_path, 60, 0)[::-1], Believes(5), Believes(6))
    assert found["disagree"] == 0


def test_only_choices_of_known_probability_are_counted(tmp_path: Path) -> None:
    n = 60
    examples, store = night(tmp_path, n, paying=0)
    assert propensities(store, examples)[0] == pytest.approx(np.full(n, 1 / 3))
    held = np.arange(n) < 10
    examples, store = night(tmp_path, n, 0, **{C.IS_HOLDOUT: held, C.N_ALLOWED: np.where(np.arange(n) < 15, 0, 2)})
    assert np.isnan(propensities(store, examples)[0]).sum() == 15
    examples, store = night(tmp_path, n, 0, **{C.STRATEGY_ID: ["something.else"] * n})
    assert np.isnan(propensities(store, examples)[0]).all()
    assert compare_policies(SHOP, store, examples, Believes(0), Believes(1))["rows"] == 0
    assert (
        "cannot tell: 0 logged choices"
        in judge_policy(compare_policies(SHOP, store, examples, Believes(0), Believes(1))).text
    )
    examples.night[:] = np.datetime64("2026-03-09")  # a night before which nothing was planned
    assert np.isnan(propensities(store, examples)[0]).all()


def test_nothing_is_sent_where_nothing_earns() -> None:
    profit = np.array([[0.0, -1.0, 0.0], [0.0, 2.0, 1.0]])
    assert greedy(profit, np.array([True, True, True])).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert greedy(profit, np.array([False, False, True])).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_the_effect_task_is_judged_as_a_policy() -> None:
    assert isinstance(TASK, PolicyTask)
