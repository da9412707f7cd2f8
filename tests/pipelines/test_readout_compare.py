"""The read-out on stores small enough to count by hand: who counts where, what is odd, and what is concluded."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.readout import inputs_of, table_of
from pipelines.readout_compare import experiments
from pipelines.strategy.experiments import assign
from tests.pipelines.test_report import publish

EVE = date(2026, 3, 9)  # of the first plan; lived on the 10th
SAVE, NONE = "email.none.any.x1.plain", "none"


def shop_of(**strategy: Any) -> Shop:
    return Shop.model_validate(
        {
            "shop": "tiny",
            "timezone": "Europe/Amsterdam",
            "landing": {"events": {"connector": "jsonl", "pattern": "{night}/events*.jsonl"}},
            "strategy": {
                "channels": [{"id": "email", "cost_cents": 1, "capacity_per_night": 8, "default_consent": True}],
                "default_margin_percent": 40,
                **strategy,
            },
        }
    )


SHOP = shop_of(holdout_percent=50)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


def planned(user: str, strategy: str = NONE, **more: Any) -> dict[str, Any]:
    """By lot: half get the one message there is; the holdout draws no lot."""
    held = more.get(C.IS_HOLDOUT, False)
    lot = {C.N_ALLOWED: 1, C.LOT_PROPENSITY: 0.5, C.LOT_NOTHING_PROPENSITY: 0.5}
    return {
        C.USER_KEY: user, C.SEGMENT_ID: 0, C.STRATEGY_ID: strategy, C.IS_HOLDOUT: held, C.EXPERIMENT_ARMS: "",
        **({C.OFFER: "none", C.CHANNEL: "email"} if strategy != NONE else {C.OFFER: "", C.CHANNEL: ""}),
        **({} if held else lot), **more,
    }  # fmt: skip


def bought(user: str, cents: int | None, **more: Any) -> dict[str, Any]:
    return {C.USER_KEY: user, C.EVENT_TYPE: "purchase", C.ITEM_ID: "i", C.PRICE_CENTS: cents, C.IS_BOT: False, **more}


def sent(name: str, user: str, night: date, status: str = "delivered", **more: Any) -> dict[str, Any]:
    at = datetime(night.year, night.month, night.day, 21, 0)  # 22:00 in Amsterdam
    return {
        C.DELIVERY_ID: name, C.USER_KEY: user, C.STRATEGY_ID: SAVE, C.CHANNEL: "email", C.STATUS: status,
        C.COST_CENTS: 1, C.SENT_AT: at, **more,
    }  # fmt: skip


def answer(name: str, delivery: str, user: str, kind: str = "complaint") -> dict[str, Any]:
    return {C.OUTCOME_ID: name, C.DELIVERY_ID: delivery, C.USER_KEY: user, C.OUTCOME: kind}


def lived(store: Store, nth: int, plan: list[dict[str, Any]], events: list[dict[str, Any]], **feeds: Any) -> date:
    """The plan of the nth night, and the events and feeds of the night after; returns that one."""
    eve = EVE + timedelta(days=nth)
    publish(store, "campaign_plan", eve, plan, feeds.pop("counts", {}))
    publish(store, "events", eve + timedelta(days=1), events)
    for table, rows in feeds.items():
        publish(store, table, eve + timedelta(days=1), rows)
    return eve + timedelta(days=1)


def of(found: dict[str, Any], name: str, metric: str = "profit_cents", arm: str | None = None) -> dict[str, Any]:
    (one,) = (one for one in found["experiments"] if one["experiment"] == name)
    (row,) = (row for row in one["readings"] if row["metric"] == metric and arm in (None, row["arm"]))
    return row


def odd(found: dict[str, Any]) -> dict[str, int]:
    return {one["name"]: one["n"] for one in found["anomalies"]}


def test_everybody_counts_from_their_first_plan_on_whatever_was_sent(store: Store) -> None:
    publish(store, "catalog", EVE + timedelta(days=1), [{C.ITEM_ID: "i", C.UNIT_COST_CENTS: 700}])
    plan = [planned("a", SAVE), planned("b"), planned("c", is_holdout=True), planned("d", is_holdout=True)]
    first = [bought("a", 1_000), bought("c", 900, quantity=2), bought("x", 5_000), bought("b", 9_000, is_bot=True)]
    lived(store, 0, plan, first, deliveries=[sent("d1", "a", date(2026, 3, 10))])
    # b is not in the second plan any more, yet what b buys counts; e is new. Nobody told what an item costs: margin 40%.
    night = lived(store, 1, [planned("a"), planned("e"), plan[2]], [bought("b", 500), bought("e", 250)])
    found = experiments(night, SHOP, store)
    assert found["period"] == {"first": "2026-03-10", "last": "2026-03-11", "nights": 2}
    row = of(found, "holdout")
    assert (row["n_users"], row["n_control_users"], row["n_nights"]) == (3, 2, 2)
    # plan: 5 customer-nights (a, b twice; e once): (1000 - 700 - 1) + 0.4 x (500 + 250); holdout: 4: 2 x (900 - 700)
    assert row["arm_value"] == pytest.approx((299 + 300) / 5)
    assert row["control_value"] == pytest.approx(400 / 4)
    assert of(found, "holdout", "revenue_cents")["arm_value"] == pytest.approx(1_750 / 5)
    assert of(found, "holdout", "bought")["control_value"] == pytest.approx(1_000 / 4)
    assert of(found, "holdout", "order_cents")["arm_value"] == pytest.approx(1_750 / 3, rel=1e-6)
    assert row["state"] == "open"
    assert row["verdict"].startswith("no verdict yet: only 1 customers of the holdout bought anything, 30 are needed")
    assert found["anomalies"] == []


def test_lots_count_on_their_night_alone_weighed_by_their_chances(store: Store) -> None:
    likely = {C.LOT_PROPENSITY: 0.8, C.LOT_NOTHING_PROPENSITY: 0.2}
    plan = [
        planned("a", SAVE, **likely), planned("b", SAVE), planned("c"),
        planned("d", **{C.LOT_PROPENSITY: 0.2, C.LOT_NOTHING_PROPENSITY: 0.2}), planned("e", n_allowed=0, lot_propensity=None),
    ]  # fmt: skip
    deliveries = [sent("d1", "a", date(2026, 3, 10)), sent("d2", "b", date(2026, 3, 10))]
    lived(store, 0, plan, [bought("a", 1_000), bought("d", 500)], deliveries=deliveries)
    night = lived(store, 1, [planned("z")], [bought("a", 9_000)])
    row = of(experiments(night, SHOP, store), "message")
    a, b, c, d, z = 1 / 0.8, 1 / 0.5, 1 / 0.5, 1 / 0.2, 1 / 0.5
    assert row["arm_value"] == pytest.approx((a * 399 - b) / (a + b))
    assert row["control_value"] == pytest.approx(d * 200 / (c + d + z))
    assert (row["n_users"], row["n_control_users"]) == (2, 3)


def test_a_model_s_choice_is_held_against_the_lot_by_the_share_that_drew_it(store: Store) -> None:
    chose = {C.LOT_PROPENSITY: None, C.LOT_NOTHING_PROPENSITY: None}
    plan = [planned("a", SAVE, **chose), planned("b", **chose), planned("c", SAVE), planned("e")]
    plan.append(planned("d", is_holdout=True))
    events = [bought("a", 1_000), bought("c", 500), bought("d", 100)]
    night = lived(store, 0, plan, events, counts={"model": {"name": "m", "explore_percent": 25}})
    found = experiments(night, SHOP, store)
    row = of(found, "choice")
    assert (row["arm_value"], row["control_value"]) == (200, 100)
    assert (row["n_users"], row["n_control_users"]) == (2, 2)
    assert "propensity_missing" not in odd(found)  # who was chosen for draws no lot


def test_what_comes_late_counts_for_its_own_night_and_what_comes_twice_once(store: Store) -> None:
    plan = [planned("a", SAVE), planned("b", SAVE), planned("c", is_holdout=True)]
    day = date(2026, 3, 10)
    deliveries = [sent("d1", "a", day), sent("d2", "b", day)]
    told = [answer("o1", "d1", "a"), answer("o2", "d1", "a", "click")]
    lived(store, 0, plan, [bought("c", 100)], deliveries=deliveries, outcomes=told)
    again = [answer("o1", "d1", "a"), answer("o3", "d2", "b"), answer("o4", "lost", "b")]
    night = lived(store, 1, [], [bought("c", 100)], outcomes=again)
    early, late = experiments(day, SHOP, store), experiments(night, SHOP, store)
    assert of(early, "message", "complaints")["arm_value"] is not None
    assert odd(early) == {}
    assert of(early, "holdout", "complaints")["arm_value"] == pytest.approx(1_000 * 1 / 2)
    assert of(late, "holdout", "complaints")["arm_value"] == pytest.approx(1_000 * 2 / 4)
    assert odd(late) == {"outcomes_twice": 1, "outcomes_late": 2, "outcomes_unmatched": 1}


def test_each_kind_of_bad_feedback_is_counted_and_named_and_nobody_leaves_their_arm(store: Store) -> None:
    day = date(2026, 3, 10)
    plan = [
        planned("a", SAVE), planned("b", SAVE), planned("c", SAVE), planned("h", is_holdout=True),
        planned("p", SAVE, lot_propensity=0.0), planned("q", lot_propensity=None),
    ]  # fmt: skip
    deliveries = [sent("d1", "a", day), sent("d2", "b", day, "bounced"), sent("d3", "h", day), sent("d4", "q", day)]
    lived(store, 0, plan, [bought("a", -400), bought("h", None)], deliveries=deliveries)
    publish(store, "quarantine", day, [], {"reasons": {"negative_price": 3}})
    turned = [planned("h"), planned("a", is_holdout=True)]
    found = experiments(lived(store, 1, turned, []), SHOP, store)
    assert odd(found) == {
        "treated_without_delivery": 2,  # c and p
        "not_delivered": 1,
        "unplanned_deliveries": 1,  # q
        "holdout_contacted": 1,
        "two_arms": 2,
        "propensity_missing": 2,
        "returns": 1,
        "returns_quarantined": 3,
        "purchases_without_price": 1,
    }
    assert all(one["text"].startswith(f"{one['n']:,} ") for one in found["anomalies"])
    row = of(found, "holdout", "revenue_cents")
    assert (row["n_users"], row["n_control_users"]) == (5, 1)  # in the arms of their first night
    assert row["arm_value"] == pytest.approx(-400 / 10)
    assert of(found, "holdout", "returns")["arm_value"] == pytest.approx(1_000 / 10)
    assert of(found, "message")["n_users"] == 3  # without p


def test_an_arm_without_customers_is_said_instead_of_a_number(store: Store) -> None:
    night = lived(store, 0, [planned(f"u{i}") for i in range(40)], [])
    row = of(experiments(night, SHOP, store), "holdout")
    assert row["state"] == "no_data"
    assert row["verdict"] == "no verdict: the holdout has no customers; check its share and what it allows"
    verdict = of(experiments(night, SHOP, store), "message")["verdict"]
    assert verdict == "no verdict: a message has no customers; no lot fell on it yet"


def test_a_small_shop_is_told_what_it_could_find_before_it_finds_anything(store: Store) -> None:
    """100 customers, 10 held out; ten buy for 10.00 at 40%: variance 400^2 x 0.1 x 0.9, so (1.96 + 0.84) errors of 40."""
    plan = [planned(f"u{i}", is_holdout=i < 10) for i in range(100)]
    night = lived(store, 0, plan, [bought(f"u{i}", 1_000) for i in range(5, 15)])
    (one,) = (one for one in experiments(night, shop_of(), store)["experiments"] if one["experiment"] == "holdout")
    row = one["readings"][0]
    assert row["effect_low"] is None
    assert row["smallest_effect"] == pytest.approx(2.8016 * (400**2 * 0.09 * 100 / 99 / 9) ** 0.5, rel=1e-4)
    assert one["verdicts"][0]["power"].startswith(
        "90 and 10 customers after 1 night: one two-sided 5% test would find 112.6"
    )


def test_a_holdout_of_another_size_than_designed_stops_every_verdict(store: Store) -> None:
    night = lived(store, 0, [planned(f"u{i}", is_holdout=i >= 300) for i in range(400)], [])
    (one,) = (one for one in experiments(night, shop_of(), store)["experiments"] if one["experiment"] == "holdout")
    assert one["sample_ratio"]["is_broken"]
    assert one["verdicts"][0]["text"].startswith(
        "stopped: sample ratio broken: the holdout has 100 customers where 40 were designed"
    )
    assert {row["state"] for row in one["readings"]} == {"ratio_broken"}


WORDS = {"id": "words", "first_night": EVE, "arms": [{"id": "any"}, {"id": "more", "share": 1}]}


def crowd(store: Store, shop: Shop, nights: int, gain: int) -> date:
    """600 customers of whom half buy for 10.00 every night, `gain` cents more in the second arm."""
    keys = [f"u{i:03d}" for i in range(600)]
    arm = assign(keys, shop.strategy.seed, shop.strategy.experiments[0])
    random = np.random.default_rng(1)
    taste = random.integers(1, 2_000, 600)
    profiles = [{C.USER_KEY: key, C.REVENUE_CENTS: int(cents)} for key, cents in zip(keys, taste, strict=True)]
    publish(store, "user_profiles", EVE, profiles)
    publish(
        store, "segments", EVE, [{C.SEGMENT_ID: i, C.SEGMENT_NAME: name} for i, name in enumerate(("big", "small"))]
    )
    names = [f"words={'any' if one == 0 else 'more'}" for one in arm]
    for nth in range(nights):
        plan = [
            planned(key, experiment_arms=name, segment_id=int(taste[i] < 1_000))
            for i, (key, name) in enumerate(zip(keys, names, strict=True))
        ]
        cents = taste + random.integers(0, 800, 600) + gain * arm
        events = [bought(key, int(cents[i])) for i, key in enumerate(keys)]
        night = lived(store, nth, plan, events)
    return night


def test_an_experiment_with_an_effect_gets_its_verdict_with_cuped_and_shrunk_segments(store: Store) -> None:
    shop = shop_of(holdout_percent=0, experiments=[WORDS])
    found = experiments(crowd(store, shop, 3, 200), shop, store)
    row = of(found, "words", arm="more")
    assert row["state"] == "better"
    assert row["effect_low"] < 200 * 0.4 < row["effect_high"]
    assert row["variance_cut_share"] > 0.8  # taste was known before
    assert (
        row["verdict"]
        == (
            f"more beat any: {row['effect']:+.2f} [{row['effect_low']:+.2f}, {row['effect_high']:+.2f}] cents of profit per "
            "customer and night; do not stop yet: "
        )
        + row["verdict"].partition("do not stop yet: ")[2]
    )
    (one,) = (one for one in found["experiments"] if one["experiment"] == "words")
    assert [part["segment"] for part in one["segments"]] == ["big", "small"]
    for part in one["segments"]:
        assert part["low"] < 80 < part["high"]
    assert "would find" in one["verdicts"][0]["power"]
    assert "without CUPED" in one["verdicts"][0]["power"]
    assert "holdout" not in {other["experiment"] for other in found["experiments"]}


def test_an_experiment_without_an_effect_stays_open_and_says_how_long_it_would_take(store: Store) -> None:
    shop = shop_of(holdout_percent=0, experiments=[WORDS])
    row = of(experiments(crowd(store, shop, 2, 0), shop, store), "words", arm="more")
    assert row["state"] == "open"
    assert "may be nothing" in row["verdict"]


def test_the_table_has_its_rows_in_order_and_the_same_night_gives_the_same_rows(store: Store) -> None:
    shop = shop_of(holdout_percent=0, experiments=[WORDS])
    night = crowd(store, shop, 1, 50)
    one, two = (table_of(experiments(night, shop, store)) for _ in range(2))
    assert one.equals(two)
    keys = [(row[C.EXPERIMENT], row[C.ARM], row[C.METRIC]) for row in one.to_pylist()]
    assert keys == sorted(set(keys))
    assert {"words", "message"} <= {key[0] for key in keys}
    assert f"campaign_plan/{EVE}" in inputs_of(night, shop, store)


def test_before_a_plan_was_lived_there_is_a_sentence_and_no_row(store: Store) -> None:
    publish(store, "events", EVE, [])
    publish(store, "campaign_plan", EVE, [planned("a")])
    found = experiments(EVE, SHOP, store)
    assert (found["experiments"], found["anomalies"]) == ([], [])
    assert found["notes"] == [
        "No plan has been lived yet: what plans and experiments did shows here from the night after the first plan."
    ]
    assert table_of(found).num_rows == 0
