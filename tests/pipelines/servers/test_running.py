import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipelines.servers.running import Server, clear_port, remember, remembered, running, stop


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A process that sleeps, remembered as the scheduler of the root `tmp_path`."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (tmp_path / "airflow").mkdir()
    made = Server.of("scheduler", process.pid, tmp_path / "log")
    remember(tmp_path, made)
    yield made
    process.kill()
    process.wait()


def test_a_server_is_remembered_until_it_is_stopped(server: Server, tmp_path: Path) -> None:
    assert running(tmp_path) == remembered(tmp_path) == [server]
    assert stop(tmp_path) == ["scheduler"]
    assert not server.is_alive
    assert remembered(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="psutil reads the machine's start from /proc")
@pytest.mark.parametrize("seconds", [-86_400, -1, 1, 86_400])
def test_a_clock_that_jumps_does_not_make_a_server_another_program(
    seconds: int, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the keeper would start every server a second time and `down` would not find the first. The kernel counts when a
    process was started from the machine's own start, and moves the date of that start when the clock is set."""
    before = psutil.Process(server.pid).create_time()
    start_of_machine = psutil._pslinux.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: start_of_machine + seconds)
    assert psutil.Process(server.pid).create_time() == before + seconds
    assert server.is_alive
    assert running(tmp_path) == [server]
    clear_port(tmp_path, "scheduler")
    assert server.is_alive
    assert stop(tmp_path) == ["scheduler"]


def test_another_program_with_the_id_of_a_server_is_no_server_and_is_not_stopped(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "airflow" / "servers.json").unlink()
    remember(tmp_path, replace(server, created="1"))
    assert running(tmp_path) == []
    assert stop(tmp_path) == []
    assert psutil.pid_exists(server.pid)
    assert os.getpgid(server.pid) == server.pid
