"""What the effect model must have understood: invariance, direction, minimum function. In the small world customers click
in their own part of the day, full carts buy, clicks sell, and a second message annoys."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.strategy.candidates import Candidate
from tests.training.small_effect import STRATEGIES, examples, profiles, with_strategies
from training.task import Fitting
from training.tasks.effect import TASK, EffectModel


@pytest.fixture(scope="module")
def model() -> EffectModel:
    return TASK.fit(*examples(), Fitting(threads=1, settings={"rounds": 60}))


def strategy(window: str = "evening", offer: str = "none", frequency: int = 1) -> Candidate:
    return next(one for one in STRATEGIES if (one.send_window, one.offer, one.frequency) == (window, offer, frequency))


def customers(**told: float) -> pa.Table:
    """200 customers, alike in what is told."""
    rows = profiles(200, seed=11)
    for name, value in told.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(np.full(200, value)))
    return rows


def mean(model: EffectModel, column: str, one: Candidate, **told: float) -> float:
    return float(model.score_grid(customers(**told), [one])[column].mean())


OWL, LARK = {C.EVENING_SHARE: 0.7, C.MORNING_SHARE: 0.1}, {C.EVENING_SHARE: 0.1, C.MORNING_SHARE: 0.7}


def test_who_a_customer_is_called_and_in_which_order_they_come_does_not_matter(model: EffectModel) -> None:
    rows = profiles(50, seed=3)
    told = model.score_grid(rows, STRATEGIES)
    renamed = rows.set_column(0, C.USER_KEY, pa.array([f"x{place}" for place in range(50)]))
    back = model.score_grid(renamed.take(np.arange(50)[::-1]), STRATEGIES)
    for name, values in told.items():
        np.testing.assert_allclose(back[name][::-1], values, rtol=1e-9, err_msg=name)


def test_the_order_of_strategies_does_not_matter(model: EffectModel) -> None:
    rows = profiles(50, seed=3)
    told, back = model.score_grid(rows, STRATEGIES), model.score_grid(rows, STRATEGIES[::-1])
    for name, values in told.items():
        np.testing.assert_allclose(back[name][:, ::-1], values, rtol=1e-9, err_msg=name)


def test_messages_are_clicked_when_the_customer_is_around(model: EffectModel) -> None:
    assert mean(model, C.P_CLICK, strategy("evening"), **OWL) > 2 * mean(model, C.P_CLICK, strategy("morning"), **OWL)
    assert mean(model, C.P_CLICK, strategy("morning"), **LARK) > 2 * mean(model, C.P_CLICK, strategy("evening"), **LARK)


def test_the_lift_is_larger_where_messages_are_clicked(model: EffectModel) -> None:
    at_home, away = (
        mean(model, C.LIFT_CONVERSION, strategy(), **OWL),
        mean(model, C.LIFT_CONVERSION, strategy(), **LARK),
    )
    assert at_home > 2 * away > 0


def test_full_carts_buy_more(model: EffectModel) -> None:
    chances = [mean(model, C.P_CONVERSION, strategy(), n_carts=float(n)) for n in (0, 2, 5)]
    assert chances[0] < chances[1] < chances[2]


def test_a_second_message_brings_complaints(model: EffectModel) -> None:
    once, twice = (mean(model, C.P_COMPLAINT, strategy(frequency=n)) for n in (1, 2))
    assert twice > 2 * once


def test_a_discount_is_paid_from_what_is_spent(model: EffectModel) -> None:
    full, less = (model.score_grid(customers(), [strategy(offer=offer)]) for offer in ("none", "save20"))
    per_order = [float((one[C.SPEND_CENTS] / one[C.P_CONVERSION]).mean()) for one in (full, less)]
    assert per_order[1] == pytest.approx(0.8 * per_order[0])


def test_probabilities_are_about_as_large_as_what_came_true(model: EffectModel) -> None:
    valid = examples()[1]
    told = model.predict(valid.rows)
    sent = valid.rows[C.FREQUENCY].to_numpy() > 0
    for name, outcome, where in ((C.P_CLICK, "clicked", sent), (C.P_CONVERSION, "bought", slice(None))):
        said, true = told[name].to_numpy()[where].mean(), valid.target[outcome].to_numpy()[where].mean()
        assert said == pytest.approx(true, rel=0.1), name


def test_the_model_beats_its_baseline_on_a_later_night(model: EffectModel) -> None:
    train, valid = examples()
    baseline = TASK.baseline(train, Fitting())
    weight = np.ones(len(valid))
    for name in ("log_loss", "click_log_loss", "conversion_log_loss", "brier"):
        measure = TASK.measures[name].of
        ours, theirs = (float(measure(valid.target, one.predict(valid.rows), weight)) for one in (model, baseline))
        assert ours < theirs, name


def test_one_strategy_for_one_customer_is_scored(model: EffectModel) -> None:
    told = model.predict(with_strategies(profiles(1), [strategy()]))
    assert told.num_rows == 1
    assert 0 < told[C.P_CLICK][0].as_py() < 1
