import ast
import importlib
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.utils.types import DagRunType

from pipelines import drift, night, promote, readout, train
from pipelines.core.config import PROJECT, load_shop
from pipelines.core.errors import AuditError, ConfigError, JobError, NightmarketError, StorageError, WrongUseError
from pipelines.core.shop import Shop
from pipelines.drift import Drift
from pipelines.schedule import work

OTHER_IMPORTS = [
    (node.module, name.name)
    for node in ast.walk(ast.parse(Path(work.__file__).read_text()))
    if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pipelines")
    for name in node.names
]


def airflow(named: str | None = None, start: datetime | None = None, run_type: Any = DagRunType.BACKFILL_JOB) -> Any:
    """What a task is told about its run."""
    run = SimpleNamespace(
        run_id="backfill__2026-03-02T01:00:00+00:00",
        run_type=run_type,
        data_interval_start=start,
        run_after=datetime(2026, 5, 1, 22, 30, tzinfo=UTC),
    )
    return {"params": {"night": named}, "dag_run": run, "ti": SimpleNamespace(log_url="http://127.0.0.1:8080/log")}


def shop_in(zone: str, conf: Path) -> Shop:
    return load_shop("tiny", conf / "shops").model_copy(update={"timezone": zone})


@pytest.fixture
def told(tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A task of a backfill's night 2026-03-02 of shop `tiny`, whose store is empty."""
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("NIGHTMARKET_CONF", str(conf))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://127.0.0.1:8080/")
    context = airflow(start=datetime(2026, 3, 2, 1, tzinfo=UTC))
    monkeypatch.setattr(work, "get_current_context", lambda: context)
    return context


def fail(error: Exception) -> Callable[..., Any]:
    def failing(*args: Any, **options: Any) -> Any:
        raise error

    return failing


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        ("UTC", "2026-03-02T02:00", date(2026, 3, 2)),
        ("Pacific/Kiritimati", "2026-03-01T12:00", date(2026, 3, 2)),  # 14 hours before UTC
        ("Pacific/Pago_Pago", "2026-03-02T13:00", date(2026, 3, 2)),  # 11 hours after it
        ("Asia/Kolkata", "2026-03-01T20:30", date(2026, 3, 2)),
        ("Europe/Amsterdam", "2026-03-28T01:00", date(2026, 3, 28)),
        ("Europe/Amsterdam", "2026-03-29T01:00", date(2026, 3, 29)),  # the day without 02:00
        ("Europe/Amsterdam", "2026-03-30T00:00", date(2026, 3, 30)),
        ("Europe/Amsterdam", "2026-10-25T00:00", date(2026, 10, 25)),  # the day with 02:00 twice
        ("America/Santiago", "2026-09-06T05:00", date(2026, 9, 6)),  # a day without midnight
    ],
)
def test_the_night_of_a_backfill_or_schedule_is_the_local_day_on_which_its_interval_begins(
    zone: str, start: str, expected: date, conf: Path
) -> None:
    for run_type in (DagRunType.BACKFILL_JOB, DagRunType.SCHEDULED, "scheduled"):
        at = datetime.fromisoformat(start).replace(tzinfo=UTC)
        assert work.night_of(airflow(start=at, run_type=run_type), shop_in(zone, conf)) == expected


def test_the_night_named_by_hand_goes_before_that_of_the_run(conf: Path) -> None:
    at = datetime(2026, 3, 2, 1, tzinfo=UTC)
    for run_type in DagRunType:
        assert work.night_of(airflow("2026-03-01", at, run_type), shop_in("UTC", conf)) == date(2026, 3, 1)


@pytest.mark.parametrize("run_type", [DagRunType.MANUAL, "manual"])
def test_a_run_by_hand_that_names_no_night_takes_the_shop_s_newest(run_type: Any, conf: Path) -> None:
    at = datetime(2026, 11, 23, 1, tzinfo=UTC)
    for start in (None, at):
        assert work.night_of(airflow(start=start, run_type=run_type), shop_in("UTC", conf)) == date(2026, 3, 3)


def test_a_run_without_an_interval_takes_the_shop_s_newest_night_too(conf: Path) -> None:
    assert work.night_of(airflow(run_type=DagRunType.ASSET_TRIGGERED), shop_in("UTC", conf)) == date(2026, 3, 3)


@pytest.mark.parametrize(("zone", "expected"), [("UTC", date(2026, 4, 30)), ("Europe/Amsterdam", date(2026, 5, 1))])
def test_all_tasks_of_a_run_by_hand_work_on_one_night_though_midnight_passes_or_the_clock_jumps(
    zone: str, expected: date, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live shop's newest night is the day before the run was started, in the shop's zone."""
    live = shop_in(zone, conf).model_copy(update={"simulator": None})
    for clock in ("2026-05-01T23:59", "2026-05-02T00:01", "1970-01-01T00:00", "2031-05-01T00:00"):
        jumped = datetime.fromisoformat(clock).replace(tzinfo=UTC)
        monkeypatch.setattr(night, "datetime", SimpleNamespace(now=jumped.astimezone))
        assert night.default_night(live) == jumped.astimezone(live.zone).date() - timedelta(days=1)
        assert work.night_of(airflow(run_type=DagRunType.MANUAL), live) == expected


def test_a_night_that_is_no_date_is_refused(conf: Path) -> None:
    with pytest.raises(WrongUseError, match="'2026-02-30' is no date: expected YYYY-MM-DD"):
        work.night_of(airflow("2026-02-30"), shop_in("UTC", conf))


def test_a_stage_runs_its_night_under_the_run_s_id_with_a_link_to_its_log(
    told: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run_task(stage: str, when: date, context: Any, run_id: str, links: dict[str, str]) -> dict[str, Any]:
        assert (stage, when, context.shop.shop) == ("clean", date(2026, 3, 2), "tiny")
        assert run_id == "airflow-backfill__2026-03-02T01-00-00-00-00"
        assert links == {"log of clean": "http://127.0.0.1:8080/log"}
        return {"seconds": 1.5, "made": 2, "idle": "", "counts": {"clean": 3}, "tables": {}, "audits": {}}

    monkeypatch.setattr(night, "run_task", run_task)
    with caplog.at_level(logging.INFO):
        assert work.run_stage("clean", "tiny") == {"seconds": 1.5, "made": 2, "idle": ""}
    page = "http://127.0.0.1:8080/nightmarket/tiny/runs/airflow-backfill__2026-03-02T01-00-00-00-00"
    assert f"night 2026-03-02, stage clean; the night's page: {page}" in caplog.messages


def test_a_failed_audit_is_not_tried_again_and_its_pages_stand_in_the_log(
    told: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(night, "run_task", fail(AuditError("events/2026-03-02: 2 of 9 expectations failed")))
    with pytest.raises(AirflowFailException, match=r"^events/2026-03-02: 2 of 9 expectations failed$"):
        work.run_stage("clean", "tiny")
    pages = "http://127.0.0.1:8080/nightmarket/tiny/audits/2026-03-02/"
    assert caplog.messages[-1] == f"what broke, page by page: {pages}"


@pytest.mark.parametrize(
    "error", [WrongUseError("wrong use"), ConfigError("wrong configuration"), AuditError("broken")]
)
def test_what_trying_again_cannot_mend_fails_at_once_with_the_same_line(
    error: NightmarketError, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night, "open_context", fail(error))
    for task in (
        lambda: work.run_stage("land", "tiny"),
        lambda: work.watch_drift("tiny"),
        lambda: work.train("effect", "tiny"),
        lambda: work.judge("effect", "tiny"),
        lambda: work.read_out("tiny"),
        lambda: work.replay_quarantine("tiny"),
    ):
        with pytest.raises(AirflowFailException, match=f"^{error}$"):
            task()


@pytest.mark.parametrize(
    "error", [StorageError("the disk is full"), JobError("spark_jobs.clean was killed by signal 9")]
)
def test_what_may_mend_is_told_in_one_line_and_raised_for_a_retry(
    error: NightmarketError, told: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(night, "run_task", fail(error))
    with pytest.raises(type(error), match=f"^{error}$"):
        work.run_stage("clean", "tiny")
    assert caplog.messages[-1] == str(error)


def test_an_unknown_shop_fails_at_once_with_the_shops_that_there_are(told: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"unknown shop 'nowhere': .*; known shops: tiny; add that file"):
        work.read_out("nowhere")


def test_a_readout_without_a_report_says_what_to_run_first(told: Any) -> None:
    with pytest.raises(
        NightmarketError, match="shop tiny: no night has a report yet; run nightly_marketing_tiny first"
    ):
        work.read_out("tiny")


def test_a_readout_is_of_the_newest_report(told: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("2026-03-01", "2026-03-02"):
        folder = tmp_path / "root" / "tiny" / "reports" / "nightly_report" / f"night={name}"
        folder.mkdir(parents=True)
        (folder / "_manifest.json").write_text("{}")
    monkeypatch.setattr(readout, "readout", lambda when, context: {"night": when})
    assert work.read_out("tiny") == {"night": date(2026, 3, 2)}


def test_a_night_like_those_before_is_skipped_so_that_no_training_starts(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "measure", lambda when, store: Drift(0.1, 0.2, f"night {when}: as usual"))
    with pytest.raises(AirflowSkipException, match="night 2026-03-02: as usual"):
        work.watch_drift("tiny")
    monkeypatch.setattr(drift, "measure", lambda when, store: Drift(0.3, 0.2, "drifted"))
    assert work.watch_drift("tiny") == {"distance": 0.3, "limit": 0.2}


def test_a_model_learnt_from_the_same_data_is_skipped_so_that_nothing_is_judged(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"name": "tiny-effect", "version": "3", "kind": "lightgbm", "made": True}
    monkeypatch.setattr(train, "newest_night", lambda task, context: date(2026, 3, 2))
    monkeypatch.setattr(train, "make_features", lambda task, when, context: None)
    monkeypatch.setattr(train, "train", lambda task, when, context: made)
    assert work.train("effect", "tiny") == made
    made["made"] = False
    with pytest.raises(AirflowSkipException, match="tiny-effect version 3 was learnt from the same data already"):
        work.train("effect", "tiny")


def test_a_verdict_and_its_reasons_stand_in_the_log(
    told: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = promote.Verdict("tiny-effect", "3", "kept", "2", ("FAIL metric: a tie",))
    monkeypatch.setattr(promote, "next_night", lambda context: date(2026, 3, 3))
    monkeypatch.setattr(promote, "promote", lambda task, when, context: verdict)
    with caplog.at_level(logging.INFO):
        assert work.judge("effect", "tiny") == verdict.as_dict()
    assert caplog.messages[-2:] == ["FAIL metric: a tie", "tiny-effect version 3: kept"]


@pytest.mark.parametrize("path", sorted((PROJECT / "dags").glob("*.py")), ids=lambda path: path.name)
def test_the_work_that_a_dag_calls_is_there(path: Path) -> None:
    called = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "work"
    }
    assert [name for name in called if not callable(getattr(work, name, None))] == []


@pytest.mark.parametrize(("module", "name"), OTHER_IMPORTS, ids=lambda part: part)
def test_what_a_task_imports_when_it_runs_is_there(module: str, name: str) -> None:
    found = importlib.import_module(module)
    if not hasattr(found, name):
        importlib.import_module(f"{module}.{name}")
