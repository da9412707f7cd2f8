"""A small world of value: every third customer orders every other night, the others hardly ever.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from training.task import Examples
from training.tasks.value_examples import AGE, HORIZON, LAST_ORDER_AGE, N_ORDERS, ORDERS

N_CUSTOMERS, N_NIGHTS = 300, 12
FIRST = np.datetime64("2026-03-01", "D")


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    return {"bg_nbd": {"horizon_nights": 7}}


def orders(seed: int = 0) -> np.ndarray:
    """(customers, nights) bool; all are seen on the first night."""
    chance = np.where(np.arange(N_CUSTOMERS) % 3 == 0, 0.5, 0.02)
    return np.random.default_rng(seed).random((N_CUSTOMERS, N_NIGHTS)) < chance[:, None]


def of_night(night: int) -> Examples:
    """One example per customer: what was ordered on the night, and the history before it."""
    made = orders()
    before = made[:, :night]
    n = before.sum(axis=1)
    last = np.where(n > 0, night - before[:, ::-1].argmax(axis=1), 0)
    keys = np.array([f"u{number:03d}" for number in range(N_CUSTOMERS)], dtype=object)
    segments = np.where(np.arange(N_CUSTOMERS) % 3 == 0, "regulars", "others").astype(object)
    rows = {
        C.USER_KEY: keys,
        C.SEGMENT_NAME: segments,
        N_ORDERS: n.astype(np.float64),
        LAST_ORDER_AGE: last.astype(np.float64),
        AGE: np.full(N_CUSTOMERS, float(night)),
        C.AVG_ORDER_CENTS: np.where(n > 0, 2_000.0, 0.0),
        HORIZON: np.ones(N_CUSTOMERS),
    }
    target = {ORDERS: made[:, night].astype(np.float64), C.SPEND_CENTS: 2_000.0 * made[:, night]}
    return Examples(pa.table(rows), pa.table(target), keys, segments, np.full(N_CUSTOMERS, FIRST + night))


def together(parts: list[Examples]) -> Examples:
    return Examples(
        pa.concat_tables([part.rows for part in parts]),
        pa.concat_tables([part.target for part in parts]),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("customer", "segment", "night")),
    )


@cache
def examples() -> tuple[Examples, Examples]:
    parts = [of_night(night) for night in range(1, N_NIGHTS)]
    return together(parts[:-1]), parts[-1]
