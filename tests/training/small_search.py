"""A small shop: who types a kind of thing touches the cheapest of that kind, whatever its title says first.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from training.task import Examples
from training.tasks.search_examples import GAINS, ITEMS, ROWS, TARGET

KINDS = ("lamp", "shoe", "belt", "kettle", "台灯")
N_EACH, N_SEARCHES = 8, 120
FIRST = np.datetime64("2026-03-01", "D")


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    return {"ranked": {"rounds": 40}}


def items() -> list[dict[str, Any]]:
    return [
        {
            C.USER_KEY: "", C.SEGMENT_NAME: "", C.ITEM_ID: f"{kind}-{at}", C.TITLE: f"{'fine ' * (at % 3)}{kind} number {at}",
            C.CATEGORY_PATH: f"home > {kind}", C.BRAND: f"brand {at % 2}", C.PRICE_CENTS: 1_000 * (1 + (at * 5) % N_EACH),
        }
        for kind in KINDS for at in range(N_EACH)
    ]  # fmt: skip


def of_nights(first: int, last: int) -> Examples:
    rng = np.random.default_rng(first)
    goods = items()
    rows, target = [*goods], [{ITEMS: [], GAINS: []} for _ in goods]
    nights = [FIRST + first] * len(goods)
    for night in range(first, last):
        for at in range(N_SEARCHES // (last - first)):
            kind = KINDS[int(rng.integers(len(KINDS)))]
            mine = [one for one in goods if kind in one[C.ITEM_ID]]
            best = (
                min(mine, key=lambda one: one[C.PRICE_CENTS]) if rng.random() < 0.9 else mine[int(rng.integers(N_EACH))]
            )
            query = f"brand {int(rng.integers(2))} {kind}" if rng.random() < 0.5 else kind
            rows.append({C.USER_KEY: f"u{at % 30}", C.SEGMENT_NAME: ("old", "new")[at % 2], C.QUERY: query})
            target.append({ITEMS: [best[C.ITEM_ID]], GAINS: [0.3]})
            nights.append(FIRST + night)
    table = pa.Table.from_pylist(rows, ROWS)
    keys, segments = (table[name].to_numpy() for name in (C.USER_KEY, C.SEGMENT_NAME))
    return Examples(table, pa.Table.from_pylist(target, TARGET), keys, segments, np.array(nights))


@cache
def examples() -> tuple[Examples, Examples]:
    return of_nights(0, 4), of_nights(4, 5)
