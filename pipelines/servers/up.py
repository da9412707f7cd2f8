"""Starts Airflow and MLflow on loopback and waits until they are healthy.

    make up            # the same as: nightmarket up

Started again it leaves alone what runs and starts what does not. Everything lies under the store's root: Airflow's home
<root>/airflow, its logs <root>/airflow/logs, MLflow's store <root>/mlflow. `make down` stops it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.errors import ServerError
from pipelines.core.storage import default_root
from pipelines.dag_folder import check_dag_folder
from pipelines.servers import airflow, mlflow
from pipelines.servers.database import check_database
from pipelines.servers.health import is_healthy, is_port_free
from pipelines.servers.running import KEEPER, clear_port, end_keeper, running, stop
from pipelines.servers.start import NAMES, Ports, keep_ports, log_of, ports_of, start

HEALTHY_SECONDS = 120
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Up:
    """Where the pages are. `password` is given on the first start only; afterwards its file tells it."""

    ports: Ports
    user: str
    password: str | None
    password_file: Path
    started: tuple[str, ...]
    seconds: float


def up(airflow_port: int, mlflow_port: int, progress: Callable[[str], None] = lambda text: None) -> Up:
    """Raises ServerError: DAGs that cannot be read, a database that does not answer, a port that another program has, a
    server that ends or does not become healthy in time.
    """
    began = time.monotonic()
    check_dag_folder()
    for variable in (airflow.DATABASE, mlflow.DATABASE):
        check_database(variable)
    root = default_root()
    alive = {server.name for server in running(root)}
    if KEEPER in alive and not alive.issuperset(NAMES):  # it may wait before it starts that again
        end_keeper(root)
        alive = {server.name for server in running(root)}
    # Where they listen was decided when they were started.
    ports = ports_of(root) if alive else Ports(airflow_port, mlflow_port)
    missing = tuple(name for name in NAMES if name not in alive)
    for name, port in (("api-server", ports.airflow), ("mlflow", ports.mlflow)):
        if name in missing:
            clear_port(root, name)
        if name in missing and not is_port_free(port):
            raise ServerError(
                f"port {port} of 127.0.0.1 is taken by another program, {name} cannot have it: stop that program, or "
                f"choose another: nightmarket up --{'mlflow' if name == 'mlflow' else 'airflow'}-port PORT"
            )
    password = None
    if missing:
        progress("preparing")
        password = airflow.prepare(root, ports.airflow)
        keep_ports(root, ports)
    try:
        for name in missing:
            progress(f"starting {name}")
            start(root, name, ports)
        _wait(root, ports, missing, progress)
    except BaseException:
        if not alive:  # half of it is of no use; what ran before goes on
            stop(root)
        raise
    seconds = round(time.monotonic() - began, 1)
    return Up(ports, airflow.USER, password, airflow.password_file(root), missing, seconds)


def _wait(root: Path, ports: Ports, started: tuple[str, ...], progress: Callable[[str], None]) -> None:
    addresses = {"airflow": ports.airflow_url, "mlflow": ports.mlflow_url}
    deadline = time.monotonic() + HEALTHY_SECONDS
    while waiting := [name for name, address in addresses.items() if not is_healthy(name, address)]:
        alive = {server.name for server in running(root)}
        if KEEPER not in alive:
            log = log_of(root, KEEPER)
            raise ServerError(f"the {KEEPER} ended while it started: {_last_line(log)}; log: {log}")
        if time.monotonic() > deadline:
            ended = [name for name in NAMES if name not in alive]
            name = ended[0] if ended else waiting[0]
            told = f"; {name}: {_last_line(log_of(root, name))}" if ended else ""
            raise ServerError(
                f"{', '.join(waiting)} not healthy after {HEALTHY_SECONDS} s{told}; logs: {log_of(root, name).parent}"
            )
        progress(f"waiting for {', '.join(waiting)}")
        time.sleep(_POLL_SECONDS)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"
