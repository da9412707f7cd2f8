"""Starts Airflow and MLflow on loopback and waits until they are healthy.

    make up            # the same as: nightmarket up

Started again it leaves alone what runs and starts what does not. Everything lies under the store's root: Airflow's home
<root>/airflow, its logs <root>/airflow/logs, MLflow's store <root>/mlflow. `make down` stops it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.config import PROJECT
from pipelines.core.errors import ServerError
from pipelines.core.storage import default_root
from pipelines.servers import airflow, mlflow
from pipelines.servers.health import is_healthy, is_port_free
from pipelines.servers.running import Server, remember, running, stop

HEALTHY_SECONDS = 120
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Up:
    """Where the pages are. `password` is given on the first start only; afterwards its file tells it."""

    airflow_url: str
    mlflow_url: str
    user: str
    password: str | None
    password_file: Path
    started: tuple[str, ...]
    seconds: float


def up(airflow_port: int, mlflow_port: int, progress: Callable[[str], None] = lambda text: None) -> Up:
    """Raises ServerError: a port that another program has, a server that ends or does not become healthy in time."""
    began = time.monotonic()
    root = default_root()
    home = airflow.home_of(root)
    alive = {server.name: server for server in running(root)}
    if alive:  # where they listen was decided when they were started
        ports = json.loads((home / "ports.json").read_text())
        airflow_port, mlflow_port = ports["airflow"], ports["mlflow"]
    addresses = {
        "airflow": f"http://127.0.0.1:{airflow_port}",
        "mlflow": f"http://127.0.0.1:{mlflow_port}",
    }
    wanted = {
        **{name: airflow.command(name) for name in airflow.SERVERS},
        "mlflow": mlflow.command(mlflow_port),
    }
    missing = [name for name in wanted if name not in alive]
    for name, port in (("api-server", airflow_port), ("mlflow", mlflow_port)):
        if name in missing and not is_port_free(port):
            raise ServerError(
                f"port {port} of 127.0.0.1 is taken by another program, {name} cannot have it: stop that program, or "
                f"choose another: nightmarket up --{'mlflow' if name == 'mlflow' else 'airflow'}-port PORT"
            )
    password = None
    page = {"NIGHTMARKET_MLFLOW_PAGE": addresses["mlflow"]}
    environment = airflow.environment(root) | mlflow.environment(root, mlflow_port) | page
    if missing:
        progress("preparing")
        password = airflow.prepare(root, airflow_port)
        (home / "ports.json").write_text(json.dumps({"airflow": airflow_port, "mlflow": mlflow_port}))
        for name in missing:
            progress(f"starting {name}")
            remember(root, _start(name, wanted[name], environment, home / "logs"))
    try:
        while dying := _wait(root, wanted, addresses, missing, progress):  # what ran when we looked, and does no more
            for name in dying:
                remember(root, _start(name, wanted[name], environment, home / "logs"))
            missing += dying
    except BaseException:
        if not alive:  # half of it is of no use; what ran before goes on
            stop(root)
        raise
    return Up(
        addresses["airflow"],
        addresses["mlflow"],
        airflow.USER,
        password,
        airflow.password_file(root),
        tuple(missing),
        round(time.monotonic() - began, 1),
    )


def _start(name: str, command: list[str], environment: dict[str, str], logs: Path) -> Server:
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=PROJECT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # not stopped by Ctrl-C of the terminal that started it
        )
    return Server.of(name, process.pid, log)


def _wait(
    root: Path,
    wanted: dict[str, list[str]],
    addresses: dict[str, str],
    started: list[str],
    progress: Callable[[str], None],
) -> list[str]:
    """Returns when all is healthy, or earlier with the servers that have ended although nobody started them just now."""
    deadline = time.monotonic() + HEALTHY_SECONDS
    while True:
        alive = {server.name for server in running(root)}
        ended = [name for name in wanted if name not in alive]
        if failed := [name for name in ended if name in started]:
            log = airflow.home_of(root) / "logs" / f"{failed[0]}.log"
            raise ServerError(f"{failed[0]} ended while it started: {_last_line(log)}; log: {log}")
        if ended:
            return ended
        waiting = [name for name, address in addresses.items() if not is_healthy(name, address)]
        if not waiting:
            return []
        if time.monotonic() > deadline:
            raise ServerError(
                f"{', '.join(waiting)} not healthy after {HEALTHY_SECONDS} s; logs: {airflow.home_of(root) / 'logs'}"
            )
        progress(f"waiting for {', '.join(waiting)}")
        time.sleep(_POLL_SECONDS)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"
