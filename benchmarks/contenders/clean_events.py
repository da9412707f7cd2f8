"""One contender of benchmarks/clean_events.py in a process of its own: cleans a CSV file into an empty folder.

    python benchmarks/contenders/clean_events.py NAME FILE.csv OUT_FOLDER MEMORY_GB

Writes OUT_FOLDER/events/*.parquet and, where it accounts for every line, OUT_FOLDER/quarantine/*.parquet. All follow
the same rules: a good line has six cells, none empty, a known type, a price and whole seconds; lines that are equal in
all cells are one event; a session ends with more than 30 minutes of silence.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2
DAY = "2026-03-01"
GAP_S = 1800
TYPES = ("view", "cart", "favorite", "purchase")
COLUMNS = ("user_id", "event_type", "item_id", "category_id", "price", "seconds")
OUTPUT = "user_id, session_number, occurred_at, event_type, item_id, category_id, price_cents"


# Ours: the functions that the night's jobs are made of -------------------------------------------------------------


def _ours(engine_name: str, csv: Path, out: Path, memory_gb: float) -> None:
    """Every line is accounted for: clean, duplicate, or quarantined with reason, line number and text."""
    from datetime import date

    from pipelines import land
    from pipelines.core.columns import Columns as C
    from pipelines.core.shop import Shop, Source
    from spark_jobs import events as ev
    from spark_jobs.parse import OCCURRED_US, Format, cents, micros_of_whole_seconds
    from spark_jobs.session import F, open_engine

    form = Format(
        names=COLUMNS,
        separator=",",
        event_types={name: name for name in TYPES},
        columns=lambda cells: {
            C.USER_ID: cells["user_id"],
            C.EVENT_TYPE: cells["event_type"],
            C.ITEM_ID: cells["item_id"],
            C.CATEGORY_ID: cells["category_id"],
            C.PRICE_CENTS: cents(cells["price"]),
            OCCURRED_US: micros_of_whole_seconds(cells["seconds"]),
        },
        price="price",
    )
    night = date.fromisoformat(DAY)
    source = Source(connector="bench", pattern="*.csv", first_night=night, last_night=night)
    shop = Shop(shop="bench", landing={"events": source})
    n_lines, _ = land._write_lines(out / "raw", night, csv.parent, [csv], shop.cleaning, {}, None, "bench")
    raw = out / "raw" / "part-00000.parquet"
    n_bytes = raw.stat().st_size
    with open_engine(engine_name, out / "work", n_bytes=n_bytes, threads=THREADS, memory_gb=memory_gb) as engine:
        lines = engine.read([raw])
        parsed = engine.hold(ev.parse_events(lines, form, source, shop))
        counted = engine.fetch(parsed.groupBy(C.REASON).agg(F.count(F.lit(1)).alias("n")))
        n_good = sum(row["n"] for row in counted if row[C.REASON] is None)
        clustered = engine.cluster(parsed.filter(F.col(C.REASON).isNull()), C.USER_ID, n_good)
        events = ev.split_sessions(ev.drop_duplicates(clustered), shop.cleaning, one_night=True)
        occurred_at = F.timestamp_of_micros(F.col(OCCURRED_US)).alias(C.OCCURRED_AT)
        table = events.select(*[occurred_at if name == C.OCCURRED_AT else name for name in OUTPUT.split(", ")])
        n_clean = engine.write(table, out / "events", [C.USER_ID, C.OCCURRED_AT], clustered=True)
        bad = ev.quarantined(parsed, lines, shop.cleaning.max_quarantine_chars)
        n_bad = engine.write(bad, out / "quarantine", [C.SOURCE_FILE, C.LINE_NUMBER], n_rows=n_lines - n_good)
        if n_good + n_bad != n_lines or n_clean > n_good:
            raise SystemExit(f"{engine_name}: {n_lines} lines, but {n_clean} clean of {n_good} good, {n_bad} bad")
    if engine_name == "spark":
        _stop_java()


def nightmarket_duckdb(csv: Path, out: Path, memory_gb: float) -> None:
    _ours("duckdb", csv, out, memory_gb)


def nightmarket_spark(csv: Path, out: Path, memory_gb: float) -> None:
    _ours("spark", csv, out, memory_gb)


def _stop_java() -> None:
    """Ends Spark's JVM and waits for it, so that its CPU seconds count as this process's."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    assert gateway is not None
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


# The others --------------------------------------------------------------------------------------------------------

_KEEP = f"user_id <> '' AND item_id <> '' AND event_type IN {TYPES}"
_SESSIONS = f"""m AS (SELECT *,
    CASE WHEN s - lag(s) OVER (PARTITION BY user_id ORDER BY s) > {GAP_S} THEN 1 ELSE 0 END AS starts FROM g)
  SELECT user_id, sum(starts) OVER (PARTITION BY user_id ORDER BY s) + 1 AS session_number,
    make_timestamp(s * 1000000) AS occurred_at, event_type, item_id, category_id, price_cents
  FROM m ORDER BY user_id, s"""


def _duckdb(out: Path) -> Any:
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}")
    (out / "events").mkdir()
    return connection


def sql_lean(csv: Path, out: Path, memory_gb: float) -> None:
    """What a person writes who only wants the events: no line numbers, no reasons, bad lines dropped."""
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS)
    _duckdb(out).execute(
        f"""COPY (WITH r AS (SELECT * FROM read_csv('{csv}', columns = {{{columns}}}, header = false, delim = ',',
            quote = '', null_padding = true, ignore_errors = true)),
          g AS (SELECT DISTINCT user_id, event_type, item_id, category_id, try_cast(seconds AS BIGINT) AS s,
            round(try_cast(price AS DOUBLE) * 100)::BIGINT AS price_cents FROM r
            WHERE {_KEEP} AND s IS NOT NULL AND price_cents IS NOT NULL), {_SESSIONS})
        TO '{out}/events/part.parquet' (FORMAT parquet, COMPRESSION zstd)"""
    )


def sql_full(csv: Path, out: Path, memory_gb: float) -> None:
    """The same outputs as ours: lines are kept, numbered and judged."""
    connection = _duckdb(out)
    (out / "quarantine").mkdir()
    cells = ", ".join(f"nullif(f[{at + 1}], '') AS {name}" for at, name in enumerate(COLUMNS))
    connection.execute(
        f"""CREATE TABLE p AS WITH l AS (SELECT row_number() OVER () AS line_number, line, string_split(line, ',') AS f
            FROM read_csv('{csv}', columns = {{'line': 'VARCHAR'}}, header = false, delim = '\x01', quote = '')),
          c AS (SELECT line_number, line, len(f) AS n, {cells} FROM l),
          v AS (SELECT * EXCLUDE (price, seconds), try_cast(seconds AS BIGINT) AS s,
            round(try_cast(price AS DOUBLE) * 100)::BIGINT AS price_cents FROM c),
          j AS (SELECT *, CASE WHEN n <> {len(COLUMNS)} THEN 'wrong_column_count'
            WHEN user_id IS NULL THEN 'missing_user'
            WHEN event_type NOT IN {TYPES} THEN 'unknown_event_type' WHEN s IS NULL THEN 'bad_timestamp'
            WHEN item_id IS NULL THEN 'missing_item' WHEN price_cents IS NULL THEN 'bad_price' END AS reason FROM v)
        SELECT * EXCLUDE (line, n), CASE WHEN reason IS NOT NULL THEN line END AS raw_text FROM j"""
    )
    connection.execute(
        f"""COPY (WITH g AS (SELECT DISTINCT user_id, event_type, item_id, category_id, s, price_cents FROM p
          WHERE reason IS NULL), {_SESSIONS}) TO '{out}/events/part.parquet' (FORMAT parquet, COMPRESSION zstd)"""
    )
    connection.execute(
        f"""COPY (SELECT '{csv.name}' AS source_file, line_number, reason, raw_text FROM p WHERE reason IS NOT NULL
          ORDER BY line_number) TO '{out}/quarantine/part.parquet' (FORMAT parquet, COMPRESSION zstd)"""
    )


def polars(csv: Path, out: Path, memory_gb: float) -> None:
    import polars as pl

    (out / "events").mkdir()
    c = pl.col
    lines = pl.scan_csv(
        csv,
        has_header=False,
        schema=dict.fromkeys(COLUMNS, pl.String),
        quote_char=None,
        truncate_ragged_lines=True,
        missing_columns="insert",
    )
    good = (
        lines.with_columns(
            s=c("seconds").cast(pl.Int64, strict=False),
            price_cents=(c("price").cast(pl.Float64, strict=False) * 100).round().cast(pl.Int64),
        )
        .filter((c("user_id") != "") & (c("item_id") != "") & c("event_type").is_in(TYPES))
        .filter(c("s").is_not_null() & c("price_cents").is_not_null())
        .drop("seconds", "price")
    )
    starts = ((c("s").diff() > GAP_S) & (c("user_id") == c("user_id").shift())).fill_null(False)
    good.unique().sort("user_id", "s").with_columns(starts=starts).select(
        "user_id",
        (c("starts").cum_sum().over("user_id") + 1).alias("session_number"),
        pl.from_epoch("s", time_unit="s").cast(pl.Datetime("us")).alias("occurred_at"),
        *["event_type", "item_id", "category_id", "price_cents"],
    ).sink_parquet(out / "events" / "part.parquet", compression="zstd")


def plain_pyspark(csv: Path, out: Path, memory_gb: float) -> None:
    """The job as tutorials write it: default settings, 200 shuffle partitions."""
    from pyspark.sql import SparkSession, Window
    from pyspark.sql import functions as F

    memory = f"{int(memory_gb * 1024)}m"
    spark = (
        SparkSession.builder.master(f"local[{THREADS}]")
        .config("spark.driver.memory", memory)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    rows = spark.read.csv(str(csv), schema=", ".join(f"{name} string" for name in COLUMNS))
    good = (
        rows.where(F.expr(f"user_id <> '' AND item_id <> '' AND event_type IN {TYPES}"))
        .withColumn("s", F.expr("try_cast(seconds AS BIGINT)"))
        .withColumn("price_cents", F.expr("CAST(round(try_cast(price AS DOUBLE) * 100) AS BIGINT)"))
        .where("s IS NOT NULL AND price_cents IS NOT NULL")
        .drop("seconds", "price")
        .dropDuplicates()
    )
    by_user = Window.partitionBy("user_id").orderBy("s")
    starts = F.when(F.col("s") - F.lag("s").over(by_user) > GAP_S, 1).otherwise(0)
    numbered = good.withColumn("starts", starts).withColumn("session_number", F.sum("starts").over(by_user) + 1)
    numbered.withColumn("occurred_at", F.timestamp_seconds("s")).select(*OUTPUT.split(", ")).write.parquet(
        str(out / "events"), mode="overwrite"
    )
    spark.stop()
    _stop_java()


def pandas(csv: Path, out: Path, memory_gb: float) -> None:
    import pandas as pd

    (out / "events").mkdir()
    frame = pd.read_csv(csv, names=COLUMNS, header=None, dtype=str, quoting=3)
    frame["s"] = pd.to_numeric(frame.pop("seconds"), errors="coerce")
    frame["price_cents"] = (pd.to_numeric(frame.pop("price"), errors="coerce") * 100).round()
    good = frame[frame["event_type"].isin(TYPES)].dropna().drop_duplicates()
    good = good.astype({"s": "int64", "price_cents": "int64"}).sort_values(["user_id", "s"], ignore_index=True)
    starts = good.groupby("user_id", sort=False)["s"].diff() > GAP_S
    good["session_number"] = starts.groupby(good["user_id"], sort=False).cumsum() + 1
    good["occurred_at"] = pd.to_datetime(good.pop("s"), unit="s")
    good[OUTPUT.split(", ")].to_parquet(out / "events" / "part.parquet", compression="zstd", index=False)


CONTENDERS: dict[str, Callable[[Path, Path, float], None]] = {
    contender.__name__: contender
    for contender in (nightmarket_duckdb, nightmarket_spark, sql_lean, sql_full, polars, plain_pyspark, pandas)
}


if __name__ == "__main__":
    CONTENDERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
