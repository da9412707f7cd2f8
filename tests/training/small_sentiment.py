"""A small world of reviews: who likes a dress says good and fits, who does not says bad and poor; some say both.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from training.language.sentiment import Told
from training.task import Examples
from training.tasks.sentiment import POSITIVE

GOOD, BAD = ("good", "fits", "well"), ("bad", "poor", "returned")
THINGS = ("shirt", "dress", "red", "blue", "the", "and", "it", "is")
FIRST = np.datetime64("2026-03-01", "D")


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    frozen = {"encoders": [f"path:{encoder}"], "precision": "fp32"}
    loop = {"max_steps": 4, "learning_rate": 0.01}
    return {"frozen": frozen, "tuned": frozen | {"tuned_layers": 1, "least_tuned_rows": 10, "loop": loop}}


def reviews(n: int, seed: int) -> Told:
    """n reviews of 3 to 30 words, half of them good; one word in eight of those that tell is of the other kind."""
    rng = np.random.default_rng(seed)
    texts, good = [], np.arange(n) % 2
    for is_good in good:
        own, other = (GOOD, BAD) if is_good else (BAD, GOOD)
        words = [*rng.choice(THINGS, rng.integers(2, 29)), rng.choice(own if rng.random() < 0.875 else other)]
        texts.append(" ".join(rng.permutation(words)))
    return Told(texts, good[:, None].astype(np.float64))


def of_nights(n: int, seed: int, first: int) -> Examples:
    told = reviews(n, seed)
    keys = np.array([f"u{number % 40:02d}" for number in range(n)], dtype=object)
    nights = FIRST + first + np.arange(n) * 2 // n
    rows, target = pa.table({C.TEXT: list(told.texts)}), pa.table({POSITIVE: told.positive})
    return Examples(rows, target, keys, np.full(n, "", object), nights)


def examples() -> tuple[Examples, Examples]:
    return of_nights(160, 0, 0), of_nights(60, 1, 2)
