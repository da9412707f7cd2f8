"""What the behaviour model must have understood: invariance, direction, minimum function. In the small world a second look
at an item leads to the cart, and half of what is in the cart is bought next."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import make_encoder
from tests.training.small_behaviour import NIGHTS, event, examples, histories, settings
from training.task import Fitting, Model
from training.tasks.behaviour import TASK
from training.tasks.behaviour_features import examples_from


@pytest.fixture(scope="module", params=["boosted", "stack"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    encoder = make_encoder(tmp_path_factory.mktemp("encoder"))
    train, valid = examples()
    return TASK.fit(train, valid, Fitting(threads=1, settings=settings(encoder)[request.param]))


def chances(model: Model, last: list[tuple[str, str]], prefix: str = "") -> dict[str, float]:
    """Of the next event after four views of other things and these (kind, item)."""
    told = [("view", "a1"), ("view", "b2"), ("view", "c3"), ("view", "d4"), *last, ("view", "z9")]
    rows: list[dict[str, Any]] = [
        event("new", f"7 10:{minute:02}:00", kind, prefix + item, category_id=item[0])
        for minute, (kind, item) in enumerate(told)
    ]
    found = examples_from(histories(rows), [rows[0]["night"]])
    return {name: values[-1].as_py() for name, values in zip(*_columns(model.predict(found.rows)), strict=True)}


def _columns(table: Any) -> tuple[list[str], list[Any]]:
    kept = [name for name in table.schema.names if name.startswith("p_")]
    return kept, [table[name] for name in kept]


def test_what_items_are_called_does_not_matter(model: Model) -> None:
    assert chances(model, [("view", "a5"), ("cart", "a5")], "x") == chances(
        model, [("view", "a5"), ("cart", "a5")], "y"
    )


def test_a_second_look_raises_the_chance_of_the_cart(model: Model) -> None:
    once, twice = chances(model, [("view", "a5")]), chances(model, [("view", "a5"), ("view", "a5")])
    assert twice["p_cart"] > 2 * once["p_cart"]


def test_an_item_in_the_cart_raises_the_chance_of_a_purchase(model: Model) -> None:
    before, after = chances(model, [("view", "a5"), ("view", "a5")]), chances(model, [("view", "a5"), ("cart", "a5")])
    assert after["p_purchase"] > 2 * before["p_purchase"]


def test_the_model_beats_its_baseline_on_a_later_night(model: Model) -> None:
    train, valid = examples()
    baseline = TASK.baseline(train, Fitting())
    weight = np.ones(len(valid))
    for name in ("log_loss", "macro_f1"):
        measure = TASK.measures[name]
        mine, theirs = (measure.of(valid.target, one.predict(valid.rows), weight) for one in (model, baseline))
        assert (mine > theirs) == measure.higher_is_better, f"{name}: {mine} is not better than {theirs}"


def test_probabilities_are_probabilities_and_the_guess_is_a_kind(model: Model) -> None:
    _, valid = examples()
    assert valid.night.min() == np.datetime64(NIGHTS[5])
    predicted = model.predict(replace(valid).rows)
    _, columns = _columns(predicted)
    np.testing.assert_allclose(sum(column.to_numpy() for column in columns), 1)
    assert set(predicted["behaviour"].to_pylist()) <= {"view", "click", "search", "favorite", "cart", "purchase"}
