"""The judgement of few labels on a set small enough to see through; the queue labels what it asks for, once each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.errors import NoDataError
from training import evaluate_few_labels as module
from training.evaluate_few_labels import ASKED, DOCS, LOT, TASKS, WAYS, _drawn, run

NAMES = ("cancel", "track", "refund")


def folder(path: Path) -> Path:
    for part, n in (("train", 60), ("test", 12)):
        rows = [f"please {name} my order {at},{name}" for at in range(n) for name in NAMES]
        (path / f"{part}.csv").write_text("text,intent\n" + "\n".join(rows) + "\n")
    return path


def encode(texts: Sequence[str]) -> np.ndarray:
    return np.array([[name in text for name in NAMES] + [len(text) / 50] for text in texts], np.float32)


def test_every_way_is_judged_beside_lots_at_each_number_of_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_encoder", lambda *_: encode)
    told = run(folder(tmp_path), 1, tmp_path, sizes=(10, 30), draws=2)
    assert set(told["baselines"]) == {LOT, *WAYS} - {TASKS}  # no other set lies beside
    assert set(told["gains"]) == {ASKED, *WAYS} - {TASKS}
    assert set(told["metrics"]) == {"accuracy_10", "macro_f1_10", "accuracy_30", "macro_f1_30"}
    assert told["metrics"]["accuracy_30"]["value"] == 1.0
    assert told["rows"] == {"pool": 180, "judged": 36, "classes": 3, "draws": 2}


def test_the_queue_asks_for_each_row_once_and_only_for_those_of_the_draw(tmp_path: Path) -> None:
    pool, _ = module.read_rows(module.read_texts(folder(tmp_path)), None, encode)
    order = np.random.default_rng(0).permutation(180)[:120]
    asked = module.asked_for(pool, order, 60)
    assert len(set(asked.tolist())) == 60
    assert set(asked.tolist()) <= set(order.tolist())


def test_measures_are_means_over_draws() -> None:
    true = np.array([0, 1, 0, 1])
    found = _drawn({50: np.array([[0, 1, 0, 1], [1, 1, 0, 1]])}, true, 2)
    assert found["accuracy_50"][0] == (1.0 + 0.75) / 2
    assert set(found) <= set(DOCS)


def test_a_folder_without_texts_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"neither reviews .* nor CSV files"):
        run(tmp_path, 1, tmp_path)
