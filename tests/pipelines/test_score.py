"""A night that learns: trained, judged, scored, planned by the champion; and what it does when a part of that is missing."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import learn, plan, score
from pipelines import night as nights
from pipelines.core.config import load_shop
from pipelines.core.errors import JobError
from pipelines.core.machine import Machine
from pipelines.core.shop import Models, Shop, Simulator
from pipelines.launch import java_version
from pipelines.stage import Context
from pipelines.strategy.candidates import candidates

pytestmark = pytest.mark.slow
LAST = date(2026, 3, 7)


def shop(explore_nights: int = 3, **models: Any) -> Shop:
    simulator = Simulator(
        customers=150, items=60, first_night=date(2026, 3, 1), history_nights=7, seed=7, history_campaign_percent=40
    )
    settings = Models(tasks=("effect",), judged_nights=1, valid_nights=1, **models)
    demo = load_shop("demo")
    # By lot something is sent whatever the model expects: with 150 customers it may rightly expect nothing of any message.
    strategy = demo.strategy.model_copy(update={"explore_nights": explore_nights, "explore_percent": 30})
    return demo.model_copy(update={"simulator": simulator, "models": settings, "strategy": strategy})


def context(root: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str] | None = None, **models: Any) -> Context:
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(root))
    note = (lambda text: None) if notes is None else notes.append
    return nights.open_context(shop(**models), Machine(threads=1, memory_gb=1, min_free_disk_mb=0), None, note=note)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A root with one night that has learnt, and its summary."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        root = tmp_path_factory.mktemp("learnt")
        yield root, nights.run(LAST, context(root, monkeypatch))


@pytest.fixture
def copied(learnt: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """That root, to be spoilt. Its registry is left behind: paths in it are absolute."""
    shutil.copytree(learnt[0], tmp_path / "root", ignore=shutil.ignore_patterns("mlflow"))
    return tmp_path / "root"


def rows(context: Context, table: str) -> list[dict[str, Any]]:
    files = context.store.files(table, [LAST])
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def test_the_night_trains_judges_and_says_which_model_serves(learnt: tuple[Path, dict[str, Any]]) -> None:
    told = learnt[1]["models"]["effect"]
    assert told["trained"]
    assert told["verdict"] in ("promoted", "kept")
    assert told["serves"] == f"demo-effect {told['champion']}"
    assert len(told["reasons"]) == 8


def test_every_customer_has_a_score_for_every_candidate_that_names_the_champion(
    learnt: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = context(learnt[0], monkeypatch)
    scored = rows(here, "strategy_scores")
    wanted = {candidate.strategy_id for candidate in candidates(here.shop.strategy)}
    by_customer: dict[str, set[str]] = {}
    for row in scored:
        by_customer.setdefault(row["user_key"], set()).add(row["strategy_id"])
    assert set(by_customer) == {row["user_key"] for row in rows(here, "user_profiles")}
    assert all(found == wanted for found in by_customer.values())
    champion = learnt[1]["models"]["effect"]["champion"]
    assert {(row["model_name"], row["model_version"]) for row in scored} == {("demo-effect", champion)}
    planned = rows(here, "campaign_plan")
    assert {row["model_version"] for row in planned if row["why"].startswith("exploit")} == {champion}


def test_every_message_of_the_plan_has_reasons_that_add_up_to_the_lift_of_its_score(
    learnt: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = context(learnt[0], monkeypatch)
    sent = {
        (row["user_key"], row["strategy_id"]) for row in rows(here, "campaign_plan") if row["strategy_id"] != "none"
    }
    lift = {(row["user_key"], row["strategy_id"]): row["lift_spend_cents"] for row in rows(here, "strategy_scores")}
    cents: dict[tuple[str, str], float] = {}
    for row in rows(here, "plan_reasons"):
        pair = (row["user_key"], row["strategy_id"])
        cents[pair] = cents.get(pair, 0.0) + row["contribution_cents"]
    assert sent
    assert set(cents) == sent
    assert cents == pytest.approx({pair: lift[pair] for pair in sent}, abs=1e-5)


def test_a_forced_rerun_gives_the_same_bytes(
    learnt: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = context(learnt[0], monkeypatch)
    before = here.store.manifest("strategy_scores", LAST)
    forced = Context(here.shop, here.machine, here.store, here.landing, force=True)
    assert score.run(LAST, forced).n_made == 1
    assert here.store.manifest("strategy_scores", LAST) == before


@pytest.mark.skipif(java_version() is None, reason="Spark needs Java: make java")
def test_spark_scores_what_one_machine_scores(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = context(copied, monkeypatch)
    score.run(LAST, here)
    alone = rows(here, "strategy_scores")
    machine = here.machine.model_copy(update={"engine": "spark", "spark_master": "local[2]", "partitions": 3})
    spark = Context(here.shop, machine, here.store, here.landing, force=True)
    assert score.run(LAST, spark).n_made == 1
    assert len(here.store.files("strategy_scores", [LAST])) > 1
    assert rows(here, "strategy_scores") == alone


def test_without_a_registry_that_answers_what_was_scored_stays(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    here = context(copied, monkeypatch, notes)
    (copied / "mlflow").mkdir()
    (copied / "mlflow" / "mlflow.db").write_bytes(b"this is no database" * 100)
    before = here.store.manifest("strategy_scores", LAST)
    result = score.run(LAST, here)
    assert result.n_made == 0
    assert here.store.manifest("strategy_scores", LAST) == before
    assert any("the model registry" in note and "does not answer" in note for note in notes)


def test_without_a_registry_a_new_night_is_scored_by_the_baseline_and_says_so(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = context(copied, monkeypatch)
    (copied / "mlflow").mkdir()
    (copied / "mlflow" / "mlflow.db").write_bytes(b"this is no database" * 100)
    shutil.rmtree(here.store.partition("strategy_scores", LAST))
    assert score.run(LAST, here).counts == {
        "model": "demo-effect-baseline",
        "version": "none",
        "why": "the model registry does not answer: the baseline scores",
    }
    assert plan.run(LAST, here).n_made == 1
    assert "demo-effect-baseline" in {row["model_name"] for row in rows(here, "campaign_plan")}


def test_without_a_champion_the_baseline_scores(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = context(copied, monkeypatch)
    assert score.run(LAST, here).counts["why"] == "no champion: the baseline scores"
    told = rows(here, "strategy_scores")
    assert {row["model_version"] for row in told} == {"none"}
    assert all(row["lift_spend_se_cents"] > 0 for row in told), "every lift of the baseline has its standard error"


def test_before_there_are_enough_nights_of_campaigns_nothing_is_scored_and_the_plan_explores(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = context(copied, monkeypatch, explore_nights=7)
    assert score.run(LAST, here).idle == "exploring: 6 of 7 nights of campaigns told"
    assert here.store.manifest("strategy_scores", LAST) is None, "scores of an earlier configuration would choose"
    shutil.rmtree(here.store.partition("deliveries", LAST).parent)
    assert score.run(LAST, here).counts == {
        "model": "none",
        "version": "none",
        "why": "exploring: 0 of 7 nights of campaigns told",
    }
    plan.run(LAST, here)
    assert all(not row["why"].startswith("exploit") for row in rows(here, "campaign_plan"))


def test_a_model_that_cannot_be_trained_does_not_stop_the_night(
    learnt: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> dict[str, Any]:
        raise JobError("training.fit ended with 1: loss is no number")

    monkeypatch.setattr(learn, "is_due", lambda *_: True)
    monkeypatch.setattr(learn, "train", fails)
    notes: list[str] = []
    result = learn.run(LAST, context(learnt[0], monkeypatch, notes))
    assert result.counts["effect"] == {"trained": False, "error": "training.fit ended with 1: loss is no number"}
    assert notes[-1] == "effect was not trained: training.fit ended with 1: loss is no number"
