"""Fetching and sending over real HTTP: moto's S3 server behind a small proxy that cuts, damages, stalls and refuses.

What moto lacks: it checks neither signatures nor the checksum sent with an upload, computes CRC32C and CRC64NVME only
with extra packages, and its HEAD names neither ChecksumType nor the '-N' of a composite checksum. So objects with those
checksums are made with values computed by hand, and "the store checks what it receives" is tested by our own HEAD only.
"""

import base64
import binascii
import hashlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pipelines import s3, s3_fetch
from pipelines.core.config import PROJECT
from pipelines.core.errors import ConfigError, LandingError, StorageError
from pipelines.core.shop import S3
from pipelines.s3 import Remote, look, matches, prove
from pipelines.s3_fetch import STATE, fetch
from pipelines.s3_send import send

BIG = bytes(range(256)) * 4096  # 1 MiB: sixteen reads


@dataclass(frozen=True)
class Seen:
    """One request as the proxy saw it."""

    method: str
    path: str
    range: str | None
    if_match: str | None


@dataclass
class Fault:
    """What happens to the next `times` requests that `applies` picks; `cut` is after how many body bytes."""

    applies: Callable[[Seen], bool]
    times: int
    status: int = 0
    code: str = ""
    cut: int = -1
    is_reset: bool = False
    damage: bool = False
    ignore_range: bool = False
    stall: threading.Event | None = None
    before: Callable[[], Any] | None = None


@dataclass
class Proxy:
    """Forwards to the server, writes down every request and plays the faults."""

    upstream: tuple[str, int]
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    url: str = ""

    def fault_for(self, seen: Seen) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.applies(seen):
                fault.times -= 1
                return fault
        return None

    def count(self, method: str, part: str = "") -> int:
        return sum(seen.method == method and part in seen.path for seen in self.seen)

    def gets(self, name: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "GET" and seen.path.partition("?")[0].endswith(name)]


def make_handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen = Seen(self.command, self.path, self.headers.get("Range"), self.headers.get("If-Match"))
            proxy.seen.append(seen)
            fault = proxy.fault_for(seen)
            if fault and fault.before:
                fault.before()
            if fault and fault.status:
                text = f"<Error><Code>{fault.code}</Code><Message>no</Message></Error>".encode()
                self.answer(fault.status, {"Content-Type": "application/xml"}, text, fault)
                return
            if fault and self.command == "PUT" and fault.cut >= 0:  # the upload never arrives
                self.hang_up(is_reset=True)
                return
            upstream = http.client.HTTPConnection(*proxy.upstream, timeout=30)
            dropped = ("expect", "range") if fault and fault.ignore_range else ("expect",)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            self.answer(answer.status, dict(answer.getheaders()), answer.read(), fault)
            upstream.close()

        def answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
            if fault and fault.damage and body:
                body = body[:-1] + bytes([body[-1] ^ 1])
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            is_head = self.command == "HEAD"
            length = next((v for n, v in headers.items() if n.lower() == "content-length"), str(len(body)))
            self.send_header("Content-Length", length if is_head else str(len(body)))
            self.end_headers()
            if is_head:
                return
            if fault and fault.cut >= 0:
                self.wfile.write(body[: fault.cut])
                self.wfile.flush()
                if fault.stall:
                    fault.stall.wait(60)
                self.hang_up(fault.is_reset)
                return
            self.wfile.write(body)

        def hang_up(self, is_reset: bool) -> None:
            self.close_connection = True
            if is_reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.forward)
    return Handler


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed, or a connection cut on purpose, is no news."""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    yield moto.get_host_and_port()
    moto.stop()


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTING")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


@pytest.fixture
def proxy(server: tuple[str, int]) -> Iterator[Proxy]:
    proxy = Proxy(server)
    http_server = QuietServer(("127.0.0.1", 0), make_handler(proxy))
    proxy.url = f"http://127.0.0.1:{http_server.server_address[1]}"
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield proxy
    http_server.shutdown()
    http_server.server_close()
    thread.join()


_buckets = count()


@dataclass
class Shop:
    """A bucket of its own, reached directly by `client` and through the proxy by `settings`."""

    client: Any
    bucket: str
    settings: S3
    folder: Path

    def put(self, name: str, body: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"landing/{name}", Body=body, **more)

    def body(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()


@pytest.fixture
def shop(server: tuple[str, int], proxy: Proxy, tmp_path: Path) -> Shop:
    import boto3

    bucket = f"bucket-{next(_buckets)}"
    client = boto3.client("s3", region_name="us-east-1", endpoint_url="http://{}:{}".format(*server))
    client.create_bucket(Bucket=bucket)
    address = f"s3://{bucket}"
    settings = S3(landing=f"{address}/landing", publish=f"{address}/plans", endpoint_url=proxy.url, max_attempts=4)
    return Shop(client, bucket, settings, tmp_path / "in")


def is_get_of(name: str) -> Callable[[Seen], bool]:
    return lambda seen: seen.method == "GET" and seen.path.endswith(name)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*.part*"))


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relative", "pattern", "expected"),
    [
        ("2026-03-01/events-1.jsonl", "2026-03-01/events*.jsonl*", True),
        ("2026-03-01/events-1.jsonl.gz", "2026-03-01/events*.jsonl*", True),
        ("2026-03-01/old/events.jsonl", "2026-03-01/*.jsonl", False),
        ("events.csv", "*/events.csv", False),
        ("a/b/c.csv", "**/c.csv", True),
        ("c.csv", "**/c.csv", True),
        ("a/b", "**", True),
        ("a", "a/**", False),
        ("part-1.csv", "part-[0-9].csv", True),
        ("part-x.csv", "part-[!0-9].csv", True),
        ("Events.csv", "events.csv", False),
        ("a.csv", "?.csv", True),
        ("ab.csv", "?.csv", False),
        ("a.csv/b", "a.csv", False),
    ],
)
def test_a_star_does_not_cross_a_slash(relative: str, pattern: str, expected: bool) -> None:
    assert matches(relative, [pattern]) is expected


def test_patterns_mean_what_pathlib_means(tmp_path: Path) -> None:
    names = ["a.csv", "b/a.csv", "b/c/a.csv", "b/c/.hidden.csv", "b/x[1].csv", "A.csv", "b/ab.csv.gz"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for pattern in ("*", "*.csv", "*/*.csv", "**/*.csv", "b/**/a.csv", "?.csv", "b/x[[]1].csv", "b/*.csv*", "./a.csv"):
        found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob(pattern) if path.is_file()}
        assert {name for name in names if matches(name, [pattern])} == found, pattern


ESCAPES = ["../out.csv", "a/../../out.csv", "/etc/out.csv", "a//out.csv", "./out.csv", "..\\out.csv"]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_key_that_would_leave_the_folder_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="refused"):
        s3_fetch._refuse_unsafe(name, {name}, tmp_path, f"s3://b/{name}")


def test_a_nul_or_a_line_break_in_a_key_does_not_break_the_message(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match=r"out\\x00\.csv") as caught:
        s3_fetch._refuse_unsafe("out\0.csv", set(), tmp_path, "s3://b/out\0.csv")
    assert caught.value.args[0].isprintable()


def test_an_unsafe_key_on_the_store_stops_the_fetch_before_any_download(shop: Shop, proxy: Proxy) -> None:
    shop.put("a.csv", b"1")
    shop.put("sub\\..\\evil.csv", b"2")
    with pytest.raises(LandingError, match=r"evil\.csv"):
        fetch(shop.settings, ["*.csv"], shop.folder)
    assert not list(shop.folder.rglob("*.csv"))
    assert not proxy.gets("a.csv")


def test_a_key_that_a_link_in_the_folder_leads_away_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.put("link/a.csv", b"1")
    (tmp_path / "elsewhere").mkdir()
    shop.folder.mkdir()
    (shop.folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LandingError, match=r"link/a\.csv"):
        fetch(shop.settings, ["**/*.csv"], shop.folder)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_key_that_is_both_file_and_folder_is_refused(shop: Shop) -> None:
    shop.put("a", b"1")
    shop.put("a/b", b"2")
    with pytest.raises(LandingError, match="file and a folder"):
        fetch(shop.settings, ["**"], shop.folder)


def test_our_own_file_names_are_refused(shop: Shop) -> None:
    shop.put(STATE, b"{}")
    with pytest.raises(LandingError, match="keeps that name"):
        fetch(shop.settings, ["*"], shop.folder)


# --- fetching --------------------------------------------------------------------------------------------------------


def test_matching_objects_arrive_byte_equal_and_a_second_call_fetches_nothing(shop: Shop, proxy: Proxy) -> None:
    shop.put("2026-03-01/events.jsonl", BIG)
    shop.put("2026-03-01/empty.jsonl", b"")
    shop.put("2026-03-01/", b"")  # a folder as consoles make them
    shop.put("2026-03-01/notes.txt", b"no")
    shop.put("2026-03-02/events.jsonl", b"no")
    shop.client.put_object(Bucket=shop.bucket, Key="landing-other/2026-03-01/events.jsonl", Body=b"no")
    moved: list[tuple[str, int]] = []
    result = fetch(shop.settings, ["2026-03-01/*.jsonl"], shop.folder, lambda *step: moved.append(step))
    assert result.fetched == ("2026-03-01/empty.jsonl", "2026-03-01/events.jsonl")
    assert (result.unverified, result.n_bytes) == ((), len(BIG))
    assert sum(n for _, n in moved) == len(BIG)
    files = sorted(path.relative_to(shop.folder).as_posix() for path in shop.folder.rglob("*.*") if path.is_file())
    assert files == [s3_fetch.STATE, s3_fetch.LOCK, "2026-03-01/empty.jsonl", "2026-03-01/events.jsonl"]
    assert (shop.folder / "2026-03-01/events.jsonl").read_bytes() == BIG
    state = json.loads((shop.folder / STATE).read_text())["objects"]
    assert state["landing/2026-03-01/events.jsonl"]["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert state["landing/2026-03-01/events.jsonl"]["size"] == len(BIG)

    proxy.seen.clear()
    before = (shop.folder / STATE).read_bytes()
    again = fetch(shop.settings, ["2026-03-01/*.jsonl"], shop.folder)
    assert (again.fetched, again.unchanged, again.n_bytes) == ((), result.fetched, 0)
    assert [seen.method for seen in proxy.seen] == ["GET"]  # the listing
    assert (shop.folder / STATE).read_bytes() == before


def test_only_the_part_of_the_bucket_that_the_patterns_begin_with_is_listed(shop: Shop, proxy: Proxy) -> None:
    fetch(shop.settings, ["2026-03-01/events*", "2026-03-01/catalog*"], shop.folder)
    assert [seen.path for seen in proxy.seen if "prefix=landing%2F2026-03-01%2F&" in seen.path + "&"]


def test_a_changed_object_and_a_lost_file_are_fetched_again_and_no_other(shop: Shop, proxy: Proxy) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        shop.put(name, name.encode())
    fetch(shop.settings, ["*.csv"], shop.folder)
    shop.put("b.csv", b"B.CSV")  # the same size
    (shop.folder / "c.csv").unlink()
    proxy.seen.clear()
    result = fetch(shop.settings, ["*.csv"], shop.folder)
    assert (result.fetched, result.unchanged) == (("b.csv", "c.csv"), ("a.csv",))
    assert (shop.folder / "b.csv").read_bytes() == b"B.CSV"
    assert not proxy.gets("a.csv")


def test_files_already_there_are_checked_and_not_fetched_when_the_state_is_lost(shop: Shop, proxy: Proxy) -> None:
    shop.put("a.csv", b"same")
    shop.put("b.csv", b"theirs")
    shop.folder.mkdir()
    (shop.folder / "a.csv").write_bytes(b"same")
    (shop.folder / "b.csv").write_bytes(b"ours!!")
    result = fetch(shop.settings, ["*.csv"], shop.folder)
    assert (result.fetched, result.unchanged) == (("b.csv",), ("a.csv",))
    assert not proxy.gets("a.csv")


def test_a_broken_state_file_is_told_with_what_to_do(shop: Shop) -> None:
    shop.folder.mkdir()
    (shop.folder / STATE).write_text("{")
    with pytest.raises(LandingError, match=r"not JSON; delete it"):
        fetch(shop.settings, ["*"], shop.folder)


def test_more_than_a_thousand_objects_are_paged(shop: Shop, proxy: Proxy) -> None:
    for n in range(1005):
        shop.put(f"n/{n:04}.txt", b"")
    shop.put("n/9999.csv", b"the last key of the last page")
    result = fetch(shop.settings, ["n/*.csv"], shop.folder)
    assert result.fetched == ("n/9999.csv",)
    assert sum("list-type=2" in seen.path for seen in proxy.seen) == 2
    assert sum("continuation-token" in seen.path for seen in proxy.seen) == 1


# --- cuts, refusals, kills -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_cut_connection_goes_on_where_it_was_cut(shop: Shop, proxy: Proxy, is_reset: bool) -> None:
    shop.put("big.csv", BIG)
    proxy.faults.append(Fault(is_get_of("big.csv"), times=3, cut=300_000, is_reset=is_reset))
    result = fetch(shop.settings, ["*.csv"], shop.folder)
    assert (shop.folder / "big.csv").read_bytes() == BIG
    assert leftovers(shop.folder) == []
    gets = proxy.gets("big.csv")
    starts = [int(seen.range[6:-1]) for seen in gets[1:] if seen.range]
    assert gets[0].range is None
    assert len(starts) == 3
    assert starts == sorted(starts)
    if not is_reset:  # a reset may lose what waited in the socket
        assert all(n * (300_000 - s3.CHUNK) < start <= n * 300_000 for n, start in enumerate(starts, start=1))
    assert result.n_bytes == len(BIG)  # nothing was received twice
    assert len({seen.if_match for seen in gets}) == 1
    assert gets[0].if_match


def test_a_store_that_ignores_ranges_still_gives_the_right_bytes(shop: Shop, proxy: Proxy) -> None:
    shop.put("big.csv", BIG)
    proxy.faults.append(Fault(is_get_of("big.csv"), times=1, cut=300_000))
    proxy.faults.append(Fault(lambda seen: bool(seen.range), times=1, ignore_range=True))
    result = fetch(shop.settings, ["*.csv"], shop.folder)
    assert (shop.folder / "big.csv").read_bytes() == BIG
    assert len(proxy.gets("big.csv")) == 2
    assert len(BIG) + 200_000 < result.n_bytes <= len(BIG) + 300_000


def test_refusals_that_pass_are_tried_again(shop: Shop, proxy: Proxy) -> None:
    shop.put("a.csv", b"1")
    proxy.faults.append(Fault(lambda seen: "list-type" in seen.path, times=2, status=503, code="ServiceUnavailable"))
    proxy.faults.append(Fault(is_get_of("a.csv"), times=2, status=503, code="ServiceUnavailable"))
    assert fetch(shop.settings, ["*.csv"], shop.folder).fetched == ("a.csv",)
    assert len(proxy.gets("a.csv")) == 3


def test_refusals_that_stay_become_one_line(shop: Shop, proxy: Proxy) -> None:
    proxy.faults.append(Fault(lambda seen: True, times=99, status=503, code="ServiceUnavailable"))
    with pytest.raises(LandingError, match="keeps failing") as caught:
        fetch(shop.settings, ["*.csv"], shop.folder)
    assert "\n" not in str(caught.value)
    assert proxy.count("GET") == shop.settings.max_attempts


def test_cuts_without_progress_end_and_what_was_received_serves_the_next_call(shop: Shop, proxy: Proxy) -> None:
    shop.put("big.csv", BIG)
    proxy.faults.append(Fault(is_get_of("big.csv"), times=1, cut=500_000))
    proxy.faults.append(Fault(is_get_of("big.csv"), times=99, cut=0))
    with pytest.raises(LandingError, match="cuts off"):
        fetch(shop.settings, ["*.csv"], shop.folder)
    assert not (shop.folder / "big.csv").exists()
    assert leftovers(shop.folder) == [".big.csv.part", ".big.csv.part.json"]
    held = (shop.folder / ".big.csv.part").stat().st_size
    proxy.faults.clear()
    result = fetch(shop.settings, ["*.csv"], shop.folder)
    assert result.n_bytes == len(BIG) - held < len(BIG) - 400_000
    assert (shop.folder / "big.csv").read_bytes() == BIG


def test_an_object_that_changes_in_the_middle_is_fetched_anew(shop: Shop, proxy: Proxy) -> None:
    shop.put("big.csv", BIG)
    newer = BIG[::-1]
    proxy.faults.append(Fault(is_get_of("big.csv"), times=1, cut=300_000))
    change = Fault(lambda seen: bool(seen.range), times=1, before=lambda: shop.put("big.csv", newer))
    proxy.faults.append(change)
    fetch(shop.settings, ["*.csv"], shop.folder)
    assert (shop.folder / "big.csv").read_bytes() == newer
    assert [bool(seen.range) for seen in proxy.gets("big.csv")] == [False, True, False]


def test_an_object_that_keeps_changing_is_given_up(shop: Shop, proxy: Proxy) -> None:
    shop.put("big.csv", BIG)
    bodies = (bytes([n]) * len(BIG) for n in count(1))
    every = Fault(is_get_of("big.csv"), times=99, before=lambda: shop.put("big.csv", next(bodies)))
    proxy.faults.append(every)
    with pytest.raises(LandingError, match="changed while it was read, 3 times"):
        fetch(shop.settings, ["*.csv"], shop.folder)


def test_a_part_of_an_older_object_is_not_continued(shop: Shop, proxy: Proxy) -> None:
    shop.put("big.csv", BIG)
    proxy.faults.append(Fault(is_get_of("big.csv"), times=1, cut=300_000))
    proxy.faults.append(Fault(is_get_of("big.csv"), times=99, cut=0))
    with pytest.raises(LandingError):
        fetch(shop.settings, ["*.csv"], shop.folder)
    shop.put("big.csv", BIG[::-1])
    proxy.faults.clear()
    proxy.seen.clear()
    assert fetch(shop.settings, ["*.csv"], shop.folder).n_bytes == len(BIG)
    assert (shop.folder / "big.csv").read_bytes() == BIG[::-1]
    assert [seen.range for seen in proxy.gets("big.csv")] == [None]


def test_a_damaged_body_is_seen_thrown_away_and_fetched_again(shop: Shop, proxy: Proxy) -> None:
    shop.put("a.csv", b"right")
    proxy.faults.append(Fault(is_get_of("a.csv"), times=1, damage=True))
    assert fetch(shop.settings, ["*.csv"], shop.folder).fetched == ("a.csv",)
    assert (shop.folder / "a.csv").read_bytes() == b"right"
    assert len(proxy.gets("a.csv")) == 2


def test_a_body_that_stays_damaged_is_an_error_and_nothing_of_it_stays(shop: Shop, proxy: Proxy) -> None:
    shop.put("a.csv", b"before")
    fetch(shop.settings, ["*.csv"], shop.folder)
    shop.put("a.csv", b"after!")
    proxy.faults.append(Fault(is_get_of("a.csv"), times=99, damage=True))
    with pytest.raises(LandingError, match=r"a\.csv: its bytes do not match the store's CRC32, 3 times"):
        fetch(shop.settings, ["*.csv"], shop.folder)
    assert (shop.folder / "a.csv").read_bytes() == b"before"
    assert leftovers(shop.folder) == []


CHILD = """
import sys
from pathlib import Path
from pipelines.core.shop import S3
from pipelines.s3_fetch import fetch
fetch(S3(landing=sys.argv[1], endpoint_url=sys.argv[2]), ["*.csv"], Path(sys.argv[3]))
"""


def test_a_killed_fetch_goes_on_where_it_was(shop: Shop, proxy: Proxy) -> None:
    shop.put("a.csv", b"done before the kill")
    shop.put("big.csv", BIG)
    stall = threading.Event()
    proxy.faults.append(Fault(is_get_of("big.csv"), times=1, cut=400_000, stall=stall))
    arguments = [str(shop.settings.landing), proxy.url, str(shop.folder)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], cwd=PROJECT)
    part = shop.folder / ".big.csv.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 300_000) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    stall.set()
    held = part.stat().st_size
    assert held > 300_000
    proxy.seen.clear()
    result = fetch(shop.settings, ["*.csv"], shop.folder)  # also: the dead process holds no lock
    assert (result.fetched, result.unchanged) == (("big.csv",), ("a.csv",))
    assert result.n_bytes == len(BIG) - held
    assert [seen.range for seen in proxy.gets("big.csv")] == [f"bytes={held}-"]
    assert not proxy.gets("a.csv")
    assert (shop.folder / "big.csv").read_bytes() == BIG
    assert leftovers(shop.folder) == []


def test_two_fetches_at_once_take_turns_and_fetch_once(shop: Shop, proxy: Proxy) -> None:
    shop.put("big.csv", BIG)
    results: list[s3_fetch.FetchResult] = []

    def call_once() -> None:
        results.append(fetch(shop.settings, ["*"], shop.folder))

    calls = [threading.Thread(target=call_once) for _ in range(2)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert sorted(result.fetched for result in results) == [(), ("big.csv",)]
    assert len(proxy.gets("big.csv")) == 1


# --- proof of content ------------------------------------------------------------------------------------------------


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize("algorithm", ["SHA256", "CRC32", "SHA1"])
def test_a_stored_checksum_proves_the_file(shop: Shop, tmp_path: Path, algorithm: str) -> None:
    shop.put("a.csv", BIG, ChecksumAlgorithm=algorithm)
    remote = look(shop.client, shop.bucket, "landing/a.csv")
    assert remote.algorithm == algorithm
    path = tmp_path / "a.csv"
    path.write_bytes(BIG)
    assert prove(path, remote) == (hashlib.sha256(BIG).hexdigest(), True)
    path.write_bytes(BIG[:-1] + b"\0")
    assert prove(path, remote)[1] is False
    path.write_bytes(BIG + b"\0")
    assert prove(path, remote)[1] is False


class Head:
    """A store that answers HEAD as told; one entry per part number, 0 for the whole."""

    def __init__(self, answers: dict[int, dict[str, Any]]) -> None:
        self.answers = answers

    def head_object(self, PartNumber: int = 0, **_: str) -> dict[str, Any]:  # noqa: N803
        return self.answers[PartNumber]


MD5 = hashlib.md5(BIG).hexdigest()


@pytest.mark.parametrize(
    ("head", "algorithm"),
    [
        ({"ETag": f'"{MD5}"'}, "MD5"),
        ({"ETag": f'"{MD5}"', "ServerSideEncryption": "AES256"}, "MD5"),
        ({"ETag": f'"{MD5}"', "ServerSideEncryption": "aws:kms"}, None),
        ({"ETag": f'"{MD5}"', "SSECustomerAlgorithm": "AES256"}, None),
        ({"ETag": '"opaque"'}, None),
        ({"ETag": '"opaque"', "ChecksumCRC32": b64(binascii.crc32(BIG).to_bytes(4, "big"))}, "CRC32"),
    ],
)
def test_the_etag_proves_the_file_only_where_it_is_an_md5(
    head: dict[str, Any], algorithm: str | None, tmp_path: Path
) -> None:
    remote = look(Head({0: {"ContentLength": len(BIG), **head}}), "b", "k")
    assert remote.algorithm == algorithm
    path = tmp_path / "a.csv"
    path.write_bytes(BIG)
    assert prove(path, remote)[1] is (True if algorithm else None)


def test_an_object_sent_in_parts_is_proved_by_the_digest_of_its_parts(shop: Shop, proxy: Proxy) -> None:
    body = BIG * 11
    sizes = (5 * 1024 * 1024, 6 * 1024 * 1024)
    names = {"Bucket": shop.bucket, "Key": "landing/multi.csv"}
    upload = shop.client.create_multipart_upload(**names)["UploadId"]
    parts = []
    for number, chunk in enumerate((body[: sizes[0]], body[sizes[0] :]), start=1):
        etag = shop.client.upload_part(**names, UploadId=upload, PartNumber=number, Body=chunk)["ETag"]
        parts.append({"ETag": etag, "PartNumber": number})
    shop.client.complete_multipart_upload(**names, UploadId=upload, MultipartUpload={"Parts": parts})
    remote = look(shop.client, shop.bucket, "landing/multi.csv")
    assert remote.part_sizes == sizes
    proxy.faults.append(Fault(is_get_of("multi.csv"), times=1, damage=True))
    result = fetch(shop.settings, ["*.csv"], shop.folder)
    assert result.unverified == ()
    assert len(proxy.gets("multi.csv")) == 2
    assert (shop.folder / "multi.csv").read_bytes() == body


def test_a_composite_checksum_needs_the_sizes_of_the_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"aaaabb")
    digest = hashlib.sha256(hashlib.sha256(b"aaaa").digest() + hashlib.sha256(b"bb").digest()).digest()
    head = {"ETag": f'"{MD5}-2"', "ContentLength": 6, "ChecksumType": "COMPOSITE", "ChecksumSHA256": f"{b64(digest)}-2"}
    told = look(Head({0: head, 1: {"ContentLength": 4}, 2: {"ContentLength": 2}}), "b", "k")
    assert prove(path, told)[1] is True
    silent = look(Head({0: head, 1: {"ContentLength": 6}, 2: {"ContentLength": 6}}), "b", "k")
    assert prove(path, silent)[1] is None


def test_a_checksum_of_the_whole_object_needs_no_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"aaaabb")
    crc = b64(binascii.crc32(b"aaaabb").to_bytes(4, "big"))
    head = {"ETag": f'"{MD5}-2"', "ContentLength": 6, "ChecksumType": "FULL_OBJECT", "ChecksumCRC32": crc}
    assert prove(path, look(Head({0: head}), "b", "k"))[1] is True


@pytest.mark.parametrize(
    ("algorithm", "check_value"),  # of b"123456789": the catalogue's check values
    [("CRC32", "cbf43926"), ("CRC32C", "e3069283"), ("CRC64NVME", "ae8b14860a799888")],
)
def test_each_crc_gives_its_published_check_value(algorithm: str, check_value: str) -> None:
    if algorithm != "CRC32":
        pytest.importorskip("awscrt", reason="CRC32C and CRC64NVME need awscrt (boto3[crt])")
    running = s3.hasher(algorithm)
    assert running is not None
    running.update(b"1234")
    running.update(b"56789")
    assert running.digest().hex() == check_value


def test_an_object_without_any_proof_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put("a.csv", b"1")
    real = s3.look

    def blind(client: Any, bucket: str, key: str) -> Remote:
        seen = real(client, bucket, key)
        return Remote(seen.key, seen.etag, seen.size, None, b"", ())

    monkeypatch.setattr(s3_fetch, "look", blind)
    assert fetch(shop.settings, ["*.csv"], shop.folder).unverified == ("a.csv",)


# --- plain errors ----------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_before_an_object_is_fetched(
    shop: Shop, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.put("big.csv", BIG)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(s3_fetch.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match=r"big\.csv needs 1,048,576 bytes"):
        fetch(shop.settings, ["*.csv"], shop.folder)
    assert not proxy.gets("big.csv")


FULL = """
import shutil, sys
from pathlib import Path
from pipelines.core.shop import S3
from pipelines.core.errors import StorageError
from pipelines import s3_fetch
shutil.disk_usage = lambda path: type("Usage", (), {"free": 10**12})  # let it run into the wall
folder, settings = Path(sys.argv[3]), S3(landing=sys.argv[1], endpoint_url=sys.argv[2])
ballast = folder / "ballast"
ballast.write_bytes(bytes(700_000))
try:
    s3_fetch.fetch(settings, ["*.csv"], folder)
except StorageError as error:
    print(error)
held = (folder / ".big.csv.part").stat().st_size
ballast.unlink()
result = s3_fetch.fetch(settings, ["*.csv"], folder)
print(held, result.n_bytes, (folder / "big.csv").stat().st_size)
"""


def test_a_disk_that_fills_up_keeps_the_part_and_the_next_call_goes_on(
    shop: Shop, proxy: Proxy, tmp_path: Path
) -> None:
    mounted = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1500k tmpfs "$0" && exec "$@"', str(tmp_path)]
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a user namespace that may mount a tmpfs")
    shop.put("big.csv", BIG)
    arguments = [sys.executable, "-c", FULL, str(shop.settings.landing), proxy.url, str(tmp_path)]
    child = subprocess.run([*mounted, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    message, figures = child.stdout.splitlines()
    assert "No space left on device" in message
    assert "what was fetched is kept" in message
    held, received, size = (int(figure) for figure in figures.split())
    assert 0 < held < len(BIG)
    assert (received, size) == (len(BIG) - held, len(BIG))


def message_of(settings: S3, folder: Path) -> str:
    with pytest.raises(LandingError) as caught:
        fetch(settings, ["*"], folder)
    text = str(caught.value)
    assert "\n" not in text
    assert "very-secret" not in text
    assert "AKIATESTING" not in text
    return text


def test_a_missing_bucket_is_told(shop: Shop) -> None:
    text = message_of(shop.settings.model_copy(update={"landing": "s3://no-such-bucket-here/x"}), shop.folder)
    assert text.startswith("s3://no-such-bucket-here/x: no such bucket; create it or correct")


def test_missing_permission_is_told(shop: Shop, proxy: Proxy) -> None:
    proxy.faults.append(Fault(lambda seen: True, times=99, status=403, code="AccessDenied"))
    assert "no permission; allow s3:ListBucket" in message_of(shop.settings, shop.folder)


def test_missing_permission_for_one_object_names_it(shop: Shop, proxy: Proxy) -> None:
    shop.put("a.csv", b"1")
    proxy.faults.append(Fault(lambda seen: seen.method == "HEAD", times=99, status=403, code="AccessDenied"))
    assert f"s3://{shop.bucket}/landing/a.csv: no permission" in message_of(shop.settings, shop.folder)


def test_refused_credentials_are_told(shop: Shop, proxy: Proxy) -> None:
    proxy.faults.append(Fault(lambda seen: True, times=99, status=403, code="InvalidAccessKeyId"))
    assert "the credentials were refused" in message_of(shop.settings, shop.folder)


def test_missing_credentials_are_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no usable credentials" in message_of(shop.settings, shop.folder)


def test_an_endpoint_that_nobody_answers_is_told_without_its_password(shop: Shop) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://user:very-secret@127.0.0.1:{port}"
    text = message_of(shop.settings.model_copy(update={"endpoint_url": endpoint, "max_attempts": 1}), shop.folder)
    assert f"http://127.0.0.1:{port} cannot be reached" in text


def test_an_endpoint_that_is_no_address_is_told(shop: Shop) -> None:
    assert "not a web address" in message_of(shop.settings.model_copy(update={"endpoint_url": "nowhere"}), shop.folder)


def test_an_address_that_is_not_set_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"s3\.landing is not set"):
        fetch(S3(), ["*"], tmp_path)
    with pytest.raises(ConfigError, match=r"s3\.publish is not set"):
        send(S3(), tmp_path, "x")


def test_a_folder_that_cannot_be_made_is_told(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        fetch(shop.settings, ["*"], tmp_path / "file" / "in")


# --- sending ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "email.csv").write_text("user_key\na\n")
    (folder / "sms.csv").write_text("user_key\nb\n")
    (folder / "zz-last.csv").write_text("sorts behind the manifest")
    (folder / "manifest.json").write_text('{"night": 1}')
    (folder / ".hidden").touch()
    return folder


def puts(proxy: Proxy) -> list[str]:
    return [seen.path.partition("?")[0].rpartition("/")[2] for seen in proxy.seen if seen.method == "PUT"]


def test_the_manifest_is_sent_last_and_only_after_all_else_was_verified(shop: Shop, proxy: Proxy, plan: Path) -> None:
    moved: list[tuple[str, int]] = []
    result = send(shop.settings, plan, "2026-03-01", lambda *step: moved.append(step))
    assert puts(proxy) == ["email.csv", "sms.csv", "zz-last.csv", "manifest.json"]
    assert result.sent == ("email.csv", "manifest.json", "sms.csv", "zz-last.csv")
    assert result.manifest == f"s3://{shop.bucket}/plans/2026-03-01/manifest.json"
    assert result.n_bytes == sum(n for _, n in moved) == sum((plan / name).stat().st_size for name in result.sent)
    manifest_put = next(n for n, seen in enumerate(proxy.seen) if seen.method == "PUT" and "manifest" in seen.path)
    for name in ("email.csv", "sms.csv", "zz-last.csv"):
        steps = [seen.method for seen in proxy.seen[:manifest_put] if name in seen.path]
        assert steps == ["HEAD", "PUT", "HEAD"]
        assert shop.body(f"plans/2026-03-01/{name}") == (plan / name).read_bytes()
    head = shop.client.head_object(Bucket=shop.bucket, Key="plans/2026-03-01/sms.csv", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == b64(hashlib.sha256((plan / "sms.csv").read_bytes()).digest())


def test_what_is_already_there_is_not_sent_again(shop: Shop, proxy: Proxy, plan: Path) -> None:
    send(shop.settings, plan, "2026-03-01")
    proxy.seen.clear()
    again = send(shop.settings, plan, "2026-03-01")
    assert (again.sent, again.n_bytes, puts(proxy)) == ((), 0, [])
    (plan / "sms.csv").write_text("user_key\nc\n")  # the same size
    (plan / "manifest.json").write_text('{"night": 2}')
    assert send(shop.settings, plan, "2026-03-01").sent == ("manifest.json", "sms.csv")


def test_a_cut_upload_is_tried_again(shop: Shop, proxy: Proxy, plan: Path) -> None:
    proxy.faults.append(Fault(lambda seen: seen.method == "PUT", times=2, cut=0))
    send(shop.settings, plan, "2026-03-01")
    assert puts(proxy)[:3] == ["email.csv"] * 3
    assert shop.body("plans/2026-03-01/email.csv") == (plan / "email.csv").read_bytes()


def test_an_upload_that_stays_cut_leaves_the_old_manifest(shop: Shop, proxy: Proxy, plan: Path) -> None:
    send(shop.settings, plan, "2026-03-01")
    (plan / "sms.csv").write_text("user_key\nnew\n")
    (plan / "manifest.json").write_text('{"night": 2}')
    proxy.seen.clear()
    proxy.faults.append(Fault(lambda seen: seen.method == "PUT" and "sms" in seen.path, times=99, cut=0))
    with pytest.raises(LandingError, match=r"plans/2026-03-01/sms\.csv: .*cuts off"):
        send(shop.settings, plan, "2026-03-01")
    assert set(puts(proxy)) == {"sms.csv"}
    assert shop.body("plans/2026-03-01/manifest.json") == b'{"night": 1}'


def test_a_file_that_arrived_damaged_stops_the_manifest(shop: Shop, proxy: Proxy, plan: Path) -> None:
    def damage() -> None:  # before the second HEAD of sms.csv, somebody else's bytes stand there
        body = b"user_key\nX\n"
        shop.client.put_object(Bucket=shop.bucket, Key="plans/n/sms.csv", Body=body, ChecksumAlgorithm="SHA256")

    is_head = Fault(lambda seen: seen.method == "HEAD" and "sms" in seen.path, times=1)
    proxy.faults.extend([is_head, Fault(is_head.applies, times=1, before=damage)])
    with pytest.raises(LandingError, match=r"sms\.csv: the store does not hold the bytes that were sent"):
        send(shop.settings, plan, "n")
    assert "manifest.json" not in puts(proxy)


def test_missing_permission_to_publish_is_told(shop: Shop, proxy: Proxy, plan: Path) -> None:
    proxy.faults.append(Fault(lambda seen: True, times=99, status=403, code="AccessDenied"))
    with pytest.raises(LandingError, match=r"email\.csv: no permission; .*s3:PutObject"):
        send(shop.settings, plan, "n")


@pytest.mark.parametrize("relative", ["../n", "/n", ""])
def test_a_plan_stays_below_the_publish_prefix(shop: Shop, plan: Path, relative: str) -> None:
    with pytest.raises(LandingError, match=r"without '\.\.'"):
        send(shop.settings, plan, relative)


def test_a_folder_without_a_manifest_is_not_sent(shop: Shop, proxy: Proxy, plan: Path) -> None:
    (plan / "manifest.json").unlink()
    with pytest.raises(LandingError, match=r"no manifest\.json there"):
        send(shop.settings, plan, "n")
    assert puts(proxy) == []


def test_importing_costs_no_boto3() -> None:
    code = "import sys, pipelines.s3_fetch, pipelines.s3_send; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
