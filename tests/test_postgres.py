"""The PostgreSQL that tests run on: reachable from this machine only, by its password only, gone when the test is."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.postgres import DATABASES, Postgres

PROJECT = Path(__file__).resolve().parents[1]


def listening(port: int) -> set[str]:
    """Addresses, as the kernel writes them, that listen on a port over IPv4 or IPv6."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == port}


def test_it_answers_with_a_database_for_airflow_and_one_for_mlflow(postgres: Postgres) -> None:
    for database in DATABASES:
        assert postgres.sql("SELECT current_database()", database) == database


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net")
def test_it_listens_on_loopback_only(postgres: Postgres) -> None:
    assert listening(postgres.port) == {"0100007F"}


def test_without_the_password_nobody_comes_in(postgres: Postgres) -> None:
    for host in ("127.0.0.1", str(postgres.folder)):
        done = subprocess.run(
            [postgres.bin / "psql", "-w", "-h", host, "-p", str(postgres.port), "-U", "nightmarket", "airflow"],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": "nightmarket"},
            stdin=subprocess.DEVNULL,
        )
        assert "password authentication failed" in done.stderr
    assert not (postgres.folder / "password").exists()


def test_what_was_committed_survives_a_stop_in_the_middle_on_the_same_port(postgres: Postgres) -> None:
    postgres.sql("CREATE TABLE kept AS SELECT 7 AS n", "mlflow")
    postgres.stop(signal.SIGQUIT)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", postgres.port), timeout=5)
    postgres.start()
    assert postgres.sql("SELECT n FROM kept", "mlflow") == "7"
    postgres.sql("DROP TABLE kept", "mlflow")


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is told to its children on Linux only")
def test_a_killed_test_leaves_no_server_behind(postgres: Postgres, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.postgres import *\n"
        "server = Postgres(find_binaries(), Path(sys.argv[1]), free_port(), account_to_run_as())\n"
        "server.create(); server.start(); print(server.port, server.process.pid, flush=True); time.sleep(600)"
    )
    folder = postgres.folder / "orphan"
    folder.mkdir()
    postgres.give(folder)
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        port, pid = map(int, parent.stdout.readline().split())
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        parent.kill()
    deadline = time.monotonic() + 30
    while listening(port):
        assert time.monotonic() < deadline, f"PostgreSQL {pid} lives on"
        time.sleep(0.05)
