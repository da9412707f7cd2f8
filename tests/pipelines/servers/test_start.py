import errno
from pathlib import Path

import psutil
import pytest

from pipelines.servers import start as module
from pipelines.servers.running import Server
from pipelines.servers.start import Ports, start


def test_a_server_that_a_full_disk_keeps_from_being_remembered_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Server] = []

    def full(root: Path, server: Server) -> None:
        assert server.is_alive
        started.append(server)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "remember", full)
    monkeypatch.setattr(module.airflow, "command", lambda name: ["http.server", "0", "--bind", "127.0.0.1"])
    with pytest.raises(OSError, match="No space left"):
        start(tmp_path, "scheduler", Ports(1, 2))
    (server,) = started
    assert not psutil.pid_exists(server.pid)
