from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time import task_runner

from pipelines.core.registry import Registry
from pipelines.promote import Verdict, promote
from pipelines.schedule.review import ReviewOperator
from pipelines.train import registry_of, train
from tests import fake_task
from tests.fake_task import NIGHTS, context, make_root

TASK, VERSION = "value", "2"
TIMEOUT = {"error": "The Human-in-the-loop response timeout has passed without a response.", "error_type": "timeout"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose challenger, version 2, waits for a person."""
    root = make_root(tmp_path_factory.mktemp("review") / "root")
    fake_task.install()
    with pytest.MonkeyPatch.context() as patched:
        for module in ("pipelines.promote", "pipelines.train"):
            patched.setattr(f"{module}.launch", fake_task.launch)
        assert decide(root, train_first=True).verdict == "waiting"
    return root


def decide(root: Path, *, train_first: bool = False) -> Verdict:
    here = context(root, needs_review=("value",))
    version = train(TASK, NIGHTS[-1], here)["version"] if train_first else VERSION
    return promote(TASK, NIGHTS[-1], here, version)


@pytest.fixture
def registry(template: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """That of the store, where nobody has said anything yet."""
    made = registry_of(context(template))
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(template))
    version = made.get(TASK, VERSION)
    for tag in ("review", "review_note"):
        if tag in version.tags:
            made.client.delete_model_version_tag(version.name, version.version, tag)
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Airflow was told to show to people."""
    told: list[Any] = []
    monkeypatch.setattr(
        task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=lambda msg: told.append(msg)), raising=False
    )
    return told


def operator() -> ReviewOperator:
    return ReviewOperator(
        task_id="review_value", task=TASK, shop="fake", judged_by="judge_value", look_again=timedelta(seconds=7)
    )


def airflow(verdict: str = "waiting") -> dict[str, Any]:
    """Where the task `judge_value` has found this."""
    judged = {"name": "fake-value", "version": VERSION, "verdict": verdict, "champion": "1", "reasons": ["a", "b"]}
    instance = SimpleNamespace(id=UUID(int=7), xcom_pull=lambda task_ids: {"judge_value": judged}[task_ids])
    return {"ti": instance, "task_instance": instance}


def answer(option: str, who: dict[str, str] | None) -> dict[str, Any]:
    """What Airflow wakes the task with when somebody has answered."""
    return {
        "chosen_options": [option],
        "params_input": {},
        "responded_at": datetime(2026, 3, 9, tzinfo=UTC),
        "responded_by_user": who,
        "timedout": False,
    }


def say(registry: Registry, review: str) -> None:
    """What a person does in MLflow's page."""
    registry.tell(registry.get(TASK, VERSION), {"review": review})


@pytest.mark.parametrize("verdict", ["promoted", "kept"])
def test_where_nothing_waits_for_a_person_the_review_is_skipped(verdict: str, asked: list[Any]) -> None:
    with pytest.raises(AirflowSkipException, match=f"fake-value version 2 waits for nobody: {verdict}"):
        operator().execute(airflow(verdict))
    assert not asked


def test_a_waiting_challenger_is_shown_to_people_and_the_task_sleeps(registry: Registry, asked: list[Any]) -> None:
    with pytest.raises(TaskAwaitingInput) as sleeping:
        operator().execute(airflow())
    assert (sleeping.value.method_name, sleeping.value.timeout) == ("execute_complete", timedelta(seconds=7))
    assert [(told.subject, told.options) for told in asked] == [
        ("Shall the new value model of fake become champion?", ["Approve", "Reject"])
    ]


def test_what_people_read_names_the_version_and_every_reason() -> None:
    task = operator()
    task.render_template_fields(airflow())
    assert task.body is not None
    assert task.body.startswith("fake-value version 2 passed every check:\n\n- a\n- b\n")


@pytest.mark.parametrize("review", ["approved", "rejected"])
def test_a_tag_that_was_set_first_asks_nobody(review: str, registry: Registry, asked: list[Any]) -> None:
    say(registry, review)
    assert operator().execute(airflow()) == {"version": VERSION, "review": review, "by": "MLflow"}
    assert not asked


def test_a_tag_that_says_something_else_decides_nothing(registry: Registry, asked: list[Any]) -> None:
    say(registry, "looks good")
    with pytest.raises(TaskAwaitingInput):
        operator().execute(airflow())


@pytest.mark.parametrize(("option", "review"), [("Approve", "approved"), ("Reject", "rejected")])
def test_an_answer_in_airflow_becomes_the_tag_with_who_gave_it(
    option: str, review: str, registry: Registry, asked: list[Any]
) -> None:
    found = operator().execute_complete(airflow(), answer(option, {"id": "1", "name": "admin"}))
    assert found == {"version": VERSION, "review": review, "by": "admin"}
    tags = registry.get(TASK, VERSION).tags
    assert (tags["review"], tags["review_note"]) == (review, f"{review} in Airflow by admin")


def test_an_answer_by_nobody_known_says_so(registry: Registry) -> None:
    assert operator().execute_complete(airflow(), answer("Reject", None))["by"] == "unknown"
    assert registry.get(TASK, VERSION).tags["review_note"] == "rejected in Airflow by unknown"


def test_an_answer_that_is_no_option_decides_nothing(registry: Registry) -> None:
    with pytest.raises(ValueError, match="Maybe"):
        operator().execute_complete(airflow(), answer("Maybe", None))
    assert "review" not in registry.get(TASK, VERSION).tags


def test_when_nobody_has_answered_yet_the_task_goes_on_waiting(registry: Registry, asked: list[Any]) -> None:
    with pytest.raises(TaskAwaitingInput):
        operator().execute_complete(airflow(), TIMEOUT)
    assert len(asked) == 1
    assert "review" not in registry.get(TASK, VERSION).tags


def test_when_nobody_has_answered_but_the_tag_was_set_meanwhile_the_tag_counts(
    registry: Registry, asked: list[Any]
) -> None:
    say(registry, "approved")
    assert operator().execute_complete(airflow(), TIMEOUT) == {"version": VERSION, "review": "approved", "by": "MLflow"}
    assert not asked


def test_the_answer_moves_the_champion_and_without_one_it_stays(
    registry: Registry, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of the file: nothing waits afterwards."""
    for module in ("pipelines.promote", "pipelines.train"):
        monkeypatch.setattr(f"{module}.launch", fake_task.launch)
    assert decide(template).verdict == "waiting"
    operator().execute_complete(airflow(), answer("Approve", {"id": "1", "name": "admin"}))
    verdict = decide(template)
    assert (verdict.verdict, verdict.champion) == ("promoted", VERSION)
    champion = registry.champion(TASK, date(2026, 3, 31))
    assert champion
    assert champion.version == VERSION
