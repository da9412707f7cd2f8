"""Which servers were started from a root and still run: <root>/airflow/servers.json, checked against the machine.

A process id alone may have gone to another program after a crash or a restart of the machine: a server is its id and when
it was started, counted from the start of the machine, which no change of its clock moves. Each leads a session of its own,
and what it starts belongs to that session and carries the root in its environment: either is enough to be stopped with it,
also where the server itself has died.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

KEEPER = "keeper"  # starts the others again; see pipelines/servers/keep.py
MARK = "NIGHTMARKET_SERVERS_OF"  # environment of every server and of all that it starts: the root
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Server:
    """A process that was started; `created` is when, as `_created` tells it."""

    name: str
    pid: int
    created: str
    log: str

    @classmethod
    def of(cls, name: str, pid: int, log: Path) -> "Server":
        return cls(name, pid, _created(pid), str(log))

    @property
    def is_alive(self) -> bool:
        try:
            return not self.is_replaced and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @property
    def is_replaced(self) -> bool:
        """Whether another program has its process id now."""
        try:
            return _created(self.pid) != self.created
        except psutil.NoSuchProcess:
            return False


def _created(pid: int) -> str:
    """Tells a process from every other that has or had its id. Raises psutil.NoSuchProcess.

    What psutil gives for Linux is the machine's start by today's clock plus this: with the clock put right by a second, every
    server would be taken for another program.
    """
    if sys.platform != "linux":
        return str(psutil.Process(pid).create_time())
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return f"{after_name.split()[19]} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"


def running(root: Path) -> list[Server]:
    """Servers of this root that are alive."""
    return [server for server in remembered(root) if server.is_alive]


def remembered(root: Path) -> list[Server]:
    """Servers that were started and not stopped, alive or not."""
    try:
        return [Server(**told) for told in json.loads(_file(root).read_text())]
    except FileNotFoundError:
        return []


def remember(root: Path, server: Server) -> None:
    """Adds a server to those that `stop` stops; one that has ended is kept too: what it started may live on."""
    _write(root, [*remembered(root), server])


def stop(root: Path) -> list[str]:
    """Stops every server of this root and all that they have started, first politely; returns the servers' names."""
    alive = running(root)
    end_keeper(root)  # first of all, or it would start again what is stopped
    ours = _ours(root)
    for process in ours:
        _quietly(process.terminate)
    _, left = psutil.wait_procs(ours, timeout=_STOP_SECONDS)
    deadline = time.monotonic() + _STOP_SECONDS
    while left and time.monotonic() < deadline:  # what a dying server started meanwhile too
        for process in left:
            _quietly(process.kill)
        psutil.wait_procs(left, timeout=1)
        left = _ours(root)
    _file(root).unlink(missing_ok=True)
    return [server.name for server in alive]


def end_keeper(root: Path) -> None:
    """Ends the keeper alone; from then on nobody starts a server again."""
    for server in running(root):
        if server.name == KEEPER:
            keeper = psutil.Process(server.pid)
            _quietly(keeper.kill)
            psutil.wait_procs([keeper], timeout=_STOP_SECONDS)


def clear_port(root: Path, name: str) -> None:
    """Ends what a server that has died left behind of itself, which may hold its port."""
    for process in _members([server for server in remembered(root) if server.name == name and not server.is_alive]):
        _quietly(process.kill)


def _ours(root: Path) -> list[psutil.Process]:
    """Processes in the sessions of this root's servers, or that carry its mark; those of other users cannot be read."""
    return _members(remembered(root), str(root))


def _members(servers: list[Server], mark: str | None = None) -> list[psutil.Process]:
    # The id of a session whose leader has died is given to nobody while one of its members lives.
    sessions = {server.pid for server in servers if not server.is_replaced}
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if os.getsid(process.pid) in sessions or (mark and process.environ().get(MARK) == mark):
                found.append(process)
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return


def _file(root: Path) -> Path:
    return root / "airflow" / "servers.json"


def _write(root: Path, servers: list[Server]) -> None:
    path = _file(root)
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps([asdict(server) for server in servers], indent=1))
    aside.replace(path)
