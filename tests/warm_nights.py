"""Runs `nightmarket` commands in forks of one warm process, so that a test pays for no import; see the `warm` fixture.

    python tests/warm_nights.py < requests

A request is one JSON line: args, env, out and err (files), `kill` (see below), `trace` (a file), `setup` (Python to run
first). The answer is one line: the exit code, negative for a signal. Everything but the imports is the real thing, with
one short cut: a job is a function of its spec and input files, so a job that ran before hands out what it made then
(WARM_NIGHTS_CACHE). That it is one is tested with real processes.

Every call that changes the disk raises a Python audit event first. Under a trace the command writes each of them as
"stage event path", with what differs between runs left out; with `kill` it is killed (SIGKILL) right before the first one
that equals it, or that has this number.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAVY = ("duckdb", "great_expectations", "jinja2", "matplotlib", "pandas", "pyarrow.parquet", "sqlframe.duckdb")
OWN = ("pipelines.audit", "pipelines.cli", "pipelines.night", "pipelines.show", "pipelines.simulator.simulate")
JOBS = ("spark_jobs.clean", "spark_jobs.features")
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "shutil.rmtree", "fcntl.flock")
MOVING = re.compile(r"\d+-\d{6,}|(?<=\.)\d+$|\d{8}T\d{6}-[0-9a-f]{8}|(?<=probe\.)\d+")
N_JOBS = 6


def main() -> None:
    for name in (*HEAVY, *OWN, *JOBS):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    importlib.import_module(
        "pipelines.core.storage"
    ).code_version()  # one for all, even if sources are edited meanwhile
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(serve(request))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def serve(request: dict[str, Any]) -> int:
    """The command of one request, in the fork; returns its exit code."""
    from pipelines import cli, launch

    die_with_parent()
    os.environ.update(request["env"])
    for handle, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), handle)
    jobs = [WaitingJob() for _ in range(N_JOBS)]
    launch.subprocess = Jobs(jobs)  # type: ignore[assignment]
    if request.get("trace") or request.get("kill"):
        watch(Path(os.environ["NIGHTMARKET_ROOT"]), request.get("trace"), request.get("kill"))
    exec(request.get("setup") or "", {})  # a test's own code
    sys.argv = ["nightmarket", *request["args"]]
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for job in jobs:
            job.close()
    return 0


def die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class WaitingJob:
    """A fork made before anything ran; it becomes a job when told which, or ends when its pipe closes."""

    def __init__(self) -> None:
        read, self.pipe = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(read)
            return
        os.close(self.pipe)
        die_with_parent()
        with os.fdopen(read) as told:
            line = told.readline()
        if not line:
            os._exit(0)
        module, spec, log = json.loads(line)
        for handle in (1, 2):
            os.dup2(log_handle(log), handle)
        os._exit(run_job(module, Path(spec)))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.pipe)


def run_job(module: str, spec_file: Path) -> int:
    """Runs a job, or hands out what it made of the same spec and files before."""
    text = spec_file.read_text()
    spec = json.loads(text)
    out = Path(spec["out"])
    key = hashlib.sha256(module.encode())
    for name in sorted(set(re.findall(r'"(/[^"]+\.parquet)"', text))):
        key.update(Path(name).read_bytes())
        text = text.replace(name, hashlib.sha256(Path(name).read_bytes()).hexdigest())
    key.update(text.replace(str(out), "").replace(spec.get("root", "\0"), "").encode())
    made = Path(os.environ["WARM_NIGHTS_CACHE"]) / key.hexdigest()
    if not made.exists():
        child = os.fork()
        if not child:
            die_with_parent()
            sys.argv = [module, str(spec_file)]
            runpy.run_module(module, run_name="__main__")
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            return code
        half = made.with_suffix(f".{os.getpid()}")
        shutil.copytree(
            out, half, ignore=lambda folder, names: [n for n in names if n in (".alive", "work", spec_file.name)]
        )
        with contextlib.suppress(OSError):  # another was first
            half.rename(made)
    shutil.copytree(made, out, dirs_exist_ok=True)
    return 0


def log_handle(log: str) -> int:
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Jobs:
    """Stands in for the module `subprocess` where jobs are started."""

    DEVNULL = STDOUT = None

    def __init__(self, waiting: list[WaitingJob]) -> None:
        self.waiting = waiting

    def Popen(self, command: list[str], *, stdout: Any, **options: Any) -> "Jobs":
        sys.audit("subprocess.Popen", command[2], command, None, None)
        self.job = self.waiting.pop()
        os.write(self.job.pipe, (json.dumps([command[2], command[3], stdout.name]) + "\n").encode())
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.job.pid, 0)[1])

    def kill(self) -> None:
        os.kill(self.job.pid, signal.SIGKILL)


def watch(root: Path, trace: str | None, kill: str | int | None) -> None:
    from pipelines import night

    stage = ["start"]
    run_stage = night.run_stage

    def named(name: str, *rest: Any) -> Any:
        stage[0] = name
        return run_stage(name, *rest)

    night.run_stage = named
    prefix, count = str(root) + "/", 0
    told = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if trace else None

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = args
            if not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                return
        elif event in CHANGES:
            path = args[0]
            if event == "fcntl.flock":
                path = str(Path(f"/proc/self/fd/{path}").readlink()) + ("=" if args[1] & fcntl.LOCK_UN else "")
        elif event == "subprocess.Popen":
            path = prefix + args[0]
        elif event == "ctypes.dlsym" and str(args[1]).startswith("rename"):
            path = prefix + "exchange"
        else:
            return
        path = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not path.startswith(prefix):
            return
        count += 1
        line = f"{stage[0]} {event} {MOVING.sub('*', path.removeprefix(prefix))}"
        if kill in (line, count):
            os.kill(os.getpid(), signal.SIGKILL)
        if told is not None:
            os.write(told, f"{line}\n".encode())

    sys.addaudithook(hook)


if __name__ == "__main__":
    main()
