"""Whole nights for tests: a tiny simulated shop, its commands run cold (a process each) or warm (forks of one process)."""

import atexit
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres, find_binaries, running

if not hasattr(sys.modules["__main__"], "__file__"):
    # A worker of pytest-xdist is `python -c`, where the audits' library cannot run.
    sys.modules["__main__"].__file__ = pytest.__file__

# Airflow makes its home when it is imported, here and in children: not in that of who runs the tests.
AIRFLOW_HOME = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, AIRFLOW_HOME, ignore_errors=True)
os.environ |= {"AIRFLOW_HOME": AIRFLOW_HOME, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

PROJECT = Path(__file__).resolve().parents[1]
KEY = "5e" * 32
LAYERS = ("raw", "clean", "features", "decisions", "reports")
NIGHTS = ("2026-03-01", "2026-03-02", "2026-03-03")  # a Sunday, a Monday (segments are fitted anew), a Tuesday

SHOP = """\
shop: tiny
timezone: Europe/Amsterdam
landing:
  events: {connector: jsonl, pattern: "{night}/events*.jsonl*"}
  catalog: {connector: catalog, pattern: "{night}/catalog*.jsonl*"}
  reviews: {connector: reviews, pattern: "{night}/reviews*.jsonl*"}
  messages: {connector: messages, pattern: "{night}/messages*.jsonl*"}
  deliveries: {connector: deliveries, pattern: "{night}/deliveries*.jsonl*"}
  outcomes: {connector: outcomes, pattern: "{night}/outcomes*.jsonl*"}
simulator: {customers: 60, items: 40, first_night: 2026-03-01, history_nights: 3, seed: 7}
strategy:
  nightly_budget_cents: 500
  channels:
    - {id: email, cost_cents: 1, capacity_per_night: 100, default_consent: true}
"""
MACHINE = "engine: duckdb\nthreads: 1\nmemory_gb: 1\npartitions: 2\nmin_free_disk_mb: 0\n"


@dataclass(frozen=True)
class Done:
    """How a command ended; `code` is negative for a signal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on standard error that says what is wrong; progress lines are indented or name a night."""
        assert "Traceback" not in self.out + self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("nightmarket: ")]
        assert len(lines) == 1, f"expected one line of complaint:\n{self.err}"
        assert self.err.rstrip().endswith(lines[0]), f"expected the complaint last:\n{self.err}"
        return lines[0]


class WarmProcess:
    """A process of tests/warm_nights.py: imports once, forks per command."""

    def __init__(self, cache: Path, prefix: Sequence[str] = ()) -> None:
        self.cache = cache
        environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "WARM_NIGHTS_CACHE": str(cache),
            "NIGHTMARKET_KEY": KEY,
        }
        command = [*prefix, sys.executable, str(PROJECT / "tests" / "warm_nights.py")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, request: dict[str, Any]) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)


@dataclass
class Market:
    """A root, a configuration and a landing folder of its own; `environment` goes on top of the process's."""

    root: Path
    conf: Path
    warm_process: Callable[[], WarmProcess]
    landing: Path | None = None
    shop: str = "tiny"

    @property
    def environment(self) -> dict[str, str]:
        return {"NIGHTMARKET_ROOT": str(self.root), "NIGHTMARKET_CONF": str(self.conf), "NIGHTMARKET_KEY": KEY}

    @property
    def folder(self) -> Path:
        return self.root / self.shop

    def start(self, *args: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The real command in a process (group) of its own, behind `prefix`."""
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "pipelines.cli", *args],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment, "COLUMNS": "200"},
            start_new_session=True,
        )

    def cold(self, *args: str, prefix: Sequence[str] = ()) -> Done:
        """The real command, to its end."""
        return end(self.start(*args, prefix=prefix))

    def warm(
        self, *args: str, kill: str | int | None = None, trace: Path | None = None, setup: str = "", **environment: str
    ) -> Done:
        """The command in a fork of the warm process, killed right before the event `kill` (tests/warm_nights.py)."""
        files = {name: self.conf.parent / f"{self.root.name}.{name}" for name in ("out", "err")}
        request = {
            "args": args,
            "env": {**self.environment, **environment},
            "kill": kill,
            "trace": str(trace) if trace else None,
            "setup": setup,
            **{name: str(path) for name, path in files.items()},
        }
        code = self.warm_process().run(request)
        return Done(code, files["out"].read_text(), files["err"].read_text())

    def night(self, night: str, *options: str, **kwargs: Any) -> Done:
        """One night, warm, from this market's landing folder; `kwargs` as for `warm`."""
        landing = ("--landing", str(self.landing)) if self.landing else ()
        return self.warm("night", "--shop", self.shop, "--date", night, *landing, *options, **kwargs)

    def published(self) -> dict[str, str]:
        """SHA-256 of every published file, manifests too, by its path; nothing else may lie there."""
        found = {}
        for layer in LAYERS:
            for path in sorted((self.folder / layer).rglob("*")):
                if path.is_file() and "failing_rows" not in path.parts and "audits" not in path.parts:
                    found[path.relative_to(self.folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def content(self) -> dict[str, str]:
        """Content hash of every published partition, as its manifest tells it."""
        manifests = {
            path.parent: json.loads(path.read_text())
            for layer in LAYERS
            for path in (self.folder / layer).rglob("_manifest.json")
        }
        return {f"{m['table']}/{m['partition']}": m["content_hash"] for m in manifests.values()}

    def stale(self) -> dict[str, list[str]]:
        """Stale partitions and the inputs that changed."""
        manifests = [
            json.loads(path.read_text()) for layer in LAYERS for path in (self.folder / layer).rglob("_manifest.json")
        ]
        return {f"{m['table']}/{m['partition']}": m["stale"] for m in manifests if m["stale"]}

    def litter(self) -> list[str]:
        """What a finished run must not leave: staging folders, half-written files."""
        staging = self.folder / ".staging"
        left = list(staging.iterdir()) if staging.exists() else []
        hidden = [path for layer in LAYERS for path in (self.folder / layer).rglob(".*")]
        return [path.relative_to(self.folder).as_posix() for path in (*left, *hidden)]

    def sibling(self, root: Path) -> "Market":
        """An empty root that lands from the same folder."""
        return replace(self, root=root)

    def copy(self, root: Path) -> "Market":
        """The same state under another root; it still lands from the same folder."""
        shutil.copytree(self.root, root, symlinks=True)
        return self.sibling(root)


def end(process: subprocess.Popen[str], timeout_s: float = 240) -> Done:
    """Waits for a process; one that hangs is killed with its children, and the test fails."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Done(process.returncode, out, err)


@pytest.fixture(scope="session")
def warm_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], WarmProcess]]:
    """Started at its first use."""
    started: list[WarmProcess] = []

    def get() -> WarmProcess:
        if not started:
            started.append(WarmProcess(tmp_path_factory.mktemp("jobs")))
        return started[0]

    yield get
    for process in started:
        process.close()


@pytest.fixture(scope="session")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration folder with the tiny shop, one thread per job."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "shops").mkdir()
    (folder / "shops" / "tiny.yaml").write_text(SHOP)
    (folder / "local.yaml").write_text(MACHINE)
    return folder


@pytest.fixture
def market(tmp_path: Path, conf: Path, warm_process: Callable[[], WarmProcess]) -> Market:
    """An empty root."""
    return Market(tmp_path / "root", conf, warm_process)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, conf: Path, warm_process: Callable[[], WarmProcess]) -> Market:
    """NIGHTS run one after another, undisturbed, then what late events made stale. Read only: copy it to change it."""
    market = Market(tmp_path_factory.mktemp("finished") / "root", conf, warm_process)
    for night in NIGHTS:
        done = market.night(night)
        assert done.code == 0, done.err
    market.landing = market.folder / "landing"
    done = market.warm("backfill", "--shop", "tiny", "--stale")
    assert done.code == 0, done.err
    return market


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL on loopback, with the databases `airflow` and `mlflow`."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running(binaries) as server:
        yield server


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an S3-compatible server on loopback, with credentials for it in the environment."""
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
