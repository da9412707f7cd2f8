"""The demo shop's landing folder: same bytes, whole nights, every feed readable."""

import gzip
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.config import PROJECT, load_shop
from pipelines.core.errors import ConfigError, LandingError, WrongUseError
from pipelines.core.privacy import PseudonymKey
from pipelines.core.shop import Shop, Simulator
from pipelines.simulator import simulate as simulate_module
from pipelines.simulator.simulate import simulate

KEY = PseudonymKey(b"k" * 32)
FIRST = date(2026, 3, 1)
NEEDED = {
    "events": {"event_id", "user_id", "event_type", "occurred_at"},
    "catalog": {"item_id", "title", "description", "category_id", "category_path", "brand", "price", "unit_cost",
                "stock", "attributes", "language"},
    "reviews": {"review_id", "user_id", "item_id", "rating", "text", "language", "occurred_at"},
    "messages": {"message_id", "conversation_id", "user_id", "sender", "text", "language", "occurred_at"},
}  # fmt: skip


def demo(**given: Any) -> Shop:
    """The demo shop, small; `given` are fields of its simulator."""
    values = {"customers": 300, "items": 80, "first_night": FIRST, "history_nights": 14, "seed": 7} | given
    return load_shop("demo").model_copy(update={"simulator": Simulator(**values)})


def no_plan(_: date) -> Path | None:
    return None


def digests(landing: Path) -> dict[str, str]:
    return {
        str(path.relative_to(landing)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(landing.rglob("*"))
        if path.is_file()
    }


def good_lines(landing: Path, night: date, feed: str) -> list[dict[str, Any]]:
    """The lines that a strict reader understands and that are not made broken on purpose."""
    rows = []
    for line in gzip.decompress((landing / night.isoformat() / f"{feed}.jsonl.gz").read_bytes()).split(b"\n")[:-1]:
        if line.startswith(b'{"event_id":"x') or not line.startswith(b"{"):
            continue
        rows.append(json.loads(line.decode("utf-8")))
    return rows


@pytest.fixture(scope="module")
def four_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    landing = tmp_path_factory.mktemp("landing")
    simulate(demo(), landing, FIRST + timedelta(days=3), no_plan, KEY)
    return landing


def test_the_same_seed_gives_the_same_bytes_however_the_nights_are_asked_for(four_nights: Path, tmp_path: Path) -> None:
    told: list[date] = []
    for days in (0, 2, 3):
        told += simulate(demo(), tmp_path, FIRST + timedelta(days=days), no_plan, KEY, progress=lambda night: None)
    assert told == [FIRST + timedelta(days=days) for days in range(4)]
    assert digests(tmp_path) == digests(four_nights)


def test_another_seed_gives_other_bytes_in_every_feed(four_nights: Path, tmp_path: Path) -> None:
    simulate(demo(seed=8), tmp_path, FIRST, no_plan, KEY)
    ours, theirs = digests(tmp_path), digests(four_nights)
    assert all(ours[name] != theirs[name] for name in ours)


def test_a_night_without_a_plan_has_four_feeds_and_no_deliveries(four_nights: Path) -> None:
    names = sorted(path.name for path in (four_nights / "2026-03-02").iterdir())
    assert names == ["catalog.jsonl.gz", "events.jsonl.gz", "messages.jsonl.gz", "reviews.jsonl.gz"]


@pytest.mark.parametrize("feed", sorted(NEEDED))
def test_every_line_of_a_feed_has_its_keys(four_nights: Path, feed: str) -> None:
    rows = [row for day in range(4) for row in good_lines(four_nights, FIRST + timedelta(days=day), feed)]
    assert rows
    assert [row for row in rows if not NEEDED[feed] <= set(row)] == []


def test_events_carry_what_their_type_needs(four_nights: Path) -> None:
    rows = good_lines(four_nights, FIRST, "events")
    needs = {
        "search": {"query"},
        "purchase": {"item_id", "price", "quantity", "order_id"},
        "view": {"item_id", "price"},
    }
    seen = {row["event_type"] for row in rows}
    assert {"impression", "view", "click", "search", "favorite", "cart", "remove_from_cart", "purchase"} <= seen
    for kind, keys in needs.items():
        assert all(keys <= set(row) for row in rows if row["event_type"] == kind)


def test_every_purchase_follows_a_view_and_a_cart_of_the_item_in_its_session(four_nights: Path) -> None:
    rows = good_lines(four_nights, FIRST, "events")
    bought = [row for row in rows if row["event_type"] == "purchase"]
    assert bought
    for row in bought:
        mine = [r for r in rows if r.get("session_id") == row["session_id"] and r.get("item_id") == row["item_id"]]
        before = {r["event_type"] for r in mine if r["occurred_at"] < row["occurred_at"]}
        assert {"view", "cart"} <= before


def test_the_catalogue_is_whole_on_the_first_night_and_then_tells_only_changes(four_nights: Path) -> None:
    shelves = {row["item_id"]: row for row in good_lines(four_nights, FIRST, "catalog")}
    launched = set()
    for day in range(1, 4):
        rows = good_lines(four_nights, FIRST + timedelta(days=day), "catalog")
        assert 0 < len(rows) < len(shelves)
        for row in rows:
            assert row != shelves.get(row["item_id"])
            launched |= {row["item_id"]} - set(shelves)
            shelves[row["item_id"]] = row
    assert {row["language"] for row in shelves.values()} == {"en", "zh"}
    sold = {row["item_id"] for row in good_lines(four_nights, FIRST, "events") if "item_id" in row}
    assert sold <= set(shelves) - launched


def test_reviews_of_late_parcels_say_so_and_rate_low(tmp_path: Path) -> None:
    simulate(demo(customers=3000), tmp_path, FIRST + timedelta(days=1), no_plan, KEY)
    rows = [row for day in (0, 1) for row in good_lines(tmp_path, FIRST + timedelta(days=day), "reviews")]
    late = [row["rating"] for row in rows if "late" in row["text"] or "晚" in row["text"]]
    happy = [row["rating"] for row in rows if "Recommended" in row["text"] or row["text"][-3:] == "推荐。"]
    assert len(late) >= 3
    assert max(late) <= 3
    assert {row["language"] for row in rows} == {"en", "zh"}
    assert sum(late) / len(late) < sum(happy) / len(happy)


@pytest.mark.parametrize("first", [date(2026, 3, 28), date(2026, 10, 24)], ids=["spring", "autumn"])
def test_events_stay_in_their_local_night_when_the_clocks_change(tmp_path: Path, first: date) -> None:
    shop = demo(first_night=first)
    simulate(shop, tmp_path, first + timedelta(days=2), no_plan, KEY)
    for day in range(3):
        night = first + timedelta(days=day)
        rows = [row for row in good_lines(tmp_path, night, "events") if row["event_id"].startswith(f"e{night:%y%m%d}")]
        local = {datetime.fromisoformat(row["occurred_at"]).astimezone(shop.zone).date() for row in rows}
        assert local == {night}


def test_a_night_that_exists_is_never_rewritten(tmp_path: Path) -> None:
    simulate(demo(), tmp_path, FIRST, no_plan, KEY)
    mine = tmp_path / FIRST.isoformat() / "events.jsonl.gz"
    mine.write_bytes(b"kept")
    assert simulate(demo(seed=8), tmp_path, FIRST, no_plan, KEY) == []
    assert mine.read_bytes() == b"kept"


def test_what_a_killed_run_left_behind_is_ignored_and_replaced(four_nights: Path, tmp_path: Path) -> None:
    simulate(demo(), tmp_path, FIRST, no_plan, KEY)
    half = tmp_path / ".2026-03-02.partial"
    half.mkdir()
    (half / "events.jsonl.gz").write_bytes(b"half a file")
    (tmp_path / ".state" / "2026-03-02.partial").write_bytes(b"half a state")
    (tmp_path / ".state" / "2026-03-02.npz").write_bytes(b"a state whose night never appeared")
    simulate(demo(), tmp_path, FIRST + timedelta(days=3), no_plan, KEY)
    assert digests(tmp_path) == digests(four_nights)


KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from pipelines.core.config import load_shop
from pipelines.core.shop import Simulator
from pipelines.core.privacy import PseudonymKey
from pipelines.simulator import simulate as module

landing, owner, name, nth = Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4])
target = {"module": module, "path": Path, "gzip": module.gzip.GzipFile}[owner]
real, calls = getattr(target, name), 0

def dies(*args, **kwargs):
    global calls
    calls += 1
    if calls == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)

setattr(target, name, dies)
simulator = Simulator(customers=300, items=80, first_night=date(2026, 3, 1), history_nights=14, seed=7)
shop = load_shop("demo").model_copy(update={"simulator": simulator})
module.simulate(shop, landing, date(2026, 3, 4), lambda night: None, PseudonymKey(b"k" * 32))
"""


@pytest.mark.parametrize(
    ("owner", "name", "nth"),
    [("gzip", "close", 6), ("module", "save_state", 2), ("path", "replace", 2), ("path", "rename", 2)],
    ids=["while a feed is written", "before the state", "before the state appears", "before the night appears"],
)
def test_a_run_killed_at_any_step_leaves_whole_nights_and_the_next_run_heals_it(
    four_nights: Path, tmp_path: Path, owner: str, name: str, nth: int
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), owner, name, str(nth)]
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.glob("2026-*")) == ["2026-03-01"]
    assert len(simulate(demo(), tmp_path, FIRST + timedelta(days=3), no_plan, KEY)) == 3
    assert digests(tmp_path) == digests(four_nights)


@pytest.mark.parametrize("step", ["save_state", "rmtree"])
def test_a_failure_while_writing_shows_no_night_and_the_next_run_heals_it(
    four_nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "x"))

    simulate(demo(), tmp_path, FIRST, no_plan, KEY)
    target: tuple[Any, str] = (simulate_module, step) if step == "save_state" else (simulate_module.shutil, step)
    (tmp_path / ".2026-03-02.partial").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(*target, fails)
        with pytest.raises(LandingError, match="No space left on device"):
            simulate(demo(), tmp_path, FIRST + timedelta(days=1), no_plan, KEY)
    assert not (tmp_path / "2026-03-02").exists()
    simulate(demo(), tmp_path, FIRST + timedelta(days=3), no_plan, KEY)
    assert digests(tmp_path) == digests(four_nights)


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _pickle(path: Path) -> None:
    import numpy as np

    np.savez(path, fatigue=np.array([{"an": "object"}], dtype=object))


@pytest.mark.parametrize("harm", [_remove, _cut, _pickle])
def test_a_lost_or_damaged_state_is_told_in_one_line(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    simulate(demo(), tmp_path, FIRST, no_plan, KEY)
    harm(tmp_path / ".state" / "2026-03-01.npz")
    with pytest.raises(LandingError, match=r"2026-03-01\.npz") as caught:
        simulate(demo(), tmp_path, FIRST + timedelta(days=1), no_plan, KEY)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "2026-03-02").exists()


def test_a_state_of_a_shop_of_another_size_is_refused(tmp_path: Path) -> None:
    simulate(demo(), tmp_path, FIRST, no_plan, KEY)
    with pytest.raises(LandingError, match="written for 300 customers and 80 items, the configuration has 301 and 80"):
        simulate(demo(customers=301), tmp_path, FIRST + timedelta(days=1), no_plan, KEY)


def test_a_shop_that_is_not_simulated_is_refused(tmp_path: Path) -> None:
    shop = load_shop("demo").model_copy(update={"simulator": None})
    with pytest.raises(ConfigError, match="not simulated"):
        simulate(shop, tmp_path, FIRST, no_plan, KEY)


def test_a_night_so_far_ahead_that_its_date_must_be_wrong_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError) as refused:
        simulate(demo(), tmp_path, date(2206, 3, 1), no_plan, KEY)
    assert str(refused.value) == (
        "night 2206-03-01 is too far ahead of 2026-03-01 to be simulated: expected a night up to 2027-04-04; "
        "mend the date, or simulate up to an earlier night first"
    )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "2027-04-04").mkdir()
    with pytest.raises(WrongUseError, match="expected a night up to 2028-05-07"):
        simulate(demo(), tmp_path, date(2028, 5, 8), no_plan, KEY)


@pytest.mark.parametrize(("customers", "items"), [(10, 20), (11, 23)])
def test_the_smallest_shops_run(tmp_path: Path, customers: int, items: int) -> None:
    written = simulate(demo(customers=customers, items=items), tmp_path, FIRST + timedelta(days=9), no_plan, KEY)
    assert len(written) == 10
