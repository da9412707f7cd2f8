"""Talks to the Airflow that `nightmarket up` has started, by its public REST API: for benchmarks, tests and scripts."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pipelines.core.errors import ServerError
from pipelines.servers.airflow import USER, password_file

_SECONDS = 30
_ENDED = ("success", "failed")


class AirflowClient:
    """Logged in as the page's user. Every method raises ServerError where Airflow refuses or does not answer."""

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        password = json.loads(password_file(root).read_text())[USER]
        self._token = ""
        self._token = self._call("POST", "/auth/token", {"username": USER, "password": password})["access_token"]

    def get(self, path: str, **query: Any) -> Any:
        """`path` below /api/v2."""
        return self._call("GET", f"/api/v2{path}{'?' + urlencode(query) if query else ''}")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", f"/api/v2{path}", body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PATCH", f"/api/v2{path}", body)

    def unpause(self, dag: str) -> None:
        self.patch(f"/dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, **params: Any) -> str:
        """Starts a run by hand and returns its id."""
        run: str = self.post(f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": params})["dag_run_id"]
        return run

    def wait(self, dag: str, run: str, seconds: float = 300) -> dict[str, Any]:
        """The run once it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found: dict[str, Any] = self.get(f"/dags/{dag}/dagRuns/{quote(run)}")
            if found["state"] in _ENDED:
                return found
            time.sleep(0.3)
        raise ServerError(f"{dag}, run {run}: no end after {seconds:g} s; its tasks: {self.states(dag, run)}")

    def tasks(self, dag: str, run: str) -> dict[str, dict[str, Any]]:
        """Task instances of a run by task id."""
        found = self.get(f"/dags/{dag}/dagRuns/{quote(run)}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def states(self, dag: str, run: str) -> dict[str, str]:
        return {name: task["state"] for name, task in self.tasks(dag, run).items()}

    def log(self, dag: str, run: str, task: str, attempt: int = 1) -> str:
        """What a task has written, a line per event."""
        told = self.get(f"/dags/{dag}/dagRuns/{quote(run)}/taskInstances/{task}/logs/{attempt}", map_index=-1)
        return "\n".join(str(line.get("event", line)) if isinstance(line, dict) else line for line in told["content"])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            told = " ".join(error.read().decode(errors="replace").split())[:300]
            raise ServerError(f"Airflow refused {method} {path}: {error.code} {told}") from None
        except (OSError, ValueError) as error:
            raise ServerError(f"Airflow at {self.url} did not answer {method} {path}: {error}") from None
