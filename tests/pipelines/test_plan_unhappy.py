"""An unhappy customer gets no promotion and is told why; everybody else's lots, and the holdout, stay what they were."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import plan
from pipelines.core.columns import Columns as C
from pipelines.core.storage import Store
from pipelines.plan_limits import inputs_of, unhappy
from pipelines.strategy.constraints import Customers
from pipelines.strategy.explore import explore
from pipelines.strategy.holdout import is_holdout
from tests.pipelines.test_plan_limits import DEMO, KEYS, NIGHT, shop, store, write

__all__ = ["store"]  # a fixture
SETTLED, OPEN, COMPLAINT = (("negative", False, True), ("negative", False, False), ("neutral", True, True))


def talked(store: Store, back: int, *talks: tuple[str, tuple[str, bool, bool]]) -> None:
    """(user key, (mood, is a complaint, is resolved)) of conversations `back` nights ago, one a minute."""
    on = NIGHT - timedelta(days=back)
    at = datetime(on.year, on.month, on.day, 12)
    columns = {
        C.USER_KEY: [user for user, _ in talks],
        C.CONVERSATION_ID: [f"t{back}{i}" for i in range(len(talks))],
        C.OCCURRED_AT: pa.array([at + timedelta(minutes=i) for i in range(len(talks))], pa.timestamp("us")),
        C.MOOD: [mood for _, (mood, _, _) in talks],
        C.IS_COMPLAINT: [is_complaint for _, (_, is_complaint, _) in talks],
        C.IS_RESOLVED: [is_resolved for _, (_, _, is_resolved) in talks],
    }
    write(store, "conversations", columns, on)


def rated(store: Store, back: int, **stars: int) -> None:
    users = [KEYS[int(name[1:])] for name in stars]
    write(store, "reviews", {C.USER_KEY: users, C.RATING: list(stars.values())}, NIGHT - timedelta(days=back))


def rows_of(store: Store, folder: Path, **changes: Any) -> tuple[plan.PlanResult, list[dict[str, Any]]]:
    result = plan.build(NIGHT, shop(**changes), store, folder)
    return result, pq.read_table(folder / "campaign_plan" / "part-00000.parquet").to_pylist()


def test_who_complained_has_open_trouble_or_rated_low_of_late_is_unhappy_by_the_latest_talk(store: Store) -> None:
    talked(store, 3, (KEYS[0], COMPLAINT), (KEYS[2], OPEN), (KEYS[7], COMPLAINT))
    talked(store, 0, (KEYS[1], SETTLED), (KEYS[1], OPEN), (KEYS[2], SETTLED), (KEYS[6], SETTLED), ("f" * 64, OPEN))
    talked(store, 1, (KEYS[7], SETTLED))
    talked(store, 7, (KEYS[8], COMPLAINT))
    rated(store, 6, u3=2, u5=3)
    rated(store, 7, u4=1)
    found = unhappy(NIGHT, DEMO, store, pa.array(KEYS))
    assert np.flatnonzero(found).tolist() == [0, 1, 3]
    assert np.flatnonzero(unhappy(NIGHT, shop(unhappy_rest_nights=8), store, pa.array(KEYS))).tolist() == [
        0,
        1,
        3,
        4,
        8,
    ]
    assert not unhappy(NIGHT, shop(unhappy_rest_nights=0), store, pa.array(KEYS)).any()
    told = inputs_of(NIGHT, DEMO.strategy, store)
    assert {"conversations/2026-03-05", "reviews/2026-03-11"} <= set(told)
    assert "conversations/2026-03-04" not in told


@pytest.mark.parametrize("explore_percent", [0, 100])
def test_an_unhappy_customer_gets_nothing_whoever_chooses_and_is_told_why(
    store: Store, tmp_path: Path, explore_percent: int
) -> None:
    changes = {"explore_percent": explore_percent, "nightly_budget_cents": 10**9}
    _, before = rows_of(store, tmp_path / "before", **changes)
    held = {row[C.USER_KEY] for row in before if row[C.IS_HOLDOUT]}
    assert held
    sad = KEYS[:40]
    talked(store, 0, *((user, OPEN) for user in sad))
    result, rows = rows_of(store, tmp_path / "after", **changes)
    assert {row[C.USER_KEY] for row in rows if row[C.IS_HOLDOUT]} == held
    mine = [row for row in rows if row[C.USER_KEY] in sad and row[C.USER_KEY] not in held]
    assert {(row[C.STRATEGY_ID], row[C.RUNNER_UP_STRATEGY_ID], row[C.N_ALLOWED]) for row in mine} == {
        ("none", "none", 0)
    }
    assert {(row[C.BINDING_CONSTRAINT], row[C.PROPENSITY], row[C.WHY]) for row in mine} == {
        ("unhappy", 1.0, "no strategy is allowed, chiefly because the customer is unhappy with the shop of late")
    }
    assert result.by_constraint["unhappy"] == len(mine) > 20
    others = [row for row in rows if row[C.USER_KEY] not in sad and row[C.USER_KEY] not in held]
    assert all(row[C.N_ALLOWED] > 0 and 0 < row[C.PROPENSITY] <= 1 for row in others)
    assert sum(row[C.STRATEGY_ID] != "none" for row in others) > 100
    assert not any("unhappy" in row[C.WHY] for row in others)


def test_the_chances_told_of_the_others_are_those_of_their_lots_and_nothing_is_left_to_chance_of_the_unhappy() -> None:
    n, nights = 40, 150
    scarce = tuple(channel.model_copy(update={"capacity_per_night": 8}) for channel in DEMO.strategy.channels)
    strategy = DEMO.strategy.model_copy(update={"nightly_budget_cents": 10**9, "channels": scarce})
    none = np.zeros((n, 3), dtype=bool)
    is_unhappy = np.arange(n) % 4 == 0
    who = Customers(
        tuple(KEYS[:n]), np.full(n, 3_000), np.full(n, 40.0), none.astype(np.int64), none, none, is_unhappy=is_unhappy
    )
    held = is_holdout(who.user_keys, strategy.seed, strategy.holdout_percent)
    weights = []
    for shift in range(nights):
        drawn = explore(who, strategy, NIGHT + timedelta(days=shift))
        assert (drawn.strategy[is_unhappy] < 0).all()
        assert (drawn.propensity[is_unhappy] == 1).all()
        assert np.array_equal(drawn.is_holdout, held)
        weights.append(((drawn.strategy >= 0) / drawn.propensity).sum())
    # Each of a customer's allowed strategies, weighted by one over its chance, counts once on average.
    allowed = int(drawn.n_allowed.sum())
    assert drawn.n_allowed[~is_unhappy & ~held].min() > 0
    assert abs(np.mean(weights) - allowed) < 4 * np.std(weights) / np.sqrt(nights)
