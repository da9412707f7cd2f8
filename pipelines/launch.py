"""Starts the heavy processes: `python -m spark_jobs.X SPEC.json` on one machine, the same behind spark-submit on a cluster.

A child dies with its parent, its output goes to a log file beside its spec, and its failure becomes one line. Whoever has
another way to a cluster gives `submit`: it is told the program and its arguments, and returns when the job has ended.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.core.config import PROJECT
from pipelines.core.errors import CAUSE_FILE, EXIT_FAILED, JobError, NoDataError, WrongUseError
from pipelines.core.machine import Machine

_MIN_JAVA = 17
_FULL_BYTES = 1 << 20
_MASTER_SECONDS = 5
# Threads of OpenMP (LightGBM, torch) wait asleep, not spinning: two jobs on the same cores else slow each other tenfold.
_DEFAULTS = {"GOMP_SPINCOUNT": "2000"}


Submit = Callable[[str, list[str]], None]


def launch(
    module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path, *, submit: Submit | None = None
) -> dict[str, Any]:
    """Runs one job to its end and returns its result.json.

    `folder` holds the spec and what the job writes; `logs` keeps the log of a failed job. `submit(application, arguments)`
    runs it in place of a child of this process and raises where it failed. Raises JobError with the cause that the job
    told, or else the last line of its log; WrongUseError where Spark cannot be started.
    """
    if machine.engine == "spark" and submit is None:
        require_spark(machine)
    folder.mkdir(parents=True, exist_ok=True)
    name = module.rpartition(".")[2]
    spec_file = folder / f"{name}.json"
    spec_file.write_text(json.dumps({**spec, "out": str(folder), "work": str(folder / "work")}, sort_keys=True))
    log = folder / f"{name}.log"
    program = str(PROJECT / f"{module.replace('.', '/')}.py")
    if submit:
        code = _submitted(submit, program, str(spec_file), log)
    elif machine.spark_submit:
        code = _child([_found(machine.spark_submit[0]), *machine.spark_submit[1:], program, str(spec_file)], log)
    else:
        code = _child([sys.executable, "-m", module, str(spec_file)], log)
    if code:
        raise _job_error(module, code, log, logs)
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    except FileNotFoundError:  # a submit that did not wait, or hid a failure
        with log.open("a") as output:
            output.write("it wrote no result.json\n")
        raise _job_error(module, EXIT_FAILED, log, logs) from None
    return result


Ask = Callable[[dict[str, Any]], dict[str, Any]]


@contextlib.contextmanager
def conversation(module: str, spec: dict[str, Any], folder: Path, logs: Path) -> Iterator[Ask]:
    """Starts a job that answers requests, a line of JSON each way, for as long as the block lasts.

    Where many small pieces of work would load the same libraries again and again. `ask` raises JobError with what the job
    told: a request that failed is answered {"error": why}, a job that ended has its last words in the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = module.rpartition(".")[2]
    spec_file, log = folder / f"{name}.json", folder / f"{name}.log"
    spec_file.write_text(json.dumps({**spec, "out": str(folder)}, sort_keys=True))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(spec_file)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env={**_DEFAULTS, **os.environ, "PYTHONPATH": str(PROJECT)},
            preexec_fn=partial(die_with, os.getpid()) if sys.platform == "linux" else None,
        )
    assert process.stdin
    assert process.stdout

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise _job_error(module, process.wait(), log, logs)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise JobError(f"{module}: {answer['error']}")
        return answer

    try:
        yield ask
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # a request that nobody read
            process.stdin.close()


def _child(command: list[str], log: Path) -> int:
    """Runs the command to its end, output to the log; returns its exit code, negative for a signal."""
    # The driver on a cluster runs in this Python, and so do the executors unless PYSPARK_PYTHON says otherwise.
    defaults = {**_DEFAULTS, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**defaults, **os.environ, "PYTHONPATH": str(PROJECT)},
            preexec_fn=partial(die_with, os.getpid()) if sys.platform == "linux" else None,
        )
        try:
            return process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise


def _submitted(submit: Submit, program: str, spec_file: str, log: Path) -> int:
    """Hands the job over; what `submit` raises is the log, as the job's own is where it ran."""
    try:
        submit(program, [spec_file])
    except Exception as error:
        log.write_text(f"{type(error).__name__}: {error}\n")
        return EXIT_FAILED
    log.write_text("")
    return 0


def _found(command: str) -> str:
    """The command on the PATH or beside this Python, where pip puts spark-submit. Raises WrongUseError."""
    beside = Path(sys.executable).parent
    path = shutil.which(command, path=os.pathsep.join((os.environ.get("PATH", os.defpath), str(beside))))
    if path is None:
        raise WrongUseError(
            f"no command '{command}' on the PATH or in {beside}: install Spark (pip install pyspark) or mend spark_submit in conf/"
        )
    return path


def require_spark(machine: Machine) -> None:
    """Raises WrongUseError, before anything starts, where Spark cannot: no Java, no spark-submit, no master that answers."""
    require_java()
    if machine.spark_submit:
        _found(machine.spark_submit[0])
    require_master(machine.spark_master)


def require_master(master: str) -> None:
    """Raises WrongUseError where the master of a standalone cluster takes no connection within some seconds.

    Spark itself would ask for a minute and then say so in forty lines. Of "spark://a:7077,b:7077" one is enough.
    """
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_MASTER_SECONDS).close()
            return
        except (OSError, ValueError, OverflowError) as error:
            cause = getattr(error, "strerror", None) or str(error)
    raise WrongUseError(f"no Spark master answers at {master} ({cause}): start it or mend spark_master in conf/")


def require_java() -> None:
    """Raises WrongUseError unless Java 17 or newer answers."""
    found = java_version()
    if found is None or found < _MIN_JAVA:
        have = f"Java {found} is here" if found else "none is here"
        raise WrongUseError(
            f"ENGINE=spark needs Java {_MIN_JAVA} or newer, {have}: run `make java` (Debian, Ubuntu) or install a JDK and set JAVA_HOME; "
            "ENGINE=duckdb needs none"
        )


def java_version() -> int | None:
    """Major version of the Java that Spark would take, None where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if java is None:
        return None
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)(?:\.(\d+))?', told.stderr + told.stdout)
    if not found:
        return None
    major = int(found.group(1))
    return int(found.group(2) or 0) if major == 1 else major


def die_with(parent: int) -> None:
    """Ends the process that calls this when its parent ends, however it does (Linux)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be said
        os._exit(EXIT_FAILED)


def _job_error(module: str, code: int, log: Path, logs: Path) -> JobError | NoDataError:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip()[:500] if lines else "it wrote nothing"
    with contextlib.suppress(OSError, ValueError):  # behind spark-submit the log goes on after the job's last words
        told = json.loads((log.parent / CAUSE_FILE).read_text())
        last, code = told["error"][:500], told["exit_code"]
    full = shutil.disk_usage(log.parent).free < _FULL_BYTES  # then even the cause may not have reached the log
    if full or "No space left on device" in last or "Disk quota exceeded" in last:
        return JobError(
            f"{module}: the disk of {log.parent} is full; nothing was published; free some space and run again"
        )
    kept = logs / f"{log.stem}.log"
    with contextlib.suppress(OSError):  # the cause matters more than its log
        logs.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, kept)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        how += " (out of memory? lower memory_gb in conf/local.yaml)"
    error = JobError(f"{module} {how}: {last}; log: {kept}")
    error.exit_code = code if 0 < code <= 3 else EXIT_FAILED
    return error
