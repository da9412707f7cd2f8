"""A small world of tastes: who likes teas touches mostly teas, the popular ones most, and half the time again what was touched before.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from training.task import Examples
from training.tasks.recommender_examples import BOUGHT, ITEMS, ROWS, SEARCH, TARGET

N_CUSTOMERS, N_ITEMS, N_NIGHTS = 80, 30, 7
FIRST = np.datetime64("2026-03-01", "D")
CATEGORIES = ("teas", "lamps", "shoes")
VIEW, PURCHASE = 0, 3


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    return {"blend": {"length": 8, "rounds": 20, "nights": 3}}


def category(item: int) -> str:
    return CATEGORIES[item % len(CATEGORIES)]


@cache
def events() -> list[list[tuple[float, str, int, str | None, float | None]]]:
    """Per customer (hours since the first night, item or search, behaviour, category, cents), oldest first."""
    rng = np.random.default_rng(5)
    made = []
    for customer in range(N_CUSTOMERS):
        mine: list[tuple[float, str, int, str | None, float | None]] = []
        for night in range(N_NIGHTS):
            if rng.random() < 0.4 and not (customer == 0 and night < N_NIGHTS - 1):
                continue
            known = [one for one in mine if one[2] != SEARCH]
            for hour in np.sort(rng.uniform(8, 22, 3)):
                if known and rng.random() < 0.5:
                    item = int(known[int(rng.integers(len(known)))][1][1:])
                else:
                    taste = customer % 3 if rng.random() < 0.6 else int(rng.integers(3))
                    item = int(rng.integers(N_ITEMS // 3) ** 2 // (N_ITEMS // 3)) * 3 + taste
                kind = PURCHASE if rng.random() < 0.1 else VIEW
                mine.append((24 * night + hour, f"i{item:02d}", kind, category(item), 100.0 * (1 + item)))
            if rng.random() < 0.2:
                mine.append((24 * night + 23, category(customer), SEARCH, None, None))
        made.append(mine)
    return made


def row_of(mine: list[tuple[float, str, int, str | None, float | None]], night: int, customer: int) -> dict[str, Any]:
    before = [one for one in mine if one[0] < 24 * night][::-1]
    hours, touched, behaviour, categories, prices = (
        (list(part) for part in zip(*before, strict=True)) if before else [[]] * 5
    )
    age = [24 * night - hour for hour in hours]
    return dict(
        zip(
            ROWS.names,
            (f"u{customer:03d}", category(customer), touched, behaviour, age, categories, prices),
            strict=True,
        )
    )


def of_nights(first: int, last: int) -> Examples:
    """Who was known before a night has a row for it."""
    rows, target, nights = [], [], []
    for night in range(first, last):
        for customer, mine in enumerate(events()):
            tonight = [one for one in mine if 24 * night <= one[0] < 24 * (night + 1) and one[2] != SEARCH]
            if any(one[0] < 24 * night for one in mine):
                rows.append(row_of(mine, night, customer))
                bought = {one[1] for one in tonight if one[2] == PURCHASE}
                target.append({ITEMS: sorted({one[1] for one in tonight}), BOUGHT: sorted(bought)})
                nights.append(FIRST + night)
    table = pa.Table.from_pylist(rows, ROWS)
    keys, segments = (table[name].to_numpy() for name in (C.USER_KEY, C.SEGMENT_NAME))
    return Examples(table, pa.Table.from_pylist(target, TARGET), keys, segments, np.array(nights))


@cache
def examples() -> tuple[Examples, Examples]:
    return of_nights(1, N_NIGHTS - 1), of_nights(N_NIGHTS - 1, N_NIGHTS)
