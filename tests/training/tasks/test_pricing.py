"""The response to prices is found where it is known, confounded prices included, and honest where there is little to see."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, TrainingError, WrongUseError
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from tests.training.small_pricing import ELASTICITY, examples, panel
from training.judge import compare
from training.task import Examples, Fitting
from training.tasks.pricing import TASK, UNITS_SD, sales_of, together
from training.tasks.pricing_examples import (
    ATTENTION,
    LOG_PRICE,
    LOG_PRICE_BEFORE,
    N_NIGHTS,
    N_UNITS,
    UNITS,
    demand,
    list_prices,
    panel_of,
)  # fmt: skip
from training.tasks.pricing_response import PRIOR_MEAN, PRIOR_SD, fit_response, pool

NIGHTS = [date(2026, 3, 1) + timedelta(days=k) for k in range(4)]


def parts(**given: Any) -> tuple[Examples, Examples]:
    made = panel(**given)
    return made.examples(made.nights[1:-5]), made.examples(made.nights[-5:])


def test_true_elasticities_lie_in_their_intervals_in_about_95_of_100_worlds() -> None:
    z = []
    for seed in range(12):
        response = fit_response(*sales_of(together(*parts(seed=seed, n_nights=20))))
        z.append((response.mean - ELASTICITY) / response.sd)
    assert np.mean(np.abs(z) < 1.96) >= 0.8  # of 24
    assert abs(np.mean(z)) < 0.6


def test_promotions_on_busy_nights_do_not_pass_for_a_response_to_prices() -> None:
    given = together(*parts(promoted=0.2))
    sales, names = sales_of(given)
    response = fit_response(sales, names)
    assert np.abs(response.mean - ELASTICITY).max() < 0.5
    naive = [
        np.polyfit(sales.log_price[sales.category == c], np.log(sales.units[sales.category == c] + 0.5), 1)[0]
        for c in (0, 1)
    ]
    assert naive[0] < ELASTICITY[0] - 0.5  # twice as much is bought at weekends, whatever it costs


def test_it_foretells_units_better_than_the_baseline_without_prices() -> None:
    train, valid = examples()
    predicted = {
        "challenger": TASK.fit(train, valid.take(np.zeros(len(valid), dtype=bool)), Fitting()).predict(valid.rows),
        "baseline": TASK.baseline(train, Fitting()).predict(valid.rows),
    }
    found = compare(TASK, valid, predicted)
    assert found["paired"]["baseline"]["units_deviance"]["high"] < 0
    assert found["metrics"]["challenger"]["units_absolute_bias_percent"]["value"] < 10


def test_without_price_changes_it_says_no_more_than_was_known_of_other_shops() -> None:
    made = panel(n_nights=10)
    made.price[:] = 2_000
    response = fit_response(*sales_of(made.examples(made.nights[1:])))
    assert response.mean == pytest.approx([PRIOR_MEAN] * 2, abs=0.01)
    assert (response.sd >= PRIOR_SD).all()
    assert response.other_sd >= PRIOR_SD


def test_categories_lean_on_each_other_the_more_the_less_is_known_of_them() -> None:
    mean, sd, other, other_sd = pool(np.array([-2.0, -2.2, -1.8, -5.0, 99.0]), np.array([50.0, 50, 50, 0.5, 0]))
    assert mean[:3] == pytest.approx([-2, -2.2, -1.8], abs=0.15)
    assert -3 < mean[3] < -2.0
    assert mean[4] == pytest.approx(other)  # nothing is known of it
    assert sd[4] == pytest.approx(other_sd)
    assert sd[0] < sd[3]


def test_a_dearer_item_is_expected_to_sell_less_by_its_categorys_elasticity() -> None:
    train, valid = examples()
    model = TASK.fit(train, valid, Fitting())
    rows = valid.rows.slice(0, 2)  # one of each category
    dearer = rows.set_column(
        rows.schema.get_field_index(LOG_PRICE), LOG_PRICE, pa.array(rows[LOG_PRICE].to_numpy() + 0.1)
    )
    ratio = model.predict(dearer)[UNITS].to_numpy() / model.predict(rows)[UNITS].to_numpy()
    assert ratio == pytest.approx(np.exp(0.1 * model.predict(rows)[C.ELASTICITY].to_numpy()))
    assert (TASK.baseline(train, Fitting()).predict(dearer)[UNITS].to_numpy() > 0).all()


def test_an_item_that_never_sold_is_expected_to_sell_less_than_its_category_and_is_known_badly() -> None:
    train, valid = examples()
    model = TASK.fit(train, valid, Fitting())
    told = {C.CATEGORY_ID: ["calm"] * 3, N_UNITS: [0.0, 0.0, 90.0], N_NIGHTS: [0.0, 28.0, 28.0]}
    none, unsold, sold = model.predict(pa.table(told))[UNITS].to_pylist()
    assert unsold < none < sold * 2
    spread = model.predict(pa.table(told))[UNITS_SD].to_numpy()
    assert spread[0] / none > spread[2] / sold


def test_buyers_views_do_not_count_as_interest() -> None:
    user, item = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    units, views = demand(
        user, item, np.array([1, 3, 1, 1]), np.array([0, 1, 0, 0], bool), np.array([1, 0, 1, 1], bool), 2
    )
    assert units.tolist() == [3, 0]
    assert views.tolist() == [1, 1]


def test_nothing_sold_is_one_clear_line() -> None:
    made = panel(n_nights=8)
    made.units[:] = 0
    nothing = made.examples(made.nights[1:])
    with pytest.raises(TrainingError, match="nothing was sold in the 280 item nights"):
        TASK.baseline(nothing, Fitting())
    with pytest.raises(TrainingError, match="nothing was sold"):
        TASK.fit(nothing, nothing, Fitting())


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(WrongUseError, match=r"models\.settings\.pricing\.depth"):
        TASK.baseline(examples()[0], Fitting(settings={"depth": 3}))


def publish(store: Store, table: str, night: date, columns: dict[str, tuple[pa.DataType, list[Any]]]) -> None:
    rows = pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        pq.write_table(rows, folder / "part-00000.parquet")
        store.publish(table, night, folder, rows=len(rows), inputs={}, config_hash="x")


def events(store: Store, night: date, *rows: tuple[str, str, str, int | None, int | None]) -> None:
    """Events as (user, item, type, price, quantity), all of category k1; user "bot" is one."""
    user, item, kind, price, quantity = (list(column) for column in zip(*rows, strict=True))
    columns: dict[str, tuple[pa.DataType, list[Any]]] = {
        C.USER_KEY: (pa.string(), user), C.ITEM_ID: (pa.string(), item), C.CATEGORY_ID: (pa.string(), ["k1"] * len(user)),
        C.EVENT_TYPE: (pa.string(), kind), C.PRICE_CENTS: (pa.int64(), price), C.QUANTITY: (pa.int64(), quantity),
        C.IS_BOT: (pa.bool_(), [one == "bot" for one in user]),
    }  # fmt: skip
    publish(store, "events", night, columns)


def catalogue(store: Store, night: date, *rows: tuple[str, int | None, int | None, int | None, str | None]) -> None:
    """Items as (id, price, cost, stock, attributes), all of category k9."""
    item, price, cost, stock, attributes = (list(column) for column in zip(*rows, strict=True))
    columns: dict[str, tuple[pa.DataType, list[Any]]] = {
        C.ITEM_ID: (pa.string(), item), C.CATEGORY_ID: (pa.string(), ["k9"] * len(item)),
        C.PRICE_CENTS: (pa.int64(), price), C.UNIT_COST_CENTS: (pa.int64(), cost), C.STOCK: (pa.int64(), stock),
        C.ATTRIBUTES: (pa.string(), attributes),
    }  # fmt: skip
    publish(store, "catalog", night, columns)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Item a is seen at 500, then 400; b is not looked at on the second night; the third has a catalogue."""
    made = Store(tmp_path, "small")
    events(
        made, NIGHTS[0], ("ann", "a", "view", 500, None), ("ann", "b", "view", 900, None), ("bot", "a", "view", 1, None)
    )
    events(
        made,
        NIGHTS[1],
        ("ann", "a", "view", 400, None),
        ("ann", "a", "purchase", 360, 2),
        ("ben", "a", "view", 400, None),
    )
    events(made, NIGHTS[2], ("ann", "a", "purchase", 390, None))
    catalogue(
        made,
        NIGHTS[2],
        ("a", 390, 200, 5, None),
        ("b", 0, 1, 5, None),
        ("c", 700, 1, 0, None),
        ("d", 800, None, None, None),
    )
    return made


def shop() -> Shop:
    source = Source(connector="jsonl", pattern="{night}/*")
    return Shop(shop="small", landing={"events": source}, models=Models(tasks=("pricing",)))


def test_a_panel_has_the_catalogues_prices_or_else_those_that_were_shown(store: Store) -> None:
    found = panel_of(shop(), store, [NIGHTS[2]], 100)
    assert found.items.tolist() == ["a", "b", "c", "d"]
    nan = np.nan
    # b keeps its price while nobody looks, then has none; c is out of stock; d is new; 360 was a personal discount
    np.testing.assert_equal(found.price, [[500, 400, 390], [900, 900, nan], [nan, nan, nan], [nan, nan, 800]])
    assert found.units[0].tolist() == [0, 2, 1]
    assert found.views[0].tolist() == [1, 1, 0]
    assert found.category.tolist() == ["k9"] * 4


def test_an_example_is_an_items_night_with_what_was_known_before(store: Store) -> None:
    found = TASK.examples(shop(), store, (NIGHTS[2],))
    assert found.customer.tolist() == ["a", "d"]
    assert found.target[UNITS].to_pylist() == [1, 0]
    first = {name: values[0] for name, values in found.rows.to_pydict().items()}
    assert first[LOG_PRICE] == pytest.approx(np.log(390))
    assert first[LOG_PRICE_BEFORE] == pytest.approx((np.log(500) + np.log(400)) / 2)
    assert (first[N_UNITS], first[N_NIGHTS], first[ATTENTION]) == (2, 2, 0)


def test_nights_without_events_are_one_clear_line(store: Store) -> None:
    with pytest.raises(NoDataError, match="no events on 1 nights"):
        TASK.examples(shop(), store, (date(2025, 1, 1),))
    with pytest.raises(NoDataError, match="with a night before"):
        TASK.examples(shop(), store, (NIGHTS[0],))


def test_a_list_price_is_an_attribute_that_is_a_number_above_zero() -> None:
    told = [json.dumps({"list_price": 12.5}), json.dumps({"list_price": "cheap"}), json.dumps({"list_price": 0}), None]
    found = list_prices(pa.table({C.ATTRIBUTES: pa.array(told, pa.string())}))
    np.testing.assert_equal(found, [1250, np.nan, np.nan, np.nan])
