"""The shop that the closed loop is played in: its tables are those of the real jobs, its truth is the simulator's."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.closed_loop import policies
from pipelines.closed_loop.world import World
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.shop import Shop, Simulator
from pipelines.simulator.truth import potential_outcomes


def shop_of(customers: int) -> Shop:
    demo = load_shop("demo")
    simulator = Simulator(customers=customers, items=100, history_nights=3)
    return demo.model_copy(update={"simulator": simulator})


@pytest.fixture
def world(tmp_path: Path) -> World:
    """300 customers after three plain nights and two on which all sorts of strategies were sent."""
    made = World(shop_of(300), tmp_path / "world")
    for _ in range(3):
        made.play()
    for night in range(2):
        made.remember()
        made.play(policies.planned(made, night + 1))
    made.remember()
    return made


def columns_of(table: pa.Table) -> dict[str, list[Any]]:
    return {name: table[name].to_pylist() for name in sorted(table.column_names)}


@pytest.mark.slow
def test_profiles_and_responses_are_those_of_the_real_jobs(world: World, tmp_path: Path) -> None:
    from spark_jobs import features
    from spark_jobs.channel_response import channel_response
    from spark_jobs.event_window import event_window
    from spark_jobs.session import open_engine
    from spark_jobs.user_profiles import user_profiles

    night, zone, rules = world.night - timedelta(days=1), world.shop.timezone, world.shop.strategy
    files = {
        feed: {
            file.parent.name.partition("=")[2]: [str(file)]
            for file in sorted(world.store.partition(feed, night).parent.glob("*/part-*.parquet"))
        }
        for feed in ("events", "deliveries", "outcomes")
    }
    with open_engine("duckdb", tmp_path / "work", threads=1) as engine:
        events = engine.read([Path(file[0]) for file in files["events"].values()])
        window = event_window(events, night, zone, world.shop.features.window_nights)
        sent = engine.hold(features._feed(engine, files, "deliveries", C.SENT_AT, night, zone))
        answers = engine.hold(features._feed(engine, files, "outcomes", C.OCCURRED_AT, night, zone))
        consent = features._consent(events, night, zone)
        made = {
            "user_profiles": user_profiles(window, sent, answers),
            "channel_response": channel_response(consent, sent, answers, rules.channels, rules.complaint_rest_nights),
        }
        keys = {"user_profiles": [C.USER_KEY], "channel_response": [C.USER_KEY, C.CHANNEL]}
        for name, frame in made.items():
            engine.write(frame, tmp_path / name, keys[name])
    for name in made:
        theirs = pq.read_table(tmp_path / name)
        ours = pq.read_table(world.store.partition(name, night), partitioning=None)
        assert len(ours) > 200
        assert columns_of(ours.select(theirs.column_names)) == columns_of(theirs), name


def test_the_truth_is_the_simulator_s_for_those_whom_a_message_reaches(world: World) -> None:
    shop, night = world.shop, world.night
    world.state.fatigue[:] = 0  # the simulator tells the truth of the rested without its files
    organic, added = world.profit()
    told = potential_outcomes(shop, night, world.truth.customers.ids.tolist(), world.treatments)
    cost = told.spend_cents[:, 0] - organic  # of the goods bought unasked
    goods = cost / np.maximum(told.purchase[:, 0], 1e-300)
    for k, candidate in enumerate(world.found):
        margin = told.spend_cents[:, k + 1] - goods * told.purchase[:, k + 1] - organic
        expected = margin - candidate.message_cost_cents
        expected -= shop.strategy.complaint_cost_cents * told.complaint[:, k + 1]
        reached = added[:, k] != -candidate.message_cost_cents
        assert reached.mean() > 0.8
        assert added[reached, k] == pytest.approx(expected[reached], abs=1e-6)


def test_a_branch_lives_on_by_itself(world: World, tmp_path: Path) -> None:
    other = world.branch(tmp_path / "other")
    before = world.state.fatigue.copy()
    other.play(np.zeros(300, dtype=np.int64))
    assert np.array_equal(world.state.fatigue, before)
    assert other.state.fatigue.mean() > world.state.fatigue.mean()
    assert world.night < other.night
    assert not world.store.files("events", [world.night])


def test_a_rehearsal_tires_as_playing_does(world: World, tmp_path: Path) -> None:
    strategy = np.where(np.arange(300) % 2, 3, -1)
    played, rehearsed = world.branch(tmp_path / "other"), world.rehearsal()
    played.play(strategy)
    delivered = rehearsed.tire(strategy)
    assert np.array_equal(played.state.fatigue, rehearsed.state.fatigue)
    assert not delivered[::2].any()
    assert delivered[1::2].mean() > 0.9
