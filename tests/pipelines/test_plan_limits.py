"""What a plan's further limits read from the store, what-if on it, and limits that contradict each other."""

import hashlib
import json
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipelines import cli, plan
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_machine, load_shop
from pipelines.core.errors import InfeasibleError, NoDataError, WrongUseError
from pipelines.core.limits import FairShare, Minimum, Pacing, Repeat, Uncertainty
from pipelines.core.shop import Shop, Strategy
from pipelines.core.storage import Store
from pipelines.plan_limits import inputs_of, labels_of, paced, repeated
from pipelines.plan_scores import read_scores
from pipelines.stage import Context
from pipelines.strategy.candidates import candidates
from pipelines.what_if import changed, what_if

NIGHT, N = date(2026, 3, 11), 200  # a Wednesday
DEMO = load_shop("demo")
KEYS = sorted(hashlib.sha256(str(i).encode()).hexdigest() for i in range(N))
IDS = [candidate.strategy_id for candidate in candidates(DEMO.strategy)]


def shop(**changes: Any) -> Shop:
    return DEMO.model_copy(update={"strategy": DEMO.strategy.model_copy(update=changes)})


def write(store: Store, table: str, rows: dict[str, Any], on: date = NIGHT) -> None:
    folder = store.partition(table, on)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), folder / "part-00000.parquet")


def publish_plan(store: Store, on: date, cost_cents: int) -> None:
    with store.staging() as staging:
        (staging / "p").mkdir()
        pq.write_table(pa.table({C.USER_KEY: KEYS[:1]}), staging / "p" / "part-00000.parquet")
        counts = {"expected_cost_cents": cost_cents}
        store.publish("campaign_plan", on, staging / "p", rows=1, inputs={}, config_hash="c", audit={}, counts=counts)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """N customers, half of whom prefer acme; a model expects 20.00 of spend of every strategy, of which 1 cent more for
    each later customer is new."""
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path))
    made = Store(tmp_path, "demo")
    brands = ["acme" if i % 2 else None for i in range(N)]
    profiles = {C.USER_KEY: KEYS, C.AVG_ORDER_CENTS: [4_000] * N, C.TOP_CATEGORY_ID: ["c1"] * N, C.TOP_BRAND: brands}
    write(made, "user_profiles", profiles)
    write(made, "segments", {C.USER_KEY: KEYS, C.SEGMENT_ID: [i % 3 for i in range(N)]})
    n = N * len(IDS)
    write(made, "strategy_scores", {
        C.USER_KEY: np.repeat(KEYS, len(IDS)), C.STRATEGY_ID: IDS * N, C.SPEND_CENTS: [2_000.0] * n,
        C.LIFT_SPEND_CENTS: np.repeat(900.0 + np.arange(N), len(IDS)), C.P_COMPLAINT: [0.0] * n,
        C.MODEL_NAME: ["m"] * n, C.MODEL_VERSION: ["3"] * n, "lift_spend_se_cents": [100.0] * n,
    })  # fmt: skip
    return made


def context_of(store: Store, of: Shop) -> Context:
    return Context(of, load_machine(), store, store.root, False, lambda _: None, None)


# -- what is read


def test_labels_are_words_in_order_and_none_for_who_has_none() -> None:
    found = labels_of(pa.chunked_array([["b", None], ["a", "b"]]))
    assert (found.names, found.code.tolist()) == (("a", "b"), [1, -1, 0, 1])
    assert labels_of(pa.chunked_array([[3, 1, 3]])).names == ("1", "3")


def test_what_was_delivered_within_the_nights_is_a_repeat_and_what_was_not_is_none(store: Store) -> None:
    told = [
        (KEYS[0], "email.save10.evening.x1.warm", "delivered", 0),
        (KEYS[1], "push.save10.morning.x1.plain", "delivered", 2),
    ]
    told += [
        (KEYS[2], "email.save10.evening.x1.warm", "bounced", 0),
        (KEYS[3], "sms.save20.morning.x1.plain", "delivered", 3),
    ]
    told += [("f" * 64, "email.save10.evening.x1.warm", "delivered", 0)]
    for back in (0, 2, 3):
        rows = [row for row in told if row[3] == back]
        columns = {
            C.DELIVERY_ID: [f"{r[0]} {r[3]}" for r in rows],
            C.USER_KEY: [r[0] for r in rows],
            C.STRATEGY_ID: [r[1] for r in rows],
            C.CHANNEL: [r[1].partition(".")[0] for r in rows],
            C.STATUS: [r[2] for r in rows],
            C.COST_CENTS: [1] * len(rows),
            C.SENT_AT: [datetime.combine(NIGHT - timedelta(days=back), time(10))] * len(rows),
        }
        write(store, "deliveries", columns, NIGHT - timedelta(days=back))
    keys = pa.array(KEYS)
    assert repeated(NIGHT, DEMO, store, keys) is None
    of = shop(repeats=(Repeat(same="offer", nights=3),))
    found = repeated(NIGHT, of, store, keys)
    assert found is not None
    save10 = np.array([".save10." in one for one in IDS])
    assert np.array_equal(found[0], save10)
    assert np.array_equal(found[1], save10)
    assert not found[2:].any()
    exact = repeated(NIGHT, shop(repeats=(Repeat(same="strategy", nights=4, offers=("save20",)),)), store, keys)
    assert exact is not None
    assert np.argwhere(exact).tolist() == [[3, IDS.index("sms.save20.morning.x1.plain")]]
    assert "deliveries/2026-03-09" in inputs_of(NIGHT, of.strategy, store)
    plan.build(NIGHT, shop(repeats=of.strategy.repeats, explore_percent=100), store, store.root / "staging")
    rows = pq.read_table(store.root / "staging" / "campaign_plan" / "part-00000.parquet").to_pylist()
    assert all(".save10." not in row[C.STRATEGY_ID] + row[C.RUNNER_UP_STRATEGY_ID] for row in rows[:2])


def test_a_period_s_budget_is_what_earlier_nights_left_by_the_worth_of_the_days(store: Store) -> None:
    of = shop(pacing=Pacing(nights=7, budget_cents=7_000), nightly_budget_cents=5_000)
    strategy, told = paced(NIGHT, of, store)  # Wednesday: two of seven nights are over, nothing was spent
    assert (strategy.nightly_budget_cents, told and told["nights_left"]) == (1_400, 5)
    publish_plan(store, NIGHT - timedelta(days=1), 1_000)
    publish_plan(store, NIGHT - timedelta(days=3), 9_000)  # of the period before
    assert paced(NIGHT, of, store)[0].nightly_budget_cents == 1_200
    for back in range(28):
        day = NIGHT - timedelta(days=back)
        sold = 40 if day.weekday() == 3 else 10  # the plan of Wednesday night is sent on Thursday
        write(store, "category_stats", {C.CATEGORY_ID: ["a", "b"], C.N_PURCHASES: [sold, 0]}, day)
    strategy, told = paced(NIGHT, of, store)
    mean = 1 / 7 * 40 + 6 / 7 * 10
    thursday, other = (4 * 40 + mean) / 5, (4 * 10 + mean) / 5
    assert strategy.nightly_budget_cents == int(6_000 * thursday / (thursday + 4 * other))
    assert paced(NIGHT, shop(pacing=of.strategy.pacing, nightly_budget_cents=100), store)[0].nightly_budget_cents == 100
    assert {"campaign_plan/2026-03-09", "campaign_plan/2026-03-10", "category_stats/2026-03-11"} <= set(
        inputs_of(NIGHT, of.strategy, store)
    )
    result = plan.build(NIGHT, of, store, store.root / "staging")
    assert result.pacing == told
    assert result.expected_cost_cents <= result.budget_cents == strategy.nightly_budget_cents


def test_a_standard_error_is_read_where_scores_tell_it_and_the_rule_asks_for_it(store: Store) -> None:
    keys, margin = pa.array(KEYS), np.full(N, 40.0)
    asks = DEMO.strategy.model_copy(update={"uncertainty": Uncertainty(rule="lower_bound")})
    scores = read_scores(NIGHT, store, keys, margin, asks)
    assert scores is not None
    assert scores.sd_cents is not None
    full, save20 = (next(k for k, one in enumerate(IDS) if f".{offer}." in one) for offer in ("none", "save20"))
    assert scores.sd_cents[0, [full, save20]] == pytest.approx(
        [40, 25]
    )  # what of 100 is left of margin 40%, 1 - .6 / .8
    mean = read_scores(NIGHT, store, keys, margin, DEMO.strategy)
    assert mean is not None
    assert mean.sd_cents is None


# -- what if


def test_what_if_solves_the_night_again_and_publishes_nothing(store: Store) -> None:
    of = shop(nightly_budget_cents=40, explore_percent=0, repeats=())
    before = sorted(path for path in store.root.rglob("*.parquet"))
    told = what_if(NIGHT, ["budget=+50%", "capacity:sms=0"], context_of(store, of))
    assert sorted(path for path in store.root.rglob("*.parquet")) == before
    assert (told["as_configured"]["budget_cents"], told["as_asked"]["budget_cents"]) == (40, 60)
    assert told["as_asked"]["profit_cents"] > told["as_configured"]["profit_cents"] > 0
    assert told["as_asked"]["messages"]["sms"] == 0
    points = {point["budget_cents"]: point for point in told["curve"]}
    assert points[60]["profit_cents"] == pytest.approx(told["as_asked"]["profit_cents"], rel=0.02)
    assert points[60]["price"] > 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("budget=lots", "is no change; expected"),
        ("budget=20%", "is no change; expected"),
        ("capacity:fax=3", r"unknown limit 'capacity:fax'; known are budget, capacity:email"),
    ],
)
def test_a_change_that_says_nothing_is_refused(change: str, told: str) -> None:
    with pytest.raises(WrongUseError, match=told):
        changed(DEMO.strategy, [change])


def test_changes_add_scale_and_set_what_they_name() -> None:
    email = DEMO.strategy.channels[0].model_copy(update={"window_capacity": {"evening": 50}})
    strategy = DEMO.strategy.model_copy(update={"channels": (email, *DEMO.strategy.channels[1:])})
    asked = changed(strategy, ["budget=-10%", "budget=+1", "capacity:email.evening=+20%", "capacity:push=7"])
    assert asked.nightly_budget_cents == 13_501
    assert [c.capacity_per_night for c in asked.channels] == [900, 7, 150]
    assert asked.channels[0].window_capacity == {"evening": 60}
    assert changed(strategy, ["budget=-200%"]).nightly_budget_cents == 0


def test_a_night_without_scores_says_that_all_draw_lots(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.partition("strategy_scores", NIGHT) / "part-00000.parquet").unlink()
    with pytest.raises(NoDataError, match=r"strategy_scores is missing, so all customers draw lots"):
        what_if(NIGHT, [], context_of(store, DEMO))


def test_the_command_prints_what_it_found_and_json_alone_where_asked(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ["nightmarket", "plan", "--date", NIGHT.isoformat(), "--what-if", "budget=30"]
    monkeypatch.setattr("sys.argv", [*call, "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code in (0, None)
    assert told["as_asked"]["budget_cents"] == 30
    monkeypatch.setattr("sys.argv", call)
    with pytest.raises(SystemExit):
        cli.main()
    assert "Nothing was published." in capsys.readouterr().out


# -- limits that contradict each other


def test_a_plan_whose_limits_contradict_each_other_is_refused_and_the_published_one_stays(store: Store) -> None:
    asks = shop(
        nightly_budget_cents=40,
        minimums=(Minimum(column="top_brand", value="acme", spend_cents=60),),
        fair_share=FairShare(within_points=50),
    )
    publish_plan(store, NIGHT, 0)
    before = store.inputs("campaign_plan", [NIGHT])
    with pytest.raises(InfeasibleError) as told:
        plan.run(NIGHT, context_of(store, asks))
    assert told.value.exit_code == 1
    assert "\n" not in str(told.value)
    assert str(told.value).startswith(
        "shop demo, 2026-03-11: the plan's limits contradict each other: at most 40 cents in all "
        "(strategy.nightly_budget_cents) and at least 60 cents on customers whose top_brand is acme (strategy.minimums) "
        "cannot hold together; for acme at most 3"
    )
    assert store.inputs("campaign_plan", [NIGHT]) == before


def test_the_plan_keeps_a_minimum_and_tells_what_it_costs(store: Store) -> None:
    asks = shop(nightly_budget_cents=60, minimums=(Minimum(column="top_brand", value="acme", customers=40),))
    result = plan.build(NIGHT, asks, store, store.root / "staging")
    rows = pq.read_table(store.root / "staging" / "campaign_plan" / "part-00000.parquet").to_pylist()
    acme = [row for i, row in enumerate(rows) if i % 2 and row[C.STRATEGY_ID] != "none"]
    assert len(acme) >= 38  # in the mean over lots
    assert result.model is not None
    assert result.model["prices"]["minimum:top_brand=acme"] > 0
    assert result.model["missing"] == {}
    assert [point["budget_cents"] for point in result.budget_curve][-1] == 120


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"channels": [{"id": "email", "cost_cents": -1, "capacity_per_night": 9}]}, "greater than or equal to 0"),
        ({"channels": [{"id": "email", "capacity_per_night": 9}]}, "Field required"),
        (
            {"channels": [{"id": "e", "cost_cents": 1, "capacity_per_night": 9, "window_capacity": {"evning": 3}}]},
            r"window_capacity \['evning'\] are unknown; known are \['any'\]",
        ),
        ({"repeats": [{"same": "offer", "nights": 3, "offers": ["save99"]}]}, r"\['save99'\] are unknown"),
        ({"minimums": [{"column": "top_brand", "value": "acme"}]}, "either spend_cents or customers"),
        (
            {"minimums": [{"column": "top_brand", "value": "acme", "spend_cents": 1 + i} for i in range(2)]},
            "asked for twice",
        ),
    ],
)
def test_limits_that_say_nothing_and_costs_that_are_none_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Strategy.model_validate(settings)


def test_what_a_limit_needs_is_kept_long_enough() -> None:
    values = DEMO.model_dump() | {"retention": {"decisions_nights": 60, "raw_nights": 20, "clean_nights": 90}}
    values["strategy"]["pacing"] = {"nights": 90, "budget_cents": 1}
    with pytest.raises(
        ValidationError, match=r"retention.decisions_nights is 60, but 97 are needed \(strategy.pacing\)"
    ):
        Shop.model_validate(values)
