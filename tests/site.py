"""Airflow and MLflow as `nightmarket up` starts them, from a copy of the project so that a test may change it, and a real
browser to look at their pages."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.servers.client import AirflowClient
from tests.conftest import KEY, LAYERS, PROJECT

DAG = "nightly_marketing_tiny"
SOURCES = ("dags", "pipelines", "spark_jobs", "training", "great_expectations")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Site:
    """One root with its servers; `environment` goes on top of the process's."""

    project: Path
    root: Path
    conf: Path
    more: dict[str, str] = field(default_factory=dict)
    airflow_port: int = 0
    mlflow_port: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self.project),
            "NIGHTMARKET_ROOT": str(self.root),
            "NIGHTMARKET_CONF": str(self.conf),
            "NIGHTMARKET_KEY": KEY,
            "COLUMNS": "200",
            **self.more,
        }

    def command(self, *args: str, root: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The `nightmarket` command of the copy."""
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *args],
            cwd=self.project,
            env=self.environment | ({"NIGHTMARKET_ROOT": str(root)} if root else {}),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def up(self) -> dict[str, Any]:
        done = self.command(
            "up", "--airflow-port", str(self.airflow_port), "--mlflow-port", str(self.mlflow_port), "--json"
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    def client(self) -> AirflowClient:
        return AirflowClient(self.airflow_url, self.root)

    def logs(self, dag: str, task: str) -> str:
        """What all attempts of a task have written so far."""
        files = sorted((self.root / "airflow" / "logs").glob(f"dag_id={dag}/**/task_id={task}/*.log"))
        return "\n".join(file.read_text(errors="replace") for file in files)


@contextmanager
def site(folder: Path, shops: dict[str, str], machine: str, **more: str) -> Iterator[Site]:
    """Servers that are up, and down again at the end whatever happened."""
    conf = folder / "conf"
    (conf / "shops").mkdir(parents=True)
    for name, text in shops.items():
        (conf / "shops" / f"{name}.yaml").write_text(text)
    (conf / "local.yaml").write_text(machine)
    for name in ("knowledge", "moderation"):  # what a shop made of the demo reads
        shutil.copytree(PROJECT / "conf" / name, conf / name)
    project = folder / "project"
    for name in SOURCES:
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "uncommitted"))
    made = Site(project, folder / "root", conf, more, *free_ports(2))
    try:
        made.up()
        yield made
    finally:
        made.command("down")


def free_ports(n: int) -> list[int]:
    """Ports of loopback that nobody has now, all different."""
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def find_browser() -> str:
    """Path of Debian's chromium; skips where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium here: apt-get install chromium")
    return found


def published(root: Path, shop: str = "tiny") -> dict[str, str]:
    """SHA-256 of every published file, manifests too, by its path."""
    return {
        path.relative_to(root / shop).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for layer in LAYERS
        for path in sorted((root / shop / layer).rglob("*"))
        if path.is_file() and "failing_rows" not in path.parts and "audits" not in path.parts
    }


def until(found: Callable[[], Any], seconds: float = 120) -> Any:
    """Waits for something true."""
    deadline = time.monotonic() + seconds
    while not (it := found()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return it
