"""The benchmark of fine-tuning: medians over turns, and contenders that come to other losses end it."""

from pathlib import Path
from typing import Any

import pytest

import finetune

SPEEDS = {"trainer_defaults": 10.0, "plain_loop": 30.0, "nightmarket": 40.0}


def contenders(monkeypatch: pytest.MonkeyPatch, loss: float = 0.5) -> None:
    """Each as fast as in SPEEDS, one sample a second more with each seed; ours comes to `loss`."""

    def run(name: str, spec: dict[str, Any], folder: Path) -> dict[str, float]:
        speed = SPEEDS[name] + spec["seed"]
        told = loss if name == "nightmarket" else 0.5
        return {"samples_per_second": speed, "samples_per_cpu_second": speed, "peak_mb": 100.0, "held_out_loss": told}

    monkeypatch.setattr(finetune, "run", run)


def test_ours_is_set_beside_the_others_by_medians_over_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contenders(monkeypatch)
    found = finetune.compare(list(SPEEDS), {}, tmp_path, 3)
    assert found["contenders"]["nightmarket"]["samples_per_second"] == 41.0
    assert found["nightmarket_to"]["plain_loop"]["samples_per_second"] == round(41 / 31, 2)


def test_a_contender_that_learns_something_else_ends_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    contenders(monkeypatch, loss=0.5 + 2 * finetune.LOSS_NOISE)
    with pytest.raises(SystemExit, match="nightmarket comes to a loss"):
        finetune.compare(list(SPEEDS), {}, tmp_path, 1)


def test_reviews_that_are_made_up_have_both_classes_and_about_eighty_tokens() -> None:
    made = finetune.make_reviews(200)
    assert {label for _, label in made} == {0, 1}
    assert 60 < sum(len(text.split()) for text, _ in made) / len(made) < 100
