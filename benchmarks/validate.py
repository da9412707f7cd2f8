"""Ten rules over 5,000,000 events: our audit path (Great Expectations) beside plain DuckDB SQL and pandera.

    python -m benchmarks.validate [--rows 5000000] [--stock]

Makes a clean file and one with known bad rows in a temporary folder, has each contender count the rows that break each
rule, stops if the counts differ, and prints one JSON object: seconds for reading and for checking apart (best of two).
--stock adds Great Expectations as it comes (pandas reader, data source, whole frame): slow, for comparison.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.tables import EVENT_TYPES
from pipelines.suites import DETAIL, PandasBatch, gx_context, named_columns, to_frame

HEX = "^[0-9a-f]{64}$"
KEY = [C.ARRIVAL, C.SOURCE_FILE, C.LINE_NUMBER]
# name -> (expectation, kwargs, the same in SQL, rows of the bad file that break it)
RULES: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "user_key not null": ("column_values_to_not_be_null", {"column": C.USER_KEY}, f"{C.USER_KEY} IS NULL", 3),
    "user_key hex": (
        "column_values_to_match_regex",
        {"column": C.USER_KEY, "regex": HEX},
        f"NOT regexp_matches({C.USER_KEY}, '{HEX}')",
        5,
    ),
    "event_type set": (
        "column_values_to_be_in_set",
        {"column": C.EVENT_TYPE, "value_set": list(EVENT_TYPES)},
        f"{C.EVENT_TYPE} NOT IN {EVENT_TYPES}",
        7,
    ),
    "occurred_at not null": ("column_values_to_not_be_null", {"column": C.OCCURRED_AT}, f"{C.OCCURRED_AT} IS NULL", 2),
    "price range": (
        "column_values_to_be_between",
        {"column": C.PRICE_CENTS, "min_value": 0, "max_value": 10**8},
        f"{C.PRICE_CENTS} NOT BETWEEN 0 AND 100000000",
        11,
    ),
    "quantity range": (
        "column_values_to_be_between",
        {"column": C.QUANTITY, "min_value": 1, "max_value": 1000},
        f"{C.QUANTITY} NOT BETWEEN 1 AND 1000",
        13,
    ),
    "session_id not null": ("column_values_to_not_be_null", {"column": C.SESSION_ID}, f"{C.SESSION_ID} IS NULL", 4),
    "item_id not null": ("column_values_to_not_be_null", {"column": C.ITEM_ID}, f"{C.ITEM_ID} IS NULL", 6),
    "line_number from 1": (
        "column_values_to_be_between",
        {"column": C.LINE_NUMBER, "min_value": 1},
        f"{C.LINE_NUMBER} < 1",
        9,
    ),
    "line unique": ("compound_columns_to_be_unique", {"column_list": KEY, "ignore_row_if": "never"}, "", 16),
}
# Which rows of the bad file are spoilt, as (column, SQL of the bad value, first row, rows).
SPOILT = [
    (C.USER_KEY, "NULL", 100, 3),
    (C.USER_KEY, "'not a key'", 200, 5),
    (C.EVENT_TYPE, "'teleport'", 300, 7),
    (C.OCCURRED_AT, "NULL", 400, 2),
    (C.PRICE_CENTS, "-5", 500, 11),
    (C.QUANTITY, "0", 600, 13),
    (C.SESSION_ID, "NULL", 700, 4),
    (C.ITEM_ID, "NULL", 800, 6),
    (C.LINE_NUMBER, "-i", 900, 9),
    (C.LINE_NUMBER, "1001 + i - 992", 992, 8),  # rows 992 to 999 repeat the lines of rows 1000 to 1007
]


def make(path: Path, rows: int, is_bad: bool) -> None:
    """Events of 200,000 users, in five files of origin; a tenth without a price, most without a quantity."""
    import duckdb

    columns = {
        C.USER_KEY: "sha256((hash(i * 7) % 200000)::VARCHAR)",
        C.SESSION_ID: "left(sha256((hash(i * 7) % 200000)::VARCHAR), 16) || '-' || (i % 9)",
        C.OCCURRED_AT: "TIMESTAMP '2026-03-01' + to_microseconds(i * 17000)",
        C.EVENT_TYPE: "['view', 'view', 'view', 'click', 'cart', 'search', 'purchase'][1 + (hash(i * 3) % 7)::INT]",
        C.ITEM_ID: "(hash(i * 5) % 50000)::VARCHAR",
        C.PRICE_CENTS: "CASE WHEN i % 10 > 0 THEN (hash(i * 11) % 500000)::BIGINT END",
        C.QUANTITY: "CASE WHEN i % 3 = 0 THEN 1 END::BIGINT",
        C.ARRIVAL: "'2026-03-01'",
        C.SOURCE_FILE: "'events-' || (i % 5) || '.jsonl'",
        C.LINE_NUMBER: "i + 1",
    }
    for column, value, first, n in SPOILT if is_bad else []:
        columns[column] = f"CASE WHEN i BETWEEN {first} AND {first + n - 1} THEN {value} ELSE {columns[column]} END"
    if is_bad:  # equal lines need equal files
        columns[C.SOURCE_FILE] = (
            f"CASE WHEN i BETWEEN 992 AND 1007 THEN 'events-0.jsonl' ELSE {columns[C.SOURCE_FILE]} END"
        )
    select = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    duckdb.connect().execute(f"COPY (SELECT {select} FROM range({rows}) r(i)) TO '{path}' (COMPRESSION zstd)")


Counts = dict[str, int]
Run = tuple[float, float, Counts]  # seconds reading, seconds checking, rows per broken rule


def expectations() -> list[Any]:
    from great_expectations.core import ExpectationSuite

    rules = [{"type": f"expect_{kind}", "kwargs": kwargs} for kind, kwargs, _, _ in RULES.values()]
    suite = ExpectationSuite(name="benchmark", expectations=rules)
    assert len(suite.expectations) == len(RULES)
    return suite.expectations


def run_audit(path: Path) -> Run:
    """As pipelines/audit.py does it: yes or no for every rule, then detail for the broken ones."""
    rules = expectations()
    start = time.perf_counter()
    batch = PandasBatch([path], rules)
    read = time.perf_counter()
    broken = [i for i, result in enumerate(batch.check(rules, {"result_format": "BOOLEAN_ONLY"})) if not result.success]
    again = batch.check([rules[i] for i in broken], {**DETAIL, **batch.detail})
    names = list(RULES)
    counts = {names[i]: result.result["unexpected_count"] for i, result in zip(broken, again, strict=True)}
    return read - start, time.perf_counter() - read, counts


def run_stock(path: Path) -> Run:
    """Great Expectations by its own documentation."""
    import pandas as pd

    import great_expectations

    rules = expectations()
    start = time.perf_counter()
    frame = pd.read_parquet(path, columns=sorted(named_columns(rules)))
    read = time.perf_counter()
    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("local").add_dataframe_asset("events")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = great_expectations.ExpectationSuite(name="benchmark", expectations=rules)
    results = batch.validate(suite, result_format="BASIC").results

    def key(config: Any) -> tuple[str, str | None]:
        return config.type, config.kwargs.get("column")

    found = {key(result.expectation_config): result.result["unexpected_count"] for result in results}
    counts = {name: found[key(rule.configuration)] for name, rule in zip(RULES, rules, strict=True)}
    return read - start, time.perf_counter() - read, {name: n for name, n in counts.items() if n}


def run_duckdb(path: Path) -> Run:
    import duckdb

    connection = duckdb.connect()
    columns = ", ".join(sorted(named_columns(expectations())))
    start = time.perf_counter()
    connection.execute(f"CREATE TABLE t AS SELECT {columns} FROM '{path}'")
    read = time.perf_counter()
    simple = {name: sql for name, (_, _, sql, _) in RULES.items() if sql}
    row = connection.execute(
        f"SELECT {', '.join(f'count(*) FILTER ({sql})' for sql in simple.values())} FROM t"
    ).fetchone()
    groups = f"SELECT count(*) AS n FROM t GROUP BY {', '.join(KEY)} HAVING n > 1"
    twice = connection.execute(f"SELECT coalesce(sum(n), 0)::BIGINT FROM ({groups})").fetchone()
    counts = {**dict(zip(simple, row or (), strict=True)), "line unique": (twice or (0,))[0]}
    return read - start, time.perf_counter() - read, {name: n for name, n in counts.items() if n}


def run_pandera(path: Path) -> Run:
    """On the same frame as ours, so that the difference is the library's."""
    import pandera.pandas as pa
    import pyarrow.parquet as pq

    start = time.perf_counter()
    frame = to_frame(pq.read_table(path, columns=sorted(named_columns(expectations())), partitioning=None))
    read = time.perf_counter()
    schema = pa.DataFrameSchema(
        {
            C.USER_KEY: pa.Column(checks=pa.Check.str_matches(HEX)),
            C.EVENT_TYPE: pa.Column(checks=pa.Check.isin(EVENT_TYPES)),
            C.OCCURRED_AT: pa.Column(),
            C.PRICE_CENTS: pa.Column(checks=pa.Check.in_range(0, 10**8), nullable=True),
            C.QUANTITY: pa.Column(checks=pa.Check.in_range(1, 1000), nullable=True),
            C.SESSION_ID: pa.Column(),
            C.ITEM_ID: pa.Column(),
            C.LINE_NUMBER: pa.Column(checks=pa.Check.ge(1)),
        },
        unique=KEY,
    )
    counts: Counts = {}
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        names = {
            (C.USER_KEY, "not_nullable"): "user_key not null",
            (C.USER_KEY, f"str_matches('{HEX}')"): "user_key hex",
            (C.OCCURRED_AT, "not_nullable"): "occurred_at not null",
            (C.SESSION_ID, "not_nullable"): "session_id not null",
            (C.ITEM_ID, "not_nullable"): "item_id not null",
            (C.PRICE_CENTS, f"in_range(0, {10**8})"): "price range",
            (C.QUANTITY, "in_range(1, 1000)"): "quantity range",
            (C.LINE_NUMBER, "greater_than_or_equal_to(1)"): "line_number from 1",
        }
        for (column, check), rows in cases.groupby(["column", "check"], dropna=False)["index"].nunique().items():
            if str(check).startswith("isin"):
                counts["event_type set"] = int(rows)
            elif (column, check) in names:
                counts[names[column, check]] = int(rows)
        together = cases[cases["check"].astype(str).str.startswith("multiple_fields_uniqueness")]
        if len(together):
            counts["line unique"] = int(together["index"].nunique())
    return read - start, time.perf_counter() - read, counts


def measure(run: Callable[[Path], Run], clean: Path, bad: Path) -> dict[str, float]:
    """Checks the counts on both files first; seconds are the best of two."""
    known = {name: n for name, (_, _, _, n) in RULES.items()}
    _, _, found = run(bad)
    if found != known:
        raise SystemExit(f"{run.__name__}: counts differ from the known bad rows: {found} instead of {known}")
    times = {"clean": [run(clean) for _ in range(2)], "bad": [run(bad)]}
    if any(counts for _, _, counts in times["clean"]):
        raise SystemExit(f"{run.__name__}: finds fault with the clean file: {times['clean'][0][2]}")
    return {
        f"{what}_{name}_seconds": round(min(seconds), 3)
        for name, runs in times.items()
        for what, seconds in (("read", [read for read, _, _ in runs]), ("check", [check for _, check, _ in runs]))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--stock", action="store_true", help="also Great Expectations as it comes")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    start = time.perf_counter()
    gx_context()
    loading = time.perf_counter() - start
    runs = {"audit": run_audit, "duckdb_sql": run_duckdb, "pandera": run_pandera}
    if options.stock:
        runs["great_expectations_stock"] = run_stock
    with tempfile.TemporaryDirectory() as folder:
        clean, bad = Path(folder) / "clean.parquet", Path(folder) / "bad.parquet"
        make(clean, options.rows, is_bad=False)
        make(bad, options.rows, is_bad=True)
        contenders = {name: measure(run, clean, bad) for name, run in runs.items()}
        size = clean.stat().st_size
    report = {
        "benchmark": "validate",
        "rows": options.rows,
        "rules": list(RULES),
        "file_mb": round(size / 1e6, 1),
        "agreement": "all contenders count the same rows per rule on both files",
        "library_import_seconds": round(loading, 2),
        "contenders": contenders,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
