"""The champion answers over HTTP, as `mlflow models serve` starts it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import promote as promotion
from pipelines import train as training
from pipelines.core.config import PROJECT
from tests import fake_task
from tests.fake_task import NIGHTS, context, environment, make_root

ROWS = {
    "columns": ["x", "code", "tags", "unknown"],
    "data": [[0.0, 1, ["a", "b"], "?"], [2.0, None, [], "?"], [-1.5, 10**6, ["never seen"], "?"]],
}


def answer(url: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as told:
        return told.read()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the champion of a shop that trained and promoted once."""
    fake_task.install()
    for module in (training, promotion):
        monkeypatch.setattr(module, "launch", fake_task.launch)
    root = make_root(tmp_path / "root")
    assert training.train("value", NIGHTS[-1], context(root))["version"] == "2"
    assert promotion.promote("value", NIGHTS[-1], context(root)).champion == "2"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = training.registry_of(context(root)).uri
    command = ["models", "serve", "-m", "models:/fake-value@champion", "--env-manager", "local", "--host", "127.0.0.1"]
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--port", str(port), "--workers", "1"],
            cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**environment(tmp_path / "python"), "MLFLOW_TRACKING_URI": uri},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                answer(f"http://127.0.0.1:{port}/ping")
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "serve.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "serve.log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself: its log was told above
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.mark.slow
def test_the_champion_answers_over_http_one_prediction_a_row(server: str) -> None:
    told = json.loads(answer(server, json.dumps({"dataframe_split": ROWS}).encode()))
    found = [row["p_hit"] for row in told["predictions"]]
    np.testing.assert_allclose(found, 1 / (1 + np.exp([0.0, -2.0, 1.5])))
    with pytest.raises(urllib.error.HTTPError, match="400"):
        answer(server, json.dumps({"dataframe_split": {"columns": ["x"], "data": [["no number"]]}}).encode())
