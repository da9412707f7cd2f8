"""A small world of fatigue, as a store would tell it: who was written to lately clicks less, and so buys less.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from tests.training import small_effect
from tests.training.small_effect import CHANNELS
from training.task import Examples
from training.tasks.policy_examples import (
    COMPLAINT_COST,
    MARGIN_CENTS,
    MARGIN_PERCENT,
    MESSAGE_COST,
    NIGHT,
    RECENT,
    TIRED,
    USUAL_CENTS,
    left_on,
)


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    return {
        "net": {"learner": "net", "steps": 40},
        "trees": {"learner": "trees", "iterations": 3},
    }


def campaign(n: int, nights: list[str], seed: int) -> Examples:
    """Nights in a row on which half of n customers were sent a strategy by lot; caps never bind."""
    parts = []
    tired = np.zeros(n)
    for number, night in enumerate(nights):
        part = small_effect.campaign(n, night, seed + number)
        rows, target = part.rows, part.target
        columns = {
            **dict.fromkeys(RECENT, np.zeros(n)), TIRED: tired, MARGIN_PERCENT: np.full(n, 40.0),
            COMPLAINT_COST: np.full(n, 200.0), MESSAGE_COST: 2.0 * rows[C.FREQUENCY].to_numpy(),
            **{left_on(channel): np.full(n, 2.0) for channel in CHANNELS},
        }  # fmt: skip
        for name, values in columns.items():
            rows = rows.append_column(name, pa.array(values))
        margin = 0.4 * target[C.SPEND_CENTS].to_numpy() - columns[MESSAGE_COST]
        told = {
            C.USER_KEY: rows[C.USER_KEY], NIGHT: part.night.astype(np.int64), USUAL_CENTS: np.full(n, 50.0),
            MARGIN_CENTS: margin, TIRED: tired, C.FREQUENCY: rows[C.FREQUENCY],
            C.DISCOUNT_PERCENT: rows[C.DISCOUNT_PERCENT],
        }  # fmt: skip
        for name, values in told.items():
            target = target.append_column(name, values if isinstance(values, pa.ChunkedArray) else pa.array(values))
        parts.append(Examples(rows, target, part.customer, part.segment, part.night))
        tired = 0.85 * (tired + (rows[C.FREQUENCY].to_numpy() > 0))
    return Examples(
        pa.concat_tables([part.rows for part in parts]), pa.concat_tables([part.target for part in parts]),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("customer", "segment", "night")),
    )  # fmt: skip


@cache
def examples() -> tuple[Examples, Examples]:
    return campaign(1_200, ["2026-03-03", "2026-03-04", "2026-03-05"], 1), campaign(
        600, ["2026-03-06", "2026-03-07"], 9
    )
