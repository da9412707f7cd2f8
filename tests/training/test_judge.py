import json
import math

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.errors import TrainingError
from pipelines.strategy.judgement import log_loss
from tests.fake_task import FakeModel, FakeTask
from training.judge import compare, timed
from training.task import Examples

N = 400


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Customers of two large segments and a small one; the truth is sigmoid(x)."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=N)
    rows = pa.table({"x": x, "code": [1] * N, "tags": [["a"]] * N})
    target = pa.table({"hit": (rng.random(N) < 1 / (1 + np.exp(-x))).astype(np.int8)})
    segment = np.array([["loyal", "sleepers", "loyal", "few" if i < 40 else ""][i % 4] for i in range(N)])
    return Examples(
        rows, target, np.array([f"u{i // 2}" for i in range(N)]), segment, np.full(N, "2026-03-07", "M8[D]")
    )


def test_a_comparison_tells_values_differences_and_segments(examples: Examples) -> None:
    models = {"challenger": FakeModel(1, 0, "fake"), "champion": FakeModel(0, 0.5, "rates")}
    found = compare(FakeTask(), examples, {name: model.predict(examples.rows) for name, model in models.items()})
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["rows"], found["customers"], found["metric"]) == (N, N // 2, "log_loss")
    value = found["metrics"]["champion"]["log_loss"]["value"]
    assert value == pytest.approx(math.log(2))
    difference = found["paired"]["champion"]["log_loss"]
    assert difference["value"] == pytest.approx(found["metrics"]["challenger"]["log_loss"]["value"] - value)
    assert difference["low"] < difference["value"] < difference["high"] < 0
    assert found["paired"]["champion"]["roc_auc"]["low"] > 0
    assert set(found["segments"]) == {"loyal", "sleepers"}  # ten customers say nothing, and "" is no segment


def test_a_segment_is_judged_on_its_own_rows_alone(examples: Examples) -> None:
    predicted = {"challenger": FakeModel(1, 0, "fake").predict(examples.rows)}
    found = compare(FakeTask(), examples, predicted)["segments"]["sleepers"]
    where = examples.segment == "sleepers"
    expected = log_loss(
        examples.target["hit"].to_numpy()[where],
        predicted["challenger"]["p_hit"].to_numpy()[where],
        np.ones(where.sum()),
    )
    assert found["metrics"]["challenger"]["log_loss"]["value"] == pytest.approx(float(expected))
    assert (found["rows"], found["customers"]) == (100, 100)


def test_equal_models_differ_by_exactly_nothing(examples: Examples) -> None:
    predicted = FakeModel(1, 0, "fake").predict(examples.rows)
    found = compare(FakeTask(), examples, {"challenger": predicted, "champion": predicted})
    assert found["paired"]["champion"]["log_loss"] == {"value": 0, "low": 0, "high": 0}


def test_a_model_that_loses_rows_is_refused(examples: Examples) -> None:
    class Losing(FakeModel):
        def predict(self, rows: pa.Table) -> pa.Table:
            return super().predict(rows).slice(1)

    with pytest.raises(TrainingError, match="a fake model made 399 predictions of 400 rows"):
        timed(Losing(1, 0, "fake"), examples.rows)
