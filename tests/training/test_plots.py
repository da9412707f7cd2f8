import math

import numpy as np
import pyarrow as pa
import pytest

from training.plots import classes, figures, probabilities

CLASS = pa.table({"type": ["view", "buy", "view", "buy"]})
SAID = pa.table({"p_view": [0.9, 0.6, 0.2, 0.1], "p_buy": [0.1, 0.4, 0.8, 0.9]})


def test_a_class_is_one_event_per_value() -> None:
    found = probabilities(CLASS, SAID)
    assert {name: truth.tolist() for name, (truth, _) in found.items()} == {
        "view": [True, False, True, False],
        "buy": [False, True, False, True],
    }
    assert found["buy"][1].tolist() == [0.1, 0.4, 0.8, 0.9]


def test_confusion_counts_rows_by_what_they_were_and_what_was_guessed() -> None:
    told = classes(CLASS, SAID)
    assert told
    names, counts = told
    assert names == ["view", "buy"]
    assert counts.tolist() == [[1, 1], [1, 1]]


def test_events_that_are_not_known_of_a_row_are_left_out() -> None:
    target = pa.table({"clicked": [1.0, math.nan, 0.0], "hit": [True, False, None], "spend": [1.0, 2.0, 3.0]})
    found = probabilities(
        target, pa.table({"p_click": [0.1, 0.2, 0.3], "p_hit": [0.4, 0.5, 0.6], "spend": [1.0, 1.0, 1.0]})
    )
    assert {name: (truth.tolist(), said.tolist()) for name, (truth, said) in found.items()} == {
        "click": ([True, False], [0.1, 0.3]),
        "hit": ([True, False], [0.4, 0.5]),
    }


@pytest.mark.parametrize(
    ("target", "predicted", "expected"),
    [
        (CLASS, SAID, {"plots/calibration.png", "plots/confusion.png"}),
        (pa.table({"hit": [0, 1, 0]}), pa.table({"p_hit": [0.5, 0.5, 0.5]}), {"plots/calibration.png"}),
        (pa.table({"spend": [1.0]}), pa.table({"spend": [2.0]}), set()),
        (pa.table({"clicked": [math.nan]}), pa.table({"p_click": [0.5]}), set()),
    ],
)
def test_each_task_gets_the_pictures_that_it_has_numbers_for(
    target: pa.Table, predicted: pa.Table, expected: set[str]
) -> None:
    assert set(figures(target, predicted)) == expected


def test_a_calibrated_model_lies_on_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    said = rng.uniform(0, 1, 5_000)
    made = figures(pa.table({"hit": rng.random(5_000) < said}), pa.table({"p_hit": said}))
    (axes,) = made["plots/calibration.png"].axes
    came = axes.containers[0].lines[0].get_xydata()
    assert len(came) == 10
    np.testing.assert_allclose(came[:, 1], came[:, 0], atol=0.08)
