"""Nights whose tasks Airflow's own task runner runs, on a disk that fills up and with a clock that jumps."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.run_record import STAGES
from tests.conftest import Market, WarmProcess
from tests.small_disk import fill, small

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and mounts as Linux does")
NIGHT = "2026-03-01"
TASKS = [stage for stage in STAGES if stage != "learn"]
FULL = re.compile(  # the second, where the shop is simulated
    r"\[error +\] .*("
    r"the disk (?:of \S+ )?is full; nothing was published; free some space and run again|"
    r"landing: cannot write night \S+: No space left on device; free space)"
)
# In place of the command: tasks of the night until one does not succeed, and the day that the clock shows in each.
RUN = """\
from pipelines import cli
from tests.airflow_task import run_task
from tests.jumping_clock import jump

def main():
    for task, days in {tasks}:
        with jump(days):
            state = run_task("nightly_marketing_tiny", task, "{night}", {attempt})
        print(f"STATE {{task}} {{state}}")
        if state != "success":
            return

cli.main = main
"""


def run(market: Market, tasks: list[tuple[str, int]], attempt: int = 1) -> tuple[dict[str, str], str]:
    """Runs tasks one after another; their states, and all that they have logged."""
    done = market.warm(setup=RUN.format(tasks=tasks, night=NIGHT, attempt=attempt))
    assert done.code == 0, done.err
    return dict(re.findall(r"^STATE (\w+) (\w+)$", done.out, re.M)), done.out


def record_of(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "runs").glob("*.json")
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def error_in(folder: Path) -> str | None:
    return record_of(folder)["error"] if list((folder / "runs").glob("*.json")) else None


def pages(market: Market) -> list[str]:
    folder = market.folder / "reports" / "audits" / NIGHT
    assert (folder / "index.html").exists()
    return sorted(path.parent.parent.name for path in (folder / "validations").rglob("*.html"))


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory, conf: Path, warm_process: Callable[[], WarmProcess]) -> Market:
    """The night by the command."""
    made = Market(tmp_path_factory.mktemp("hand") / "root", conf, warm_process)
    assert made.night(NIGHT).code == 0
    return made


def check_whole(market: Market, by_hand: Market) -> None:
    """What is published is what the night by hand has published, partition by partition whole."""
    found, expected = market.published(), by_hand.published()
    partitions = {path.rpartition("/")[0] for path in found}
    assert found == {path: digest for path, digest in expected.items() if path.rpartition("/")[0] in partitions}


@pytest.fixture(scope="module")
def disk(
    tmp_path_factory: pytest.TempPathFactory, warm_process: Callable[[], WarmProcess]
) -> Iterator[tuple[WarmProcess, Path, Path]]:
    folder = tmp_path_factory.mktemp("disk")
    with small(warm_process(), folder) as (process, seen):
        yield process, folder, seen


def test_a_disk_that_fills_up_under_a_task_is_told_in_its_log_and_a_retry_goes_on_to_the_same_bytes(
    disk: tuple[WarmProcess, Path, Path], by_hand: Market
) -> None:
    process, folder, seen = disk
    inside, outside = by_hand.sibling(folder / "root"), by_hand.sibling(seen / "root")
    inside.warm_process = lambda: process
    left, failed, recorded = list(TASKS), [], []
    for left_kb in (0, 130, 160, 130, 250):
        fill(seen, left_kb)
        states, log = run(inside, [(task, 0) for task in left])
        (seen / "filler").unlink()
        check_whole(outside, by_hand)
        *good, last = states
        left = left[len(good) :]
        assert states[last] == "up_for_retry", log
        (line,) = FULL.findall(log)
        failed.append(last)
        if told := error_in(outside.folder):  # else there was no room for it
            assert told.endswith(line), told
            recorded.append(last)
    assert len(set(failed)) >= 3, failed
    assert recorded, failed
    states, log = run(inside, [(task, 0) for task in left], attempt=2)
    assert set(states.values()) == {"success"}, log
    assert outside.published() == by_hand.published()
    assert outside.litter() == []
    assert record_of(outside.folder)["error"] is None


def test_a_task_whose_disk_stays_full_fails_for_good_and_clearing_it_goes_on(
    disk: tuple[WarmProcess, Path, Path], by_hand: Market
) -> None:
    process, folder, seen = disk
    inside, outside = by_hand.sibling(folder / "other"), by_hand.sibling(seen / "other")
    inside.warm_process = lambda: process
    assert run(inside, [("land", 0)])[0] == {"land": "success"}
    before = outside.published()
    fill(seen, 0)
    states, log = run(inside, [("clean", 0)], attempt=3)
    (seen / "filler").unlink()
    assert states == {"clean": "failed"}
    assert len(FULL.findall(log)) == 1
    assert outside.published() == before
    assert run(inside, [("clean", 0)], attempt=4)[0] == {"clean": "success"}
    check_whole(outside, by_hand)
    assert outside.published().items() > before.items()


def test_a_clock_that_jumps_between_the_tasks_of_a_night_changes_no_byte(by_hand: Market, tmp_path: Path) -> None:
    """A day back, a day forward, to the seventies and back again; the files carry those times."""
    market = by_hand.sibling(tmp_path / "root")
    states, log = run(market, list(zip(TASKS, (0, -1, 1, 0, 0, 0, -1, 0, 1, -20_000, 0), strict=True)))
    assert set(states.values()) == {"success"}, log
    assert market.published() == by_hand.published()
    report = market.folder / "reports" / "nightly_report" / f"night={NIGHT}" / "report.html"
    assert datetime.fromtimestamp(report.stat().st_mtime, UTC).year < 1980
    assert market.stale() == {}
    assert pages(market) == pages(by_hand) != []
    record, expected = record_of(market.folder), record_of(by_hand.folder)
    assert (record["error"], record["night"]) == (None, NIGHT)
    assert record["summary"]["tables"] == expected["summary"]["tables"]
    assert record["summary"]["stale_nights"] == []

    # Again, with the clock a day before the files that it finds: nothing is made, nothing is stale.
    states, log = run(market, [(task, -1) for task in TASKS], attempt=2)
    assert set(states.values()) == {"success"}, log
    assert market.published() == by_hand.published()
    stages = record_of(market.folder)["stages"]
    assert {name: stage["made"] for name, stage in stages.items()} == dict.fromkeys(TASKS, 0)
