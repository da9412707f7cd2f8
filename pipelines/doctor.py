"""`nightmarket doctor`: what this machine has, what the night needs, and what to do about the difference."""

import os
import shutil
import socket
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, Literal

from rich.table import Table

from pipelines.core.config import load_machine, load_shop, require_shops, shops_folder
from pipelines.core.errors import NightmarketError
from pipelines.core.machine import Machine
from pipelines.core.storage import default_root
from pipelines.dag_folder import DAG_FOLDER, check_dag_folder
from pipelines.launch import java_version, require_java
from pipelines.servers import airflow, mlflow
from pipelines.servers.database import check_database

State = Literal["good", "note", "broken"]
_CLOCK_SECONDS = 60
_PORTS = {8080: "Airflow", 5000: "MLflow"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `advice` is empty where there is nothing to do."""

    what: str
    state: State
    found: str
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Finding]:
    """Looks at everything; changes nothing."""
    machine, configured = _machine()
    servers = [_clock(), _dags(), *_databases(), *_ports()]
    return [_python(), _packages(), _java(machine), _disk(machine), *servers, configured, *_shops()]


def findings_table(findings: list[Finding]) -> Table:
    table = Table(title="nightmarket doctor", title_justify="left")
    for column in ("what", "state", "found", "do"):
        table.add_column(column, overflow="fold")
    style = {"good": "green", "note": "yellow", "broken": "red"}
    for finding in findings:
        table.add_row(finding.what, f"[{style[finding.state]}]{finding.state}[/]", finding.found, finding.advice)
    return table


def _python() -> Finding:
    version = sys.version.split()[0]
    if sys.version_info < (3, 11):  # noqa: UP036 - the check is for who runs it with another Python
        return Finding("Python", "broken", version, "install Python 3.11 or newer, remove .venv and run make nightly")
    return Finding("Python", "good", version)


def _packages() -> Finding:
    missing = [name for name in ("duckdb", "sqlframe", "pyarrow", "pandas") if find_spec(name) is None]
    spec = find_spec("great_expectations")  # our own folder of that name makes an empty namespace where it is missing
    if spec is None or spec.origin is None:
        missing.append("great_expectations")
    if missing:
        return Finding(
            "packages",
            "broken",
            f"missing: {', '.join(missing)}",
            "run make nightly, or pip install -r requirements.txt",
        )
    return Finding("packages", "good", "installed")


def _java(machine: Machine) -> Finding:
    found = java_version()
    told = f"Java {found}" if found else "none"
    try:
        require_java()
    except NightmarketError as error:
        return Finding("Java", "broken" if machine.engine == "spark" else "note", told, str(error))
    return Finding("Java", "good", told)


def _disk(machine: Machine) -> Finding:
    root = default_root()
    there = next(path for path in (root, *root.parents) if path.exists())
    free_mb = shutil.disk_usage(there).free >> 20
    needed_mb = machine.min_free_disk_mb
    if not os.access(there, os.W_OK):
        return Finding(
            "disk", "broken", f"{there} is not writable", "mend its owner, or set NIGHTMARKET_ROOT to a folder of yours"
        )
    if free_mb < needed_mb:
        return Finding(
            "disk", "broken", f"{free_mb} MB free at {there}", f"free some space: a night needs at least {needed_mb} MB"
        )
    return Finding("disk", "good", f"{free_mb // 1024} GB free at {there}")


def _clock() -> Finding:
    """A clock that was set back, by the newest of what nights and servers have written."""
    root = default_root()
    files = [*root.glob("*/runs/*.json"), *root.glob("airflow/*.db"), *root.glob("airflow/logs/*.log")]
    ahead = max((path.stat().st_mtime for path in files), default=0) - time.time()
    if ahead < _CLOCK_SECONDS:
        return Finding("clock", "good", f"{datetime.now(UTC):%F %T} UTC")
    advice = (
        "put the clock right; nights are not harmed, but Airflow lets runs wait that were started by the earlier time: "
        "wait too, or delete those runs"
    )
    return Finding("clock", "broken", f"{ahead / 3600:.1f} h behind what was written under {root}", advice)


def _dags() -> Finding:
    try:
        check_dag_folder()
    except NightmarketError as error:
        return Finding("DAGs", "broken", str(error), "Airflow shows no DAGs that it cannot read, and runs none")
    return Finding("DAGs", "good", str(DAG_FOLDER))


def _databases() -> list[Finding]:
    """Of Airflow and MLflow where they are not SQLite files of their own."""
    findings = []
    for variable in (airflow.DATABASE, mlflow.DATABASE):
        if variable in os.environ:
            try:
                check_database(variable)
                findings.append(Finding(variable, "good", "answers"))
            except NightmarketError as error:
                findings.append(Finding(variable, "broken", str(error), "then nightmarket up"))
    return findings


def _ports() -> list[Finding]:
    findings = []
    for port, user in _PORTS.items():
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        findings.append(
            Finding(
                f"port {port}", "note", "taken", f"{user} will want it: stop what listens there, or name another port"
            )
            if taken
            else Finding(f"port {port}", "good", f"free for {user}")
        )
    return findings


def _machine() -> tuple[Machine, Finding]:
    """Where the configuration of the machine is at fault, the rest is held against the defaults."""
    try:
        machine = load_machine()
    except NightmarketError as error:
        return Machine(), Finding("machine", "broken", str(error), "mend that line")
    return machine, Finding("machine", "good", f"{machine.engine}, {machine.memory_gb:g} GB of memory for a job")


def _shops() -> list[Finding]:
    findings = []
    try:
        names = require_shops()
    except NightmarketError as error:
        return [Finding("shops", "broken", str(error), "there are no nights without a shop")]
    for name in names:
        try:
            load_shop(name)
            findings.append(Finding(f"shop {name}", "good", str(shops_folder() / f"{name}.yaml")))
        except NightmarketError as error:
            findings.append(Finding(f"shop {name}", "broken", str(error), "mend that line"))
    return findings
