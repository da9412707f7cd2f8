"""A small world of prices: 40 items in two categories, one of elasticity -1, one of -4, whose prices change at random.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from training.task import Examples
from training.tasks.pricing_examples import Panel

ELASTICITY = np.array([-1.0, -4.0])
N_ITEMS, N_NIGHTS = 40, 40
FIRST = date(2026, 3, 1)  # a Sunday


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    return {"elasticity": {}}


def panel(seed: int = 0, *, promoted: float = 0.0, n_nights: int = N_NIGHTS, level: float = 3.0) -> Panel:
    """Units are Poisson around a level of the item's own. At weekends twice as much is bought; with `promoted`, all
    prices are lower by that share then, because more is bought."""
    rng = np.random.default_rng(seed)
    category = np.arange(N_ITEMS) % 2
    weekend = np.array([(FIRST + timedelta(days=t)).weekday() >= 5 for t in range(n_nights)])
    move = np.repeat(rng.uniform(-0.25, 0.25, (N_ITEMS, -(-n_nights // 3))), 3, axis=1)[:, :n_nights]
    move += np.log(1 - promoted) * weekend
    own = level * np.exp(0.5 * rng.standard_normal(N_ITEMS))
    mean = own[:, None] * np.exp(ELASTICITY[category][:, None] * move) * np.where(weekend, 2.0, 1.0)
    return Panel(
        [FIRST + timedelta(days=t) for t in range(n_nights)],
        np.array([f"i{k:02d}" for k in range(N_ITEMS)], dtype=object),
        np.array(["calm", "keen"], dtype=object)[category],
        np.round(2_000 * np.exp(move)),
        rng.poisson(mean).astype(np.float64),
        rng.poisson(10 * own[:, None] + np.zeros_like(mean)).astype(np.float64),
    )


@cache
def examples() -> tuple[Examples, Examples]:
    made = panel()
    return made.examples(made.nights[1:-5]), made.examples(made.nights[-5:])
