"""A real PostgreSQL for tests: Debian's package on loopback, with a data folder and a password of its own.

The fixture `postgres` (tests/conftest.py) starts it.
"""

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATABASES = ("airflow", "mlflow")
USER = "nightmarket"
START_S = 30


@dataclass
class Postgres:
    """A server in `folder`; `start` and `stop` may be called again and again, port and data stay."""

    bin: Path
    folder: Path
    port: int
    account: str | None  # who runs it, where the tests are root: PostgreSQL refuses to be
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg2://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Makes the data folder. Only the password opens it, by socket and by TCP."""
        secret = self.folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        self.give(secret)
        initdb = ("initdb", "--pgdata", self.data, "--username", USER, "--pwfile", secret, "--auth", "scram-sha-256")
        try:
            self._run(*initdb, "--encoding", "UTF8", "--locale", "C", "--no-sync")
        finally:
            secret.unlink()

    def start(self) -> None:
        """Returns when it answers. Raises AssertionError with the server's log when it does not."""
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, "-F", *settings],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=stop_with_parent,
                **self._account(),
            )
        deadline = time.monotonic() + START_S
        while self._call("pg_isready", "--host", "127.0.0.1", "--port", self.port).returncode:
            assert self.process.poll() is None, f"PostgreSQL ended at its start:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"PostgreSQL does not answer:\n{self.log.read_text()}"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT: at once, all connections cut, as in a power failure; SIGINT: in order."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(timeout=START_S)
            self.process = None

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What a statement gives, a line a row, columns with | between them."""
        server = ("--host", "127.0.0.1", "--port", self.port, "--username", USER, "--dbname", database)
        return self._run("psql", *server, "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement).strip()

    def _run(self, program: str, *args: Any) -> str:
        done = self._call(program, *args)
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def _call(self, program: str, *args: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / program, *map(str, args)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": self.password, "LC_ALL": "C"},
            **self._account(),
        )

    def _account(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account, "group": pwd.getpwnam(self.account).pw_gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        if self.account:
            os.chown(path, pwd.getpwnam(self.account).pw_uid, pwd.getpwnam(self.account).pw_gid)


def stop_with_parent() -> None:
    """In the child, after it changed its user (which would clear this): a killed test leaves no server behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def find_binaries() -> Path | None:
    """The newest of Debian's packages, or what is on PATH, or None."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = packaged[-1] if packaged else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def account_to_run_as() -> str | None:
    """None where the tests are not root."""
    if os.geteuid():
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def running(binaries: Path) -> Iterator[Postgres]:
    """A server with an empty database for each of DATABASES."""
    # Not pytest's own folder: only root could go into it, and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="nightmarket-postgres-") as folder:
        server = Postgres(binaries, Path(folder), free_port(), account_to_run_as())
        server.give(server.folder)
        server.create()
        server.start()
        try:
            for database in DATABASES:
                server.sql(f"CREATE DATABASE {database}")
            yield server
        finally:
            server.stop()
