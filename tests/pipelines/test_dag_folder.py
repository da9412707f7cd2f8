import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipelines import dag_folder
from pipelines.core.errors import ServerError
from pipelines.dag_folder import check_dag_folder
from tests.conftest import PROJECT
from tests.permissions import obeying


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    """A copy of the project's DAGs that a test may break."""
    return Path(shutil.copytree(PROJECT / "dags", tmp_path / "project" / "dags"))


def without_folder(dags: Path) -> str:
    shutil.rmtree(dags)
    return "no such file or directory: expected the project's DAG files there; put the folder back or mend its owner"


def file_in_its_place(dags: Path) -> str:
    shutil.rmtree(dags)
    dags.touch()
    return "not a directory: expected the project's DAG files there"


def no_files(dags: Path) -> str:
    shutil.rmtree(dags)
    (dags / "__pycache__").mkdir(parents=True)
    return "no DAG file: expected the project's there; put them back"


def files_that_are_none(dags: Path) -> str:
    for name in ("model_training.py", "nightly_marketing.py"):
        (dags / name).unlink()
    (dags / "model_training.py").mkdir()
    (dags / "nightly_marketing.py").symlink_to(dags / "nowhere.py")
    return (
        "cannot be read: model_training.py (is a directory), nightly_marketing.py (no such file or directory); "
        "put the files back or mend their owner"
    )


def closed_folder(dags: Path) -> str:
    dags.chmod(0)
    return "permission denied: expected the project's DAG files there"


def closed_file(dags: Path) -> str:
    (dags / "nightly_marketing.py").chmod(0)
    return "cannot be read: nightly_marketing.py (permission denied); put the files back or mend their owner"


BREAK = (without_folder, file_in_its_place, no_files, files_that_are_none)
CLOSE = (closed_folder, closed_file)


def run(dags: Path, *command: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """The `nightmarket` command of a project that has these DAGs, and only links to the rest."""
    for name in ("pipelines", "conf"):
        if not (dags.parent / name).exists():
            shutil.copytree(PROJECT / name, dags.parent / name, ignore=shutil.ignore_patterns("__pycache__"))
    return subprocess.run(
        [*prefix, sys.executable, "-m", "pipelines.cli", *command],
        cwd=dags.parent,
        env={**os.environ, "PYTHONPATH": str(dags.parent), "NIGHTMARKET_ROOT": str(dags.parent / "root")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_project_s_own_dags_can_be_read() -> None:
    check_dag_folder()
    assert dag_folder.DAG_FOLDER == PROJECT / "dags"


@pytest.mark.parametrize("spoil", BREAK)
def test_what_airflow_would_pass_over_in_silence_is_told_in_one_line(dags: Path, spoil: Callable[[Path], str]) -> None:
    told = spoil(dags)
    with pytest.raises(ServerError) as refused:
        check_dag_folder(dags)
    assert str(refused.value).startswith(f"DAG folder {dags}: {told}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("spoil", [without_folder, *CLOSE])
def test_up_refuses_before_it_starts_or_writes_anything_and_doctor_says_why(
    dags: Path, spoil: Callable[[Path], str]
) -> None:
    prefix = obeying() if spoil in CLOSE else ()
    told = spoil(dags)
    done = run(dags, "up", prefix=prefix)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith(f"nightmarket: DAG folder {dags}: {told}")
    assert "Traceback" not in done.stderr
    assert not (dags.parent / "root").exists()
    examined = run(dags, "doctor", "--json", prefix=prefix)
    assert examined.returncode == 1
    assert f"DAG folder {dags}: {told}" in examined.stdout
    dags.chmod(0o700) if dags.exists() else None
