"""Suites of great_expectations/: each fits its table, passes good rows, and each rule catches what breaks it."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit import AuditResult, audit
from pipelines.core.columns import Columns as C
from pipelines.core.tables import BIGINT, BOOLEAN, DOUBLE, STRING, TABLES, TIMESTAMP, Table
from pipelines.suites import SUITES, PandasBatch, columns_of, load_suite

ARROW = {
    STRING: pa.string(),
    BIGINT: pa.int64(),
    DOUBLE: pa.float64(),
    BOOLEAN: pa.bool_(),
    TIMESTAMP: pa.timestamp("us"),
}
N = 12
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC).replace(tzinfo=None)
BY_SUITE = {table.suite: table for table in reversed(TABLES.values())}  # of the raw tables: raw_events

# Good values of the columns that a rule limits: row -> value. All others follow their type.
GOOD: dict[str, Any] = {
    C.ARRIVAL: lambda i: "2026-03-01",
    C.LINE_NUMBER: lambda i: i + 1,
    C.REASON: lambda i: "bad_price",
    C.USER_KEY: lambda i: f"{i:064x}",
    C.EVENT_TYPE: lambda i: ("view", "search", "click", "purchase")[i % 4],
    C.RATING: lambda i: 1 + i % 5,
    C.LANGUAGE: lambda i: ("en", "zh", "other")[i % 3],
    C.MOOD: lambda i: ("negative", "neutral", "positive")[i % 3],
    C.SENDER: lambda i: ("customer", "agent")[i % 2],
    C.STATUS: lambda i: ("delivered", "bounced", "skipped")[i % 3],
    C.OUTCOME: lambda i: ("click", "purchase", "complaint", "unsubscribe")[i % 4],
    C.ENDED_AT: lambda i: MIDNIGHT + timedelta(minutes=i + 1),
    C.N_EVENTS: lambda i: 9,
    C.PRICE_BAND: lambda i: ("low", "mid", "high", "unknown")[i % 4],
    C.N_DELIVERIES: lambda i: 5,
    C.N_DELIVERIES_CAP_WINDOW: lambda i: 2,
    C.ITEM_A: lambda i: f"a{i}",
    C.ITEM_B: lambda i: f"b{i}",
    C.SEGMENT_ID: lambda i: i,
    C.IS_HOLDOUT: lambda i: i % 3 == 0,
    C.STRATEGY_ID: lambda i: "none" if i % 3 == 0 else "save10/email/morning/1/plain",
    C.COST_CENTS: lambda i: 0 if i % 3 == 0 else 2,
    C.SEND_HOUR: lambda i: -1 if i % 3 == 0 else 9,
    C.MODEL_NAME: lambda i: "" if i % 3 == 1 else "demo-effect",
    C.LOT_PROPENSITY: lambda i: None if i % 3 == 0 else 0.25,
    C.LOT_NOTHING_PROPENSITY: lambda i: 0.5,
    C.LOT_EXPECTED_CENTS: lambda i: 2.5 if i % 3 == 2 else None,
    C.EXPERIMENT_ARMS: lambda i: "" if i % 3 == 0 else "words=warm",
    C.EXPERIMENT: lambda i: f"experiment {i}",
    C.ROLE: lambda i: ("primary", "secondary", "guardrail")[i % 3],
    C.STATE: lambda i: ("better", "open", "held")[i % 3],
    C.GUARDRAIL: lambda i: ("none", "margin_floor", "step", "parity")[i % 4],
    C.REASON_CODE: lambda i: "lot",
    C.SLOT: lambda i: i + 1,
    C.RELATION: lambda i: ("substitute", "complement", "related")[i % 3],
    C.LIFT_LOW: lambda i: 1.5,
    C.SOURCE: lambda i: ("own", "together", "lot")[i % 3],
    C.RUNNER_UP_SOURCE: lambda i: "popular",
    C.FIRST_NIGHT: lambda i: "2026-03-01",
    C.SCOPE: lambda i: ("item", "alert")[i % 2],
    C.SIDE: lambda i: ("pro", "con")[i % 2],
    C.METHOD: lambda i: ("seasonal_naive", "mean", "smoothing")[i % 3],
    C.EXPECTED_PROFIT_CENTS: lambda i: (0.0, None, 12.5)[i % 3],  # without a model nothing is expected
    C.CREATIVE_ID: lambda i: f"{i:016x}",
    C.BRIEF_ID: lambda i: f"{i:016x}",
    C.LANGUAGE: lambda i: ("en", "zh")[i % 2],
}
# Where two tables have a column of one name and other values in it.
GOOD_OF: dict[str, dict[str, Any]] = {
    "creatives": {C.STATUS: lambda i: ("clean", "held", "approved", "rejected")[i % 4]},
}
BY_TYPE: dict[str, Any] = {
    STRING: lambda i: f"text {i}",
    BIGINT: lambda i: 1,
    DOUBLE: lambda i: 0.5,
    BOOLEAN: lambda i: False,
    TIMESTAMP: lambda i: MIDNIGHT + timedelta(minutes=i),
}


def good_rows(table: Table) -> dict[str, list[Any]]:
    fallback = {**BY_TYPE, "array<double>": lambda i: [0.5, 0.25]}
    good = GOOD | GOOD_OF.get(table.name, {})
    rows = {name: [good.get(name, fallback[kind])(i) for i in range(N)] for name, kind in table.columns.items()}
    if table.name == "campaign_plan":  # nothing is sent, so it is about nothing
        rows[C.ITEM_ID] = [None if sent == "none" else "item 7" for sent in rows[C.STRATEGY_ID]]
    if table.name == "item_attributes":
        rows[C.SOURCE] = ["title"] * N
    if table.name in ("bundles", "item_relations"):
        rows[C.RANK] = list(range(1, N + 1))
    return rows


def write(table: Table, rows: dict[str, list[Any]], path: Path) -> Path:
    kinds = {**ARROW, "array<double>": pa.list_(pa.float64())}
    columns = {name: pa.array(values, kinds[table.columns.get(name, STRING)]) for name, values in rows.items()}
    pq.write_table(pa.table(columns), path)
    return path


def judge(table: Table, rows: dict[str, list[Any]], folder: Path) -> AuditResult:
    return audit(
        table.name, [write(table, rows, folder / "part.parquet")], docs=folder / "docs", failures=folder / "bad"
    )


@cache
def rules(suite: str) -> list[dict[str, Any]]:
    return json.loads((SUITES / "expectations" / f"{suite}.json").read_text())["expectations"]


EVERY_RULE = [
    pytest.param(suite, place, id=f"{suite}-{place}-{'+'.join(columns_of(rule['kwargs'])) or 'columns'}")
    for suite in sorted(BY_SUITE)
    for place, rule in enumerate(rules(suite))
]


def where(rule: dict[str, Any], rows: dict[str, list[Any]]) -> int:
    """The first row that the rule is about."""
    condition = rule["kwargs"].get("row_condition")
    if not condition:
        return 0
    meets = {"==": lambda v, p: v == p, "!=": lambda v, p: v != p, "IN": lambda v, p: v in p}[condition["operator"]]
    values = rows[condition["column"]["name"]]
    return next(i for i, value in enumerate(values) if meets(value, condition["parameter"]))


def break_rule(rule: dict[str, Any], rows: dict[str, list[Any]]) -> None:
    """Changes as little as the rule allows: one cell, two keys made equal, or one column more."""
    kind, kwargs, row = rule["type"], rule["kwargs"], where(rule, rows)
    column = kwargs.get("column", kwargs.get("column_A"))
    if kind == "expect_table_columns_to_match_set":
        rows["surprise"] = ["text"] * N
    elif kind == "expect_column_values_to_not_be_null":
        rows[column][row] = None
    elif kind == "expect_column_values_to_be_null":
        rows[column][row] = "what should not be" if column == C.ITEM_ID else 12.5
    elif kind == "expect_column_values_to_be_unique":
        rows[column][1] = rows[column][0]
    elif kind == "expect_compound_columns_to_be_unique":
        for name in kwargs["column_list"]:
            rows[name][1] = rows[name][0]
    elif kind == "expect_column_values_to_match_regex":
        rows[column][row] = "Z!"
    elif kind == "expect_column_values_to_be_in_set":
        rows[column][row] = "no such word" if isinstance(kwargs["value_set"][0], str) else 77
    elif kind == "expect_column_values_to_not_be_in_set":
        rows[column][row] = kwargs["value_set"][0]
    elif kind == "expect_column_pair_values_a_to_be_greater_than_b":
        rows[column][row] = rows[kwargs["column_B"]][row]
        if kwargs["or_equal"]:
            smaller = {int: lambda v: v - 1, float: lambda v: v - 0.1, datetime: lambda v: v - timedelta(seconds=1)}
            rows[column][row] = smaller[type(rows[column][row])](rows[column][row])
    elif kind == "expect_column_values_to_be_between":
        low = kwargs.get("min_value")
        if isinstance(low, str):
            rows[column][row] = datetime(1999, 12, 31)
        elif isinstance(rows[column][row], list):
            rows[column][row] = rows[column][row][:1]
        else:
            rows[column][row] = low if kwargs.get("strict_min") else low - 1
    else:
        raise AssertionError(f"no way to break {kind}: teach this test one")


def test_every_table_has_a_suite_and_every_suite_a_table() -> None:
    assert {path.stem for path in (SUITES / "expectations").glob("*.json")} == set(BY_SUITE)


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_a_suite_names_only_columns_of_its_table_and_all_of_them_in_the_schema_rule(table: Table) -> None:
    schema, *others = rules(table.suite)
    assert schema["kwargs"] == {"column_set": list(table.columns), "exact_match": True}
    assert {name for rule in others for name in columns_of(rule["kwargs"])} <= set(table.columns)


@pytest.mark.parametrize("suite", sorted(BY_SUITE))
def test_a_suite_passes_good_rows(suite: str, tmp_path: Path) -> None:
    result = judge(BY_SUITE[suite], good_rows(BY_SUITE[suite]), tmp_path)
    assert (result.failures, result.success, result.n_expectations) == ([], True, len(rules(suite)))


@pytest.mark.parametrize("suite", sorted(BY_SUITE))
def test_a_suite_passes_a_partition_without_rows(suite: str, tmp_path: Path) -> None:
    table = BY_SUITE[suite]
    assert judge(table, {name: [] for name in table.columns}, tmp_path).failures == []


@pytest.mark.parametrize(("suite", "place"), EVERY_RULE)
def test_a_rule_catches_what_breaks_it(suite: str, place: int, tmp_path: Path) -> None:
    table, rule = BY_SUITE[suite], rules(suite)[place]
    rows = good_rows(table)
    break_rule(rule, rows)
    loaded = [load_suite(suite).expectations[place]]
    [result] = PandasBatch([write(table, rows, tmp_path / "part.parquet")], loaded).check(
        loaded, {"result_format": "BASIC"}
    )
    assert not result.success
    assert loaded[0].expectation_type == rule["type"]
    assert not result.exception_info["raised_exception"], result.exception_info
    assert result.result.get("unexpected_count", 1) in (1, 2)  # just the broken cell, or the two equal keys


@pytest.mark.parametrize("column", [C.LINE_NUMBER, C.SOURCE_FILE])
def test_raw_tables_share_one_suite(column: str) -> None:
    assert all(column in table.columns for table in TABLES.values() if table.suite == "raw_lines")
