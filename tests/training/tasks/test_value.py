from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.config import PROJECT
from pipelines.core.errors import NoDataError, TrainingError, WrongUseError
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from tests.training.small_value import examples
from training import evaluate_value
from training.task import Examples, Fitting
from training.tasks.value import TASK
from training.tasks.value_buying import Buying, Histories, correction_for, fit_buying, fit_correction
from training.tasks.value_examples import AGE, HORIZON, LAST_ORDER_AGE, N_ORDERS, ORDERS

CDNOW = PROJECT.parent / "shared" / "data" / "cdnow"
NIGHTS = [date(2026, 3, day) for day in (1, 2, 3)]


def shop(**models: Any) -> Shop:
    return Shop(
        shop="small", landing={"events": Source(connector="jsonl", pattern="{night}/*")}, models=Models(**models)
    )


def publish(store: Store, night: date, rows: list[tuple[str, str, int | None, int | None, bool]]) -> None:
    """Events as (user, type, price, quantity, is bot)."""
    columns = dict(
        zip((C.USER_KEY, C.EVENT_TYPE, C.PRICE_CENTS, C.QUANTITY, C.IS_BOT), zip(*rows, strict=True), strict=True)
    )
    types = (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.bool_())
    table = pa.table({name: pa.array(list(v), kind) for (name, v), kind in zip(columns.items(), types, strict=True)})
    with store.staging() as staging:
        folder = staging / "events"
        folder.mkdir()
        pq.write_table(table, folder / "part-00000.parquet")
        store.publish("events", night, folder, rows=len(table), inputs={}, config_hash="x")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """ann orders on the first and third night, ben only looks, cas is first seen on the second."""
    found = Store(tmp_path, "small")
    publish(found, NIGHTS[0], [("ann", "purchase", 500, 2, False), ("ben", "view", 500, None, False)])
    publish(found, NIGHTS[1], [("cas", "view", 500, None, False), ("bot", "purchase", 500, 1, True)])
    publish(found, NIGHTS[2], [("ann", "purchase", 300, None, False), ("ann", "purchase", 100, 1, False)])
    return found


def test_an_example_is_a_customers_night_with_the_orders_before_it(store: Store) -> None:
    found = TASK.examples(shop(), store, (NIGHTS[2],))
    assert found.customer.tolist() == ["ann", "ben", "cas"]
    columns = (N_ORDERS, LAST_ORDER_AGE, AGE, C.AVG_ORDER_CENTS, HORIZON)
    assert {name: found.rows[name].to_pylist() for name in columns} == {
        N_ORDERS: [1.0, 0.0, 0.0],
        LAST_ORDER_AGE: [1.0, 0.0, 0.0],
        AGE: [2.0, 2.0, 1.0],
        C.AVG_ORDER_CENTS: [1_000.0, 0.0, 0.0],
        HORIZON: [1.0, 1.0, 1.0],
    }
    assert found.target.to_pydict() == {ORDERS: [1.0, 0.0, 0.0], C.SPEND_CENTS: [400.0, 0.0, 0.0]}


def test_nights_without_an_earlier_one_are_told(store: Store) -> None:
    with pytest.raises(NoDataError, match="shop small: no night with events and an earlier one"):
        TASK.examples(shop(), store, (NIGHTS[0],))


def test_a_setting_that_is_none_is_refused_in_one_line(store: Store) -> None:
    with pytest.raises(WrongUseError, match=r"models\.settings\.value\.weeks: .*allowed keys: horizon_nights"):
        TASK.examples(shop(settings={"value": {"weeks": 3}}), store, (NIGHTS[2],))


def test_nobody_buying_is_one_clear_line() -> None:
    train, valid = examples()
    nothing = pa.table({name: np.zeros(len(train)) for name in train.target.schema.names})
    broke = Examples(train.rows, nothing, train.customer, train.segment, train.night)
    with pytest.raises(TrainingError, match="nobody bought in the"):
        TASK.fit(broke, valid, Fitting())
    with pytest.raises(TrainingError, match="none of 3 customers bought anything"):
        fit_buying(Histories(np.zeros(3), np.zeros(3), np.ones(3)))


def test_who_ordered_often_is_expected_to_order_more_and_a_longer_horizon_holds_more() -> None:
    model = TASK.fit(*examples(), Fitting())
    rows = {
        N_ORDERS: [5.0, 0.0, 5.0],
        LAST_ORDER_AGE: [10.0, 0.0, 10.0],
        AGE: [11.0] * 3,
        C.AVG_ORDER_CENTS: [2_000.0] * 3,
    }
    told = model.predict(pa.table(rows | {HORIZON: [7.0, 7.0, 14.0]}))
    often, never, longer = told[ORDERS].to_pylist()
    assert often > 3 * never > 0
    assert often < longer < 2 * often + 1e-9


def test_expected_orders_are_those_of_the_paper() -> None:
    # Fader, Hardie and Lee 2005: parameters of CDNOW, a customer with x = 2, t_x = 30.43, T = 38.86 over 39 weeks: 1.226
    buying = Buying(r=0.243, alpha=4.414, a=0.793, b=2.426)
    known = Histories(np.array([2.0]), np.array([30.43]), np.array([38.86]))
    assert buying.expected(known, 39.0)[0] == pytest.approx(1.226, abs=0.002)


def test_a_correction_gives_all_customers_together_the_level() -> None:
    buying = Buying(r=0.243, alpha=4.414, a=0.793, b=2.426)
    known = Histories(np.array([0.0, 2.0, 9.0]), np.array([0.0, 30.0, 38.0]), np.full(3, 39.0))
    expected = buying.expected(known, 39.0)
    corrected = expected * correction_for(buying, known, 39.0, level=1.2, spread=0.8).factor(buying, known)
    assert corrected.sum() == pytest.approx(1.2 * expected.sum())
    assert np.ptp(np.log(corrected)) == pytest.approx(0.8 * np.ptp(np.log(expected)))


def test_orders_as_expected_need_hardly_a_correction() -> None:
    buying = Buying(r=0.243, alpha=4.414, a=0.793, b=2.426)
    rng = np.random.default_rng(0)
    n = rng.integers(0, 8, 3_000).astype(np.float64)
    known = Histories(n, np.where(n > 0, 25.0, 0.0), np.full(3_000, 30.0))
    level, spread = fit_correction(buying, known, rng.poisson(buying.expected(known, 20.0)).astype(float), 20.0)
    assert (level, spread) == pytest.approx((1.0, 1.0), abs=0.1)


def test_orders_of_the_judged_weeks_are_refused_where_models_are_made() -> None:
    with pytest.raises(ValueError, match="must not be seen"):
        evaluate_value.models_of(np.array([1]), np.array([evaluate_value.KNOWN + 1]))


def test_a_folder_without_the_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"CDNOW_sample\.txt"):
        evaluate_value.run(tmp_path)


@pytest.mark.skipif(not CDNOW.is_dir(), reason=f"no CDNOW data in {CDNOW}")
def test_on_cdnow_the_corrected_model_is_below_bg_nbds_error_and_within_five_percent() -> None:
    found = evaluate_value.run(CDNOW)
    plain = found["baselines"][evaluate_value.BG_NBD]
    assert plain["orders_rmse"]["value"] == pytest.approx(1.608, abs=0.001)
    assert plain["orders_bias_percent"]["value"] == pytest.approx(-12.1, abs=0.1)
    assert found["metrics"]["orders_rmse"]["value"] < 1.608
    assert abs(found["metrics"]["orders_bias_percent"]["value"]) < 5
