"""How cleaning and features grow with a cluster: the same night on 1 and on 2 workers of one core each.

    python benchmarks/cluster.py [--events 5000000,20000000] [--workers 1,2] [--json]

Makes the events of benchmarks/clean_events.py (50 a user; 2% duplicates, 0.5% bad lines) as a Taobao file, lands them, and
runs the real jobs through spark-submit on a standalone cluster on loopback (benchmarks/local_cluster.py). Stops if the
bytes of a table differ between clusters, or its rows from those of the duckdb engine. Prints one JSON object: per size and
number of workers the job's wall seconds, and from Spark's event log executor seconds (running, on a CPU, collecting
garbage), shuffled and spilled megabytes; `speedup` of the last number of workers over the first; CPU seconds per million
events, which docs/SCALE.md starts from.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

import clean_events
from local_cluster import local_cluster
from pipelines import clean, features, land
from pipelines.core.machine import Machine
from pipelines.core.shop import Shop, Source
from pipelines.core.storage import Store, content_hash
from pipelines.launch import launch
from pipelines.stage import Context

NIGHT = date.fromisoformat(clean_events.DAY)
WORKER_GB = 2.0
EMPTY = {"feeds": {}, "feed_arrivals": [], "catalog": []}
JOBS = ("clean", "features")


def shop() -> Shop:
    source = Source(connector="taobao", pattern="*.csv", first_night=NIGHT, last_night=NIGHT)
    return Shop(shop="bench", landing={"events": source})


def taobao_file(events: int, kept: Path) -> Path:
    """The generator's lines as user, item, category, behaviour, seconds; what is broken there is broken here."""
    path = kept / f"taobao-{events}" / "events.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        cells = (
            "CASE f[{at}] WHEN 'view' THEN 'pv' WHEN 'favorite' THEN 'fav' WHEN 'purchase' THEN 'buy' ELSE f[{at}] END"
        )
        order = [f"(TRY_CAST(regexp_extract(f[{at}], '[0-9]*$') AS BIGINT) + 1)::VARCHAR" for at in (1, 3, 4)] + [
            cells.format(at=2),
            "f[6]",
        ]
        duckdb.sql("SET threads = 2; SET memory_limit = '2GB'")
        duckdb.sql(
            f"""COPY (SELECT concat_ws(',', {", ".join(f"coalesce({cell}, '')" for cell in order)}) FROM
            (SELECT string_split(line, ',') AS f FROM read_csv('{clean_events.csv_of(events, kept)}',
             columns = {{'line': 'VARCHAR'}}, header = false, delim = '\x01', quote = '')))
            TO '{path.with_suffix(".part")}' (HEADER false, QUOTE '', DELIMITER '\x01')"""
        )
        path.with_suffix(".part").rename(path)
    return path


def run_jobs(context: Context, folder: Path, staged: Path | None = None) -> dict[str, dict[str, Any]]:
    """Cleans the night into folder/clean and makes its features into folder/features; wall seconds of each job.

    `staged`: events cleaned before, of which features are made; else those of this run.
    """
    spec = clean._spec(NIGHT, context, [NIGHT], []) | EMPTY
    measured = {"clean": _timed("spark_jobs.clean", spec, context, folder / "clean")}
    events = shutil.copytree(staged or folder / "clean" / "events" / NIGHT.isoformat(), folder / "events")
    context.store.publish("events", NIGHT, events, rows=0, inputs={}, config_hash="")
    spec = features._spec(NIGHT, [NIGHT], NIGHT, None, context)
    measured["features"] = _timed("spark_jobs.features", spec, context, folder / "features")
    return measured


def _timed(module: str, spec: dict[str, Any], context: Context, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    launch(module, spec, context.machine, folder, folder.parent / "logs")
    return {"wall_seconds": round(time.perf_counter() - start, 1)}


def tables(folder: Path) -> dict[str, Path]:
    """The tables that both jobs wrote."""
    cleaned = {name: folder / "clean" / name / NIGHT.isoformat() for name in ("events", "quarantine")}
    return cleaned | {name: folder / "features" / name for name in (*features.TABLES, *features.MODELS)}


def rows_of(folder: Path) -> tuple[Any, ...]:
    """Number of rows and a hash of them that does not depend on their order."""
    files = f"read_parquet('{folder}/part-*.parquet', hive_partitioning = false)"
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT count(*), sum(hash(t)::HUGEINT)::VARCHAR FROM {files} t").fetchone()
    return found or ()


def of_log(path: Path) -> dict[str, float]:
    """Sums over all tasks of an application."""
    total: dict[str, float] = {"tasks": 0}
    with path.open() as log:
        ended = [json.loads(line) for line in log if line.startswith('{"Event":"SparkListenerTaskEnd"')]
    for event in ended:
        metrics = event.get("Task Metrics", {})
        found = {
            "tasks": 1,
            "executor_seconds": metrics.get("Executor Run Time", 0) / 1e3,
            "executor_cpu_seconds": metrics.get("Executor CPU Time", 0) / 1e9,
            "gc_seconds": metrics.get("JVM GC Time", 0) / 1e3,
            "shuffle_mb": metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0) / 1e6,
            "spilled_mb": metrics.get("Disk Bytes Spilled", 0) / 1e6,
        }
        total = {name: total.get(name, 0) + value for name, value in found.items()}
    return {name: round(value, 1) for name, value in total.items()}


def measure(events: int, workers: list[int], kept: Path, folder: Path) -> dict[str, Any]:
    """One size on all clusters. Ends the program where two do not agree."""
    store = Store(folder / "root", "bench")
    landing = taobao_file(events, kept).parent
    plain = Machine(threads=2, memory_gb=2)
    land.run(NIGHT, shop(), store, landing, machine=plain)
    alone = folder / "duckdb"
    run_jobs(Context(shop(), plain, store, landing), alone)
    raw_mb = sum(path.stat().st_size for path in store.files("raw_events", [NIGHT])) / 1e6
    report: dict[str, Any] = {"raw_mb": round(raw_mb), "workers": {}}
    first: dict[str, str] = {}
    for n in workers:
        place = folder / f"workers-{n}"
        with local_cluster(place / "spark", workers=n, memory_gb=WORKER_GB) as cluster:
            context = Context(shop(), cluster.machine(), store, landing)
            measured = run_jobs(context, place, alone / "clean" / "events" / NIGHT.isoformat())
            logs = sorted(cluster.events.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for job, log in zip(JOBS, logs, strict=True):
            measured[job] |= of_log(log)
            measured[job]["cpu_seconds_per_million"] = round(measured[job]["executor_cpu_seconds"] / events * 1e6, 2)
        report["workers"][n] = measured
        found = {name: content_hash(path) for name, path in tables(place).items()}
        first = first or found
        if found != first:
            raise SystemExit(
                f"{n} workers and {workers[0]} make other bytes of {sorted(found.items() - first.items())}"
            )
        ours = tables(alone)
        differs = [name for name, path in tables(place).items() if rows_of(path) != rows_of(ours[name])]
        if differs:
            raise SystemExit(f"spark and duckdb differ in {differs}")
        shutil.rmtree(place)
    walls = [report["workers"][n] for n in (workers[0], workers[-1])]
    report["speedup"] = {job: round(walls[0][job]["wall_seconds"] / walls[1][job]["wall_seconds"], 2) for job in JOBS}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", default="5000000,20000000", help="sizes, with commas")
    parser.add_argument("--workers", default="1,2", help="numbers of workers, with commas")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    kept = Path(tempfile.gettempdir()) / "nightmarket-clean-events"
    workers = [int(text) for text in options.workers.split(",")]
    report: dict[str, Any] = {"benchmark": "cluster", "cores_per_worker": 1, "gb_per_worker": WORKER_GB, "events": {}}
    for size in options.events.split(","):
        with tempfile.TemporaryDirectory() as folder:
            report["events"][int(size)] = measure(int(size), workers, kept, Path(folder))
        print(json.dumps({size: report["events"][int(size)]}), file=sys.stderr)  # hours may pass before the next
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
