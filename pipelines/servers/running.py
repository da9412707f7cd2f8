"""Which servers were started from a root and still run: <root>/airflow/servers.json, checked against the machine.

A process id alone may have gone to another program after a crash or a restart of the machine: a server is its id and the
time it was started. What it has started itself carries the root in its environment and is stopped with it.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

MARK = "NIGHTMARKET_SERVERS_OF"  # environment of every server and of all that it starts: the root
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Server:
    """A process that was started; `created` is its start in seconds since 1970, as the kernel tells it."""

    name: str
    pid: int
    created: float
    log: str

    @classmethod
    def of(cls, name: str, pid: int, log: Path) -> "Server":
        return cls(name, pid, psutil.Process(pid).create_time(), str(log))

    @property
    def is_alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def running(root: Path) -> list[Server]:
    """Servers of this root that are alive."""
    return [server for server in _remembered(root) if server.is_alive]


def remember(root: Path, server: Server) -> None:
    """Adds a server to those that `stop` stops; one of the same name that has ended is forgotten."""
    kept = [known for known in _remembered(root) if known.name != server.name]
    _write(root, [*kept, server])


def stop(root: Path) -> list[str]:
    """Stops every server of this root and all that they have started, first politely; returns the servers' names."""
    names = [server.name for server in running(root)]
    ours = _marked(root)
    for process in ours:
        _quietly(process.terminate)
    _, left = psutil.wait_procs(ours, timeout=_STOP_SECONDS)
    deadline = time.monotonic() + _STOP_SECONDS
    while left and time.monotonic() < deadline:  # what a dying server started meanwhile too
        for process in left:
            _quietly(process.kill)
        psutil.wait_procs(left, timeout=1)
        left = _marked(root)
    _file(root).unlink(missing_ok=True)
    return names


def _marked(root: Path) -> list[psutil.Process]:
    """Processes that carry the mark of this root; of other users' processes the environment cannot be read."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.environ().get(MARK) == str(root):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return


def _file(root: Path) -> Path:
    return root / "airflow" / "servers.json"


def _remembered(root: Path) -> list[Server]:
    try:
        return [Server(**told) for told in json.loads(_file(root).read_text())]
    except FileNotFoundError:
        return []


def _write(root: Path, servers: list[Server]) -> None:
    path = _file(root)
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps([asdict(server) for server in servers], indent=1))
    aside.replace(path)
