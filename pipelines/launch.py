"""Starts the heavy processes: `python -m spark_jobs.X SPEC.json` on one machine, the same behind spark-submit on a cluster.

A child dies with its parent, its output goes to a log file beside its spec, and its failure becomes one line.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.core.config import PROJECT, Machine
from pipelines.core.errors import EXIT_FAILED, JobError, NoDataError, WrongUseError

_MIN_JAVA = 17
_FULL_BYTES = 1 << 20


def launch(module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path) -> dict[str, Any]:
    """Runs one job to its end and returns its result.json.

    `folder` holds the spec and what the job writes; `logs` keeps the log of a failed job. Raises JobError with the last
    line that the job wrote, WrongUseError where Spark is asked for without Java.
    """
    if machine.engine == "spark" and not machine.spark_submit:
        require_java()
    folder.mkdir(parents=True, exist_ok=True)
    name = module.rpartition(".")[2]
    spec_file = folder / f"{name}.json"
    spec_file.write_text(json.dumps({**spec, "out": str(folder), "work": str(folder / "work")}, sort_keys=True))
    command = (
        [*machine.spark_submit, str(PROJECT / f"{module.replace('.', '/')}.py")]
        if machine.spark_submit
        else [sys.executable, "-m", module]
    )
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(spec_file)],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            preexec_fn=partial(_die_with, os.getpid()) if sys.platform == "linux" else None,
        )
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
    if code:
        raise _job_error(module, code, log, logs)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


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


def _die_with(parent: int) -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be said
        os._exit(EXIT_FAILED)


def _job_error(module: str, code: int, log: Path, logs: Path) -> JobError | NoDataError:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip()[:500] if lines else "it wrote nothing"
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
