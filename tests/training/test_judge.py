import json
import math

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from pipelines.core.fairness import FairnessGate
from pipelines.strategy.judgement import log_loss
from tests.fake_task import FakeModel, FakeTask
from tests.training.small_effect import campaign
from training.judge import compare, fairness, timed
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


def sent_by_lot() -> tuple[Examples, dict[str, pa.Table]]:
    """Owls and larks who were sent something; the challenger expects a lift of owls alone, the champion of every second."""
    told = campaign(800, "2026-03-04", seed=1)
    is_owl, places = told.segment == "owls", np.arange(800)
    lifts = {"challenger": is_owl + places / 1e6, "champion": places % 2 + places / 1e6}
    return told, {who: pa.table({C.LIFT_SPEND_CENTS: lift.astype(float)}) for who, lift in lifts.items()}


def test_a_challenger_that_prefers_a_group_is_told_so_where_the_shop_has_a_bound() -> None:
    told, predicted = sent_by_lot()
    found = fairness(FairnessGate(max_treated_gap=0.2), told, predicted)["fairness"]
    assert (found["check"], found["passed"]) == ("fairness", False)
    assert "prefers by segment_name, at most 0.2: 'owls' above 'larks' by 0.99" in found["text"]
    fair = fairness(FairnessGate(max_treated_gap=0.2), told, {**predicted, "challenger": predicted["champion"]})
    assert fair["fairness"]["passed"]
    unseen = fairness(FairnessGate(column="price_band", max_treated_gap=0.2), told, predicted)["fairness"]
    assert unseen["passed"]
    assert "models do not see price_band" in unseen["text"]


def test_without_a_bound_or_a_lift_nothing_is_said_of_fairness() -> None:
    told, predicted = sent_by_lot()
    assert fairness(FairnessGate(), told, predicted) == {}
    assert fairness(FairnessGate(max_treated_gap=0.2), told, dict.fromkeys(predicted, told.target)) == {}
