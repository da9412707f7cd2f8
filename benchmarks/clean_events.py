"""Cleaning 5,000,000 CSV events: parse, filter, drop duplicates, split sessions, write; ours beside six others.

    python benchmarks/clean_events.py [--events 5000000] [--repeat 3] [--engines duckdb,spark] [--growth] [--json]

Makes the file once (2% duplicates, 0.5% bad lines; a folder beside other temporary files keeps it), has every contender
clean it in a process of its own with two threads, stops if rows, sessions or quarantined lines differ, and prints one
JSON object: medians of wall seconds, CPU seconds and peak memory of the whole process tree, imports and JVM included.
--growth: our DuckDB engine alone on a fifth, once and four times the events, and once with little memory.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2
MEMORY_GB = 4.0
LOW_MEMORY_GB = 1.0
DAY = "2026-03-01"
GAP_S = 1800
TYPES = ("view", "cart", "favorite", "purchase")
COLUMNS = ("user_id", "event_type", "item_id", "category_id", "price", "seconds")
OUTPUT = "user_id, session_number, occurred_at, event_type, item_id, category_id, price_cents"
_ROOT = Path(__file__).resolve().parents[1]


def make(path: Path, events: int) -> None:
    """About `events` lines of one day in no order, 50 a user; each bad line is broken in one of four ways."""
    import duckdb

    line = "concat_ws(',', u, t, i, c, p, s)"
    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}")
    connection.execute(
        f"""COPY (WITH e AS (SELECT n, 'user_' || lpad((hash(n * 7 + 1) % {max(1, events // 50)})::VARCHAR, 8, '0') u,
          CASE WHEN hash(n) % 100 < 70 THEN 'view' WHEN hash(n) % 100 < 85 THEN 'cart'
               WHEN hash(n) % 100 < 95 THEN 'favorite' ELSE 'purchase' END t,
          'item_' || lpad((hash(n * 13 + 5) % 200000)::VARCHAR, 7, '0') i,
          'category_' || lpad((hash(n * 13 + 5) % 1000)::VARCHAR, 4, '0') c,
          ((hash(n * 3 + 2) % 100000) / 100.0)::DECIMAL(8, 2)::VARCHAR p,
          (epoch(DATE '{DAY}')::BIGINT + hash(n * 11 + 3) % 86400)::VARCHAR s, hash(n * 17) % 1000 AS luck
          FROM range({round(events / 1.02)}) r(n))
        SELECT line FROM (
          SELECT n, CASE WHEN luck >= 5 THEN {line} ELSE CASE hash(n * 19) % 4 WHEN 0 THEN concat_ws(',', u, t, i)
            WHEN 1 THEN concat_ws(',', u, 'zoom', i, c, p, s) WHEN 2 THEN {line} || 'x'
            ELSE concat_ws(',', '', t, i, c, p, s) END END AS line FROM e
          UNION ALL SELECT n + 0.5, {line} FROM e WHERE luck BETWEEN 5 AND 24
        ) ORDER BY hash(n)) TO '{path}' (HEADER false, QUOTE '', DELIMITER '\x01')"""
    )


# Ours: the functions that the night's jobs are made of -------------------------------------------------------------


def _ours(engine_name: str, csv: Path, out: Path, memory_gb: float) -> None:
    """Every line is accounted for: clean, duplicate, or quarantined with reason, line number and text."""
    from datetime import date

    from pipelines import land
    from pipelines.core.columns import Columns as C
    from pipelines.core.config import Shop, Source
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
    n_lines = land._write_lines(out / "raw", night, csv.parent, [csv], shop.cleaning)
    with open_engine(engine_name, out / "work", threads=THREADS, memory_gb=memory_gb) as engine:
        lines = engine.read([out / "raw" / "part-00000.parquet"])
        parsed = engine.hold(ev.parse_events(lines, form, source, shop))
        counted = engine.fetch(parsed.groupBy(C.REASON).agg(F.count(F.lit(1)).alias("n")))
        n_good = sum(row["n"] for row in counted if row[C.REASON] is None)
        clustered = engine.cluster(parsed.filter(F.col(C.REASON).isNull()), C.USER_ID)
        events = ev.split_sessions(ev.drop_duplicates(clustered), shop.cleaning, one_night=True)
        occurred_at = F.timestamp_of_micros(F.col(OCCURRED_US)).alias(C.OCCURRED_AT)
        table = events.select(*[occurred_at if name == C.OCCURRED_AT else name for name in OUTPUT.split(", ")])
        n_clean = engine.write(table, out / "events", [C.USER_ID, C.OCCURRED_AT], clustered=True)
        bad = ev.quarantined(parsed, lines, shop.cleaning.max_quarantine_chars)
        n_bad = engine.write(bad, out / "quarantine", [C.SOURCE_FILE, C.LINE_NUMBER])
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
_SESSIONS = f"""m AS (SELECT *, CASE WHEN s - lag(s) OVER (PARTITION BY user_id ORDER BY s) > {GAP_S} THEN 1 ELSE 0 END AS starts
  FROM g) SELECT user_id, sum(starts) OVER (PARTITION BY user_id ORDER BY s) + 1 AS session_number,
  make_timestamp(s * 1000000) AS occurred_at, event_type, item_id, category_id, price_cents FROM m ORDER BY user_id, s"""


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
        f"""COPY (WITH r AS (SELECT * FROM read_csv('{csv}', columns = {{{columns}}}, header = false, delim = ',', quote = '',
            null_padding = true, ignore_errors = true)),
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
          j AS (SELECT *, CASE WHEN n <> {len(COLUMNS)} THEN 'wrong_column_count' WHEN user_id IS NULL THEN 'missing_user'
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
        csv, has_header=False, schema=dict.fromkeys(COLUMNS, pl.String), truncate_ragged_lines=True, quote_char=None
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
NEED_JAVA = ("nightmarket_spark", "plain_pyspark")


# Measuring ---------------------------------------------------------------------------------------------------------


def measure(name: str, csv: Path, out: Path, memory_gb: float = MEMORY_GB) -> dict[str, float]:
    """Runs one contender in a process of its own into an empty `out`; seconds, and megabytes of the process tree."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    env = {**os.environ, "PYTHONPATH": str(_ROOT), "POLARS_MAX_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
    command = [sys.executable, __file__, "--contender", name, "--csv", str(csv), "--out", str(out), "--memory", str(memory_gb)]
    log = out / "log"
    start, peak = time.perf_counter(), 0
    with log.open("wb") as stream:
        child = subprocess.Popen(command, env=env, cwd=out, stdout=stream, stderr=stream, start_new_session=True)
        while True:
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, _resident(child.pid))
            time.sleep(0.05)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{name} ended with {child.returncode}: {log.read_text(errors='replace')[-2000:]}")
    cpu = used.ru_utime + used.ru_stime
    return {"wall_seconds": wall, "cpu_seconds": cpu, "peak_mb": max(peak, used.ru_maxrss * 1024) / 2**20}


def _resident(session: int) -> int:
    """Bytes in memory of all processes of a session, now."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[3]) == session:
            total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total


def fingerprint(out: Path) -> dict[str, Any]:
    """What must be equal: events, sessions and quarantined lines, whatever their order; no quarantine is None."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    cells = "user_id, session_number::BIGINT, epoch_us(occurred_at::TIMESTAMPTZ), event_type, item_id, price_cents::BIGINT"
    rows, sessions, digest = connection.execute(
        f"SELECT count(*), count(DISTINCT (user_id, session_number)), sum(hash({cells})::HUGEINT)::VARCHAR "
        f"FROM '{out}/events/*.parquet'"
    ).fetchone() or (0, 0, "")
    bad = None
    if (out / "quarantine").is_dir():
        bad = connection.execute(
            "SELECT count(*), sum(hash(line_number::BIGINT, reason, raw_text)::HUGEINT)::VARCHAR "
            f"FROM '{out}/quarantine/*.parquet'"
        ).fetchone()
    return {"rows": rows, "sessions": sessions, "hash": digest, "quarantined": bad}


def agree(names: list[str], csv: Path, folder: Path) -> dict[str, Any]:
    """Runs every contender once. Ends the program where one differs from the first."""
    common: dict[str, Any] = {}
    for name in names:
        measure(name, csv, folder / name)
        found = {key: value for key, value in fingerprint(folder / name).items() if value is not None}
        shutil.rmtree(folder / name)
        differs = {key: (value, common[key]) for key, value in found.items() if common.setdefault(key, value) != value}
        if differs:
            raise SystemExit(f"{name} differs from {names[0]}: {differs}")
    return {"rows": common["rows"], "sessions": common["sessions"], "quarantined": common.get("quarantined", [None])[0]}


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}


def compare(names: list[str], csv: Path, folder: Path, repeat: int) -> dict[str, Any]:
    """Agreement first, then `repeat` rounds in which all take turns."""
    common = agree(names, csv, folder)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            runs[name].append(measure(name, csv, folder / name))
            shutil.rmtree(folder / name)
    return {"agreed": common, "contenders": {name: median(measured) for name, measured in runs.items()}}


def growth(events: int, kept: Path, folder: Path, repeat: int) -> dict[str, Any]:
    """Seconds per million events should stay; with little memory the work spills and gives the same rows."""
    sizes = {}
    for n in (events // 5, events, events * 4):
        csv = csv_of(n, kept)
        runs = [measure("nightmarket_duckdb", csv, folder / "growth") for _ in range(repeat)]
        sizes[n] = median(runs)
    for n, found in sizes.items():
        found["cpu_seconds_per_million"] = round(found["cpu_seconds"] / n * 1e6, 3)
    csv = csv_of(events, kept)
    roomy = fingerprint_of("nightmarket_duckdb", csv, folder / "growth", MEMORY_GB)[0]
    tight, used = fingerprint_of("nightmarket_duckdb", csv, folder / "growth", LOW_MEMORY_GB)
    if tight != roomy:
        raise SystemExit(f"with {LOW_MEMORY_GB} GB the rows differ: {tight} instead of {roomy}")
    return {"events": sizes, "low_memory": {"limit_gb": LOW_MEMORY_GB, **median([used])}}


def fingerprint_of(name: str, csv: Path, out: Path, memory_gb: float) -> tuple[dict[str, Any], dict[str, float]]:
    used = measure(name, csv, out, memory_gb)
    found = fingerprint(out)
    shutil.rmtree(out)
    return found, used


def csv_of(events: int, kept: Path) -> Path:
    """The file of so many events, made where it is missing."""
    path = kept / f"events-{events}.csv"
    if not path.exists():
        kept.mkdir(parents=True, exist_ok=True)
        make(path.with_suffix(".part"), events)
        path.with_suffix(".part").rename(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--engines", default="duckdb,spark", help="without spark nothing needs Java")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    for name in ("--contender", "--csv", "--out", "--memory"):
        parser.add_argument(name, help=argparse.SUPPRESS)  # one contender's own process
    options = parser.parse_args()
    if options.contender:
        CONTENDERS[options.contender](Path(options.csv), Path(options.out), float(options.memory))
        return
    kept = Path(tempfile.gettempdir()) / "nightmarket-clean-events"
    has_spark = "spark" in options.engines.split(",")
    names = [name for name in CONTENDERS if has_spark or name not in NEED_JAVA]
    csv = csv_of(options.events, kept)
    report: dict[str, Any] = {"benchmark": "clean_events", "events": options.events, "file_mb": round(csv.stat().st_size / 1e6)}
    report |= {"threads": THREADS, "memory_gb": MEMORY_GB, "repeat": options.repeat}
    with tempfile.TemporaryDirectory() as folder:
        if options.growth:
            report["growth"] = growth(options.events, kept, Path(folder), options.repeat)
        else:
            report |= compare(names, csv, Path(folder), options.repeat)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
