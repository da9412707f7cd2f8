"""The plan stage and the plan's export, on a small store that can be checked by hand."""

import csv
import hashlib
import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import plan
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.errors import ConfigError, NoDataError, StorageError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.core.tables import TABLES
from pipelines.export import HEADER, export
from pipelines.strategy.candidates import candidates

NIGHT = date(2026, 3, 1)
N = 300
DEMO = load_shop("demo")


def key(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


KEYS = sorted(key(i) for i in range(N))


def shop(**changes: Any) -> Shop:
    """The demo shop with these settings of its strategy."""
    return DEMO.model_copy(update={"strategy": DEMO.strategy.model_copy(update=changes)})


OPEN = shop(holdout_percent=0, control_percent=0, nightly_budget_cents=10**9)


def write(store: Store, table: str, rows: dict[str, list[Any]]) -> None:
    folder = store.partition(table, NIGHT)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), folder / "part-00000.parquet")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """N customers in three segments; half have bought for 40.00, the rest never; all like category c1."""
    made = Store(tmp_path, "demo")
    orders: list[int | None] = [4_000 if i % 2 else None for i in range(N)]
    write(made, "user_profiles", {C.USER_KEY: KEYS, C.AVG_ORDER_CENTS: orders, C.TOP_CATEGORY_ID: ["c1"] * N})
    write(made, "segments", {C.USER_KEY: KEYS, C.SEGMENT_ID: [i % 3 for i in range(N)]})
    return made


def history(store: Store, **columns: list[Any]) -> None:
    n = len(columns[C.USER_KEY])
    nothing = {C.CHANNEL: ["email"] * n, C.N_DELIVERIES_CAP_WINDOW: [0] * n, C.N_COMPLAINTS: [0] * n}
    write(store, "channel_response", {**nothing, C.IS_SUPPRESSED: [False] * n, **columns})


def planned(store: Store, of: Shop, folder: Path) -> tuple[plan.PlanResult, list[dict[str, Any]]]:
    result = plan.build(NIGHT, of, store, folder)
    return result, pq.read_table(folder / "campaign_plan" / "part-00000.parquet").to_pylist()


def test_the_file_has_the_declared_columns_types_and_order(store: Store, tmp_path: Path) -> None:
    plan.build(NIGHT, DEMO, store, tmp_path / "staging")
    table = pq.read_table(tmp_path / "staging" / "campaign_plan" / "part-00000.parquet")
    names = {"string": "string", "bigint": "int64", "double": "double", "boolean": "bool"}
    declared = {name: names[kind] for name, kind in TABLES["campaign_plan"].columns.items()}
    assert {field.name: str(field.type) for field in table.schema} == declared
    assert table.schema.names == list(declared)
    assert table[C.USER_KEY].to_pylist() == KEYS
    assert {name for name in declared if table[name].null_count} == {
        *(C.EXPECTED_PROFIT_CENTS, C.LOT_EXPECTED_CENTS),  # nobody scored
        *(C.LOT_PROPENSITY, C.LOT_NOTHING_PROPENSITY),  # the holdout draws no lot
        C.ITEM_ID,  # nothing was recommended
    }


def test_a_message_is_about_the_best_item_recommended_to_its_customer_and_lots_are_left_out(
    store: Store, tmp_path: Path
) -> None:
    rows = {
        C.USER_KEY: [KEYS[0]] * 3,
        C.SLOT: [3, 1, 2],
        C.ITEM_ID: ["c", "a", "b"],
        C.IS_EXPLORE: [False, True, False],
    }
    write(store, "recommendations", rows)
    _, told = planned(store, OPEN, tmp_path / "staging")
    assert {row[C.USER_KEY]: row[C.ITEM_ID] for row in told if row[C.ITEM_ID]} == {KEYS[0]: "b"}
    write(store, "recommendations", {**rows, C.USER_KEY: [KEYS[0], KEYS[1], KEYS[1]]})
    nobody = shop(nightly_budget_cents=0)
    assert {row[C.ITEM_ID] for row in planned(store, nobody, tmp_path / "nothing")[1]} == {None}


def test_the_counts_are_those_of_the_rows(store: Store, tmp_path: Path) -> None:
    result, rows = planned(store, DEMO, tmp_path / "staging")
    sent = [row for row in rows if row[C.STRATEGY_ID] != "none"]
    assert result.rows == N
    assert result.treated == len(sent) > 0
    assert result.holdout == sum(row[C.IS_HOLDOUT] for row in rows) > 0
    assert result.control == sum(row[C.BINDING_CONSTRAINT] == "control" for row in rows) > 0
    assert result.cost_cents == sum(row[C.COST_CENTS] for row in rows)
    assert result.cost_cents <= result.expected_cost_cents <= DEMO.strategy.nightly_budget_cents
    assert sum(result.by_constraint.values()) == N
    for channel in DEMO.strategy.channels:
        mine = [row for row in sent if row[C.CHANNEL] == channel.id]
        messages = sum(row[C.FREQUENCY] for row in mine)
        assert result.by_channel[channel.id] == {
            "customers": len(mine),
            "messages": messages,
            "cost_cents": messages * channel.cost_cents,
            "capacity": channel.capacity_per_night,
        }
    json.dumps(result.counts)  # goes into a manifest as it is


def test_a_row_says_what_its_strategy_is_and_a_row_without_one_says_nothing(store: Store, tmp_path: Path) -> None:
    _, rows = planned(store, DEMO, tmp_path / "staging")
    for i, row in enumerate(rows):
        assert row[C.SEGMENT_ID] == i % 3
        parts = (row[C.CHANNEL], row[C.OFFER], row[C.SEND_WINDOW], f"x{row[C.FREQUENCY]}", row[C.CREATIVE_STYLE])
        if row[C.STRATEGY_ID] == "none":
            assert parts == ("", "", "", "x0", "")
            assert (row[C.COST_CENTS], row[C.DISCOUNT_PERCENT]) == (0, 0)
        else:
            assert row[C.STRATEGY_ID] == ".".join(parts)
        if row[C.IS_HOLDOUT]:
            assert (row[C.STRATEGY_ID], row[C.PROPENSITY], row[C.BINDING_CONSTRAINT]) == ("none", 1.0, "holdout")
        assert row[C.WHY]


def test_the_same_night_writes_the_same_bytes(store: Store, tmp_path: Path) -> None:
    texts = []
    for folder in ("one", "two"):
        plan.build(NIGHT, DEMO, store, tmp_path / folder)
        texts.append((tmp_path / folder / "campaign_plan" / "part-00000.parquet").read_bytes())
    assert texts[0] == texts[1]


def test_deliveries_complaints_and_unsubscribes_of_the_customer_count(store: Store, tmp_path: Path) -> None:
    capped, resting, gone, stranger = KEYS[0], KEYS[1], KEYS[2], "f" * 64
    history(
        store,
        **{
            C.USER_KEY: [capped, resting, gone, stranger] * 3,
            C.CHANNEL: ["email"] * 4 + ["push"] * 4 + ["sms"] * 4,
            C.N_DELIVERIES_CAP_WINDOW: [9, 0, 0, 9] * 3,
            C.N_COMPLAINTS: [0, 1, 0, 0] * 3,
            C.IS_SUPPRESSED: [False, True, True, True] * 3,
        },
    )
    _, rows = planned(store, OPEN, tmp_path / "staging")
    assert len(rows) == N
    assert [row[C.BINDING_CONSTRAINT] for row in rows[:3]] == ["frequency_cap", "complaint_rest", "no_consent"]
    assert [row[C.STRATEGY_ID] for row in rows[:3]] == ["none"] * 3
    assert all(row[C.N_ALLOWED] == 46 for row in rows[3:])


def test_a_limit_on_one_channel_leaves_the_others(store: Store, tmp_path: Path) -> None:
    history(store, **{C.USER_KEY: KEYS, C.CHANNEL: ["email"] * N, C.IS_SUPPRESSED: [True] * N})
    result, rows = planned(store, OPEN, tmp_path / "staging")
    assert result.by_channel["email"]["customers"] == 0
    assert result.by_channel["push"]["customers"] > 0
    assert {row[C.N_ALLOWED] for row in rows} == {26}  # 20 of email are gone


def delivered(
    store: Store, sent_ago: int, keys: list[str], status: str = "delivered", told_ago: int | None = None
) -> None:
    """Deliveries sent some nights ago, told on that night or a later one."""
    folder = store.partition("deliveries", NIGHT - timedelta(days=sent_ago if told_ago is None else told_ago))
    folder.mkdir(parents=True)
    at = datetime.combine(NIGHT - timedelta(days=sent_ago), time(10))
    rows = {
        C.DELIVERY_ID: [f"{key} {sent_ago}" for key in keys], C.USER_KEY: keys,
        C.STRATEGY_ID: ["email.none.morning.x1.plain"] * len(keys), C.STATUS: [status] * len(keys),
        C.COST_CENTS: [1] * len(keys), C.SENT_AT: [at] * len(keys),
    }  # fmt: skip
    pq.write_table(pa.table(rows), folder / "part-00000.parquet")


def test_who_was_written_to_rests_on_all_channels(store: Store, tmp_path: Path) -> None:
    delivered(store, 0, [KEYS[0], "f" * 64])
    delivered(store, 1, [KEYS[1]])
    delivered(store, 2, [KEYS[2]])
    of = shop(holdout_percent=0, control_percent=0, nightly_budget_cents=10**9, rest_nights=2)
    _, rows = planned(store, of, tmp_path / "staging")
    assert [(row[C.BINDING_CONSTRAINT], row[C.N_ALLOWED]) for row in rows[:2]] == [("frequency_cap", 0)] * 2
    assert all(row[C.N_ALLOWED] == 46 for row in rows[2:])
    _, rows = planned(store, shop(holdout_percent=0, rest_nights=0), tmp_path / "none")
    assert all(row[C.N_ALLOWED] == 46 for row in rows)


def test_rest_is_counted_from_the_night_of_the_message_however_late_it_is_told(store: Store, tmp_path: Path) -> None:
    delivered(store, 2, [KEYS[0]], told_ago=0)
    delivered(store, 3, [KEYS[1]], told_ago=1)
    of = shop(holdout_percent=0, control_percent=0, nightly_budget_cents=10**9, rest_nights=3)
    _, rows = planned(store, of, tmp_path / "three")
    assert [row[C.N_ALLOWED] for row in rows[:3]] == [0, 46, 46]
    _, rows = planned(store, shop(holdout_percent=0, rest_nights=2), tmp_path / "two")
    assert all(row[C.N_ALLOWED] == 46 for row in rows)


def test_a_bounced_message_needs_no_rest(store: Store, tmp_path: Path) -> None:
    delivered(store, 0, KEYS[:1], "bounced")
    delivered(store, 1, KEYS[1:2], "skipped")
    _, rows = planned(store, shop(holdout_percent=0, rest_nights=2), tmp_path / "staging")
    assert all(row[C.N_ALLOWED] == 46 for row in rows)


@pytest.mark.parametrize(
    ("prices", "costs", "deepest"),
    [
        ([1_000, 3_000], [600, 2_400], 20),  # 25% together: 20% off leaves 6.25%
        ([1_000, 3_000], [800, 2_400], 10),  # 20%: 10% off leaves 11%, 20% off nothing
        ([1_000, 3_000], [None, 2_900], 0),  # 3% of the only item that tells, below the floor without any discount
        ([1_000, 3_000], [None, None], 20),  # nothing told: the default of 30%
    ],
)
def test_discounts_leave_the_margin_of_the_category(
    store: Store, tmp_path: Path, prices: list[int], costs: list[int | None], deepest: int
) -> None:
    rows = {C.CATEGORY_ID: ["c1", "c1", "c2"], C.PRICE_CENTS: [*prices, 1_000], C.UNIT_COST_CENTS: [*costs, 999]}
    write(store, "catalog", rows)
    result, planned_rows = planned(store, OPEN, tmp_path / "staging")
    assert max(row[C.DISCOUNT_PERCENT] for row in planned_rows) == deepest
    if deepest == 0:
        assert result.by_constraint == {"margin_floor": N}


# -- with scores

STRATEGIES = [candidate.strategy_id for candidate in candidates(DEMO.strategy)]
WARM, PLAIN = "email.none.evening.x1.warm", "email.none.evening.x1.plain"


def score(
    store: Store,
    lift: dict[str, float],
    users: list[str] = KEYS,
    version: str = "3",
    later: dict[str, float] | None = None,
) -> None:
    """Scores of all strategies: who is sent one spends 10.00 expected, `lift` of it (cents) because of it, else 0. `later`:
    cents of later nights; None: scores of before there was such a column."""
    pairs = sorted((user, name) for user in users for name in STRATEGIES)
    zeros = [0.0] * len(pairs)
    rows: dict[str, list[Any]] = {
        C.USER_KEY: [user for user, _ in pairs],
        C.STRATEGY_ID: [name for _, name in pairs],
        **dict.fromkeys((C.P_CLICK, C.P_CONVERSION, C.P_COMPLAINT, C.LIFT_CONVERSION), zeros),
        C.SPEND_CENTS: [1_000.0] * len(pairs),
        C.LIFT_SPEND_CENTS: [lift.get(name, 0.0) for _, name in pairs],
        C.MODEL_NAME: ["demo-effect"] * len(pairs),
        C.MODEL_VERSION: [version] * len(pairs),
    }
    if later is not None:
        rows[C.LONG_RUN_CENTS] = pa.array([later.get(name) for _, name in pairs], pa.float64())
    write(store, "strategy_scores", rows)


def test_with_scores_most_customers_get_what_earns_most_and_the_rows_name_the_model(
    store: Store, tmp_path: Path
) -> None:
    score(store, {WARM: 100, PLAIN: 50})
    of = OPEN.model_copy(update={"strategy": OPEN.strategy.model_copy(update={"explore_percent": 20})})
    result, rows = planned(store, of, tmp_path / "staging")
    best = [row for row in rows if row[C.WHY].startswith("exploit")]
    assert N - len(best) == result.by_lot in range(50, 71)
    assert {row[C.STRATEGY_ID] for row in best} == {WARM}
    assert {row[C.RUNNER_UP_STRATEGY_ID] for row in best} == {PLAIN}
    assert {row[C.EXPECTED_PROFIT_CENTS] for row in best} == {29.0}  # 30% of 1.00, less a cent for the message
    assert {(row[C.MODEL_NAME], row[C.MODEL_VERSION]) for row in rows} == {("demo-effect", "3")}
    assert all(0.8 < row[C.PROPENSITY] < 0.81 for row in best)
    assert result.model is not None
    assert (result.model["name"], result.model["version"]) == ("demo-effect", "3")
    assert result.model["expected_profit_cents"] == pytest.approx(sum(row[C.EXPECTED_PROFIT_CENTS] for row in rows))
    assert 0 <= result.model["gap"] < 1e-3
    json.dumps(result.counts)


def test_a_lot_s_row_tells_what_was_expected_of_what_the_lot_might_send(store: Store, tmp_path: Path) -> None:
    score(store, dict.fromkeys(STRATEGIES, 100.0))
    history(store, **{C.USER_KEY: KEYS, C.CHANNEL: ["sms"] * N, C.IS_SUPPRESSED: [True] * N})
    of = OPEN.model_copy(update={"strategy": OPEN.strategy.model_copy(update={"explore_percent": 20})})
    _, rows = planned(store, of, tmp_path / "staging")
    is_lot = [C.LOT_PROPENSITY in row and row[C.LOT_PROPENSITY] is not None for row in rows]
    assert [row[C.LOT_EXPECTED_CENTS] is not None for row in rows] == is_lot
    profit = [
        1_000 * (1 - 0.7 / (1 - one.discount_percent / 100)) - 900 * 0.3 - one.message_cost_cents
        for one in candidates(DEMO.strategy)
        if one.channel != "sms"
    ]
    told = {round(row[C.LOT_EXPECTED_CENTS], 3) for row in rows if row[C.LOT_EXPECTED_CENTS] is not None}
    assert told == {round(sum(profit) / len(profit), 3)}


def test_what_later_nights_bring_or_cost_counts_and_is_told(store: Store, tmp_path: Path) -> None:
    score(store, {WARM: 100, PLAIN: 90})
    before = planned(store, OPEN, tmp_path / "before")
    score(store, {WARM: 100, PLAIN: 90}, later={WARM: -8.0, PLAIN: -2.0})
    result, rows = planned(store, OPEN, tmp_path / "later")
    best = [row for row in rows if row[C.WHY].startswith("exploit")]
    assert {row[C.STRATEGY_ID] for row in best} == {PLAIN}  # 27 - 1 - 2 = 24 beats 30 - 1 - 8 = 21
    assert {row[C.EXPECTED_PROFIT_CENTS] for row in best} == {24.0}
    assert result.model is not None
    assert result.model["later_cents"] == -2.0 * len(best) - sum(
        {WARM: 8.0, PLAIN: 2.0}.get(row[C.STRATEGY_ID], 0.0) for row in rows if not row[C.WHY].startswith("exploit")
    )
    assert not any("later nights" in row[C.WHY] for row in rows)  # 2 of 24 cents: little of it
    score(store, {WARM: 100, PLAIN: 90}, later=dict.fromkeys(STRATEGIES, -26.0))
    _, rows = planned(store, OPEN, tmp_path / "more")
    told = {row[C.WHY].partition(";")[2] for row in rows if row[C.WHY].startswith("exploit")}
    assert told == {" 26.0 cents that it costs in later nights are taken off"}
    score(store, {WARM: 100, PLAIN: 90}, later=dict.fromkeys(STRATEGIES, -40.0))
    _, rows = planned(store, OPEN, tmp_path / "most")
    nothing = {row[C.WHY] for row in rows if row[C.WHY].startswith("exploit")}
    assert len(nothing) == 1
    assert nothing.pop().endswith("expected to earn more than it costs; later nights counted")
    score(store, {WARM: 100, PLAIN: 90}, later={})  # a column of nulls is no column
    assert planned(store, OPEN, tmp_path / "nulls") == before
    assert (tmp_path / "nulls/campaign_plan/part-00000.parquet").read_bytes() == (
        tmp_path / "before/campaign_plan/part-00000.parquet"
    ).read_bytes()


def test_without_scores_all_is_drawn_by_lot_and_the_rows_say_why(store: Store, tmp_path: Path) -> None:
    result, rows = planned(store, DEMO, tmp_path / "staging")
    assert result.model is None
    assert result.by_lot == N - result.holdout
    assert all(row[C.WHY].startswith(("no champion: explore: ", "holdout: ")) for row in rows)
    assert {(row[C.MODEL_NAME], row[C.MODEL_VERSION], row[C.EXPECTED_PROFIT_CENTS]) for row in rows} == {("", "", None)}


def test_scores_of_the_baseline_are_used_and_the_rows_say_that_there_was_no_champion(
    store: Store, tmp_path: Path
) -> None:
    score(store, {WARM: 100}, version="none")
    _, rows = planned(store, OPEN, tmp_path / "staging")
    told = {" ".join(row[C.WHY].split()[:6]) for row in rows}
    assert told == {"no champion: the baseline scored: exploit:", "no champion: the baseline scored: explore:"}


def test_customers_without_a_score_are_decided_by_lot_only_and_strangers_scores_are_left_out(
    store: Store, tmp_path: Path
) -> None:
    score(store, {WARM: 100}, users=[*KEYS[: N // 2], "f" * 64])
    _, rows = planned(store, shop(holdout_percent=0, nightly_budget_cents=10**9), tmp_path / "staging")
    assert len(rows) == N
    unscored = [row for row in rows[N // 2 :] if row[C.WHY].startswith("exploit")]
    assert unscored
    assert {(row[C.STRATEGY_ID], row[C.BINDING_CONSTRAINT]) for row in unscored} == {("none", "no_profit")}


def test_scores_in_several_files_are_read_as_one_table(store: Store, tmp_path: Path) -> None:
    score(store, {WARM: 100})
    _, before = planned(store, OPEN, tmp_path / "one")
    whole = store.partition("strategy_scores", NIGHT) / "part-00000.parquet"
    table = pq.read_table(whole, partitioning=None)
    pq.write_table(table.slice(0, 5_000), whole)
    pq.write_table(table.slice(5_000), whole.with_name("part-00001.parquet"), row_group_size=700)
    assert planned(store, OPEN, tmp_path / "two")[1] == before


def test_a_night_that_two_models_scored_is_refused(store: Store, tmp_path: Path) -> None:
    score(store, {WARM: 100})
    one = store.partition("strategy_scores", NIGHT) / "part-00000.parquet"
    table = pq.read_table(one, partitioning=None)
    other = table.set_column(table.schema.get_field_index(C.MODEL_VERSION), C.MODEL_VERSION, [["4"] * len(table)])
    pq.write_table(other, one.with_name("part-00001.parquet"))
    with pytest.raises(NoDataError, match=r"several models.*score the night again"):
        plan.build(NIGHT, DEMO, store, tmp_path / "staging")


def test_scores_change_the_plan_s_lineage(store: Store) -> None:
    assert "strategy_scores" in plan.INPUTS
    assert store.inputs("strategy_scores", [NIGHT]) == {"strategy_scores/2026-03-01": "absent"}


def test_missing_features_are_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"user_profiles.*run the features stage first"):
        plan.build(NIGHT, DEMO, Store(tmp_path, "demo"), tmp_path / "staging")
    assert not (tmp_path / "staging").exists()


def test_segments_of_other_customers_are_refused(store: Store, tmp_path: Path) -> None:
    write(store, "segments", {C.USER_KEY: KEYS[1:], C.SEGMENT_ID: [0] * (N - 1)})
    with pytest.raises(NoDataError, match="differ in customers"):
        plan.build(NIGHT, DEMO, store, tmp_path / "staging")


def test_a_night_without_customers_is_an_empty_plan(tmp_path: Path) -> None:
    store = Store(tmp_path, "demo")
    text, number = pa.array([], pa.string()), pa.array([], pa.int64())
    write(store, "user_profiles", {C.USER_KEY: text, C.AVG_ORDER_CENTS: number, C.TOP_CATEGORY_ID: text})
    write(store, "segments", {C.USER_KEY: text, C.SEGMENT_ID: number})
    result, rows = planned(store, DEMO, tmp_path / "staging")
    assert (result.rows, rows, result.by_constraint) == (0, [], {})


# -- export


Published = tuple[dict[str, Any], Path, list[dict[str, Any]]]


@pytest.fixture
def published(store: Store, tmp_path: Path) -> Callable[[Shop], Published]:
    def publish(of: Shop) -> Published:
        _, rows = planned(store, of, tmp_path / "staging")
        source = tmp_path / "staging" / "campaign_plan" / "part-00000.parquet"
        return export(source, of, NIGHT, tmp_path / "out" / "plan"), tmp_path / "out" / "plan", rows

    return publish


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_channel_has_a_file_and_together_they_are_the_plan(published: Callable[[Shop], Published]) -> None:
    manifest, folder, rows = published(DEMO)
    sent = {row[C.USER_KEY]: row for row in rows if row[C.STRATEGY_ID] != "none"}
    lines = [line for channel in DEMO.strategy.channels for line in read(folder / f"{channel.id}.csv")]
    assert {line["user_key"] for line in lines} == set(sent)
    assert len(lines) == len(sent)
    windows = {window.id: window for window in DEMO.strategy.send_windows}
    for line in lines:
        row = sent[line["user_key"]]
        for name in (C.STRATEGY_ID, C.OFFER, C.CHANNEL, C.SEND_WINDOW, C.CREATIVE_STYLE):
            assert line[name] == row[name]
        assert (int(line[C.FREQUENCY]), int(line[C.DISCOUNT_PERCENT])) == (row[C.FREQUENCY], row[C.DISCOUNT_PERCENT])
        assert float(line[C.PROPENSITY]) == row[C.PROPENSITY]  # every bit of it
        assert int(line["from_hour"]) == windows[line[C.SEND_WINDOW]].from_hour
        assert int(line["to_hour"]) == windows[line[C.SEND_WINDOW]].to_hour
        assert int(line["from_hour"]) <= int(line[C.SEND_HOUR]) < int(line["to_hour"])
    for channel in DEMO.strategy.channels:
        keys = [line["user_key"] for line in read(folder / f"{channel.id}.csv")]
        assert keys == sorted(keys)
    assert manifest["shop"] == "demo"


def test_the_manifest_names_every_file_with_its_rows_and_hash(published: Callable[[Shop], Published]) -> None:
    manifest, folder, _ = published(DEMO)
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert manifest["night"] == "2026-03-01"
    assert sorted(p.name for p in folder.iterdir()) == ["email.csv", "manifest.json", "push.csv", "sms.csv"]
    for name, told in manifest["files"].items():
        assert told["rows"] == len(read(folder / name))
        assert told["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_a_channel_without_rows_has_a_file_with_the_header_alone(published: Callable[[Shop], Published]) -> None:
    manifest, folder, _ = published(shop(nightly_budget_cents=0))
    assert (folder / "sms.csv").read_text() == ",".join(HEADER) + "\n"
    assert manifest["files"]["sms.csv"]["rows"] == 0


def test_a_new_export_replaces_the_old_one_whole(published: Callable[[Shop], Published]) -> None:
    _, folder, _ = published(DEMO)
    (folder / "left-over.csv").write_text("from an older configuration")
    staged = folder.with_name(f".{folder.name}.staged")
    staged.mkdir()
    (staged / "half-written.csv").write_text("of a process that died")
    published(DEMO)
    assert sorted(p.name for p in folder.iterdir()) == ["email.csv", "manifest.json", "push.csv", "sms.csv"]
    assert [p.name for p in folder.parent.iterdir()] == ["plan"]


def test_the_same_plan_exports_the_same_bytes(published: Callable[[Shop], Published]) -> None:
    _, folder, _ = published(DEMO)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    published(DEMO)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_texts_with_commas_quotes_and_chinese_come_back_as_they_were(published: Callable[[Shop], Published]) -> None:
    text = '10% off, "just for you" – 限时优惠'
    offers = tuple(offer.model_copy(update={"text": text}) for offer in DEMO.strategy.offers)
    _, folder, _ = published(shop(offers=offers))
    assert {line["offer_text"] for line in read(folder / "email.csv")} == {text}


def test_text_that_a_spreadsheet_would_run_is_refused_before_anything_is_written(
    published: Callable[[Shop], Published], tmp_path: Path
) -> None:
    offers = tuple(offer.model_copy(update={"text": "=HYPERLINK(1)"}) for offer in DEMO.strategy.offers)
    with pytest.raises(ConfigError, match="text of 'none'"):
        published(shop(offers=offers))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (C.USER_KEY, "=cmd|'/c calc'!A1", "not 64 hex digits"),
        (C.USER_KEY, "customer-4711", "not 64 hex digits"),
        (C.STRATEGY_ID, "=1+1", "not in the configuration"),
        (C.STRATEGY_ID, "email.gone.evening.x1.warm", "not in the configuration"),
    ],
)
def test_a_plan_with_foreign_ids_is_not_exported(tmp_path: Path, column: str, value: str, told: str) -> None:
    row: dict[str, Any] = {
        C.USER_KEY: key(1),
        C.STRATEGY_ID: "email.none.evening.x1.warm",
        C.CHANNEL: "email",
        C.ITEM_ID: "i1",
        C.SEND_HOUR: 19,
        C.PROPENSITY: 0.5,
    }
    source = tmp_path / "plan.parquet"
    pq.write_table(pa.Table.from_pylist([row]), source)
    export(source, DEMO, NIGHT, tmp_path / "good")
    pq.write_table(pa.Table.from_pylist([{**row, column: value}]), source)
    with pytest.raises(StorageError, match=told):
        export(source, DEMO, NIGHT, tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    row = {C.USER_KEY: [key(1)], C.STRATEGY_ID: ["email.none.evening.x1.warm"], C.CHANNEL: ["email"]}
    source = tmp_path / "plan.parquet"
    pq.write_table(pa.table({**row, C.ITEM_ID: ["i1"], C.SEND_HOUR: [19], C.PROPENSITY: [0.5]}), source)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        export(source, DEMO, NIGHT, tmp_path / "file" / "plan")
    assert "\n" not in str(caught.value)
