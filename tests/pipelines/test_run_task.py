"""A night whose stages run in processes of their own, as Airflow runs it, is the night of `nightmarket night`."""

import json
from typing import Any

import pytest

from pipelines.run_record import STAGES

FIRST, RUN_ID = "2026-03-01", "airflow-test"
OF_DAG = tuple(stage for stage in STAGES if stage != "learn")
# The command's night becomes one stage of it.
ONE_STAGE = """\
from pipelines import night
stage = {stage!r}
night.run = lambda when, context, **options: night.run_task(
    stage, when, context, "airflow-test", {{"log of " + stage: "http://log/" + stage}}
)
"""


def run_stage(market: Any, stage: str, setup: str = "", **options: Any) -> Any:
    return market.night(FIRST, "--json", setup=ONE_STAGE.format(stage=stage) + setup, **options)


def records(market: Any) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((market.folder / "runs").glob("*.json"))]


@pytest.fixture(scope="module")
def by_hand(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The first night by the command, from the landing folder that all share."""
    made = finished.sibling(tmp_path_factory.mktemp("hand") / "root")
    assert made.night(FIRST).code == 0
    return made


@pytest.fixture(scope="module")
def by_tasks(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same night, a process per stage."""
    made = finished.sibling(tmp_path_factory.mktemp("tasks") / "root")
    for stage in OF_DAG:
        done = run_stage(made, stage)
        assert done.code == 0, done.err
        assert {"seconds", "made", "idle"} <= set(done.json)
    return made


def test_it_publishes_the_same_bytes(by_hand: Any, by_tasks: Any) -> None:
    assert by_tasks.published() == by_hand.published()
    assert by_tasks.litter() == []


def test_it_has_one_record_with_all_stages_and_their_links(by_hand: Any, by_tasks: Any) -> None:
    (one,), (other,) = records(by_tasks), records(by_hand)
    assert (one["run_id"], one["error"], one["night"]) == (RUN_ID, None, FIRST)
    assert one["config"] == other["config"]
    assert set(one["stages"]) == set(OF_DAG)
    for stage in OF_DAG:
        told, expected = (record["stages"][stage] for record in (one, other))
        assert told | {"seconds": 0} == expected | {"seconds": 0}
    assert one["links"] == {f"log of {stage}": f"http://log/{stage}" for stage in OF_DAG}


def test_its_summary_is_that_of_the_command(by_hand: Any, by_tasks: Any) -> None:
    (one,), (other,) = records(by_tasks), records(by_hand)
    differ = {"run_id", "seconds", "models", "audits", "report"}
    assert {key: one["summary"][key] for key in one["summary"].keys() - differ} == {
        key: other["summary"][key] for key in other["summary"].keys() - differ
    }
    counts = ("tables", "expectations", "failed")
    assert [one["summary"]["audits"][key] for key in counts] == [other["summary"]["audits"][key] for key in counts]
    assert one["summary"]["seconds"] == pytest.approx(
        sum(stage["seconds"] for stage in one["stages"].values()), abs=0.01
    )


def test_the_pages_of_its_audits_show_those_of_all_stages(by_hand: Any, by_tasks: Any) -> None:
    def pages(market: Any) -> list[str]:
        folder = market.folder / "reports" / "audits" / FIRST
        assert (folder / "index.html").is_file()
        return sorted(path.parent.parent.name for path in (folder / "validations").rglob("*.html"))

    def kept(market: Any) -> list[str]:
        return sorted(path.name for path in (market.folder / "reports" / "audits" / FIRST / "results").iterdir())

    assert kept(by_tasks) == kept(by_hand) != []
    assert pages(by_tasks) == pages(by_hand) != []


def test_a_stage_that_is_run_again_makes_nothing_and_keeps_the_others(by_tasks: Any, tmp_path: Any) -> None:
    again = by_tasks.copy(tmp_path / "again")
    before = again.published()
    done = run_stage(again, "clean")
    assert (done.code, done.json["made"]) == (0, 0)
    assert again.published() == before
    (record,) = records(again)
    assert set(record["stages"]) == set(OF_DAG)


def test_a_stage_that_fails_is_told_in_the_record_until_it_is_run_again(
    by_tasks: Any, finished: Any, tmp_path: Any
) -> None:
    market = finished.sibling(tmp_path / "root")
    assert run_stage(market, "land").code == 0
    broken = (
        "from pipelines.core.errors import StorageError\n"
        "def fail(*args): raise StorageError('no room')\n"
        "night._WORK['clean'] = fail\n"
    )
    done = run_stage(market, "clean", broken)
    assert (done.code, done.complaint) == (1, "nightmarket: no room")
    (record,) = records(market)
    assert (record["error"], set(record["stages"])) == ("no room", {"land"})
    assert run_stage(market, "clean").code == 0
    (record,) = records(market)
    assert (record["error"], set(record["stages"])) == (None, {"land", "clean"})


def test_a_stage_before_its_turn_says_what_is_missing(finished: Any, tmp_path: Any) -> None:
    done = run_stage(finished.sibling(tmp_path / "root"), "plan")
    assert done.code == 1
    assert FIRST in done.complaint


def test_a_task_that_is_killed_in_the_middle_is_run_again_to_the_same_bytes(
    by_hand: Any, finished: Any, tmp_path: Any
) -> None:
    market = finished.sibling(tmp_path / "root")
    for stage in OF_DAG:
        if stage in ("clean", "plan"):
            assert run_stage(market, stage, kill=10).code == -9
        done = run_stage(market, stage)
        assert done.code == 0, done.err
    assert market.published() == by_hand.published()
    assert market.litter() == []
