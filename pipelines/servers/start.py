"""Starts one server as a process of its own, and says where the servers of a root listen."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.core.config import PROJECT
from pipelines.servers import airflow, mlflow
from pipelines.servers.running import KEEPER, Server, remember

NAMES = (*airflow.SERVERS, "mlflow", KEEPER)
HOLD_PORTS = ("api-server", "mlflow")


@dataclass(frozen=True)
class Ports:
    """Of 127.0.0.1."""

    airflow: int
    mlflow: int

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.airflow}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow}"


def ports_of(root: Path) -> Ports:
    """Where the servers that run were told to listen."""
    return Ports(**json.loads(_ports_file(root).read_text()))


def keep_ports(root: Path, ports: Ports) -> None:
    _ports_file(root).write_text(json.dumps(asdict(ports)))


def _ports_file(root: Path) -> Path:
    return airflow.home_of(root) / "ports.json"


def log_of(root: Path, name: str) -> Path:
    return airflow.home_of(root) / "logs" / f"{name}.log"


def start(root: Path, name: str, ports: Ports) -> None:
    """Starts a server of NAMES and remembers it; what it wrote before it was started again stays in its log."""
    others = {"mlflow": mlflow.command(ports.mlflow), KEEPER: ["pipelines.servers.keep"]}
    command = others.get(name) or airflow.command(name)
    page = {"NIGHTMARKET_MLFLOW_PAGE": ports.mlflow_url}
    log = log_of(root, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=PROJECT,
            env={**os.environ, **airflow.environment(root), **mlflow.environment(root, ports.mlflow), **page},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # not stopped by Ctrl-C of the terminal that started it
        )
    try:
        remember(root, Server.of(name, process.pid, log))
    except OSError:  # on a full disk: what is not remembered would not be stopped either
        process.kill()
        process.wait()
        raise
