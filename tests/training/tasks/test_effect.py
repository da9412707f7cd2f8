from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, TrainingError, WrongUseError
from pipelines.core.shop import Channel, Features, Models, Offer, SendWindow, Shop, Source, Strategy
from pipelines.core.storage import Store
from pipelines.core.tables import TABLES
from tests.training.small_effect import CHANNELS, STRATEGIES, campaign, examples, profiles, with_strategies
from training.task import Fitting
from training.tasks.effect import TASK, profiles_of
from training.tasks.effect_examples import (
    BOUGHT,
    CLICKED,
    COMPLAINED,
    OWN_ITEM,
    RECENT,
    WEEKDAY,
    WEIGHT,
    on_channel,
)
from training.tasks.effect_fit import fit_effect
from training.tasks.effect_linear import Bilinear, fit_bilinear
from training.tasks.effect_model import BoostedEffect

SUNDAY, MONDAY = date(2026, 3, 1), date(2026, 3, 2)
PLAIN, SAVE = "email.none.evening.x1.plain", "push.save20.evening.x1.plain"


def shop(**models: Any) -> Shop:
    return Shop(
        shop="small",
        landing={"events": Source(connector="jsonl", pattern="{night}/*")},
        features=Features(window_nights=4),
        strategy=Strategy(
            offers=(Offer(id="none"), Offer(id="save20", discount_percent=20)),
            channels=tuple(Channel(id=name, cost_cents=1, capacity_per_night=9) for name in CHANNELS),
            send_windows=(SendWindow(id="evening", from_hour=18, to_hour=21),),
        ),
        models=Models(**models),
    )


_TYPES = {
    "timestamp": pa.timestamp("us", tz="UTC"),
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "double": pa.float64(),
    "array<double>": pa.list_(pa.float64()),
}
_ZERO = {"bigint": 0, "double": 0.0, "boolean": False}


def publish(store: Store, table: str, night: date, rows: list[dict[str, Any]]) -> None:
    """Rows name only the columns that matter; numbers are 0, the others null."""
    columns = TABLES[table].columns
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
    full = [{name: _ZERO.get(kind) for name, kind in columns.items()} | row for row in rows]
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        pq.write_table(pa.Table.from_pylist(full, schema), folder / "part-00000.parquet")
        store.publish(table, night, folder, rows=len(rows), inputs={}, config_hash="x")


def delivery(
    user: str, strategy: str, status: str = "delivered", number: int = 0, night: date = MONDAY
) -> dict[str, Any]:
    sent_at = datetime.combine(night, time(10), UTC)
    told = {"delivery_id": f"d-{user}-{number}", "user_key": user, "strategy_id": strategy, "status": status}
    return told | {"sent_at": sent_at}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Known on Sunday: ann to eve. On Monday ann clicks and buys, ben complains, cas gets nothing but buys, dan's message
    bounces, eve gets two strategies, fay was not known the night before."""
    found = Store(tmp_path, "small")
    users = ("ann", "ben", "cas", "dan", "eve")
    publish(found, "events", SUNDAY, [{"user_key": user, "event_type": "view"} for user in users])
    publish(
        found, "user_profiles", SUNDAY, [{"user_key": user, "n_views": 2, "top_category_id": "k1"} for user in users]
    )
    publish(found, "segments", SUNDAY, [{"user_key": user, "segment_name": "owls"} for user in users])
    publish(
        found, "channel_response", SUNDAY,
        [
            {"user_key": "ann", "channel": "email", "n_deliveries": 7, "n_deliveries_cap_window": 2, "n_clicks": 3},
            {"user_key": "ann", "channel": "push", "n_deliveries": 1, "n_deliveries_cap_window": 1},
            {"user_key": "fay", "channel": "push", "n_deliveries": 9, "n_deliveries_cap_window": 9},
        ],
    )  # fmt: skip
    publish(
        found, "deliveries", MONDAY,
        [
            delivery("ann", PLAIN), delivery("ben", SAVE), delivery("dan", PLAIN, "bounced"), delivery("eve", PLAIN),
            delivery("eve", SAVE, number=1), delivery("fay", SAVE),
        ],
    )  # fmt: skip
    answers = [("d-ann-0", "click"), ("d-ben-0", "complaint"), ("d-fay-0", "click")]
    publish(found, "outcomes", MONDAY, [{"delivery_id": one, "outcome": what} for one, what in answers])
    bought = {"event_type": "purchase", "price_cents": 300}
    publish(
        found, "events", MONDAY,
        [
            {"user_key": "ann", "quantity": 2, **bought}, {"user_key": "ann", "quantity": None, **bought},
            {"user_key": "cas", "quantity": 1, **bought}, {"user_key": "ben", "is_bot": True, **bought},
            {"user_key": "ben", "event_type": "cart", "price_cents": 300},
        ],
    )  # fmt: skip
    return found


def test_a_customer_known_the_night_before_is_one_example_with_what_was_sent_and_done(store: Store) -> None:
    found = TASK.examples(shop(), store, (MONDAY,))
    assert found.customer.tolist() == ["ann", "ben", "cas"]
    assert found.segment.tolist() == ["owls"] * 3
    assert found.night.astype(str).tolist() == ["2026-03-02"] * 3
    rows = {name: found.rows[name].to_pylist() for name in (C.STRATEGY_ID, C.OFFER, C.DISCOUNT_PERCENT, C.FREQUENCY)}
    assert rows == {
        C.STRATEGY_ID: [PLAIN, SAVE, "none"],
        C.OFFER: ["none", "save20", ""],
        C.DISCOUNT_PERCENT: [0, 20, 0],
        C.FREQUENCY: [1, 1, 0],
    }
    target = {name: found.target[name].to_pylist() for name in (CLICKED, BOUGHT, C.SPEND_CENTS, COMPLAINED, WEIGHT)}
    assert str(target) == str(
        {
            CLICKED: [1.0, 0.0, float("nan")],
            BOUGHT: [1.0, 0.0, 1.0],
            C.SPEND_CENTS: [900.0, 0.0, 300.0],
            COMPLAINED: [0.0, 1.0, float("nan")],
            WEIGHT: [1.0, 1.0, 1.0],
        }
    )


def test_a_profile_tells_answers_per_channel_and_counts_as_of_a_whole_window(store: Store) -> None:
    found = profiles_of(shop(), store, SUNDAY)
    assert found[C.USER_KEY].to_pylist() == ["ann", "ben", "cas", "dan", "eve"]
    ann = found.slice(0, 1).to_pylist()[0]
    assert ann[C.N_VIEWS] == 8.0  # two views in one night of a window of four
    assert (ann[RECENT], ann[WEEKDAY]) == (3.0, 1.0)
    told = {
        on_channel(channel, name): ann[on_channel(channel, name)]
        for channel in CHANNELS
        for name in (C.N_DELIVERIES, C.N_CLICKS)
    }
    assert told == {"email_n_deliveries": 7.0, "email_n_clicks": 3.0, "push_n_deliveries": 1.0, "push_n_clicks": 0.0}


def test_a_profile_tells_whether_a_message_would_be_about_an_item_of_the_customer_s_own(store: Store) -> None:
    assert profiles_of(shop(), store, SUNDAY)[OWN_ITEM].null_count == 5  # nothing was recommended
    lists = [
        ("ann", 1, "trend", True),
        ("ann", 2, "again", False),
        ("ben", 1, "trend", False),
        ("ben", 2, "again", False),
    ]
    publish(
        store, "recommendations", SUNDAY,
        [dict(zip(("user_key", "slot", "reason_code", "is_explore"), one, strict=True)) for one in lists],
    )  # fmt: skip
    assert profiles_of(shop(), store, SUNDAY)[OWN_ITEM].to_pylist() == [1.0, 0.0, None, None, None]


def test_a_plan_weighs_what_it_gave_to_few_by_how_few_it_gave_it_to(store: Store) -> None:
    plan = [
        ("ann", PLAIN, 0.25, False),
        ("ben", SAVE, 0.02, False),
        ("cas", "none", 0.5, False),
        ("dan", PLAIN, 0.5, False),
    ]
    rows = [{"user_key": u, "strategy_id": s, "propensity": p, "is_holdout": h} for u, s, p, h in plan]
    publish(
        store,
        "campaign_plan",
        SUNDAY,
        [*rows, {"user_key": "eve", "strategy_id": "none", "propensity": 1.0, "is_holdout": True}],
    )
    found = TASK.examples(shop(), store, (MONDAY,))
    # shares of the plan: plain 2/5, save 1/5, none 2/5; the weight of ben would be 10, and 4 is the most
    assert found.target[WEIGHT].to_pylist() == pytest.approx([0.4 / 0.25, 4.0, 0.4 / 0.5])


def test_a_strategy_of_before_is_read_from_its_id_and_an_unreadable_one_is_left_out(store: Store) -> None:
    old = "sms.save20.noon.x3.warm"
    publish(
        store,
        "deliveries",
        MONDAY,
        [delivery("ann", old), delivery("ben", "summer sale"), delivery("cas", "a.b.c.x1.d")],
    )
    found = TASK.examples(shop(), store, (MONDAY,)).rows
    assert found[C.USER_KEY].to_pylist() == ["ann", "dan", "eve"]
    ann = found.slice(0, 1).to_pylist()[0]
    assert (ann[C.CHANNEL], ann[C.DISCOUNT_PERCENT], ann[C.SEND_WINDOW], ann[C.FREQUENCY]) == ("sms", 20, "noon", 3)


def test_what_is_told_late_counts_for_the_night_of_its_message_but_not_before_it_was_told(store: Store) -> None:
    tuesday = MONDAY + timedelta(days=1)
    publish(store, "deliveries", tuesday, [delivery("cas", SAVE), delivery("ann", SAVE, night=tuesday, number=5)])
    late = [("d-ben-0", "click"), ("d-cas-0", "click"), ("d-cas-0", "click")]
    publish(store, "outcomes", tuesday, [{"delivery_id": one, "outcome": what} for one, what in late])
    told_on_monday = TASK.examples(shop(), store, (MONDAY,))
    assert str(told_on_monday.target[CLICKED].to_pylist()) == "[1.0, 0.0, nan]"
    both = TASK.examples(shop(), store, (MONDAY, tuesday))  # of Tuesday: nobody is known the night before
    assert both.rows[C.STRATEGY_ID].to_pylist() == [PLAIN, SAVE, SAVE]
    assert both.target[CLICKED].to_pylist() == [1.0, 1.0, 1.0]


def test_who_is_left_out_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    publish(store, "deliveries", MONDAY, [delivery("ann", PLAIN), delivery("ben", "summer sale"),
            delivery("dan", PLAIN, "bounced"), delivery("eve", PLAIN), delivery("eve", SAVE, number=1)])  # fmt: skip
    TASK.examples(shop(), store, (MONDAY,))
    assert capsys.readouterr().err == (
        "effect: customer-nights left out: 1 of several strategies in one night, 1 of strategies that the shop does not "
        "know, 1 whose message did not arrive\n"
    )


def test_without_any_delivery_there_is_nothing_to_learn(store: Store) -> None:
    with pytest.raises(NoDataError, match="nothing was delivered in 1 nights from 2026-03-01 to 2026-03-01"):
        TASK.examples(shop(), store, (SUNDAY,))
    publish(store, "deliveries", MONDAY, [delivery("ann", PLAIN, "skipped")])
    with pytest.raises(NoDataError, match="nothing was delivered"):
        TASK.examples(shop(), store, (MONDAY,))


def test_a_setting_that_is_none_is_refused_in_one_line(store: Store) -> None:
    with pytest.raises(WrongUseError, match=r"models\.settings\.effect\.leaves: .*allowed keys: max_examples, rounds"):
        TASK.examples(shop(settings={"effect": {"leaves": 3}}), store, (MONDAY,))


# -- the model


@pytest.fixture(scope="module")
def model() -> BoostedEffect:
    train, valid = examples()
    return fit_effect(train, valid, Fitting(threads=1), rounds=60)


@pytest.mark.parametrize("is_baseline", [False, True])
def test_the_grid_says_what_the_rows_say(model: BoostedEffect, is_baseline: bool) -> None:
    scorer = TASK.baseline(examples()[0], Fitting()) if is_baseline else model
    customers = profiles(50, seed=9)
    grid = scorer.score_grid(customers, STRATEGIES)
    rows = customers.take(pa.array(np.repeat(np.arange(50), len(STRATEGIES))))
    predicted = scorer.predict(with_strategies(rows, STRATEGIES * 50))
    assert list(grid) == predicted.schema.names
    for name, values in grid.items():
        assert values.shape == (50, len(STRATEGIES))
        np.testing.assert_allclose(values.ravel(), predicted[name].to_numpy(), rtol=0, atol=1e-9, err_msg=name)


def test_the_grid_of_other_strategies_is_made_anew(model: BoostedEffect) -> None:
    customers = profiles(20, seed=9)
    both = model.score_grid(customers, STRATEGIES)
    for at in (0, 5):
        one = model.score_grid(customers, [STRATEGIES[at]])
        np.testing.assert_allclose(one[C.P_CONVERSION][:, 0], both[C.P_CONVERSION][:, at])


def test_sending_nothing_has_no_clicks_no_complaints_and_no_lift(model: BoostedEffect) -> None:
    told = model.predict(with_strategies(profiles(20), [None] * 20))
    for name in (C.P_CLICK, C.P_COMPLAINT, C.LIFT_CONVERSION, C.LIFT_SPEND_CENTS):
        assert set(told[name].to_pylist()) == {0.0}
    assert min(told[C.P_CONVERSION].to_pylist()) > 0


def test_lifts_are_differences_to_sending_nothing(model: BoostedEffect) -> None:
    customers = profiles(30, seed=4)
    sent = model.predict(with_strategies(customers, STRATEGIES[:1] * 30))
    nothing = model.predict(with_strategies(customers, [None] * 30))
    for lift, of in ((C.LIFT_CONVERSION, C.P_CONVERSION), (C.LIFT_SPEND_CENTS, C.SPEND_CENTS)):
        np.testing.assert_allclose(sent[lift].to_numpy(), sent[of].to_numpy() - nothing[of].to_numpy())


def test_trees_stay_where_later_nights_show_that_they_help(model: BoostedEffect) -> None:
    assert model.click.trees is not None  # the square in the small world's truth is no straight line
    train, valid = examples()
    lots = np.random.default_rng(0).permutation(len(valid))
    noise = valid.target.set_column(0, CLICKED, valid.target[CLICKED].take(pa.array(lots)))
    assert fit_effect(train, replace(valid, target=noise), Fitting(threads=1), rounds=60).click.trees is None


def test_rare_outcomes_need_no_trees_and_outcomes_that_never_happen_are_fine() -> None:
    train, valid = campaign(600, "2026-03-04", seed=5), campaign(300, "2026-03-05", seed=6)
    never = np.where(np.isnan(train.target[COMPLAINED].to_numpy()), np.nan, 0.0)
    at = train.target.schema.get_field_index(COMPLAINED)
    quiet = replace(train, target=train.target.set_column(at, COMPLAINED, pa.array(never)))
    fitted = fit_effect(quiet, valid, Fitting(threads=1), rounds=60)
    assert fitted.complaint.trees is None
    told = fitted.score_grid(profiles(10), STRATEGIES)[C.P_COMPLAINT]
    assert 0 < told.max() < 0.05


def test_nothing_sent_and_nobody_buying_are_one_clear_line_each() -> None:
    train, valid = examples()
    unsent = train.take(train.rows[C.FREQUENCY].to_numpy() == 0)
    with pytest.raises(TrainingError, match="nothing was sent in the"):
        TASK.fit(unsent, valid, Fitting())
    at = train.target.schema.get_field_index(BOUGHT)
    broke = replace(train, target=train.target.set_column(at, BOUGHT, pa.array(np.zeros(len(train)))))
    with pytest.raises(TrainingError, match="nobody bought anything in the 6000 examples"):
        TASK.fit(broke, valid, Fitting())


def test_a_column_that_is_missing_everywhere_is_fine() -> None:
    train, valid = (campaign(600, f"2026-03-0{4 + at}", seed=5 + at) for at in (0, 1))
    at = train.rows.schema.get_field_index(C.N_CARTS)
    empty = [
        replace(one, rows=one.rows.set_column(at, C.N_CARTS, pa.nulls(len(one), pa.float64())))
        for one in (train, valid)
    ]
    told = fit_effect(*empty, Fitting(threads=1), rounds=10).predict(empty[1].rows)
    assert np.isfinite(told[C.P_CONVERSION].to_numpy()).all()


def test_the_linear_part_finds_what_made_the_data_and_leaves_the_rest_at_zero() -> None:
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(20_000), rng.normal(size=20_000)])
    psi = np.column_stack([np.ones(20_000), rng.integers(0, 2, 20_000) - 0.5])
    truth = Bilinear(-1.0, np.array([[0.0, 0.5], [0.8, 0.0]]))
    happened = (rng.random(20_000) < 1 / (1 + np.exp(-truth.pairs(phi, psi)))).astype(np.float64)
    penalty = np.array([[1.0, 1.0], [1.0, np.inf]])
    found = fit_bilinear(phi, psi, happened, np.ones(20_000), penalty)
    assert found.start + found.weight[0, 0] == pytest.approx(-1, abs=0.05)
    np.testing.assert_allclose(found.weight[[0, 1], [1, 0]], [0.5, 0.8], atol=0.06)
    assert found.weight[1, 1] == 0
