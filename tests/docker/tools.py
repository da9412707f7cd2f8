"""What the tests of docker/ share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DOCKER = PROJECT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = DOCKER / "compose.yaml"
IMAGES = ("spark", "airflow", "training")
PINNED = r"[\w./-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}"


def tool(name: str) -> str:
    """A program that the development requirements bring, or one on PATH."""
    found = shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if found is None:
        pytest.skip(f"{name} is not installed (requirements-dev.txt)")
    return found


def make_env(copy: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, copy / "make_env.py", *options], capture_output=True, text=True)


def environment(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())
