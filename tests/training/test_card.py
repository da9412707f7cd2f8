from typing import Any

import pytest

from pipelines.core.registry import MAX_TEXT
from tests.fake_task import FakeTask
from training.card import ROOM_FOR_VERDICT, card

TAGS = {
    "kind": "lightgbm", "data_first": "2026-03-02", "data_last": "2026-03-05", "train_rows": "900", "valid_rows": "300",
    "training_digest": "0123456789abcdef0123",
}  # fmt: skip


def told(value: float | None) -> dict[str, float | None]:
    return {
        "value": value,
        "low": None if value is None else value - 0.1,
        "high": None if value is None else value + 0.1,
    }


def found(n_segments: int = 2) -> dict[str, Any]:
    names = ("log_loss", "roc_auc", "ece")
    part = {
        "metrics": {model: {"log_loss": told(0.5)} for model in ("challenger", "champion")},
        "paired": {"champion": {"log_loss": told(-0.25)}},
    }
    return {
        "rows": 1_234,
        "customers": 567,
        "metric": "log_loss",
        "metrics": {
            model: {name: told(None if name == "ece" else 0.5) for name in names}
            for model in ("challenger", "champion")
        },
        "paired": {"champion": {name: told(-0.25) for name in names}},
        "segments": {f"segment {i:03}": {"rows": 9, "customers": 1_000 - i, **part} for i in range(n_segments)},
    }


SPEED = {"challenger": {"seconds_per_row": 2e-6, "size_mb": 1.5}}


def test_a_card_says_what_a_reviewer_needs() -> None:
    text = card(FakeTask(), TAGS, found(), "judged nights 2026-03-06 to 2026-03-07", SPEED)
    for line in (
        "# value: lightgbm",
        "A task small enough to check by hand, in place of training/tasks/value.py, and a store it can learn from.",
        "- learnt from 2026-03-02 to 2026-03-05: 900 examples; choices made on 300 later ones",
        "- measured on judged nights 2026-03-06 to 2026-03-07: 1,234 examples of 567 customers",
        "| metric | challenger | champion | minus champion |",
        "| log_loss (lower is better) | 0.5 [0.4, 0.6] | 0.5 [0.4, 0.6] | -0.25 [-0.35, -0.15] |",
        "| ece (lower is better) | not defined | not defined | -0.25 [-0.35, -0.15] |",
        "| segment 000 | 1,000 | 0.5 | 0.5 | -0.25 [-0.35, -0.15] |",
        "- challenger: 2 µs a row, 1.5 MB",
    ):
        assert line in text.splitlines(), text
    assert "Promotion decides on **log_loss**." in text


@pytest.mark.parametrize("n_segments", [0, 1, 200])
def test_a_card_leaves_room_for_the_verdict_and_drops_the_smallest_segments(n_segments: int) -> None:
    text = card(FakeTask(), TAGS, found(n_segments), "judged nights", SPEED)
    assert len(text) <= MAX_TEXT - ROOM_FOR_VERDICT
    assert ("| segment 000 |" in text) == (n_segments > 0)
    assert "| segment 199 |" not in text
    assert text.splitlines()[-1].startswith("- challenger")
