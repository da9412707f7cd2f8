"""A small world of effects: evening people click in the evening, full carts buy, clicks sell, a second message annoys.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from pipelines.strategy.candidates import Candidate
from training.task import Examples
from training.tasks.effect_examples import (
    BOUGHT,
    CLICKED,
    COMPLAINED,
    CUSTOMER_NUMBERS,
    SEEN,
    STRATEGY_COLUMNS,
    WEEKDAY,
    WEIGHT,
    on_channel,
    strategy_table,
)

CHANNELS = ("email", "push")
STRATEGIES = [
    Candidate(f"{c}.{o}.{w}.x{f}.plain", o, d, c, w, f, "plain", f, 0.0)
    for c, (o, d), w, f in product(CHANNELS, (("none", 0), ("save20", 20)), ("morning", "evening"), (1, 2))
]


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    return {"boosted": {"rounds": 60}}


def profiles(n: int, seed: int = 0) -> pa.Table:
    """n customers as `profiles_of` gives them; half of them live in the evening."""
    rng = np.random.default_rng(seed)
    is_evening = rng.random(n) < 0.5
    columns: dict[str, Any] = {C.USER_KEY: [f"u{number:05d}" for number in range(n)]}
    columns[C.SEGMENT_NAME] = np.where(is_evening, "owls", "larks")
    columns[C.NON_LATIN_SHARE], columns[SEEN] = np.full(n, 0.1), np.full(n, 20.0)
    for name in (name for name in CUSTOMER_NUMBERS if name not in columns):
        columns[name] = rng.gamma(1.0, 10.0, n).round()
    for name in (C.NIGHT_SHARE, C.AFTERNOON_SHARE, C.TOP_CATEGORY_SHARE, C.TOP_BRAND_SHARE):
        columns[name] = np.full(n, 0.1)
    columns[C.EVENING_SHARE] = np.where(is_evening, 0.7, 0.1)
    columns[C.MORNING_SHARE] = 0.8 - columns[C.EVENING_SHARE]
    columns[C.N_CARTS] = rng.integers(0, 6, n).astype(np.float64)
    columns[WEEKDAY] = np.full(n, 3.0)
    for channel in CHANNELS:
        columns[on_channel(channel, C.N_DELIVERIES)] = np.full(n, 4.0)
        columns[on_channel(channel, C.N_CLICKS)] = rng.integers(0, 4, n).astype(np.float64)
    columns[C.TOP_CATEGORY_ID] = np.array(["lamps", "bags", "tea"])[rng.integers(0, 3, n)]
    return pa.table(columns)


def with_strategies(rows: pa.Table, strategies: list[Candidate | None]) -> pa.Table:
    """Each row with the strategy of the same place; None: nothing is sent."""
    told = strategy_table(strategies)
    for name in STRATEGY_COLUMNS:
        rows = rows.append_column(name, told[name])
    return rows


def campaign(n: int, night: str, seed: int) -> Examples:
    """A night on which half of n customers were sent a strategy by lot."""
    rng = np.random.default_rng([seed, 1])  # other numbers than the profiles': who is sent something is by lot
    choice = np.where(rng.random(n) < 0.5, rng.integers(0, len(STRATEGIES), n), -1)
    sent = choice >= 0
    found = [STRATEGIES[place] if place >= 0 else None for place in choice.tolist()]
    rows = with_strategies(profiles(n, seed), found)
    share = np.where(
        np.array([one is not None and one.send_window == "evening" for one in found]), C.EVENING_SHARE, C.MORNING_SHARE
    )
    fits = np.where(share == C.EVENING_SHARE, rows[C.EVENING_SHARE].to_numpy(), rows[C.MORNING_SHARE].to_numpy())
    clicked = sent & (rng.random(n) < 0.05 + 0.5 * fits**2)
    bought = rng.random(n) < 0.02 + 0.02 * rows[C.N_CARTS].to_numpy() + 0.1 * clicked
    twice = rows[C.FREQUENCY].to_numpy() > 1
    complained = sent & (rng.random(n) < 0.005 + 0.05 * twice)
    paid = 4_000.0 * (1 - rows[C.DISCOUNT_PERCENT].to_numpy() / 100)
    target = {
        CLICKED: np.where(sent, clicked, np.nan),
        BOUGHT: bought.astype(np.float64),
        C.SPEND_CENTS: np.where(bought, paid, 0.0),
        COMPLAINED: np.where(sent, complained, np.nan),
        WEIGHT: np.ones(n),
    }
    keys, segments = (rows[name].to_numpy() for name in (C.USER_KEY, C.SEGMENT_NAME))
    return Examples(rows, pa.table(target), keys, segments, np.full(n, np.datetime64(night, "D")))


@cache
def examples() -> tuple[Examples, Examples]:
    return campaign(6_000, "2026-03-04", seed=1), campaign(3_000, "2026-03-05", seed=2)
