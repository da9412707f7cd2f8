"""A small shelf of lamps and cups with texts of their own.

For tests/training/test_task_contract.py: `examples()` and `settings(encoder)`, as every small_TASK.py has them.
"""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from tests.training.tiny_decoder import make
from training.task import Examples
from training.tasks.copywriter import FACTS, VALUES

MATERIALS = ("oak", "brass", "linen", "walnut")
KINDS = ("lamp", "cup")
LOOP = {"max_steps": 2, "batch_size": 8, "precision": "fp32", "lora_rank": 2}


@cache
def _decoder() -> Path:
    return make(Path(tempfile.mkdtemp(prefix="decoder-")) / "tiny")


def settings(encoder: Path) -> dict[str, dict[str, Any]]:
    told: dict[str, Any] = {"max_chars": 80, "max_tokens": 256, "loop": LOOP}
    return {"decoder": told | ({"decoder": f"path:{_decoder()}"} if encoder != Path() else {})}


def row(number: int) -> dict[str, Any]:
    kind, material = KINDS[number % 2], MATERIALS[number % 4]
    return {
        C.ITEM_ID: f"i{number:03d}", C.TITLE: f"Nordlys {kind} {number}", C.BRAND: "Nordlys", C.CATEGORY_PATH: "home.things",
        C.LANGUAGE: "zh" if number % 5 == 0 else "en", C.ATTRIBUTES: json.dumps({"material": material}),
        C.DESCRIPTION: f"A {kind} of {material} by Nordlys. It stands on a desk.",
    }  # fmt: skip


def of(numbers: range, night: str) -> Examples:
    told = [row(number) for number in numbers]
    target = [
        {
            C.TEXT: one[C.DESCRIPTION],
            FACTS: f"{one[C.TITLE]} {one[C.DESCRIPTION]}",
            VALUES: [json.loads(one[C.ATTRIBUTES])["material"]],
        }
        for one in told
    ]
    return Examples(
        pa.Table.from_pylist(told).drop_columns(C.DESCRIPTION),
        pa.Table.from_pylist(target),
        np.array([one[C.ITEM_ID] for one in told]),
        np.array([one[C.LANGUAGE] for one in told]),
        np.full(len(told), np.datetime64(night, "D")),
    )


@cache
def examples() -> tuple[Examples, Examples]:
    return of(range(24), "2026-03-01"), of(range(24, 40), "2026-03-02")
