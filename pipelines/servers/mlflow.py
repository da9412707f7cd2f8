"""The MLflow server: the page on the store that the nights use."""

import os
from pathlib import Path

PORT = 5000
DATABASE = "NIGHTMARKET_MLFLOW_DB"  # a SQLAlchemy address; it holds a password, so it is no setting in conf/


def command(port: int) -> list[str]:
    """Arguments after `python -m`."""
    return ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def environment(root: Path, port: int) -> dict[str, str]:
    """Of the server, and for all that talk to it. On another database than SQLite the server stands between."""
    folder = root / "mlflow"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = os.environ.get(DATABASE)
    found = {
        "MLFLOW_BACKEND_STORE_URI": database or f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # processes for judging language models, which nothing here uses
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    return found | ({"NIGHTMARKET_MLFLOW_URI": f"http://127.0.0.1:{port}"} if database else {})
