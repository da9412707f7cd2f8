"""Kill, fill up, run at once: whatever happens to a night, what is published is whole and the next run finishes it."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.storage import content_hash
from tests.small_disk import fill, small

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and mounts as Linux does")
FIRST, SECOND, THIRD = "2026-03-01", "2026-03-02", "2026-03-03"
PAGES = re.compile(r"(?<=reports/audits).*")
TABLE = re.compile(r"(?<=/)(raw|clean|features|decisions|reports)/\w+|(?<=\*/)\w+|\w+=\d{4}-\d\d-\d\d")


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory: pytest.TempPathFactory, finished: Any) -> Any:
    """The first two nights, from the landing folder of `finished`. The third brings late events for both."""
    market = finished.sibling(tmp_path_factory.mktemp("two") / "root")
    for night in (FIRST, SECOND):
        done = market.night(night)
        assert done.code == 0, done.err
    return market


@pytest.fixture(scope="module")
def third_night(tmp_path_factory: pytest.TempPathFactory, two_nights: Any) -> Any:
    """The third night too, undisturbed, and the steps that it took: `two_nights` -> this is what every fault disturbs."""
    folder = tmp_path_factory.mktemp("three")
    market = two_nights.copy(folder / "root")
    done = market.night(THIRD, trace=folder / "steps")
    assert done.code == 0, done.err
    return market


def check_whole(market: Any, *states: Any) -> None:
    """Every published partition is what its manifest says, and as it was before or as an undisturbed run makes it."""
    known = [state.content() for state in states]
    for path in (market.folder).rglob("_manifest.json"):
        if ".staging" in path.parts:
            continue
        manifest = json.loads(path.read_text())
        name = f"{manifest['table']}/{manifest['partition']}"
        assert content_hash(path.parent) == manifest["content_hash"], name
        assert manifest["content_hash"] in [content.get(name) for content in known], name


def check_finished(market: Any, expected: Any) -> None:
    assert market.published() == expected.published()
    assert market.litter() == []


def one_of_each(steps: list[str]) -> list[str]:
    """Of every kind of step of every stage (whatever the table or night) that changes the disk the first, of publishing
    the last too; in order."""
    kinds: dict[str, list[str]] = {}
    for step in dict.fromkeys(steps):
        if "fcntl.flock" not in step and not step.endswith("os.mkdir tiny/.locks"):
            kinds.setdefault(TABLE.sub("T", PAGES.sub("", step)), []).append(step)
    chosen = {found[0] for found in kinds.values()}
    chosen |= {found[-1] for kind, found in kinds.items() if kind.split()[1] in ("os.rename", "ctypes.dlsym")}
    return [step for step in dict.fromkeys(steps) if step in chosen]


def kill_at_each(
    steps: list[str], fresh: Callable[[int], Any], run: Callable[..., Any], *states: Any
) -> tuple[Any, list[str]]:
    """Kills run after run over one root, each right before the next of the steps; a run that gets by starts a fresh root.

    Returns the last root, and the steps that no run came by.
    """
    market, missed = fresh(0), []
    for n, step in enumerate(steps):
        done = run(market, kill=step)
        if done.code == 0:
            missed.append(step)
            market = fresh(n + 1)
            continue
        assert done.code == -signal.SIGKILL, f"{step}: {done.code}, {done.err}"
        check_whole(market, *states)
    return market, missed


def test_a_night_killed_before_any_kind_of_step_of_any_stage_is_finished_by_the_next_run(
    two_nights: Any, third_night: Any, tmp_path: Path
) -> None:
    steps = one_of_each(third_night.root.with_name("steps").read_text().splitlines())
    assert {step.split()[0] for step in steps} == {
        "start",
        "land",
        "clean",
        "features",
        "market",
        "plan",
        "publish",
        "report",
        "retain",
    }
    assert {step.split()[1] for step in steps} >= {
        "os.rename",
        "ctypes.dlsym",
        "subprocess.Popen",
        "open",
        "shutil.rmtree",
    }

    def fresh(n: int) -> Any:
        return two_nights.copy(tmp_path / str(n))

    market, missed = kill_at_each(steps, fresh, lambda m, **how: m.night(THIRD, **how), two_nights, third_night)
    assert len(missed) <= len(steps) // 10, missed
    done = market.night(THIRD)
    assert done.code == 0, done.err
    check_finished(market, third_night)


def test_simulating_and_landing_the_first_night_killed_before_every_step_ends_in_the_same_bytes(
    finished: Any, market: Any, tmp_path: Path
) -> None:
    calm = finished.sibling(tmp_path / "calm")
    calm.landing = None
    assert calm.night(FIRST, trace=tmp_path / "steps").code == 0
    steps = [step for step in (tmp_path / "steps").read_text().splitlines() if step.startswith(("start", "land"))]
    last, missed = kill_at_each(
        list(dict.fromkeys(steps)),
        lambda n: market.sibling(tmp_path / str(n)),
        lambda killed, **how: killed.night(FIRST, **how),
        calm,
    )
    assert len(missed) <= len(steps) // 10, missed
    assert last.night(FIRST).code == 0
    check_finished(last, calm)
    for path in (calm.folder / "landing" / FIRST).iterdir():
        assert (last.folder / "landing" / FIRST / path.name).read_bytes() == path.read_bytes()


def children(parent: int, module: str, timeout_s: float = 60) -> int:
    """The process that `parent` started to run `module`, as soon as it is there."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                ppid = int(path.read_text().rpartition(")")[2].split()[1])
                command = (path.parent / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if ppid == parent and module.encode() in command:
                return int(path.parent.name)
        time.sleep(0.02)
    raise AssertionError(f"process {parent} started no {module} within {timeout_s} s")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_real_processes_killed_in_the_middle_of_their_jobs(
    two_nights: Any, third_night: Any, finished: Any, tmp_path: Path
) -> None:
    market = two_nights.copy(tmp_path / "root")
    command = ("night", "--shop", "tiny", "--date", THIRD, "--landing", str(finished.landing))

    # The night dies: its job dies with it, and its lock is free at once.
    night = market.start(*command)
    job = children(night.pid, "spark_jobs.clean")
    time.sleep(0.5)
    night.kill()
    night.communicate()
    until = time.monotonic() + 10
    while is_alive(job) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_alive(job)
    check_whole(market, two_nights, third_night)

    # The job dies: the night says so in one line.
    night = market.start(*command)
    os.kill(children(night.pid, "spark_jobs.features"), signal.SIGKILL)
    _, told = night.communicate(timeout=120)
    assert night.returncode == 1, told
    assert "Traceback" not in told
    assert "spark_jobs.features was killed by signal 9 (out of memory? lower memory_gb in conf/local.yaml)" in told
    check_whole(market, two_nights, third_night)

    done = market.cold(*command)
    assert done.code == 0, done.err
    check_finished(market, third_night)


def test_the_same_night_twice_at_once_runs_once_and_the_other_says_who_works(finished: Any, tmp_path: Path) -> None:
    market = finished.copy(tmp_path / "root")
    first = market.start("night", "--shop", "tiny", "--date", SECOND, "--landing", str(finished.landing), "--force")
    children(first.pid, "spark_jobs.clean")
    second = market.night(SECOND, "--force")
    assert second.code == 1
    assert second.complaint == (
        f"nightmarket: shop tiny, night-{SECOND}: process {first.pid} is working on it; wait for it to end, then run again"
    )
    _, told = first.communicate(timeout=120)
    assert first.returncode == 0, told
    check_finished(market, finished)


def test_two_nights_at_once_make_the_same_tables_as_one_after_the_other(finished: Any, tmp_path: Path) -> None:
    market = finished.sibling(tmp_path / "root")
    options = ("--shop", "tiny", "--landing", str(finished.landing))
    running = [market.start("night", *options, "--date", night) for night in (THIRD, FIRST)]
    for process in running:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    assert market.night(SECOND).code == 0
    assert market.warm("backfill", *options, "--stale").code == 0
    check_finished(market, finished)


# -- a full disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_disk(
    tmp_path_factory: pytest.TempPathFactory, warm_process: Callable[[], Any]
) -> Iterator[tuple[Any, Path, Path]]:
    """A warm process that alone sees a disk of 24 MB mounted; the folder as it sees it, and as the test does."""
    folder = tmp_path_factory.mktemp("disk")
    with small(warm_process(), folder) as (process, seen):
        yield process, folder, seen


def test_a_disk_that_fills_up_at_any_stage_costs_nothing_but_time(
    small_disk: tuple[Any, Path, Path], two_nights: Any, third_night: Any, finished: Any
) -> None:
    process, folder, seen = small_disk
    inside = finished.sibling(folder / "root")
    inside.warm_process = lambda: process
    outside = finished.sibling(seen / "root")
    for night in (FIRST, SECOND):
        done = inside.night(night)
        assert done.code == 0, done.err
    assert outside.published() == two_nights.published()

    told, reached = [], set()
    for left_kb in (0, 8, 24, 48, 80, 120, 160, 200, 260, 320, 400):
        fill(seen, left_kb)
        done = inside.night(THIRD)
        (seen / "filler").unlink()
        check_whole(outside, two_nights, third_night)
        if done.code == 0:
            break
        assert done.code == 1, done.err
        assert "disk" in done.complaint, done.complaint
        assert "full" in done.complaint, done.complaint
        told.append(done.complaint)
        reached |= set(re.findall(r"^  (\w+) ", done.err, re.M))
    assert len(told) >= 4, told
    assert {"land", "clean"} <= reached, told
    assert inside.night(THIRD).code == 0
    check_finished(outside, third_night)


def test_less_free_space_than_configured_stops_a_night_before_it_writes(market: Any, tmp_path: Path) -> None:
    (tmp_path / "conf" / "shops").mkdir(parents=True)
    for path in (market.conf / "shops").iterdir():
        (tmp_path / "conf" / "shops" / path.name).write_text(path.read_text())
    (tmp_path / "conf" / "local.yaml").write_text("min_free_disk_mb: 1000000000\n")
    market.conf = tmp_path / "conf"
    done = market.night(FIRST)
    assert done.code == 1
    assert (
        "1000000000 MB needed (min_free_disk_mb in conf/local.yaml); free some space or set NIGHTMARKET_ROOT"
        in done.complaint
    )
    assert market.published() == {}


# -- bad data -------------------------------------------------------------------------------------------------------------


def test_a_failing_audit_publishes_nothing_exits_3_and_names_table_rule_rows_and_page(
    finished: Any, tmp_path: Path
) -> None:
    market = finished.copy(tmp_path / "root")
    suites = tmp_path / "great_expectations"
    (suites / "expectations").mkdir(parents=True)
    source = Path(__file__).resolve().parents[2] / "great_expectations"
    for path in (*source.glob("*.yml"), *(source / "expectations").glob("*.json")):
        (suites / path.relative_to(source)).write_text(path.read_text())
    suite = json.loads((suites / "expectations" / "campaign_plan.json").read_text())
    suite["expectations"].append(
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "cost_cents", "min_value": 0, "max_value": 0},
        }
    )
    (suites / "expectations" / "campaign_plan.json").write_text(json.dumps(suite))
    setup = (
        "import pathlib, pipelines.suites as s; s.load_suite.cache_clear(); "
        f"s.load_suite.__wrapped__.__defaults__ = (pathlib.Path({str(suites)!r}),)"
    )

    done = market.night(THIRD, "--force", setup=setup)
    assert done.code == 3, done.err
    assert "campaign_plan of 2026-03-03 broke cost_cents: values_to_be_between(" in done.complaint
    rows = re.search(r"failing rows: (\S+\.csv);", done.complaint)
    page = re.search(r"page: (\S+\.html)", done.complaint)
    assert rows
    assert page
    assert len(Path(rows[1]).read_text().splitlines()) > 1
    assert "cost_cents" in Path(page[1]).read_text()
    assert "nothing was published" in done.complaint
    check_finished(market, finished)


def test_counts_that_do_not_add_up_stop_the_night_and_publish_nothing(finished: Any, tmp_path: Path) -> None:
    market = finished.copy(tmp_path / "root")
    setup = """
import pipelines.clean as clean
real = clean.launch
def lose_a_line(*args, **named):
    made = real(*args, **named)
    made["arrivals"]["2026-03-03"]["quarantined"] -= 1
    return made
clean.launch = lose_a_line
"""
    done = market.night(THIRD, "--force", setup=setup)
    assert done.code == 1
    assert re.search(r"arrival 2026-03-03: \d+ lines landed, but .* = \d+; nothing was published", done.complaint)
    check_finished(market, finished)
