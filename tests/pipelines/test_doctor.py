import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines import doctor
from pipelines.doctor import Finding, examine, findings_table


@pytest.fixture
def place(tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("NIGHTMARKET_CONF", str(conf))
    return tmp_path


def found(what: str) -> Finding:
    return next(finding for finding in examine() if finding.what == what)


def test_a_good_machine_has_nothing_broken_and_is_not_touched(place: Path) -> None:
    assert [finding for finding in examine() if finding.state == "broken"] == []
    assert not (place / "root").exists()
    assert found("shop tiny").state == "good"


def test_whatever_is_not_good_says_what_to_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert [finding for finding in examine() if finding.state != "good" and not finding.advice] == []


def test_a_clock_that_was_set_back_is_told_with_what_airflow_makes_of_it(place: Path) -> None:
    record = place / "root" / "tiny" / "runs" / "one.json"
    record.parent.mkdir(parents=True)
    record.touch()
    assert found("clock").state == "good"
    later = time.time() + 26 * 3600
    os.utime(record, (later, later))
    assert (found("clock").state, found("clock").found[:21]) == ("broken", "26.0 h behind what wa")
    assert "runs wait that were started by the earlier time" in found("clock").advice


def test_no_shops_are_told_with_where_they_belong(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "local.yaml").write_text("engine: duckdb\n")
    monkeypatch.setenv("NIGHTMARKET_CONF", str(place))
    assert found("shops").state == "broken"
    assert (
        f"no shop in {place}/shops (no such file or directory): expected conf/shops/NAME.yaml" in found("shops").found
    )


def test_missing_java_is_a_note_on_duckdb_and_a_fault_on_spark(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert found("Java").state == "note"
    (place / "local.yaml").write_text("engine: spark\n")
    monkeypatch.setenv("NIGHTMARKET_CONF", str(place))
    assert found("Java").state == "broken"
    assert "make java" in found("Java").advice


def test_a_port_in_use_is_noted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(doctor, "_PORTS", {taken.getsockname()[1]: "Airflow"})
        finding = found(f"port {taken.getsockname()[1]}")
    assert (finding.state, finding.found) == ("note", "taken")


def test_a_disk_without_space_is_broken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "local.yaml").write_text("min_free_disk_mb: 1000000000\n")
    monkeypatch.setenv("NIGHTMARKET_CONF", str(place))
    assert found("disk").state == "broken"
    assert "at least 1000000000 MB" in found("disk").advice


def test_a_missing_library_is_broken_even_if_a_folder_of_its_name_is_there(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Namespace:
        origin = None

    monkeypatch.setattr(doctor, "find_spec", lambda name: Namespace() if name == "great_expectations" else object())
    assert found("packages").found == "missing: great_expectations"
    assert "pip install -r requirements.txt" in found("packages").advice


def test_a_malformed_configuration_is_broken_and_the_rest_is_still_examined(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "shops").mkdir()
    (place / "shops" / "bad.yaml").write_text("shop: bad\nlandings: {}\n")
    (place / "local.yaml").write_text("engines: duckdb\n")
    monkeypatch.setenv("NIGHTMARKET_CONF", str(place))
    findings: dict[str, Any] = {finding.what: finding for finding in examine()}
    assert "line 2: landings: unknown key; allowed keys:" in findings["shop bad"].found
    assert findings["machine"].state == "broken"
    assert "line 1: engines: unknown key" in findings["machine"].found
    assert findings["Python"].state == "good"


def test_the_table_and_the_json_tell_every_finding(place: Path) -> None:
    findings = examine()
    console = Console(width=200)
    with console.capture() as captured:
        console.print(findings_table(findings))
    for finding in findings:
        assert finding.what in captured.get()
        assert json.loads(json.dumps(finding.as_dict()))["state"] in ("good", "note", "broken")
