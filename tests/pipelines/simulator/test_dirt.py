"""The demo shop's dirt: what is declared is there, and the truth beneath it stays whole."""

import gzip
import json
from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest

from pipelines.core.config import load_shop
from pipelines.core.privacy import PseudonymKey
from pipelines.core.shop import Simulator
from pipelines.core.tables import EVENT_TYPES
from pipelines.simulator import dirt
from pipelines.simulator.simulate import simulate

FIRST = date(2026, 3, 1)
NIGHTS = 12
LINE = (
    b'{"event_id":"e26030100000001","user_id":"c0000001","session_id":"s1","event_type":"view"'
    b',"occurred_at":"2026-03-01T10:00:00.000Z","item_id":"i000001","price":9.99}'
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    """Lines of the events file, night by night."""
    landing = tmp_path_factory.mktemp("landing")
    shop = load_shop("demo").model_copy(update={"simulator": Simulator(customers=3000, items=100, first_night=FIRST)})
    simulate(shop, landing, FIRST + timedelta(days=NIGHTS - 1), lambda _: None, PseudonymKey(b"k" * 32))
    packed = [landing / (FIRST + timedelta(days=day)).isoformat() / "events.jsonl.gz" for day in range(NIGHTS)]
    return [gzip.decompress(path.read_bytes()).split(b"\n")[:-1] for path in packed]


def within(count: int, total: int, share: float) -> bool:
    """Four standard errors of a share."""
    return abs(count / total - share) < 4 * float(np.sqrt(share * (1 - share) / total))


def test_exact_duplicates_have_their_declared_share(files: list[list[bytes]]) -> None:
    lines = [line for file in files for line in file]
    repeated = sum(n - 1 for line, n in Counter(lines).items() if line.startswith(b'{"event_id":"e'))
    assert within(repeated, len(lines), dirt.DUPLICATE_SHARE)


def test_resent_lines_repeat_an_event_id_and_half_of_them_come_a_night_later(files: list[list[bytes]]) -> None:
    resent = [(night, line) for night, file in enumerate(files) for line in file if b'"resent":true' in line]
    total = sum(len(file) for file in files)
    assert abs(len(resent) / total - dirt.RESENT_SHARE) < 0.0004
    ids = [{line[13:28] for line in file if b'"resent"' not in line} for file in files]
    tonight = sum(line[13:28] in ids[night] for night, line in resent)
    yesterday = sum(night > 0 and line[13:28] in ids[night - 1] for night, line in resent)
    assert tonight + yesterday == len(resent)
    assert 0.4 < tonight / len(resent) < 0.6


def test_late_events_land_in_later_files_mostly_within_the_window(files: list[list[bytes]]) -> None:
    delays: Counter[int] = Counter()
    early: Counter[bool] = Counter()  # is late -> events of the first five nights, nearly all of which have arrived
    for night, file in enumerate(files):
        for line in file:
            if line.startswith(b'{"event_id":"e') and b'"resent"' not in line:
                happened = date(2000 + int(line[14:16]), int(line[16:18]), int(line[18:20]))
                delay = (FIRST + timedelta(days=night) - happened).days
                delays[delay] += 1
                if happened < FIRST + timedelta(days=5):
                    early[delay > 0] += 1
    assert min(delays) == 0
    assert within(early[True], early.total(), dirt.LATE_SHARE)
    beyond = sum(n for delay, n in delays.items() if delay > 7)
    assert 0 < beyond < 0.12 * (delays.total() - delays[0])
    assert max(delays) <= 10


def test_broken_lines_of_every_fault_are_there_in_their_share(files: list[list[bytes]]) -> None:
    reasons: Counter[str] = Counter()
    total = sum(len(file) for file in files)
    for line in (line for file in files for line in file):
        reasons[why_broken(line)] += 1
    del reasons["fine"]
    assert within(sum(reasons.values()), total, dirt.BROKEN_SHARE)
    assert set(reasons) == {"encoding", "nul", "json", "no user", "type", "price", "time"}


def why_broken(line: bytes) -> str:
    """What a careful reader objects to first."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return "encoding"
    if "\x00" in text:
        return "nul"
    try:
        row = json.loads(text)
    except json.JSONDecodeError:
        return "json"
    if "user_id" not in row:
        return "no user"
    if row["event_type"] not in EVENT_TYPES:
        return "type"
    if not 0 <= row.get("price", 0) <= 1_000_000:
        return "price"
    return "fine" if row["occurred_at"].startswith("2026-") else "time"


def test_all_dirt_together_is_between_one_and_two_percent() -> None:
    total = dirt.DUPLICATE_SHARE + dirt.RESENT_SHARE + dirt.LATE_SHARE + dirt.BROKEN_SHARE
    assert 0.01 <= total <= 0.02


def test_bots_are_few_and_much_faster_than_people(files: list[list[bytes]]) -> None:
    rates: Counter[tuple[str, str]] = Counter()
    for line in files[0]:
        if why_broken(line) == "fine":
            row = json.loads(line)
            rates[(row["user_id"], row["occurred_at"][:16])] += 1
    fast = {user for (user, _), n in rates.items() if n > 60}
    assert fast
    assert fast <= {f"c{number:07d}" for number in range(3000, 3009)}  # 0.3% of 3,000 customers
    assert max(n for (user, _), n in rates.items() if user < "c0003000") <= 30


def test_purchases_are_never_late_and_never_broken(files: list[list[bytes]]) -> None:
    for night, file in enumerate(files):
        day = f"{FIRST + timedelta(days=night):%y%m%d}".encode()
        for line in file:
            if b'"event_type":"purchase"' in line and b'"resent"' not in line:
                assert line.startswith(b'{"event_id":"e' + day)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("bad_utf8", "encoding"),
        ("nul", "nul"),
        ("truncated", "json"),
        ("not_json", "json"),
        ("no_user", "no user"),
        ("unknown_type", "type"),
        ("negative_price", "price"),
        ("absurd_price", "price"),
        ("far_future", "time"),
        ("far_past", "time"),
    ],
)
def test_each_fault_breaks_exactly_one_thing(fault: str, why: str) -> None:
    assert why_broken(LINE) == "fine"
    assert why_broken(dirt.broken(LINE, fault, np.random.default_rng(1))) == why


def test_soil_keeps_every_line_either_here_or_for_a_later_night() -> None:
    lines = [LINE.replace(b"00000001", f"{k:08d}".encode()) for k in range(5000)]
    soiled = dirt.soil(lines, np.ones(5000, dtype=bool), 100, 7, np.random.default_rng(3))
    held = [line for _, line in soiled.held]
    assert set(lines) <= set(soiled.lines) | set(held)
    assert {due for due, _ in soiled.held} <= set(range(101, 111))
    assert not {line for line in held if b"resent" not in line} & set(soiled.lines)
