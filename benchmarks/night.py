"""Where the time of a whole night goes: every stage, and what starting processes costs.

    python benchmarks/night.py [--shop demo] [--engine duckdb] [--json]

Runs `nightmarket night` for the shop's newest night in an empty root and reads the run record. What a start costs is
measured apart, median of three: each job is started with a spec that names no data, so that it imports, opens its
engine, finds nothing to do and ends; the command's own start is its wall time less the time that the night took inside
it. Prints one JSON object; the sum of starts should stay under a quarter of the night.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_REPEAT = 3
_NOTHING: dict[str, Any] = {
    **{
        "new": [],
        "also": [],
        "frozen_before": "",
        "known": {},
        "raw": {},
        "feeds": {},
        "feed_arrivals": [],
        "catalog": [],
    },
    **{"events": {}, "history": {}, "deliveries": {}, "outcomes": {}, "projection": [], "segment_models": []},
}
_NO_DATA = 1  # exit code of the features job that found no events


def run_night(shop: str, engine: str, root: Path) -> tuple[dict[str, Any], float]:
    """The summary of `--json` and the wall seconds of the command."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pipelines.cli", "night", "--shop", shop, "--engine", engine, "--json"]
    done = subprocess.run(command, cwd=_ROOT, env=_env(root), capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"the night ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary, wall


def start_seconds(module: str, shop: str, engine: str, root: Path) -> float:
    """Median seconds from the launch of a job to its end, with nothing to do in between."""
    from pipelines.core.config import load_machine, load_shop
    from pipelines.core.sizing import engine_spec

    out = root / "empty"
    out.mkdir(exist_ok=True)
    opened = engine_spec(load_machine().model_copy(update={"engine": engine}))
    spec = {**_NOTHING, "engine": opened, "shop": load_shop(shop).model_dump(mode="json"), "root": str(root)}
    spec |= {"out": str(out), "work": str(out / "work"), "night": "2000-01-01"}
    (out / "spec.json").write_text(json.dumps(spec))
    seconds = []
    for _ in range(_REPEAT):
        start = time.perf_counter()
        command = [sys.executable, "-m", module, str(out / "spec.json")]
        done = subprocess.run(command, cwd=_ROOT, env=_env(root), capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        if done.returncode not in (0, _NO_DATA) or "Traceback" in done.stderr:
            raise SystemExit(f"{module} with nothing to do ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return statistics.median(seconds)


def _env(root: Path) -> dict[str, str]:
    return {**os.environ, "NIGHTMARKET_ROOT": str(root), "PYTHONPATH": str(_ROOT)}


def profile(shop: str, engine: str, root: Path) -> dict[str, Any]:
    """The report: stages, starts and their share, peak memory of the largest process."""
    summary, wall = run_night(shop, engine, root)
    folder = root / shop
    record = json.loads((folder / "runs" / f"{summary['run_id']}.json").read_text())
    n_features = len(list((folder / "features" / "segments").glob("night=*")))  # the night and the anchors before it
    jobs = {"clean": ("spark_jobs.clean", 1), "features": ("spark_jobs.features", n_features)}
    starts = {
        name: {"processes": n, "seconds_each": round(start_seconds(module, shop, engine, root), 3)}
        for name, (module, n) in jobs.items()
    }
    starts["command"] = {"processes": 1, "seconds_each": round(max(0.0, wall - summary["seconds"]), 3)}
    total = sum(start["processes"] * start["seconds_each"] for start in starts.values())
    stages = {name: stage["seconds"] for name, stage in record["stages"].items()}
    return {
        "benchmark": "night",
        **{"shop": shop, "night": summary["night"], "engine": engine, "lines_read": summary["lines_read"]},
        "wall_seconds": round(wall, 2),
        "stages": {name: {"seconds": s, "share": round(s / wall, 3)} for name, s in stages.items()},
        "starts": starts,
        "starts_seconds": round(total, 2),
        "starts_share": round(total / wall, 3),
        "peak_memory_mb": record["peak_memory_mb"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shop", default="demo")
    parser.add_argument("--engine", default="duckdb", choices=("duckdb", "spark"))
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(profile(options.shop, options.engine, Path(folder)), indent=1))


if __name__ == "__main__":
    main()
