import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.servers import up as module
from pipelines.servers.running import KEEPER, Server, remember, running
from pipelines.servers.start import NAMES, Ports, keep_ports
from pipelines.servers.up import up


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Servers are processes that sleep, and healthy at once; the names of those that `up` has started."""
    names: list[str] = []
    processes: list[subprocess.Popen[bytes]] = []

    def start(root: Path, name: str, ports: Ports) -> None:
        processes.append(subprocess.Popen(["sleep", "600"], start_new_session=True))
        remember(root, Server.of(name, processes[-1].pid, root / "log"))
        names.append(name)

    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path))
    monkeypatch.setattr(module, "start", start)
    monkeypatch.setattr(module, "is_healthy", lambda name, address: True)
    monkeypatch.setattr(module.airflow, "prepare", lambda root, port: None)
    (tmp_path / "airflow").mkdir()
    keep_ports(tmp_path, Ports(1, 2))
    yield names
    for process in processes:
        process.kill()
        process.wait()


def pid_of(root: Path, name: str) -> int:
    (found,) = [server.pid for server in running(root) if server.name == name]
    return found


def test_a_server_that_the_keeper_waits_to_start_again_is_started_by_up_with_a_fresh_keeper(
    started: list[str], tmp_path: Path
) -> None:
    """As after a database that stayed away for long: each restart failed, and the keeper waits up to a minute."""
    assert up(1024, 1025).started == NAMES
    keeper, scheduler = pid_of(tmp_path, KEEPER), pid_of(tmp_path, "scheduler")
    mlflow = pid_of(tmp_path, "mlflow")
    psutil.Process(scheduler).kill()
    psutil.Process(scheduler).wait(10)
    started.clear()
    assert up(1024, 1025).started == ("scheduler", KEEPER)
    assert started == ["scheduler", KEEPER]
    assert {server.name for server in running(tmp_path)} == set(NAMES)
    assert pid_of(tmp_path, KEEPER) != keeper
    assert pid_of(tmp_path, "mlflow") == mlflow
    assert up(1024, 1025).started == ()
