"""Who decides in the closed loop: all within the same limits, and nobody better than who knows the truth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.closed_loop import policies
from pipelines.closed_loop.policies import Learner, Single
from pipelines.closed_loop.world import World
from pipelines.core.config import load_shop
from pipelines.core.shop import Simulator
from pipelines.strategy.explore import explore


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """300 customers after three plain nights and two on which lots were drawn; no test plays on."""
    simulator = Simulator(customers=300, items=100, history_nights=3)
    made = World(load_shop("demo").model_copy(update={"simulator": simulator}), tmp_path_factory.mktemp("world"))
    for _ in range(3):
        made.play()
    for night in range(2):
        made.remember()
        made.play(policies.planned(made, night + 1))
    made.remember()
    return made


def earned(world: World, strategy: np.ndarray, truth: np.ndarray) -> float:
    sent = np.flatnonzero(strategy >= 0)
    return float(truth[sent, strategy[sent]].sum())


def test_the_plan_of_a_world_is_that_of_the_plan_stage(world: World, tmp_path: Path) -> None:
    strategy = policies.planned(world.branch(tmp_path), 3)
    customers, rows = policies.known(world)
    assert np.array_equal(strategy[rows], explore(customers, world.shop.strategy, world.eve).strategy)
    assert (strategy >= 0).sum() > 10


def test_one_strategy_for_all_keeps_to_limits_holdout_and_rest(world: World) -> None:
    k = next(i for i, one in enumerate(world.found) if one.strategy_id == "sms.none.evening.x1.plain")
    customers, rows = policies.known(world)
    strategy = Single(k)(world, 1)
    sent = np.flatnonzero(strategy >= 0)
    assert 0 < len(sent) <= 150
    assert set(strategy[sent]) == {k}
    assert set(sent) <= set(rows)
    resting = rows[(customers.n_recent >= 3).all(axis=1)]
    assert len(resting)
    assert not set(sent) & set(resting)


def test_who_knows_tonight_earns_at_least_what_any_other_policy_does(world: World, tmp_path: Path) -> None:
    truth = world.profit()[1]
    best = earned(world, policies.oracle(world, 1), truth)
    insider = earned(world, policies.insider(world, 1), truth)
    lots = earned(world, policies.planned(world.branch(tmp_path), 1), truth)
    singles = [earned(world, Single(k)(world, 1), truth) for k in range(len(world.found))]
    slack = 0.01 * best  # the knapsack's gap
    assert best + slack >= max(insider, lots, *singles)
    # Who knows all customers but not tonight is right about what is usual: better than any one strategy for all.
    usual = world.usual_profit()
    assert earned(world, policies.insider(world, 1), usual) > max(
        earned(world, Single(k)(world, 1), usual) for k in range(len(world.found))
    )


def test_the_best_single_strategy_is_the_best_of_all_rehearsed(world: World) -> None:
    before = world.state.fatigue.copy()
    k = policies.best_single(world, 1)
    truth = world.profit()[1]
    assert earned(world, Single(k)(world, 1), truth) == pytest.approx(
        max(earned(world, Single(j)(world, 1), truth) for j in range(len(world.found)))
    )
    assert np.array_equal(world.state.fatigue, before)


class Asked:
    """Answers as the training job does, but only remembers what was asked."""

    def __init__(self) -> None:
        self.fits: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        if "fit" in request:
            self.fits.append(request)
        return {}


def test_a_learner_draws_lots_until_enough_campaigns_are_known_then_trains_weekly(world: World, tmp_path: Path) -> None:
    asked = Asked()
    learner = Learner(asked, "plan", keeps_learning=True)
    learner(world.branch(tmp_path / "young"), 1)
    assert not asked.fits  # two nights of campaigns, seven are needed
    few = world.shop.strategy.model_copy(update={"explore_nights": 2})
    models = world.shop.models.model_copy(update={"valid_nights": 1})
    grown = world.branch(tmp_path / "grown")
    grown.shop = world.shop.model_copy(update={"strategy": few, "models": models})
    for night in (1, 2, 7, 8):
        aside = grown.branch(tmp_path / f"night{night}")
        aside.shop = grown.shop
        learner(aside, night)
    assert learner.trained == {1: "first", 8: "week"}
    assert (asked.fits[0]["train"], asked.fits[0]["valid"]) == (["2026-03-04"], ["2026-03-05"])
    frozen = Learner(Asked(), "first_version", keeps_learning=False)
    for night in (1, 8):
        aside = grown.branch(tmp_path / f"frozen{night}")
        aside.shop = grown.shop
        frozen(aside, night)
    assert frozen.trained == {1: "first"}
