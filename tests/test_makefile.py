"""The set-up that `make nightly` and `make test` do: told in one line where it cannot, done once where it can."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")


@pytest.fixture
def checkout(tmp_path):
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said, without make's own line about the failed recipe."""
    return [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make: ***")]


def test_a_missing_python_is_told_in_one_line(checkout):
    done = make(checkout, "nightly", "PYTHON=python-that-is-not-here")
    assert done.returncode != 0
    assert len(told(done)) == 1
    assert "install Python 3.11 or newer" in told(done)[0]


def test_an_old_python_is_told_in_one_line(checkout):
    old = checkout / "oldpython"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make(checkout, "nightly", f"PYTHON={old}")
    assert done.returncode != 0
    assert len(told(done)) == 1
    assert "Python 3.8.1 is too old" in told(done)[0]


def test_too_little_disk_is_told_in_one_line_before_anything_is_installed(checkout):
    done = make(checkout, "test", "MIN_FREE_MB=999999999999")
    assert done.returncode != 0
    assert len(told(done)) == 1
    assert "MB free here" in told(done)[0]
    assert not (checkout / ".venv").exists()


def test_a_checkout_that_is_set_up_runs_the_command_and_installs_nothing(checkout):
    command = checkout / ".venv" / "bin" / "nightmarket"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    command.chmod(0o755)
    for name in (".ready", ".ready-dev"):
        (checkout / ".venv" / name).touch()
    done = make(checkout, "nightly", "SHOP=taobao", "DATE=2017-12-03", "LANDING=some folder", "ENGINE=spark")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "night|--shop|taobao|--date|2017-12-03|--engine|spark|--landing|some folder|"
