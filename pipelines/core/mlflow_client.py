"""Opens MLflow: quietly, with tables made once, and so that a registry that is down is found out in seconds."""

import contextlib
import logging
import os
import sqlite3
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.errors import StorageError
from pipelines.core.storage import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ANSWER_SECONDS = 5
_ENVIRONMENT = {  # few and short retries, and nothing is told to anybody
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
_LIBRARIES = ("mlflow", "requests", "urllib3", "sqlalchemy", "sqlite3")  # whose errors mean that it does not answer


def open_client(uri: str, root: Path, database: Path | None) -> "MlflowClient":
    """MLflow's client for a store or server; `database` is the local store's file, made where it is missing.

    Raises what MLflow and its libraries raise; `is_refusal` knows them.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if database is None:
        return mlflow.MlflowClient(uri, uri)
    with Store(root, database.parent.name).lock("open", wait=True):  # two that make the tables at once break them
        database.parent.chmod(0o700)
        _check(database)
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        return client


def is_refusal(error: Exception) -> bool:
    """Whether an error means that the registry does not answer, and not a mistake of ours."""
    return isinstance(error, OSError | StorageError) or type(error).__module__.partition(".")[0] in _LIBRARIES


def _check(database: Path) -> None:
    """MLflow would try for a minute to open what cannot be opened; raises sqlite3.Error within seconds."""
    with contextlib.closing(sqlite3.connect(database, timeout=_ANSWER_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
