"""Airflow's four servers on one machine: their settings, secrets and database.

<root>/airflow (0700) is Airflow's home: airflow.cfg (0600, written anew at each start), secrets.json (0600, made once),
passwords.json (0600, of the page's user), airflow.db unless NIGHTMARKET_AIRFLOW_DB names another database.
"""

import base64
import configparser
import io
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipelines.core.config import PROJECT
from pipelines.core.errors import ServerError
from pipelines.schedule import GPU_POOL
from pipelines.servers.running import MARK

PORT: Final = 8080
USER: Final = "admin"
DATABASE: Final = "NIGHTMARKET_AIRFLOW_DB"  # a SQLAlchemy address; it holds a password, so it is no setting in conf/
SERVERS: Final = ("api-server", "scheduler", "dag-processor", "triggerer")
_NO_LOG_SERVER: Final = ("scheduler", "triggerer")  # logs lie on this machine: the page reads them from disk
_PREPARE_SECONDS: Final = 120


def home_of(root: Path) -> Path:
    return root / "airflow"


def password_file(root: Path) -> Path:
    return home_of(root) / "passwords.json"


def command(name: str) -> list[str]:
    """Arguments after `python -m`."""
    program = ["pipelines.servers.scheduler"] if name == "scheduler" else ["airflow", name]
    return [*program, *(["--skip-serve-logs"] if name in _NO_LOG_SERVER else [])]


def environment(root: Path) -> dict[str, str]:
    """What Airflow's servers and tasks need beside airflow.cfg; `running.stop` finds them by MARK."""
    return {
        "AIRFLOW_HOME": str(home_of(root)),
        "AIRFLOW_CONFIG": str(home_of(root) / "airflow.cfg"),
        "NIGHTMARKET_ROOT": str(root),
        "PYTHONPATH": str(PROJECT),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        MARK: str(root),
    }


def prepare(root: Path, port: int) -> str | None:
    """Writes the settings and brings the database up to date; returns the page's password where it was made now.

    Raises ServerError where the database does not answer.
    """
    home = home_of(root)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    password = None
    if not password_file(root).exists():
        password = secrets.token_urlsafe(12)
        _write(password_file(root), json.dumps({USER: password}))
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_dict(_settings(root, port, _secrets(home)))
    text = io.StringIO()
    settings.write(text)
    _write(home / "airflow.cfg", text.getvalue())
    (home / "pools.json").write_text(
        json.dumps({GPU_POOL: {"slots": 1, "description": "trainings take turns", "include_deferred": False}})
    )
    for arguments in (["db", "migrate"], ["pools", "import", str(home / "pools.json")]):
        _run(arguments, root)
    return password


def _run(arguments: list[str], root: Path) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env={**os.environ, **environment(root)},
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PREPARE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServerError(
            f"airflow {' '.join(arguments)}: no end after {_PREPARE_SECONDS} s; does the database answer?"
        ) from None
    if done.returncode:
        log = home_of(root) / "logs" / "prepare.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        _write(log, done.stdout + done.stderr)
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ServerError(
            f"airflow {' '.join(arguments[:2])} failed: {_without_password(lines[-1] if lines else 'it wrote nothing')[:300]}; "
            f"does the database answer? log: {log}"
        )


def _settings(root: Path, port: int, secret: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Only what differs from Airflow's own defaults."""
    home, url = home_of(root), f"http://127.0.0.1:{port}"
    return {
        "core": {
            "dags_folder": str(PROJECT / "dags"),
            "load_examples": "False",
            "executor": "LocalExecutor",
            "parallelism": str(max(2, os.cpu_count() or 1)),
            "fernet_key": secret["fernet_key"],
            "execution_api_server_url": f"{url}/execution/",
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": str(password_file(root)),
            "plugins_folder": str(home / "plugins"),  # ours comes with the package
        },
        "database": {"sql_alchemy_conn": os.environ.get(DATABASE) or f"sqlite:///{home / 'airflow.db'}"},
        "api": {
            "host": "127.0.0.1",
            "port": str(port),
            "base_url": url,
            "workers": "1",
            "secret_key": secret["secret_key"],
            "expose_stacktrace": "False",
        },
        "api_auth": {"jwt_secret": secret["jwt_secret"]},
        "scheduler": {
            "scheduler_idle_sleep_time": "0.25",
            # s; a task whose process died runs again after, also where the scheduler died with it
            "task_instance_heartbeat_timeout": "60",
            "orphaned_tasks_check_interval": "30",
        },
        "logging": {"base_log_folder": str(home / "logs")},
        "usage_data_collection": {"enabled": "False"},
    }


def _secrets(home: Path) -> dict[str, str]:
    path = home / "secrets.json"
    if not path.exists():
        made = {
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "secret_key": secrets.token_hex(32),
            "jwt_secret": secrets.token_hex(64),
        }
        _write(path, json.dumps(made))
    found: dict[str, str] = json.loads(path.read_text())
    return found


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and readable by its owner only."""
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    aside.replace(path)


def _without_password(line: str) -> str:
    address = os.environ.get(DATABASE)
    return line.replace(address, "(the database)") if address else line
