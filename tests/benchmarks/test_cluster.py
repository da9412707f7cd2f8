"""benchmarks/cluster.py on a few thousand events: its clusters agree with the duckdb engine, and it counts what Spark logs."""

import json
import sys
from pathlib import Path

import pytest

import clean_events
import cluster
from pipelines.launch import java_version


def test_the_taobao_file_is_good_where_the_generated_one_is(tmp_path: Path) -> None:
    lines = cluster.taobao_file(5_000, tmp_path).read_text().splitlines()
    made = clean_events.csv_of(5_000, tmp_path).read_text().splitlines()
    assert len(lines) == len(made)
    good = [line for line in lines if all(line.split(",")) and line.split(",")[3] in ("pv", "cart", "fav", "buy")]
    assert 0 < len(lines) - len(good) < 0.02 * len(lines)


def test_sums_over_a_log_are_those_of_its_tasks(tmp_path: Path) -> None:
    metrics = {"Executor Run Time": 1500, "Executor CPU Time": 10**9, "JVM GC Time": 100, "Disk Bytes Spilled": 0}
    ended = {"Event": "SparkListenerTaskEnd", "Task Metrics": metrics}
    ended["Task Metrics"]["Shuffle Write Metrics"] = {"Shuffle Bytes Written": 2_000_000}  # type: ignore[index]
    lines = [json.dumps(line, separators=(",", ":")) for line in ({"Event": "SparkListenerLogStart"}, ended, ended)]
    (tmp_path / "log").write_text("\n".join(lines))
    assert cluster.of_log(tmp_path / "log") == {
        **{"tasks": 2, "executor_seconds": 3.0, "executor_cpu_seconds": 2.0, "gc_seconds": 0.2},
        **{"shuffle_mb": 4.0, "spilled_mb": 0.0},
    }


@pytest.mark.slow
@pytest.mark.skipif(java_version() is None, reason="Spark needs Java 17 or newer: make java")
def test_a_cluster_of_two_agrees_with_one_machine_and_the_command_prints_one_json_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["cluster.py", "--events", "3000", "--workers", "2", "--json"])
    cluster.main()
    report = json.loads(capsys.readouterr().out)
    found = report["events"]["3000"]["workers"]["2"]
    assert set(found) == {"clean", "features"}
    assert all(job["tasks"] > 0 and job["executor_cpu_seconds"] > 0 for job in found.values())
