from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.shop import Channel, QuietHours, SendWindow, Strategy
from pipelines.core.storage import Store
from pipelines.plan_hours import NO_HOUR, send_hours
from pipelines.strategy.candidates import candidates
from pipelines.strategy.constraints import Customers
from pipelines.strategy.explore import Decisions, explore

NIGHT = date(2026, 3, 1)
DAY = SendWindow(id="day", from_hour=8, to_hour=20)
N = 400
KEYS = pa.array([f"{i:064x}" for i in range(N)])


def strategy_of(quiet: QuietHours | None = None) -> Strategy:
    mail = Channel(id="email", cost_cents=1, capacity_per_night=10**6, default_consent=True, quiet_hours=quiet)
    return Strategy(channels=(mail,), send_windows=(DAY,), holdout_percent=10, nightly_budget_cents=10**6)


def decided(strategy: Strategy) -> Decisions:
    one = np.zeros((N, 1), dtype=np.int64)
    no = one.astype(bool)
    customers = Customers(tuple(KEYS.to_pylist()), one[:, 0] + 3_000, one[:, 0] + 30.0, one, no, no)
    return explore(customers, strategy, NIGHT)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Even customers come at 10, odd ones at 18."""
    made = Store(tmp_path, "tiny")
    folder = made.partition("hour_response", NIGHT)
    folder.mkdir(parents=True)
    nothing = [0] * N
    columns: dict[str, Any] = {C.USER_KEY: KEYS, C.LOCAL_HOUR: [10 if i % 2 == 0 else 18 for i in range(N)]}
    columns |= {C.N_SESSIONS: [20] * N, C.N_DELIVERIES: nothing, C.N_CLICKS: nothing}
    pq.write_table(pa.table(columns), folder / "part-00000.parquet")
    return made


def hours_of(store: Store, strategy: Strategy, is_lot: Sequence[bool] = (False,) * N) -> tuple[Any, Decisions]:
    decisions = decided(strategy)
    segment = np.zeros(N, dtype=np.int64)
    return send_hours(NIGHT, store, KEYS, segment, decisions, np.array(is_lot), strategy), decisions


def test_a_message_goes_out_before_the_hour_at_which_its_customer_comes(store: Store) -> None:
    found, decisions = hours_of(store, strategy_of())
    sent = decisions.strategy >= 0
    even = np.arange(N) % 2 == 0
    assert (found.hour[~sent] == NO_HOUR).all()
    assert set(found.hour[sent & even]) <= {8, 9, 10}
    assert set(found.hour[sent & ~even]) <= {14, 15, 16, 17, 18}
    assert found.told["learnt"] == sent.sum()
    assert found.told["by_lot"] == 0
    assert found.told["gain"] > 0.1


def test_who_draws_lots_draws_the_hour_too_each_as_likely(store: Store) -> None:
    found, decisions = hours_of(store, strategy_of(), is_lot=(True,) * N)
    drawn = Counter(found.hour[decisions.strategy >= 0].tolist())
    assert set(drawn) == set(range(8, 20))
    assert min(drawn.values()) > 0.4 * max(drawn.values())
    again, _ = hours_of(store, strategy_of(), is_lot=(True,) * N)
    assert np.array_equal(found.hour, again.hour)


def test_nothing_goes_out_in_quiet_hours_by_lot_or_learnt(store: Store) -> None:
    strategy = strategy_of(QuietHours(from_hour=17, to_hour=11))
    for is_lot in (True, False):
        found, decisions = hours_of(store, strategy, is_lot=(is_lot,) * N)
        assert set(found.hour[decisions.strategy >= 0]) <= set(range(11, 17))


def test_a_window_that_is_quiet_throughout_makes_no_candidate() -> None:
    assert candidates(strategy_of(QuietHours(from_hour=8, to_hour=19)))
    assert not candidates(strategy_of(QuietHours(from_hour=7, to_hour=20)))


def test_without_the_night_s_table_all_draw(store: Store, tmp_path: Path) -> None:
    found, decisions = hours_of(Store(tmp_path / "empty", "tiny"), strategy_of())
    assert found.told is None
    assert len(set(found.hour[decisions.strategy >= 0])) == 12


def test_a_plan_that_sends_nothing_has_no_hours(store: Store) -> None:
    strategy = strategy_of()
    nobody = replace(decided(strategy), strategy=np.full(N, -1))
    found = send_hours(NIGHT, store, KEYS, np.zeros(N, np.int64), nobody, np.zeros(N, dtype=bool), strategy)
    assert (found.hour == NO_HOUR).all()
