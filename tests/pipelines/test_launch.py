import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import launch as launching
from pipelines.core.errors import EXIT_AUDIT_FAILED, JobError, WrongUseError
from pipelines.core.machine import Machine
from pipelines.launch import Submit, java_version, launch, require_java, require_master

MACHINE = Machine()


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """job(source, machine=...) runs spark_jobs.play with that source; its folder and logs lie in tmp_path."""
    monkeypatch.setattr(launching, "PROJECT", tmp_path)
    (tmp_path / "spark_jobs").mkdir()

    def run(source: str, machine: Machine = MACHINE) -> dict[str, Any]:
        (tmp_path / "spark_jobs" / "play.py").write_text(f"import json, os, pathlib, sys\n{source}\n")
        return launch("spark_jobs.play", {"night": "2026-03-01"}, machine, tmp_path / "staging", tmp_path / "logs")

    return run


def test_a_job_gets_its_spec_and_gives_back_its_result(job: Any, tmp_path: Path) -> None:
    found = job(
        "spec = json.loads(pathlib.Path(sys.argv[1]).read_text()); (pathlib.Path(spec['out']) / 'result.json').write_text(json.dumps(spec))"
    )
    assert found == {
        "night": "2026-03-01",
        "out": str(tmp_path / "staging"),
        "work": str(tmp_path / "staging" / "work"),
    }
    assert not (tmp_path / "logs").exists()


def test_idle_threads_of_a_job_sleep_unless_the_environment_says_otherwise(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
(pathlib.Path(spec['out']) / 'result.json').write_text(json.dumps(os.environ['GOMP_SPINCOUNT']))"""
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert job(source) == "2000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert job(source) == "7"


def test_a_failed_job_is_one_line_with_its_last_words_and_where_its_log_is(job: Any, tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        job("print('much'); print('the cause', file=sys.stderr); sys.exit(1)")
    log = tmp_path / "logs" / "play.log"
    assert str(caught.value) == f"spark_jobs.play ended with 1: the cause; log: {log}"
    assert "the cause" in log.read_text()


def test_a_job_s_exit_code_is_handed_on(job: Any) -> None:
    with pytest.raises(JobError) as caught:
        job(f"print('an audit'); sys.exit({EXIT_AUDIT_FAILED})")
    assert caught.value.exit_code == EXIT_AUDIT_FAILED
    with pytest.raises(JobError) as caught:
        job("sys.exit(77)")
    assert caught.value.exit_code == 1
    assert "ended with 77: it wrote nothing" in str(caught.value)


def test_a_killed_job_hints_at_memory(job: Any) -> None:
    with pytest.raises(
        JobError, match=r"was killed by signal 9 \(out of memory\? lower memory_gb in conf/local.yaml\)"
    ):
        job("os.kill(os.getpid(), 9)")


def test_a_job_that_fills_the_disk_says_so(job: Any) -> None:
    with pytest.raises(JobError, match="is full; nothing was published; free some space and run again"):
        job("raise OSError(28, 'No space left on device')")


def test_a_log_that_cannot_be_kept_does_not_hide_the_cause(job: Any, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in place of the folder")
    with pytest.raises(JobError, match="ended with 1: the cause"):
        job("print('the cause'); sys.exit(1)")


def test_on_a_cluster_the_command_of_the_configuration_goes_first(job: Any, tmp_path: Path) -> None:
    submit = tmp_path / "submit"
    submit.write_text(
        '#!/bin/sh\necho "$@" > '
        + str(tmp_path / "told")
        + "\necho '{}' > "
        + str(tmp_path / "staging" / "result.json")
        + "\n"
    )
    submit.chmod(0o755)
    job("", Machine(engine="spark", spark_submit=(str(submit), "--deploy-mode", "client")))
    told = (tmp_path / "told").read_text().split()
    assert told == [
        "--deploy-mode",
        "client",
        str(tmp_path / "spark_jobs" / "play.py"),
        str(tmp_path / "staging" / "play.json"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_a_job_dies_with_its_parent(job: Any, tmp_path: Path) -> None:
    program = f"""
import pathlib
from pipelines import launch as launching
from pipelines.core.machine import Machine
launching.PROJECT = pathlib.Path({str(tmp_path)!r})
launching.launch("spark_jobs.play", {{}}, Machine(), launching.PROJECT / "staging", launching.PROJECT / "logs")
"""
    (tmp_path / "spark_jobs" / "play.py").write_text(
        f"import os, pathlib, time\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(f'{{os.getpid()}}\\n')\ntime.sleep(120)\n"
    )
    project = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(project)})
    pid = wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_for(lambda: not is_alive(int(pid)))


def wait_for(look: Any, timeout_s: float = 20) -> Any:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.02)
    return None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_391"', 8),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_java_is_asked_for_its_version(
    told: str, version: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho {json.dumps(told)} >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java_version() == version
    if version and version >= 17:
        require_java()
    else:
        have = f"Java {version} is here" if version else "none is here"
        with pytest.raises(WrongUseError, match=rf"ENGINE=spark needs Java 17 or newer, {have}: run `make java`"):
            require_java()


def test_without_java_spark_is_refused_before_anything_starts(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(WrongUseError, match="run `make java`"):
        job("", Machine(engine="spark"))
    assert not (tmp_path / "staging").exists()


def test_a_job_behind_spark_submit_tells_its_cause_though_the_log_goes_on(job: Any, tmp_path: Path) -> None:
    source = (
        "from pipelines.core.errors import NoDataError, tell_cause\n"
        "code = tell_cause(NoDataError('no events tonight'), pathlib.Path(sys.argv[1]).parent)\n"
        "print('INFO ShutdownHookManager: Deleting directory', flush=True); sys.exit(code)"
    )
    (tmp_path / "pipelines").symlink_to(Path(launching.__file__).parent)
    with pytest.raises(JobError, match=r"^spark_jobs.play ended with 1: no events tonight; log: .*play\.log$"):
        job(source)
    assert "ShutdownHookManager" in (tmp_path / "logs" / "play.log").read_text()


def test_a_job_that_broke_tells_its_last_line_and_keeps_the_traceback(job: Any, tmp_path: Path) -> None:
    source = (
        "from pipelines.core.errors import tell_cause\n"
        "try: {}['price']\n"
        "except KeyError as error: sys.exit(tell_cause(error, pathlib.Path(sys.argv[1]).parent))"
    )
    (tmp_path / "pipelines").symlink_to(Path(launching.__file__).parent)
    with pytest.raises(JobError, match=r"ended with 1: KeyError: 'price'; log: "):
        job(source)
    assert "Traceback" in (tmp_path / "logs" / "play.log").read_text()


def submitter(told: list[tuple[str, list[str]]], project: Path) -> Submit:
    """As an orchestrator's hook does it: runs the application with its arguments, raises where it fails."""

    def submit(application: str, arguments: list[str]) -> None:
        told.append((application, arguments))
        done = subprocess.run([sys.executable, application, *arguments], cwd=project, check=False)
        if done.returncode:
            raise RuntimeError(f"Cannot execute: {application}.\nError code is: {done.returncode}.")

    return submit


def submitted(source: str, folder: Path, submit: Submit) -> dict[str, Any]:
    (folder / "spark_jobs" / "play.py").write_text(f"import json, pathlib, sys\n{source}\n")
    spec = {"night": "2026-03-01"}
    return launch("spark_jobs.play", spec, Machine(engine="spark"), folder / "staging", folder / "logs", submit=submit)


def test_a_given_submit_runs_the_job_without_java_here(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    told: list[tuple[str, list[str]]] = []
    source = (
        "spec = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "(pathlib.Path(spec['out']) / 'result.json').write_text(json.dumps({'saw': spec['night']}))"
    )
    assert submitted(source, tmp_path, submitter(told, tmp_path)) == {"saw": "2026-03-01"}
    assert told == [(str(tmp_path / "spark_jobs" / "play.py"), [str(tmp_path / "staging" / "play.json")])]


def test_a_submit_that_fails_is_one_line_and_its_words_are_kept(job: Any, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"^spark_jobs.play ended with 1: Error code is: 5\.; log: .*play\.log$"):
        submitted("sys.exit(5)", tmp_path, submitter([], tmp_path))
    assert "RuntimeError: Cannot execute" in (tmp_path / "logs" / "play.log").read_text()


def test_a_submit_that_returns_before_the_job_has_ended_is_a_failed_job(job: Any, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"play ended with 1: it wrote no result\.json"):
        submitted("", tmp_path, lambda application, arguments: None)


def test_a_missing_spark_submit_is_told_before_anything_starts(job: Any, tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match=r"^no command 'spark-submitt' on the PATH or in .*: install Spark"):
        job("", Machine(engine="spark", spark_submit=("spark-submitt", "--master", "yarn")))
    assert not (tmp_path / "staging").exists()


@pytest.mark.parametrize("master", ["spark://127.0.0.1:{port}", "spark://127.0.0.1", "spark://nowhere.invalid:7077"])
def test_a_master_that_does_not_answer_is_told_before_anything_starts(job: Any, tmp_path: Path, master: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # taken, but nobody listens
        master = master.format(port=free.getsockname()[1])
        with pytest.raises(WrongUseError, match=rf"^no Spark master answers at {master} \(.+\): start it or mend"):
            job("", Machine(engine="spark", spark_master=master))
    assert not (tmp_path / "staging").exists()


def test_of_two_masters_one_that_answers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        require_master(f"spark://127.0.0.1:1,127.0.0.1:{server.getsockname()[1]}")
    require_master("yarn")


def test_a_conversation_asks_and_is_answered_until_the_job_ends(tmp_path: Path) -> None:
    with launching.conversation("tests.fake_talker", {}, tmp_path / "job", tmp_path / "logs") as ask:
        assert ask({"say": "é"}) == {"echo": {"say": "é"}}
        with pytest.raises(JobError, match=r"tests\.fake_talker: no such thing"):
            ask({"fail": True})
        assert ask({}) == {"echo": {}}  # one failure ends nothing
        with pytest.raises(JobError, match=r"it is enough; log: .*fake_talker\.log"):
            ask({"end": True})
        with pytest.raises(JobError, match="it is enough"):
            ask({})
