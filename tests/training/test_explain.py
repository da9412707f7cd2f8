"""Reasons add up, find what made the data, change with the model (Adebayo et al. 2018), and say it in words."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, TrainingError
from pipelines.core.storage import Store
from pipelines.strategy.attribution import Shares
from reasons import scrambled, with_answers_of_others
from tests.training.small_effect import STRATEGIES, campaign, examples, profiles, with_strategies
from tests.training.tasks.test_effect import publish, shop
from training.explain import REST, USUAL, Lifts, Usual, check_scores, explain, planned_rows, reasons
from training.task import Fitting
from training.tasks.effect import TASK
from training.tasks.effect_factors import Words, factors_of
from training.tasks.effect_fit import fit_effect
from training.tasks.effect_model import BoostedEffect

HOW = Fitting(threads=1)
NIGHT = date(2026, 3, 6)
PLAIN = [one for one in STRATEGIES if one.offer == "none"]  # what a discount costs is arithmetic and nothing learnt
PROFILES = profiles(200, seed=9)
ROWS = with_strategies(PROFILES, [PLAIN[i] for i in np.random.default_rng(0).integers(0, len(PLAIN), 200)])
FACTORS = factors_of(ROWS)
HOURS = [factor.name for factor in FACTORS].index("hours")


class Truth:
    """The small world as it is: clicks come where the message fits the customer's hours, and sell."""

    def predict(self, rows: pa.Table) -> pa.Table:
        is_evening = np.array(rows[C.SEND_WINDOW].to_pylist()) == "evening"
        fits = np.where(is_evening, rows[C.EVENING_SHARE].to_numpy(), rows[C.MORNING_SHARE].to_numpy())
        return pa.table({C.LIFT_SPEND_CENTS: 4_000 * 0.1 * (0.05 + 0.5 * fits**2)})


@pytest.fixture(scope="module")
def model() -> BoostedEffect:
    return fit_effect(*examples(), HOW, rounds=60)


def explained(model: Lifts, rows: pa.Table = ROWS) -> Shares:
    return explain(model, rows, Usual.of(PROFILES, ROWS), FACTORS)


def agreement(one: Lifts, other: Lifts) -> float:
    """Correlation of two models' contributions, over customers and factors."""
    return float(np.corrcoef(explained(one).shares.ravel(), explained(other).shares.ravel())[0, 1])


# -- sanity


@pytest.mark.parametrize("kind", ["boosted", "rates"])
def test_contributions_add_up_to_the_lift_whatever_the_model_is_made_of(model: BoostedEffect, kind: str) -> None:
    scorer = model if kind == "boosted" else TASK.baseline(examples()[0], HOW)
    discounted = with_strategies(PROFILES, [STRATEGIES[i % len(STRATEGIES)] for i in range(200)])
    found = explained(scorer, discounted)
    lift = scorer.predict(discounted)[C.LIFT_SPEND_CENTS].to_numpy()
    np.testing.assert_allclose(found.total, lift, rtol=0, atol=1e-9)
    assert np.ptp(found.base) == 0, "all are held against the same usual customer"
    assert np.abs(found.shares).sum() > 0


def test_what_made_the_data_is_found(model: BoostedEffect) -> None:
    assert agreement(model, Truth()) > 0.8
    shares = explained(model).shares
    moved = np.abs(explained(Truth()).shares[:, HOURS]) > 1  # the others have the usual customer's hours
    assert (np.abs(shares[moved]).argmax(axis=1) == HOURS).mean() > 0.85
    fits = (np.array(ROWS[C.SEND_WINDOW].to_pylist()) == "evening") == (ROWS[C.EVENING_SHARE].to_numpy() > 0.5)
    assert shares[fits, HOURS].min() > shares[~fits, HOURS].max()


def test_a_model_of_the_same_world_gives_the_same_reasons(model: BoostedEffect) -> None:
    again = fit_effect(campaign(6_000, "2026-03-04", seed=11), campaign(3_000, "2026-03-05", seed=12), HOW, rounds=60)
    assert agreement(model, again) > 0.8


def test_a_model_that_learnt_from_answers_of_others_gives_other_reasons(model: BoostedEffect) -> None:
    train, valid = examples()
    noise = fit_effect(with_answers_of_others(train, 1), with_answers_of_others(valid, 2), HOW, rounds=60)
    assert agreement(model, noise) < 0.3


def test_a_model_whose_weights_are_scrambled_gives_other_reasons(model: BoostedEffect) -> None:
    assert agreement(model, scrambled(model)) < 0.3


def test_a_customer_s_reasons_do_not_depend_on_who_else_is_explained(model: BoostedEffect) -> None:
    alone = explained(model, ROWS.slice(7, 1))
    np.testing.assert_allclose(alone.shares[0], explained(model).shares[7], atol=1e-9)


# -- words


def test_each_customer_has_five_ranks_that_add_up_the_largest_first(model: BoostedEffect) -> None:
    found, usual = explained(model), Usual.of(PROFILES, ROWS)
    table = reasons(ROWS, found, usual, FACTORS, Words())
    assert table.num_rows == 5 * len(ROWS)
    cents = table[C.CONTRIBUTION_CENTS].to_numpy().reshape(-1, 5)
    np.testing.assert_allclose(cents.sum(axis=1), found.total, atol=2e-6)
    assert (np.diff(np.abs(cents[:, 1:4]), axis=1) <= 1e-6).all()
    factors = np.array(table[C.FACTOR].to_pylist()).reshape(-1, 5)
    assert set(factors[:, 0]) == {USUAL}
    assert set(factors[:, 4]) == {REST}
    assert table[C.RANK].to_pylist()[:5] == [0, 1, 2, 3, 4]
    assert table[C.USER_KEY].to_pylist()[5] == "u00001"
    assert set(table[C.TOLD].to_pylist()[::5]) == {f"the usual customer gets {usual.values[C.STRATEGY_ID]}"}


CUSTOMER = {
    C.N_DELIVERIES: 9.0, C.N_CLICKS: 4.0, "email_n_deliveries": 5.0, "email_n_clicks": 3.0, "push_n_deliveries": 0.0,
    "push_n_clicks": 0.0, C.CHANNEL: "email", C.EVENING_SHARE: 0.7, C.MORNING_SHARE: 0.1, C.SEND_WINDOW: "evening",
    C.OFFER: "save10", C.DISCOUNT_PERCENT: 10.0, C.FREQUENCY: 2.0, C.CREATIVE_STYLE: "warm", C.N_PURCHASES: 1.0,
    C.AVG_ORDER_CENTS: 4120, C.AVG_PRICE_CENTS: 123456, C.N_CARTS: 2.5, C.RECENCY_NIGHTS: 1, C.N_SESSIONS: 12.4,
    C.TOP_CATEGORY_ID: "k1", C.TOP_CATEGORY_SHARE: 0.625, "n_deliveries_recent": 0.0, C.SEGMENT_NAME: "owls", "shoe": 44.0,
}  # fmt: skip


def told(**changes: Any) -> dict[str, str]:
    row = CUSTOMER | changes
    words = Words(28, "EUR", {"k1": "home/kettles"})
    return {one.name: one.tell(row, words) for one in factors_of(pa.Table.from_pylist([row]))}


def test_a_factor_says_what_is_so_of_the_customer_and_the_message() -> None:
    assert told() == {
        "answers": "clicked 3 of 5 by email, clicked 4 of 9 messages in all",
        "hours": "evening shopper (70%), sent in window evening",
        "offer": "10% off",
        "frequency": "2 messages",
        "style": "written in style warm",
        "purchases": "1 purchase in 28 nights, 41.20 EUR an order",
        "prices": "looks at items of 1,234.56 EUR",
        "basket": "2.5 items put into the basket in 28 nights",
        "visits": "last here 1 night ago, 12 visits in 28 nights",
        "taste": "favourite category home/kettles (62%)",
        "contacts": "no message in the last nights",
        "segment": "segment owls",
        "others": "what else is known of the customer",
    }


def test_what_is_not_there_is_said_too() -> None:
    assert told(channel="push")["answers"] == "clicked 4 of 9 messages, first by push"
    assert told(n_deliveries=0.0)["answers"] == "first message, by email"
    assert told(offer="none", discount_percent=0.0)["offer"] == "offer none, no discount"
    assert told(top_category_id=None)["taste"] == "no favourite category"
    assert told(n_purchases=0.0, avg_order_cents=0)["purchases"] == "no purchase in 28 nights"
    assert told(recency_nights=0)["visits"].startswith("here tonight, ")


def test_the_usual_customer_has_medians_and_most_frequent_texts_and_the_message_most_often_sent() -> None:
    few = PROFILES.slice(0, 3).set_column(0, C.USER_KEY, pa.array(["a", "b", "c"]))
    for name, values in ((C.N_CARTS, [0.0, 2.0, 9.0]), (C.TOP_CATEGORY_ID, ["tea", "bags", "bags"])):
        few = few.set_column(few.schema.get_field_index(name), name, pa.array(values))
    usual = Usual.of(few, with_strategies(few, [PLAIN[1], PLAIN[0], PLAIN[1]])).values
    assert (usual[C.N_CARTS], usual[C.TOP_CATEGORY_ID], usual[C.STRATEGY_ID]) == (2.0, "bags", PLAIN[1].strategy_id)
    assert usual[C.SEND_WINDOW] == PLAIN[1].send_window
    assert C.USER_KEY not in usual


# -- what cannot be explained


def scored(store: Store, lift: float) -> pa.Table:
    """Rows of ann and ben, and the scores of a model that gives both this lift."""
    rows = with_strategies(PROFILES.slice(0, 2).set_column(0, C.USER_KEY, pa.array(["ann", "ben"])), PLAIN[:2])
    keys = zip(("ann", "ben"), PLAIN, strict=False)
    told = [{C.USER_KEY: key, C.STRATEGY_ID: one.strategy_id, C.LIFT_SPEND_CENTS: lift} for key, one in keys]
    publish(store, "strategy_scores", NIGHT, told)
    return rows


class Flat:
    def predict(self, rows: pa.Table) -> pa.Table:
        return pa.table({C.LIFT_SPEND_CENTS: np.full(rows.num_rows, 3.0)})


def test_a_model_that_does_not_give_the_lifts_of_the_scores_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, "small")
    check_scores(Flat(), scored(store, 3.0), store, NIGHT)
    with pytest.raises(TrainingError, match=r"off by up to 1 cents in 2 of 2 customers.*score the night again"):
        check_scores(Flat(), scored(store, 4.0), store, NIGHT)


def test_a_model_that_tells_no_lift_is_refused(tmp_path: Path) -> None:
    class Old:
        def predict(self, rows: pa.Table) -> pa.Table:
            return pa.table({C.P_CLICK: np.zeros(rows.num_rows)})

    store = Store(tmp_path, "small")
    with pytest.raises(
        TrainingError, match=r"the model tells p_click, but no lift_spend_cents to explain.*train it again"
    ):
        check_scores(Old(), scored(store, 3.0), store, NIGHT)


def test_a_plan_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="the plan has no strategy_scores to explain; run the score stage first"):
        check_scores(Flat(), ROWS, Store(tmp_path, "small"), NIGHT)


def test_only_who_is_sent_something_is_explained_and_strangers_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, "small")
    known = PROFILES.slice(0, 3).set_column(0, C.USER_KEY, pa.array(["ann", "ben", "cas"]))
    sent = "push.save20.evening.x1.plain"
    plan = [{C.USER_KEY: "ann", C.STRATEGY_ID: "none"}, {C.USER_KEY: "cas", C.STRATEGY_ID: sent}]
    publish(store, "campaign_plan", NIGHT, plan)
    [cas] = planned_rows(shop(), store, NIGHT, known).to_pylist()
    assert (cas[C.USER_KEY], cas[C.STRATEGY_ID], cas[C.DISCOUNT_PERCENT], cas[C.FREQUENCY]) == ("cas", sent, 20.0, 1.0)
    publish(store, "campaign_plan", NIGHT, [*plan, {C.USER_KEY: "dan", C.STRATEGY_ID: sent}])
    with pytest.raises(NoDataError, match="names customers or strategies that the night does not know; plan it again"):
        planned_rows(shop(), store, NIGHT, known)
