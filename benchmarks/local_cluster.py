"""A standalone Spark cluster on loopback, from the installed pyspark: one master, some workers, gone with this process.

    with local_cluster(folder, workers=2) as cluster:
        machine = cluster.machine()          # what conf/cluster.yaml would say of it

Every process is bound to 127.0.0.1, takes free ports, writes under `folder`, and is killed by the kernel when the thread
that started it ends, however it ends; executors end with their worker. Tests and benchmarks/cluster.py use it.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyspark

from pipelines.core.machine import Machine
from pipelines.core.sizing import EQUAL_BYTES, SHORT_LIVED_JVM

START_SECONDS = 60
_HOME = Path(pyspark.__file__).parent


@dataclass(frozen=True)
class Cluster:
    """`master` is its spark:// address, `page` the master's web page, `workers` the processes, `events` Spark's event logs."""

    folder: Path
    master: str
    page: str
    processes: tuple[subprocess.Popen[bytes], ...]  # the master first
    cores: int
    memory_gb: float

    @property
    def workers(self) -> tuple[subprocess.Popen[bytes], ...]:
        return self.processes[1:]

    @property
    def events(self) -> Path:
        return self.folder / "events"

    def machine(self, *, short_lived: bool = False, **settings: Any) -> Machine:
        """Settings of a machine that submits to this cluster and logs Spark's events; `short_lived` halves the CPU time of
        processes that spend it compiling."""
        quick = SHORT_LIVED_JVM if short_lived else ""
        conf = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": self.events.as_uri(),
            "spark.eventLog.rolling.enabled": "false",
            "spark.eventLog.compress": "false",
            "spark.executor.extraJavaOptions": f"{EQUAL_BYTES} {quick}",
        }
        given = {"threads": 1, "memory_gb": 1, "min_free_disk_mb": 0, "executor_wait_seconds": START_SECONDS} | settings
        return Machine(
            engine="spark",
            spark_master=self.master,
            spark_submit=("spark-submit", "--master", self.master, "--driver-java-options", f"{EQUAL_BYTES} {quick}"),
            spark_conf=conf | given.pop("spark_conf", {}),
            executor_cores=self.cores,
            executor_memory_gb=self.memory_gb,
            **given,
        )

    def alive_workers(self) -> list[str]:
        """Ids of the workers that the master counts on."""
        with urllib.request.urlopen(f"{self.page}/json", timeout=5) as answer:
            told = json.load(answer)
        return [worker["id"] for worker in told["workers"] if worker["state"] == "ALIVE"]

    def executors(self, worker: int) -> list[int]:
        """Process ids of the executors that this worker started."""
        children = [pid for pid, parent in _processes() if parent == self.workers[worker].pid]
        return [pid for pid in children if _runs(pid, "CoarseGrainedExecutorBackend")]  # it starts small helpers too

    def kill_worker(self, worker: int) -> list[int]:
        """SIGKILL to a worker and its executors, as when a machine dies; the process ids."""
        killed = [self.workers[worker].pid, *self.executors(worker)]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        self.workers[worker].wait()
        return killed


@contextmanager
def local_cluster(folder: Path, workers: int = 2, cores: int = 1, memory_gb: float = 1.0) -> Iterator[Cluster]:
    """A master and so many workers, each of `cores` and `memory_gb`, once all have registered."""
    (folder / "events").mkdir(parents=True)
    started: list[subprocess.Popen[bytes]] = []
    try:
        kind = "org.apache.spark.deploy.master.Master"
        started.append(_start(folder / "master", kind, "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"))
        log = folder / "master" / "log"
        master = _told(started[0], log, r"Starting Spark master at (spark://\S+)")
        port = _told(started[0], log, r"Successfully started service 'MasterUI' on port (\d+)")
        for number in range(workers):
            place = folder / f"worker-{number}"
            size = ("--cores", str(cores), "--memory", f"{int(memory_gb * 1024)}m", "--work-dir", str(place / "work"))
            kind = "org.apache.spark.deploy.worker.Worker"
            started.append(
                _start(place, kind, "--host", "127.0.0.1", "--port", "0", "--webui-port", "0", *size, master)
            )
        for number in range(workers):
            _told(started[number + 1], folder / f"worker-{number}" / "log", r"(Successfully registered) with master")
        yield Cluster(folder, master, f"http://127.0.0.1:{port}", tuple(started), cores, memory_gb)
    finally:
        for pid, parent in _processes():
            if parent in [process.pid for process in started[1:]]:
                os.kill(pid, signal.SIGKILL)
        for process in started:
            process.kill()
            process.wait()


def _start(place: Path, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
    place.mkdir()
    settings = {
        "SPARK_HOME": str(_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",  # of the web pages too
        "SPARK_LOCAL_DIRS": str(place / "local"),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_CONF_DIR": str(place),  # whatever is configured on this machine does not count
    }
    with (place / "log").open("wb") as log:
        return subprocess.Popen(
            [str(_HOME / "bin" / "spark-class"), kind, *arguments],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(_die_with, os.getpid()) if sys.platform == "linux" else None,
        )


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _told(process: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    """What the first line of the log that matches says."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found.group(1)
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"{log} never told {pattern!r}: {log.read_text(errors='replace')[-1000:]}")


def _processes() -> list[tuple[int, int]]:
    """(process, its parent) of all that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append((int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])))
        except OSError:
            continue  # it has ended meanwhile
    return found


def _runs(pid: int, program: str) -> bool:
    try:
        return program in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return False  # it has ended meanwhile
