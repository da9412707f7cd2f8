"""A small world of behaviour: a second look at an item leads to the cart, half of what is in the cart is bought next.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from training.task import Examples
from training.tasks.behaviour_events import EVENTS, Histories
from training.tasks.behaviour_features import examples_from

NIGHTS = tuple(date(2026, 3, 2) + timedelta(days=day) for day in range(6))
UTC_ZONE = ZoneInfo("UTC")


def event(user: str, at: str, kind: str, item: str | None = None, **told: Any) -> dict[str, Any]:
    """One row of EVENTS; `at` as "2 09:30:05", the day of March 2026 and the time in UTC. An item's category is its letter."""
    day, clock = at.split()
    hour, minute, second = (int(part) for part in clock.split(":"))
    when = datetime(2026, 3, int(day), hour, minute, second, tzinfo=UTC)
    row = {"user_key": user, "occurred_at": when, "event_type": kind, "item_id": item, "night": when.date()}
    return dict.fromkeys(EVENTS.names) | row | {"category_id": item and item[0]} | told


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, EVENTS)


def histories(rows: list[dict[str, Any]]) -> Histories:
    return Histories.of(table(rows), UTC_ZONE)


def world(n_customers: int = 40, nights: tuple[date, ...] = NIGHTS, seed: int = 0) -> list[dict[str, Any]]:
    """About nine events per customer and night."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(n_customers):
        for night in nights:
            second = int(rng.integers(8 * 3_600, 20 * 3_600))

            def do(kind: str, item: str | None, night: date = night, customer: int = customer, **told: Any) -> None:
                nonlocal second
                second += int(rng.integers(5, 120))
                clock = f"{second // 3_600:02}:{second % 3_600 // 60:02}:{second % 60:02}"
                rows.append(event(f"u{customer:03}", f"{night.day} {clock}", kind, item, **told))

            if rng.random() < 0.3:
                do("search", None, query="red shirt")
            for _ in range(4):
                item = f"{'abcd'[rng.integers(4)]}{rng.integers(30)}"
                told = {"brand": "Halm", "price_cents": int(rng.integers(100, 40_000)), "category_path": "home.lamps"}
                do("view", item, **told)
                if rng.random() < 0.5:
                    do("view", item, **told)
                    if rng.random() < 0.8:
                        do("cart", item, **told)
                        if rng.random() < 0.5:
                            do("purchase", item, **told)
                elif rng.random() < 0.2:
                    do("favorite", item, **told)
    return rows


@cache
def examples() -> tuple[Examples, Examples]:
    """To fit and to choose by."""
    told = histories(world())
    return examples_from(told, NIGHTS[:5]), examples_from(told, NIGHTS[5:])


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    """What the contract is held for, by a name; `encoder` is a tiny BERT."""
    small = {"rounds": 30, "boosters": 2, "encoder": f"path:{encoder}", "loop": {"epochs": 1, "learning_rate": 1e-3}}
    return {"boosted": {**small, "kind": "boosted"}, "stack": {**small, "kind": "stack"}}
