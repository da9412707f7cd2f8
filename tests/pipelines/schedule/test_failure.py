import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.core.errors import StorageError
from pipelines.core.storage import Store
from pipelines.run_record import RunRecord, open_record, record_path
from pipelines.schedule.failure import post, tell_failure

NIGHT, RUN_ID = date(2026, 3, 2), "airflow-scheduled__2026-03-02T01-00-00-00-00"
CONTEXT = {
    "ti": SimpleNamespace(dag_id="nightly_marketing_tiny", task_id="clean", log_url="http://127.0.0.1:8080/log"),
    "dag_run": SimpleNamespace(
        run_id="scheduled__2026-03-02T01:00:00+00:00",
        run_type="scheduled",
        data_interval_start=datetime(2026, 3, 2, 1, tzinfo=UTC),
    ),
    "params": {"night": None},
    "exception": ValueError("two\nlines"),
}
TOLD = {
    "shop": "tiny",
    "night": "2026-03-02",
    "dag": "nightly_marketing_tiny",
    "task": "clean",
    "run_id": RUN_ID,
    "error": "clean: two lines",
    "log": "http://127.0.0.1:8080/log",
}


@pytest.fixture
def store(tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store of shop `tiny`; no webhook."""
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("NIGHTMARKET_CONF", str(conf))
    monkeypatch.delenv("NIGHTMARKET_WEBHOOK", raising=False)
    return Store(tmp_path / "root", "tiny")


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[Any]]]:
    """A real one on loopback: its address with a secret, and what it was sent."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["Content-Type"], json.loads(body)))
            answer(self)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/hook/s3cret", got
        listening.shutdown()
        thread.join()


def thanks(request: BaseHTTPRequestHandler) -> None:
    request.send_response(204)
    request.end_headers()


def refusal(request: BaseHTTPRequestHandler) -> None:
    request.send_error(500)


def nonsense(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"s3cret nonsense\r\n\r\n")


def hangs_up(request: BaseHTTPRequestHandler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


def error_in(store: Store) -> str:
    told: str = json.loads(record_path(store, RUN_ID).read_text())["error"]
    return told


def test_the_run_record_says_which_task_failed_and_why(store: Store) -> None:
    tell_failure("tiny", CONTEXT)
    record = json.loads(record_path(store, RUN_ID).read_text())
    assert (record["error"], record["night"], record["run_id"]) == ("clean: two lines", "2026-03-02", RUN_ID)
    assert set(record["config"]) == {"shop", "machine"}


def test_a_killed_task_which_could_say_nothing_is_told_too(store: Store) -> None:
    tell_failure("tiny", {name: value for name, value in CONTEXT.items() if name != "exception"})
    assert error_in(store) == "clean: the task was killed before it could say why"


def test_what_the_stage_itself_has_told_and_done_stays(store: Store) -> None:
    record = open_record(store, NIGHT, "duckdb", RUN_ID)
    record.error = "spark_jobs.clean ended with 1: the disk is full"
    record.stages["land"] = {"seconds": 1.5}
    record.write(store, {})
    tell_failure("tiny", CONTEXT)
    assert error_in(store) == "spark_jobs.clean ended with 1: the disk is full"
    assert open_record(store, NIGHT, "duckdb", RUN_ID).stages == {"land": {"seconds": 1.5}}


def test_the_webhook_gets_one_object_with_what_failed_and_where(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(thanks) as (address, got):
        monkeypatch.setenv("NIGHTMARKET_WEBHOOK", address)
        tell_failure("tiny", CONTEXT)
    assert got == [("/hook/s3cret", "application/json", TOLD)]


def test_a_record_that_a_full_disk_refuses_is_a_warning_and_the_webhook_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: Any) -> None:
        raise StorageError("tiny/.staging: the disk is full; nothing was published; free some space and run again")

    monkeypatch.setattr(RunRecord, "write", full)
    with server(thanks) as (address, got):
        monkeypatch.setenv("NIGHTMARKET_WEBHOOK", address)
        tell_failure("tiny", CONTEXT)
    assert got == [("/hook/s3cret", "application/json", TOLD)]
    assert caplog.messages == [
        "the run record was not written: tiny/.staging: the disk is full; nothing was published; free some space and run again"
    ]


@pytest.mark.parametrize("answer", [refusal, nonsense, hangs_up])
def test_a_webhook_that_does_not_thank_is_a_warning_without_its_address(
    answer: Callable[[BaseHTTPRequestHandler], None],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with server(answer) as (address, got), caplog.at_level(logging.DEBUG):
        monkeypatch.setenv("NIGHTMARKET_WEBHOOK", address)
        tell_failure("tiny", CONTEXT)
    assert len(got) == 1
    assert error_in(store) == "clean: two lines"
    assert [(found.levelname, "did not answer" in found.message) for found in caplog.records] == [("WARNING", True)]
    assert "s3cret" not in caplog.text


def test_a_dead_webhook_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert not post(f"http://127.0.0.1:{closed.getsockname()[1]}/s3cret", TOLD)
    assert "Connection refused" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/s3cret",
        "http://127.0.0.1.example.org/s3cret",
        "http://127.0.0.1@example.org/s3cret",
        "file:///s3cret",
        "ftp://127.0.0.1/s3cret",
        "s3cret",
        "http://[s3cret",
    ],
)
def test_an_address_that_is_neither_https_nor_loopback_is_not_called(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **options: pytest.fail("it was called"))
    assert not post(address, TOLD)
    assert "expected an https address, or http on loopback" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("address", ["http://127.0.0.1:port/s3cret", "http://127.0.0.1/s3cret with a space"])
def test_an_address_that_is_none_is_a_warning(address: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not post(address, TOLD)
    assert "NIGHTMARKET_WEBHOOK did not answer" in caplog.text
    assert "s3cret" not in caplog.text
