"""Cleaning 5,000,000 CSV events: parse, filter, drop duplicates, split sessions, write; ours beside six others.

    python benchmarks/clean_events.py [--events 5000000] [--repeat 3] [--engines duckdb,spark] [--growth] [--json]

Makes the file once (2% duplicates, 0.5% bad lines; a folder beside other temporary files keeps it), has every contender
clean it in a process of its own (benchmarks/contenders/clean_events.py) with two threads, stops if rows, sessions or
quarantined lines differ, and prints one JSON object: medians of wall seconds, CPU seconds and peak memory of the whole
process tree, imports and JVM included.
--growth: our DuckDB engine alone on a fifth, once and four times the events, and once with little memory.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

THREADS = 2
MEMORY_GB = 4.0
LOW_MEMORY_GB = 1.0
DAY = "2026-03-01"
CONTENDERS = ("nightmarket_duckdb", "nightmarket_spark", "sql_lean", "sql_full", "polars", "plain_pyspark", "pandas")
NEED_JAVA = ("nightmarket_spark", "plain_pyspark")
_ROOT = Path(__file__).resolve().parents[1]
_CONTENDER = _ROOT / "benchmarks" / "contenders" / "clean_events.py"


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


def measure(name: str, csv: Path, out: Path, memory_gb: float = MEMORY_GB) -> dict[str, float]:
    """Runs one contender in a process of its own into an empty `out`; seconds, and megabytes of the process tree."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    env = {**os.environ, "PYTHONPATH": str(_ROOT), "POLARS_MAX_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
    command = [sys.executable, str(_CONTENDER), name, str(csv), str(out), str(memory_gb)]
    log = out / "log"
    start, peak = time.perf_counter(), 0
    with log.open("wb") as stream:
        child = subprocess.Popen(command, env=env, cwd=out, stdout=stream, stderr=stream, start_new_session=True)
        try:
            while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
                peak = max(peak, _resident(child.pid))
                time.sleep(0.05)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    _, status, used = ended
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{name} ended with {child.returncode}: {log.read_text(errors='replace')[-2000:]}")
    cpu = used.ru_utime + used.ru_stime
    return {"wall_seconds": wall, "cpu_seconds": cpu, "peak_mb": peak / 2**20}


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
    cells = (
        "user_id, session_number::BIGINT, epoch_us(occurred_at::TIMESTAMPTZ), event_type, item_id, price_cents::BIGINT"
    )
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
    """CPU seconds per million events should stay; with little memory the work spills and gives the same rows."""
    name, out, sizes = "nightmarket_duckdb", folder / "growth", {}
    for n in (events // 5, events, events * 4):
        csv = csv_of(n, kept)
        found = median([measure(name, csv, out) for _ in range(repeat)])
        sizes[n] = {**found, "cpu_seconds_per_million": round(found["cpu_seconds"] / n * 1e6, 3)}
    measure(name, csv_of(events, kept), out)
    roomy = fingerprint(out)
    tight = measure(name, csv_of(events, kept), out, LOW_MEMORY_GB)
    if fingerprint(out) != roomy:
        raise SystemExit(f"with {LOW_MEMORY_GB} GB the rows differ: {fingerprint(out)} instead of {roomy}")
    return {"events": sizes, "low_memory": {"limit_gb": LOW_MEMORY_GB, **median([tight])}}


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
    options = parser.parse_args()
    kept = Path(tempfile.gettempdir()) / "nightmarket-clean-events"
    has_spark = "spark" in options.engines.split(",")
    names = [name for name in CONTENDERS if has_spark or name not in NEED_JAVA]
    csv = csv_of(options.events, kept)
    report: dict[str, Any] = {
        "benchmark": "clean_events",
        "events": options.events,
        "file_mb": round(csv.stat().st_size / 1e6),
    }
    report |= {"threads": THREADS, "memory_gb": MEMORY_GB, "repeat": options.repeat}
    with tempfile.TemporaryDirectory() as folder:
        if options.growth:
            report["growth"] = growth(options.events, kept, Path(folder), options.repeat)
        else:
            report |= compare(names, csv, Path(folder), options.repeat)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
