"""The shop that policies are compared in: it tells of its customers what the store would."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

import policy
from pipelines.closed_loop.policies import known, planned
from pipelines.closed_loop.world import World
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.shop import Simulator
from training.tasks import policy_examples
from training.tasks.policy_examples import TIRED, left_on, states_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """120 customers after two plain nights and four on which strategies were drawn by lot."""
    shop = load_shop("demo").model_copy(update={"simulator": Simulator(customers=120, items=60, history_nights=2)})
    made = World(shop, tmp_path_factory.mktemp("world") / "w")
    made.play()
    made.play()
    for night in range(4):
        made.remember()
        made.play(planned(made, night + 1))
    made.remember()
    return made


def test_a_rehearsal_begins_with_the_states_that_the_store_tells_of(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (policy, policy_examples):
        monkeypatch.setattr(module, "LOOK_BACK", 3)  # fewer than there are nights
    told, here = states_of(world.shop, world.store, world.night - timedelta(days=1)), policy.Rehearsal(world)
    found = here.states()
    assert found[TIRED].to_numpy().max() > 0.5
    for name in told.schema.names:
        if name in (C.USER_KEY, C.SEGMENT_NAME, C.TOP_CATEGORY_ID):
            assert found[name].to_pylist() == told[name].to_pylist()
        else:
            assert found[name].to_numpy() == pytest.approx(told[name].to_numpy(), abs=1e-9, nan_ok=True), name
    assert (here.customers.n_recent == known(world)[0].n_recent).all()


def test_who_is_written_to_tires_rests_and_is_counted(world: Any) -> None:
    here = policy.Rehearsal(world)
    k = next(i for i, one in enumerate(world.found) if one.strategy_id == "push.none.evening.x1.plain")
    before = here.states()
    choice = np.where(np.arange(len(here.rows)) % 2, k, -1)
    seen = here.play(choice, before)
    after = here.states()
    sent = np.isin(before[C.USER_KEY].to_numpy(), seen.rows[C.USER_KEY].to_numpy())
    assert 0.8 < sent[1::2].mean() < 1
    assert not sent[::2].any()
    assert after[TIRED].to_numpy() == pytest.approx(0.85 * before[TIRED].to_numpy() + sent)
    assert (after[left_on("push")].to_numpy()[sent] == 0).all()
    assert (here.world.state.fatigue[here.rows][sent] > 0.3).all()
    assert world.night < here.world.night
