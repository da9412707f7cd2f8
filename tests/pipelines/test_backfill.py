"""Backfill: whatever many nights look back on has landed before the first of them runs."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import backfill
from pipelines import night as one_night
from pipelines.core.machine import Machine
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.stage import Context

FIRST = date(2026, 3, 1)
DROPS = [FIRST + timedelta(days=day) for day in range(12)]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A shop that looks back on three nights, with a drop of one line a night."""
    source = {"connector": "taobao", "pattern": "{night}.csv"}
    given = {"features": {"window_nights": 2}, "cleaning": {"late_nights": 1}, "timezone": "UTC"}
    shop = Shop.model_validate({"shop": "small", "landing": {"events": source}, **given})
    for night in DROPS:
        (tmp_path / f"{night}.csv").write_text("1,2,3,pv,1772366400\n")
    return Context(shop, Machine(min_free_disk_mb=0), Store(tmp_path / "store", "small"), tmp_path)


@pytest.mark.parametrize(
    ("nights", "landed"),
    [
        (DROPS[3:], DROPS[1:]),  # three times its window
        (DROPS[-1:], DROPS[-3:]),
        ([DROPS[2], DROPS[9]], DROPS[0:10]),  # stale ones lie apart
    ],
)
def test_every_night_of_a_long_backfill_finds_its_own_window(
    nights: list[date], landed: list[date], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def run(night: date, context: Context, **how: Any) -> dict[str, Any]:
        assert how["fetch"] is False
        found.append((night, context.store.nights("raw_events")))
        return {}

    monkeypatch.setattr(one_night, "run", run)
    backfill.run(nights, context)
    assert [night for night, _ in found] == nights
    assert all(there == landed for _, there in found)
