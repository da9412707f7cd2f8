import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipelines import evaluate as module
from pipelines.cli import app
from pipelines.core.errors import WrongUseError
from pipelines.core.machine import Machine
from pipelines.evaluate import NAMES, evaluate
from pipelines.show import at_work, evaluation_table

INTERVAL = {"value": 0.5, "low": 0.4, "high": 0.6}


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    known = ", ".join(sorted(NAMES))
    with pytest.raises(WrongUseError, match=f"nothing called 'magic' to evaluate: expected {known}"):
        evaluate("magic", tmp_path, Machine())


def test_a_dash_in_a_name_is_an_underscore_in_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(module, "launch", lambda job, *_: started.append(job) or {})
    evaluate("open-bandit", tmp_path, Machine(threads=1))
    assert started == ["training.evaluate_open_bandit"]


def test_a_missing_folder_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match="no such folder"):
        evaluate("value", tmp_path / "gone", Machine())


def test_a_judgement_is_kept_and_shown_with_its_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {
        "name": "value",
        "data": "cdnow",
        "metrics": {"rmse": INTERVAL},
        "baselines": {"mean": {"rmse": INTERVAL}},
        "paired": {"mean": {"rmse": {"value": -0.1, "low": -0.2, "high": 0.0}}},
    }
    started: list[tuple[str, dict[str, Any]]] = []

    def launch(job: str, spec: dict[str, Any], *_: Any) -> dict[str, Any]:
        started.append((job, spec))
        return result

    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(module, "launch", launch)
    assert evaluate("value", tmp_path, Machine(threads=1)) == result
    assert started[0][0] == "training.evaluate_value"
    assert started[0][1]["data"] == str(tmp_path)
    assert json.loads((tmp_path / "root" / "evaluations" / "value.json").read_text()) == result
    assert [path.name for path in (tmp_path / "root" / "evaluations").iterdir()] == ["value.json"]
    table = evaluation_table(result)
    assert list(table.columns[0].cells) == ["rmse", "  mean"]
    assert list(table.columns[1].cells) == ["0.5000 (0.4000 to 0.6000)"] * 2
    assert list(table.columns[2].cells) == ["", "-0.1000 (-0.2000 to 0.0000)"]


def test_a_number_without_an_interval_stands_alone() -> None:
    coverage = {"coverage": {"value": 0.25, "low": None, "high": None}}
    table = evaluation_table({"name": "a", "data": "b", "metrics": coverage, "baselines": {}, "paired": {}})
    assert list(table.columns[1].cells) == ["0.2500"]


def test_the_help_names_everything_that_can_be_judged() -> None:
    told = CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "200"}).output
    assert [name for name in NAMES if f"{name}: " not in told] == []


@pytest.mark.parametrize("terminal", [True, False])
def test_a_work_of_minutes_says_at_once_what_goes_on(terminal: bool) -> None:
    out = io.StringIO()
    with at_work("evaluate value on cdnow", Console(file=out, force_terminal=terminal, width=80)):
        if not terminal:
            assert out.getvalue() == "evaluate value on cdnow ...\n"
    assert "evaluate value on cdnow" in out.getvalue()
    assert ("0:00:0" in out.getvalue()) == terminal
