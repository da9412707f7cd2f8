"""A night's Spark stages on a real standalone cluster: the same tables as on one machine, even when a worker dies."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from local_cluster import Cluster, local_cluster
from pipelines import clean, features, score
from pipelines import night as nights
from pipelines.core.config import load_shop
from pipelines.core.errors import JobError
from pipelines.core.machine import Machine
from pipelines.core.shop import Models, Shop, Simulator
from pipelines.core.tables import TABLES
from pipelines.launch import java_version
from pipelines.stage import Context, StageResult

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(java_version() is None, reason="Spark needs Java 17 or newer: make java"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc as Linux does"),
]
FIRST, LAST = date(2026, 3, 2), date(2026, 3, 3)  # a Monday: segments are fitted then, and hold on Tuesday
PARTITIONS = 4  # little data would go through one task after the other
ENOUGH_STAGES = 8  # of a clean job's hundred or so


def shop() -> Shop:
    simulator = Simulator(customers=120, items=40, first_night=FIRST, history_nights=2, history_campaign_percent=40)
    demo = load_shop("demo")
    strategy = demo.strategy.model_copy(update={"explore_nights": 1})
    models = Models(tasks=("effect",), judged_nights=1, valid_nights=1)
    return demo.model_copy(update={"simulator": simulator, "models": models, "strategy": strategy})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with local_cluster(tmp_path_factory.mktemp("cluster") / "spark") as started:
        yield started


def context(root: Path, machine: Machine) -> Context:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("NIGHTMARKET_ROOT", str(root))
        return nights.open_context(shop(), machine, None)


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root where two nights have landed, nothing more."""
    root = tmp_path_factory.mktemp("landed") / "root"
    nights.arrive(LAST, context(root, Machine(threads=1, memory_gb=1, min_free_disk_mb=0)))
    return root


@pytest.fixture(scope="module")
def alone(landed: Path) -> Context:
    """The same root after clean, features and score by DuckDB on one machine."""
    root = shutil.copytree(landed, landed.with_name("alone"))
    here = context(root, Machine(threads=1, memory_gb=1, min_free_disk_mb=0))
    for stage in (clean, features, score):
        stage.run(LAST, here)
    return here


def rows(context: Context, table: str, night: date) -> list[dict[str, Any]]:
    """Those of a partition, in the table's order."""
    files = context.store.files(table, [night])
    found = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
    return sorted(found, key=lambda row: [str(row[name]) for name in TABLES[table].sort_by])


def assert_same_rows(result: StageResult, there: Context, alone: Context) -> None:
    assert result.n_made
    for manifest in result.manifests.values():
        night = date.fromisoformat(manifest.partition)
        assert rows(there, manifest.table, night) == rows(alone, manifest.table, night), manifest.table


def content(result: StageResult) -> dict[str, str]:
    return {name: manifest.content_hash for name, manifest in result.manifests.items()}


def events(path: Path) -> list[dict[str, Any]]:
    """What Spark wrote into an application's event log so far; its last line may be half written."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def newest_log(cluster: Cluster) -> Path:
    return max(cluster.events.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def tasks_of(log: list[dict[str, Any]]) -> dict[str, int]:
    """Tasks that ended well, by executor."""
    done: dict[str, int] = {}
    for event in log:
        if event["Event"] == "SparkListenerTaskEnd" and event["Task End Reason"]["Reason"] == "Success":
            executor = event["Task Info"]["Executor ID"]
            done[executor] = done.get(executor, 0) + 1
    return done


def workers_of(log: list[dict[str, Any]]) -> dict[str, str]:
    """The worker's web address of every executor."""
    added = [event for event in log if event["Event"] == "SparkListenerExecutorAdded"]
    return {event["Executor ID"]: event["Executor Info"]["Log Urls"]["stdout"].split("/logPage")[0] for event in added}


def assert_both_workers_did_it(cluster: Cluster) -> None:
    log = events(newest_log(cluster))
    done, workers = tasks_of(log), workers_of(log)
    assert "driver" not in done
    assert len({workers[executor] for executor in done}) == 2, (done, workers)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(look: Callable[[], Any], timeout_s: float = 120) -> Any:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{look} saw nothing within {timeout_s} s")


@pytest.fixture(scope="module")
def cleaned(cluster: Cluster, landed: Path) -> tuple[Context, StageResult]:
    """The nights cleaned on the cluster."""
    there = context(
        shutil.copytree(landed, landed.with_name("there")), cluster.machine(short_lived=True, partitions=PARTITIONS)
    )
    return there, clean.run(LAST, there)


def test_both_workers_clean_and_the_rows_are_those_of_one_machine(
    cleaned: tuple[Context, StageResult], alone: Context, cluster: Cluster
) -> None:
    assert_both_workers_did_it(cluster)
    there, result = cleaned
    assert_same_rows(result, there, alone)


def test_spark_on_one_core_of_one_machine_makes_the_same_bytes_as_the_cluster(
    cleaned: tuple[Context, StageResult], landed: Path
) -> None:
    settings: dict[str, Any] = {"threads": 1, "memory_gb": 1, "partitions": PARTITIONS, "min_free_disk_mb": 0}
    here = context(
        shutil.copytree(landed, landed.with_name("local")),
        Machine(engine="spark", spark_master="local[1]", **settings),
    )
    assert content(clean.run(LAST, here)) == content(cleaned[1])


def test_both_workers_make_the_features_that_one_machine_makes(
    cluster: Cluster, alone: Context, tmp_path: Path
) -> None:
    shutil.copytree(alone.store.root, tmp_path / "root")
    there = context(tmp_path / "root", cluster.machine(short_lived=True, partitions=PARTITIONS))
    result = features.run(LAST, replace(there, force=True))
    assert_both_workers_did_it(cluster)
    assert_same_rows(result, there, alone)


def test_both_workers_score_what_one_machine_scores(cluster: Cluster, alone: Context, tmp_path: Path) -> None:
    shutil.copytree(alone.store.root, tmp_path / "root")
    there = context(tmp_path / "root", cluster.machine(short_lived=True, partitions=PARTITIONS))
    result = score.run(LAST, replace(there, force=True))
    assert_both_workers_did_it(cluster)
    assert_same_rows(result, there, alone)


def test_a_worker_that_is_killed_in_the_middle_of_a_job_changes_no_byte(
    cleaned: tuple[Context, StageResult], landed: Path, tmp_path: Path
) -> None:
    with local_cluster(tmp_path / "spark") as cluster:
        there = context(
            shutil.copytree(landed, tmp_path / "root"), cluster.machine(short_lived=True, partitions=PARTITIONS)
        )
        seen: dict[str, Any] = {}
        ended = threading.Event()

        def strike() -> None:
            while not ended.wait(0.2):
                logs = list(cluster.events.iterdir())
                log = events(logs[0]) if logs else []
                n_stages = sum(event["Event"] == "SparkListenerStageCompleted" for event in log)
                if n_stages >= ENOUGH_STAGES and len(tasks_of(log)) == 2:
                    seen.update(log=log, killed=cluster.kill_worker(0))
                    return

        murderer = threading.Thread(target=strike)
        murderer.start()
        try:
            result = clean.run(LAST, there)
        finally:
            ended.set()
            murderer.join()
        assert seen, "the job ended before both workers had done something"
        log = events(newest_log(cluster))
        wait_for(lambda: len(cluster.alive_workers()) == 1)
    assert len(seen["killed"]) == 2, "the worker and its executor"
    removed = [event["Executor ID"] for event in log if event["Event"] == "SparkListenerExecutorRemoved"]
    assert removed, "no executor was lost: the job had ended"
    before, after = tasks_of(seen["log"]), tasks_of(log)
    survivor = next(executor for executor in after if executor != removed[0])
    assert before[removed[0]] > 0
    assert after[survivor] > before[survivor]
    assert content(result) == content(cleaned[1])


def test_every_socket_of_the_cluster_listens_on_loopback_only(cluster: Cluster) -> None:
    mine = {
        link.readlink().name.removeprefix("socket:[").removesuffix("]")
        for process in cluster.processes
        for link in Path(f"/proc/{process.pid}/fd").iterdir()
        if link.readlink().name.startswith("socket:")
    }
    listening = [
        line.split()[1].rpartition(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[9] in mine
    ]
    assert len(listening) >= 6, "a master and two workers, each with a port and a page"
    assert {address[-8:] for address in listening} == {"0100007F"}, "127.0.0.1, also as an IPv6 address"


def test_a_job_that_no_worker_can_take_ends_in_one_line(cluster: Cluster, landed: Path, tmp_path: Path) -> None:
    machine = cluster.machine(short_lived=True, executor_wait_seconds=3).model_copy(update={"executor_cores": 64})
    there = context(shutil.copytree(landed, tmp_path / "root"), machine)
    with pytest.raises(
        JobError, match=r"spark_jobs\.clean ended with 1: spark://127\.0\.0\.1:\d+ gave no executor of 64"
    ) as told:
        clean.run(LAST, there)
    assert "\n" not in str(told.value)
    assert (there.store.folder / "logs" / "clean.log").exists()
    assert not there.store.nights("events")


def test_a_cluster_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = f"""
import pathlib, time
from local_cluster import local_cluster
with local_cluster(pathlib.Path({str(tmp_path / "spark")!r}), workers=1) as cluster:
    pathlib.Path({str(tmp_path / "pids")!r}).write_text(" ".join(str(p.pid) for p in cluster.processes) + "\\n")
    time.sleep(120)
"""
    path = os.pathsep.join(str(Path(nights.__file__).parents[1] / name) for name in (".", "benchmarks"))
    owner = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path})
    told = wait_for(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().strip())
    pids = [int(pid) for pid in told.split()]
    assert all(map(is_alive, pids))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_for(lambda: not any(map(is_alive, pids)))
