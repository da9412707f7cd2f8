"""What Airflow costs: one demo night by its DAG, and the same night by the command, from the same landing folder.

    python benchmarks/orchestration.py [--json]

Starts the servers as `make up` does, on free ports and a root of their own, runs `nightly_marketing_demo` once, then
`nightmarket night` in another root, and checks that both published the same content. Models are left out: training is no
part of that DAG. Airflow's share of the night is (wall - stages) / wall: wall seconds of the DAG run from its start to its
end, less the seconds that the stages themselves took; it should stay under 15%. Parsing, median of three fresh processes,
is that of all DAGs of conf/shops/, Airflow's own import told apart. Prints one JSON object.
"""

import argparse
import json
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_REPEAT = 3
_SHOP, _DAG = "demo", "nightly_marketing_demo"
_NIGHT_SECONDS = 900
_PARSE = """\
import json, time
start = time.perf_counter()
from airflow.dag_processing.dagbag import DagBag
imported = time.perf_counter()
bag = DagBag("dags")
assert not bag.import_errors, bag.import_errors
print(json.dumps([imported - start, time.perf_counter() - imported, len(bag.dags)]))
"""


def configure(folder: Path) -> dict[str, str]:
    """Writes the demo shop without models, its landing folder beside it; returns the environment of both nights."""
    shop = (_ROOT / "conf" / "shops" / f"{_SHOP}.yaml").read_text()
    shop = re.sub(r"^  tasks: \[.*\]$", "  tasks: []", shop, flags=re.MULTILINE)
    (folder / "conf" / "shops").mkdir(parents=True)
    (folder / "conf" / "shops" / f"{_SHOP}.yaml").write_text(f"{shop}landing_folder: {folder / 'landing'}\n")
    (folder / "conf" / "local.yaml").write_text((_ROOT / "conf" / "local.yaml").read_text())
    (folder / "landing").mkdir()
    return {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        "NIGHTMARKET_CONF": str(folder / "conf"),
        "NIGHTMARKET_KEY": secrets.token_hex(32),  # one for both: pseudonyms are part of the content
    }


def command(environment: dict[str, str], root: Path, *args: str) -> dict[str, Any]:
    """What `nightmarket ... --json` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *args, "--json"],
        cwd=_ROOT,
        env={**environment, "NIGHTMARKET_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"nightmarket {args[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def night_by_airflow(url: str, root: Path) -> dict[str, Any]:
    """Wall seconds of the DAG run, and of its stages as the run record tells them."""
    from pipelines.schedule.names import record_id
    from pipelines.servers.client import AirflowClient

    airflow = AirflowClient(url, root)
    airflow.unpause(_DAG)
    run = airflow.trigger(_DAG)
    ended = airflow.wait(_DAG, run, _NIGHT_SECONDS)
    if ended["state"] != "success":
        raise SystemExit(f"the night by Airflow is {ended['state']}: {airflow.states(_DAG, run)}")
    start, end = (datetime.fromisoformat(ended[name]) for name in ("start_date", "end_date"))
    return {"wall": (end - start).total_seconds(), "stages": stages(root, record_id(run))}


def stages(root: Path, run_id: str) -> dict[str, float]:
    """Seconds of each stage of a run."""
    record = json.loads((root / _SHOP / "runs" / f"{run_id}.json").read_text())
    return {name: stage["seconds"] for name, stage in record["stages"].items()}


def content(root: Path) -> dict[str, str]:
    """Content hash of every published partition."""
    manifests = [json.loads(path.read_text()) for path in (root / _SHOP).rglob("_manifest.json")]
    return {f"{one['table']}/{one['partition']}": one["content_hash"] for one in manifests}


def check_agree(by_airflow: dict[str, str], by_hand: dict[str, str]) -> int:
    """Partitions published, where both nights published the same; ends the benchmark where they did not."""
    differ = sorted(name for name in by_airflow.keys() | by_hand.keys() if by_airflow.get(name) != by_hand.get(name))
    if differ or not by_hand:
        raise SystemExit(
            f"the night by Airflow differs from the one by hand: {', '.join(differ) or 'nothing published'}"
        )
    return len(by_hand)


def parse_seconds() -> dict[str, Any]:
    """Median seconds to import Airflow and to parse all DAGs of the project's own shops, in fresh processes."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "AIRFLOW_HOME": home}
        found = []
        for _ in range(_REPEAT):
            told = subprocess.run(
                [sys.executable, "-c", _PARSE], cwd=_ROOT, env=environment, capture_output=True, text=True, check=True
            )
            found.append(json.loads(told.stdout.splitlines()[-1]))
    imports, parses, counts = zip(*found, strict=True)
    return {
        "dags": counts[0],
        "parse_all_dags_seconds": round(statistics.median(parses), 3),
        "import_airflow_seconds": round(statistics.median(imports), 3),
    }


def free_ports() -> tuple[int, int]:
    """Two ports of loopback that nobody has now."""
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def measure(folder: Path) -> dict[str, Any]:
    """The report."""
    environment, root, other = configure(folder), folder / "airflow", folder / "by_hand"
    command(environment, other, "simulate", "--shop", _SHOP)
    airflow_port, mlflow_port = free_ports()
    try:
        up = command(environment, root, "up", "--airflow-port", str(airflow_port), "--mlflow-port", str(mlflow_port))
        ran = night_by_airflow(up["airflow"], root)
    finally:
        command(environment, root, "down")
    start = time.perf_counter()
    by_hand = command(environment, other, "night", "--shop", _SHOP)
    wall_by_hand = time.perf_counter() - start
    n_partitions = check_agree(content(root), content(other))
    own = sum(ran["stages"].values())
    return {
        "benchmark": "orchestration",
        **{"shop": _SHOP, "night": by_hand["night"], "partitions_equal": n_partitions},
        "up_seconds": up["seconds"],
        "airflow_wall_seconds": round(ran["wall"], 2),
        "airflow_stages_seconds": round(own, 2),
        "airflow_share": round((ran["wall"] - own) / ran["wall"], 3),
        "airflow_seconds_per_task": round((ran["wall"] - own) / len(ran["stages"]), 2),
        "by_hand_wall_seconds": round(wall_by_hand, 2),
        "by_hand_stages_seconds": round(sum(stages(other, by_hand["run_id"]).values()), 2),
        "stages": ran["stages"],
        **parse_seconds(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder)), indent=1))


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    main()
