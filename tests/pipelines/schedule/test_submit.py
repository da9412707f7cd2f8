import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.config import PROJECT, load_shop
from pipelines.core.errors import JobError, WrongUseError
from pipelines.core.machine import Machine
from pipelines.launch import launch
from pipelines.schedule.submit import submitter

CLUSTER = Machine(engine="spark", spark_connection="spark_default", spark_conf={"spark.ui.enabled": "false"})
NOTHING = {"new": [], "also": [], "known": {}, "raw": {}, "feeds": {}, "feed_arrivals": [], "catalog": []}
# In place of spark-submit: it tells what it was asked, then runs the program with this Python.
SPARK_SUBMIT = f"""\
#!{sys.executable}
import json, os, sys
at = next(i for i, word in enumerate(sys.argv) if word.endswith(".py"))
with open(os.environ["ASKED"], "w") as file:
    json.dump(sys.argv[1:], file)
print("as talkative as Spark", flush=True)
os.execv(sys.executable, [sys.executable, *sys.argv[at:]])
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spark-submit on the PATH and a connection to a master; the file gets what it was asked."""
    command = tmp_path / "bin" / "spark-submit"
    command.parent.mkdir()
    command.write_text(SPARK_SUBMIT)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    monkeypatch.setenv("ASKED", str(tmp_path / "asked.json"))
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", "spark://spark%3A%2F%2Fmaster.example:7077")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "asked.json"


def run(folder: Path, **spec: Any) -> dict[str, Any]:
    """The cleaning job, handed over as Airflow's tasks do; the engine that it opens needs no Java."""
    engine = {"name": "duckdb", "threads": 1, "memory_gb": 1, "partitions": 1}
    shop = load_shop("demo").model_dump(mode="json")
    spec = {**NOTHING, "engine": engine, "shop": shop, "root": str(folder), **spec}
    return launch("spark_jobs.clean", spec, CLUSTER, folder / "job", folder / "logs", submit=submitter(CLUSTER))


@pytest.mark.parametrize("machine", [Machine(), Machine(spark_connection="spark_default"), Machine(engine="spark")])
def test_without_a_cluster_or_a_connection_jobs_are_processes_of_this_machine(machine: Machine) -> None:
    assert submitter(machine) is None


def test_a_connection_that_is_not_defined_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_NOWHERE", raising=False)
    with pytest.raises(WrongUseError) as told:
        submitter(Machine(engine="spark", spark_connection="nowhere"))
    assert str(told.value) == (
        "Airflow has no connection 'nowhere' (spark_connection in conf/): add one of type Spark under Admin, Connections, "
        "with the master as host and port"
    )


def test_a_job_reaches_the_connection_s_master_by_the_provider_and_its_result_comes_back(
    asked: Path, tmp_path: Path
) -> None:
    result = run(tmp_path, night="2000-01-01")
    assert result == json.loads((tmp_path / "job" / "result.json").read_text())
    words = json.loads(asked.read_text())
    assert words[words.index("--master") + 1] == "spark://master.example:7077"
    assert words[words.index("--name") + 1] == "nightmarket"
    assert "spark.ui.enabled=false" in words
    assert words[-2:] == [str(PROJECT / "spark_jobs" / "clean.py"), str(tmp_path / "job" / "clean.json")]


def test_a_job_that_fails_there_is_told_by_the_cause_that_it_gave(asked: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError) as told:
        run(tmp_path, engine={"name": "abacus"})
    line = str(told.value)
    assert line.startswith("spark_jobs.clean ended with 1: ")
    assert "abacus" in line
    assert "Cannot execute" not in line
    assert "\n" not in line


def test_a_submit_that_ends_before_the_job_began_is_told_with_its_last_words(asked: Path, tmp_path: Path) -> None:
    command = tmp_path / "bin" / "spark-submit"
    command.write_text("#!/bin/sh\necho 'no route to master' >&2\nexit 1\n")
    with pytest.raises(JobError, match=r"spark_jobs.clean ended with 1: .*no route to master"):
        run(tmp_path, night="2000-01-01")
