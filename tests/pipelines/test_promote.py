import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines import cli
from pipelines import promote as module
from pipelines import train as training
from pipelines.core.config import PROJECT
from pipelines.core.errors import NoDataError, RegistryError, WrongUseError
from pipelines.core.registry import CHAMPION, Registry, Version
from pipelines.promote import Verdict, next_night, promote, rollback
from pipelines.report_policies import policies
from pipelines.stage import Context
from pipelines.train import registry_of, train
from tests import fake_task
from tests.fake_task import NIGHTS, context, environment, fill, make_root

TASK, LAST, NEXT = "value", NIGHTS[-1], NIGHTS[-1] + timedelta(days=1)


@pytest.fixture(autouse=True)
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the jobs that were started; they run in this process."""
    started: list[str] = []

    def launch(name: str, *args: Any) -> dict[str, Any]:
        started.append(name)
        return fake_task.launch(name, *args)

    for one in (module, training):
        monkeypatch.setattr(one, "launch", launch)
    fake_task.install()
    return started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def contest(root: Path, quality: float, night: date = LAST, **models: Any) -> Verdict:
    """A challenger this good is trained and judged."""
    made = train(TASK, night, context(root, quality, **models))
    return promote(TASK, night, context(root, quality, **models), made["version"])


def champion(root: Path) -> Version | None:
    return registry_of(context(root)).aliased(TASK, CHAMPION)


def failed(verdict: Verdict) -> list[str]:
    """Names of the checks that failed."""
    return [reason.split()[1].rstrip(":") for reason in verdict.reasons if reason.startswith("FAIL")]


def test_without_a_champion_the_baseline_is_the_first_and_has_to_be_beaten(root: Path) -> None:
    verdict = contest(root, quality=1)
    assert (verdict.verdict, verdict.version, verdict.champion) == ("promoted", "2", "2")
    found = champion(root)
    assert found
    assert (found.version, found.previous_champion) == ("2", "1")
    assert found.night("promoted_night") == LAST


@pytest.mark.parametrize(
    ("quality", "verdict", "checks", "told"),
    [
        (-1, "kept", ["metric", "segments", "calibration"], "log_loss worse"),
        (1.0, "kept", ["metric"], "log_loss tie: challenger minus champion 0 [0, 0]"),
        (0.98, "kept", ["metric"], "log_loss tie"),
        (1.0, "promoted", [], "log_loss better"),
    ],
)
def test_only_a_better_model_is_promoted(
    root: Path, quality: float, verdict: str, checks: list[str], told: str
) -> None:
    before = 0.6 if verdict == "promoted" else 1
    first = contest(root, before)
    assert first.champion == "2"
    found = contest(root, quality, settings={"note": "another training"})
    assert (found.verdict, sorted(failed(found))) == (verdict, sorted(checks))
    assert any(told in reason for reason in found.reasons), found.reasons
    after = champion(root)
    assert after
    assert after.version == found.champion == (found.version if verdict == "promoted" else first.champion)


def test_the_verdict_and_each_reason_stand_in_tags_and_in_the_card(root: Path) -> None:
    verdict = contest(root, quality=1)
    version = registry_of(context(root)).get(TASK, verdict.version)
    assert version.tags["verdict"] == "promoted"
    assert version.tags["judged_against"] == "1"
    assert version.tags["reasons"].splitlines() == list(verdict.reasons)
    for check in ("metric", "calibration", "segments", "latency", "size", "age", "audit"):
        assert version.tags[f"check_{check}"].startswith("pass: ")
    for text in ("judged nights 2026-03-06 to 2026-03-07", "minus champion", "sleepers", "## Limits", "**promoted**"):
        assert text in version.description
    assert len(version.description) <= 5_000


def test_a_rerun_of_the_night_repeats_what_was_decided_and_judges_nothing(root: Path, jobs: list[str]) -> None:
    verdicts = [contest(root, quality=1), contest(root, quality=-1)]
    started = len(jobs)
    assert contest(root, quality=1).as_dict() == verdicts[0].as_dict()
    assert contest(root, quality=-1).as_dict() == verdicts[1].as_dict()
    assert len(jobs) == started


@pytest.mark.parametrize(
    ("limits", "check"),
    [
        ({"max_seconds_per_row": 1e-12}, "latency"),
        ({"max_model_mb": 1e-6}, "size"),
        ({"max_data_age_nights": 1}, "age"),
    ],
)
def test_a_model_that_is_too_slow_too_large_or_too_old_is_refused(
    root: Path, limits: dict[str, float], check: str
) -> None:
    verdict = contest(root, 1, **limits)
    assert (verdict.verdict, failed(verdict)) == ("kept", [check])


@pytest.mark.parametrize(
    ("low", "verdict", "told"), [(7.0, "promoted", "at least 7.00"), (1.0, "kept", "clearly below")]
)
def test_a_policy_that_earns_clearly_less_by_the_logs_is_not_promoted(
    root: Path, monkeypatch: pytest.MonkeyPatch, low: float, verdict: str, told: str
) -> None:
    def compare_policies(*args: Any) -> dict[str, Any]:
        new, old = ({"value": value + 2, "low": value, "high": value + 4} for value in (low, 8.0))
        gap = {"value": low - 8, "low": low - 11, "high": low - 5}  # noise 3: from 5 on the bounds agree
        return {
            "rows": 900,
            "disagree": 0.5,
            "effective_rows": 80.0,
            "challenger": new,
            "champion": old,
            "difference": gap,
        }

    monkeypatch.setattr(fake_task.FakeTask, "compare_policies", compare_policies, raising=False)
    found = contest(root, quality=1)
    assert found.verdict == verdict
    assert failed(found) == ([] if verdict == "promoted" else ["off_policy"])
    assert any("off_policy: " in reason and told in reason for reason in found.reasons)
    assert registry_of(context(root)).get(TASK, found.version).tags["check_off_policy"]
    kept = policies(LAST, context(root).store)
    assert (kept["verdict"], kept["rows"], kept["first"], kept["last"]) == (verdict, 900, "2026-03-06", "2026-03-07")
    assert [(row["name"], row["low"]) for row in kept["policies"]] == [
        ("the challenger, fake-value version 2", low),
        ("who served, fake-value version 1", 8.0),
    ]


def test_a_model_learnt_from_data_that_failed_its_audit_is_refused(root: Path) -> None:
    fill(context(root).store, NIGHTS[:1], audit=False)
    verdict = contest(root, 1)
    assert failed(verdict) == ["audit"]
    assert any("events/2026-03-02" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("who", ["challenger", "champion"])
def test_who_has_seen_the_judged_nights_is_refused(root: Path, who: str, jobs: list[str]) -> None:
    train(TASK, LAST, context(root))
    registry = registry_of(context(root))
    seen = registry.get(TASK, "2" if who == "challenger" else "1")
    registry.tell(seen, {"data_last": NIGHTS[-2].isoformat()})
    verdict = promote(TASK, LAST, context(root))
    assert (verdict.verdict, failed(verdict), verdict.champion) == ("kept", ["overlap"], "1")
    assert any(
        f"{who} fake-value version {seen.version} learnt from data up to" in reason for reason in verdict.reasons
    )
    assert "training.judge" not in jobs


def test_an_earlier_night_s_model_cannot_follow_a_later_night_s(root: Path) -> None:
    contest(root, 1)
    verdict = contest(root, 1, NIGHTS[-2])
    assert "order" in failed(verdict)
    assert verdict.champion == "2"


def review(root: Path, version: str, **tags: str) -> None:
    """What a person does in MLflow's page."""
    registry = registry_of(context(root))
    registry.tell(registry.get(TASK, version), tags)


def test_a_model_that_needs_a_review_waits_until_a_person_has_approved_it(root: Path) -> None:
    verdict = contest(root, 1, needs_review=("value",))
    assert (verdict.verdict, verdict.champion, failed(verdict)) == ("waiting", "1", ["waiting"])
    assert registry_of(context(root)).get(TASK, "2").tags["needs_review"] == "true"
    assert promote(TASK, NEXT, context(root, 1, needs_review=("value",))).verdict == "waiting"
    review(root, "2", review="approved", review_note="looks right")
    verdict = promote(TASK, NEXT, context(root, 1, needs_review=("value",)))
    assert (verdict.verdict, verdict.champion) == ("promoted", "2")
    assert any("approved: looks right" in reason for reason in verdict.reasons)
    registry = registry_of(context(root))
    assert [found.version for night in (LAST, NEXT) if (found := registry.champion(TASK, night))] == ["1", "2"]


def test_a_model_that_a_person_rejected_is_refused_with_the_note(root: Path) -> None:
    contest(root, 1, needs_review=("value",))
    review(root, "2", review="rejected", review_note="unfair to sleepers")
    verdict = promote(TASK, NEXT, context(root, 1, needs_review=("value",)))
    assert (verdict.verdict, verdict.champion, failed(verdict)) == ("kept", "1", ["review"])
    assert any("rejected: unfair to sleepers" in reason for reason in verdict.reasons)


def test_a_worse_model_needs_no_person_to_be_refused(root: Path) -> None:
    verdict = contest(root, -1, needs_review=("value",))
    assert verdict.verdict == "kept"
    assert "waiting" not in failed(verdict)


@pytest.mark.parametrize("who", ["1", "2"])
def test_a_tampered_model_is_neither_judged_nor_promoted(root: Path, who: str) -> None:
    train(TASK, LAST, context(root))
    registry = registry_of(context(root))
    weights = registry.fetch(registry.get(TASK, who)) / "more" / "weights.txt"
    weights.write_text("9 9 9")
    with pytest.raises(RegistryError, match=f"fake-value version {who}: .*SHA-256 differs"):
        promote(TASK, LAST, context(root))
    found = champion(root)
    assert found
    assert found.version == "1"


def test_rollback_restores_the_champion_before_and_the_other_does_not_come_back(root: Path) -> None:
    contest(root, 1)
    assert rollback(TASK, context(root)) == {"name": "fake-value", "champion": "1", "rolled_back": "2"}
    found = champion(root)
    assert found
    assert found.version == "1"
    verdict = contest(root, 1)
    assert (verdict.verdict, verdict.champion, failed(verdict)) == ("kept", "1", ["rollback"])
    with pytest.raises(RegistryError, match="version 1 has no champion before it to roll back to"):
        rollback(TASK, context(root))


def test_a_champion_that_changed_while_it_was_compared_keeps_its_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest(root, 0.6)
    train(TASK, LAST, context(root, 1))
    judge = module._judge

    def judge_while_a_person_rolls_back(*args: Any) -> dict[str, Any]:
        found = judge(*args)
        rollback(TASK, context(root))
        return found

    monkeypatch.setattr(module, "_judge", judge_while_a_person_rolls_back)
    with pytest.raises(
        RegistryError, match="compared with fake-value version 2, but the champion is fake-value version 1"
    ):
        promote(TASK, LAST, context(root, 1))
    found = champion(root)
    assert found
    assert found.version == "1"


def test_a_better_challenger_that_prefers_a_group_of_customers_is_kept_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(TASK, LAST, context(root))
    judge = module._judge
    unfair = {"fairness": {"check": "fairness", "passed": False, "text": "prefers by price_band"}}
    monkeypatch.setattr(module, "_judge", lambda *args: judge(*args) | unfair)
    verdict = promote(TASK, LAST, context(root))
    assert verdict.verdict == "kept"
    assert failed(verdict) == ["fairness"]


def test_a_promotion_that_comes_second_tells_what_the_first_decided(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(TASK, LAST, context(root))
    judge, first = module._judge, []

    def judge_slowly(*args: Any) -> dict[str, Any]:
        found = judge(*args)
        monkeypatch.setattr(module, "_judge", judge)
        first.append(promote(TASK, LAST, context(root)))
        return found

    monkeypatch.setattr(module, "_judge", judge_slowly)
    second = promote(TASK, LAST, context(root))
    assert second.as_dict()["champion"] == first[0].champion == "2"
    assert second.verdict == first[0].verdict == "promoted"


PROMOTE = """
import sys
from pathlib import Path
from pipelines import promote
from tests import fake_task
promote.launch = fake_task.launch
print(promote.promote("value", fake_task.NIGHTS[-1], fake_task.context(Path(sys.argv[1]))).as_dict())
"""


@pytest.mark.slow
def test_two_processes_that_promote_at_once_agree_on_one_champion(root: Path, tmp_path: Path) -> None:
    train(TASK, LAST, context(root))
    env = environment(tmp_path / "python")
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE, str(root)], cwd=PROJECT, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    for out, _ in told:
        assert "'verdict': 'promoted'" in out
        assert "'champion': '2'" in out
    found = champion(root)
    assert found
    assert (found.version, found.previous_champion) == ("2", "1")


@pytest.mark.parametrize("ask", [lambda c: promote(TASK, LAST, c), lambda c: rollback(TASK, c)])
def test_a_registry_that_is_down_is_one_line(root: Path, ask: Callable[[Context], Any]) -> None:
    with pytest.raises(RegistryError, match="does not answer") as told:
        ask(context(root, uri="http://127.0.0.1:9"))
    assert "\n" not in str(told.value)


def test_what_cannot_be_promoted_is_told(tmp_path: Path, root: Path) -> None:
    with pytest.raises(RegistryError, match="fake-value has no challenger: `nightmarket train value --shop fake`"):
        promote(TASK, LAST, context(root))
    with pytest.raises(WrongUseError, match="unknown task 'magic'"):
        promote("magic", LAST, context(root))
    with pytest.raises(NoDataError, match="no night yet"):
        next_night(context(tmp_path / "empty"))
    assert next_night(context(root)) == NEXT


def test_a_champion_lost_from_the_registry_is_refound_as_the_baseline(root: Path) -> None:
    contest(root, 1)
    registry: Registry = registry_of(context(root))
    registry.client.delete_registered_model_alias("fake-value", CHAMPION)
    assert registry.champion(TASK, LAST) is None
    assert promote(TASK, LAST, context(root), "2").champion == "2"


@pytest.fixture
def run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line of shop `fake`."""
    (tmp_path / "conf" / "shops").mkdir(parents=True)
    (tmp_path / "conf" / "shops" / "fake.yaml").write_text(
        "shop: fake\nlanding: {events: {connector: jsonl, pattern: '{night}.jsonl'}}\nmodels: {tasks: [value]}\n"
    )
    (tmp_path / "conf" / "local.yaml").write_text("min_free_disk_mb: 0\n")
    monkeypatch.setenv("NIGHTMARKET_CONF", str(tmp_path / "conf"))
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(root))
    return lambda *args: CliRunner().invoke(cli.app, [*args, "--shop", "fake"], catch_exceptions=False)


def test_the_commands_train_promote_and_roll_back(run: Callable[..., Result]) -> None:
    done = run("train", "value")
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [
            "fake-value version 2 (fake) registered as challenger",
            "judge it: nightmarket promote value --shop fake --version 2",
        ],
    )
    assert "nothing has changed" in run("train", "value", "--date", LAST.isoformat()).stdout
    done = run("promote", "value")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "fake-value version 2: promoted; the champion is version 2"
    assert "pass metric: log_loss better" in done.stdout
    done = run("rollback", "value", "--json")
    assert json.loads(done.stdout) == {"name": "fake-value", "champion": "1", "rolled_back": "2"}
    done = run("promote", "value", "--version", "2", "--json")
    assert done.exit_code == 0  # a refusal is no failure
    told = json.loads(done.stdout)
    assert (told["verdict"], told["night"], told["champion"]) == ("kept", NEXT.isoformat(), "1")


def test_the_commands_fail_in_one_line(run: Callable[..., Result]) -> None:
    with pytest.raises(RegistryError, match="has no challenger"):
        run("promote", "value")
    with pytest.raises(WrongUseError, match="unknown task"):
        run("train", "magic")
    with pytest.raises(WrongUseError, match="no date"):
        run("train", "value", "--date", "yesterday")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("train", ["register it as challenger", "--date", "--json"]),
        ("promote", ["A tie keeps the champion", "exit code is 0", "--version"]),
        ("rollback", ["champion before", "--shop"]),
    ],
)
def test_help_teaches(command: str, told: list[str]) -> None:
    done = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"})
    text = " ".join(done.stdout.replace("│", " ").split())
    assert all(one in text for one in told), text
