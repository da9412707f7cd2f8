"""The images as far as they can be judged without building them: hadolint reads the Dockerfile, and what each image runs is
imported with nothing but what it carries."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.docker.tools import DOCKER, DOCKERFILE, IMAGES, PINNED, PROJECT, tool

# What each image is started with, and what its processes import then.
RUNS = {
    "spark": ("spark_jobs.clean", "spark_jobs.features", "training.predict", "training.recommend.serving", "pyspark.worker"),
    "airflow": (
        "pipelines.cli", "pipelines.night", "training.recommend_night", "training.listen_night", "training.converse_night",
        "training.write_night", "great_expectations", "mlflow.server", "airflow.__main__",
    ),
    "training": (
        "training.fit", "training.judge", "training.tasks.behaviour", "training.tasks.copywriter", "training.tasks.effect",
        "training.tasks.search", "training.tasks.sentiment", "training.tasks.value",
    ),
}  # fmt: skip


def pins(path: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    return dict(line.split("==") for line in lines if line)


def test_everything_that_an_image_copies_is_there_and_in_the_build_context() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    context = {path.relative_to(PROJECT) for line in lines if line.startswith("!") for path in PROJECT.glob(line[1:])}
    sources = re.findall(r"^COPY (?!--from)(\S+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    assert len(sources) == len(re.findall(r"^COPY", DOCKERFILE, flags=re.MULTILINE))
    for source in map(Path, sources):
        assert (PROJECT / source).exists(), f"docker/Dockerfile copies {source}, which is not there"
        assert context & {source, *source.parents}, f"docker/Dockerfile copies {source}: name it in .dockerignore"


def test_every_base_image_is_pinned_by_version_and_by_digest() -> None:
    outside = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("FROM") and ":" in line]
    assert outside
    for image in outside:
        assert re.fullmatch(PINNED, image), f"Dockerfile: pin {image}"


def test_every_image_ends_as_an_ordinary_user() -> None:
    stages = re.split(r"^FROM .* AS (\w+)$", DOCKERFILE, flags=re.MULTILINE)[1:]
    ends = {
        name: re.findall(r"^USER (\S+)$", text, flags=re.MULTILINE)[-1:]
        for name, text in zip(stages[::2], stages[1::2], strict=True)
    }
    assert ends == {"base": [], **{name: ["10001:10001"] for name in IMAGES}}


def test_hadolint_finds_no_fault_in_the_dockerfile() -> None:
    done = subprocess.run([tool("hadolint"), DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_very_versions_that_the_project_is_tested_with(image: str) -> None:
    ours, theirs = pins(DOCKER / "requirements" / f"{image}.txt"), pins(PROJECT / "requirements.txt")
    differ = {name: (ours[name], theirs[name]) for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
    assert not differ, f"(image, project) differ: {differ}; run `make requirements`"
    asked = [
        Requirement(line.split("#")[0])
        for line in (DOCKER / "requirements" / f"{image}.in").read_text().splitlines()
        if line.split("#")[0].strip() and not line.startswith("-r")
    ]
    for requirement in asked:
        assert requirement.specifier.contains(ours[requirement.name]), f"{image}.txt: {requirement}"


@pytest.mark.parametrize("image", IMAGES)
def test_the_versions_of_an_image_suit_each_other_and_none_is_missing(image: str) -> None:
    """As pip would ask; what is not installed here cannot be asked, and is then in no other image or test either."""
    here = pins(DOCKER / "requirements" / f"{image}.txt")
    unknown = []
    for name, version in here.items():
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            unknown.append(name)
            continue
        for text in found.requires or []:
            need = Requirement(text)
            if need.marker and not need.marker.evaluate({**default_environment(), "extra": ""}):
                continue
            key = re.sub(r"[-_.]+", "-", need.name).lower()
            if key in ("pip", "setuptools"):  # every environment of Python 3.11 has them
                continue
            assert key in here, f"{image}.txt: {name} needs {need.name}: run `make requirements`"
            assert need.specifier.contains(here[key], prereleases=True), f"{image}.txt: {name} {version} needs {need}"
    assert len(unknown) < len(here) / 4, f"too little of {image}.txt is installed to judge it: {unknown}"


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_runs_can_be_imported_with_nothing_but_what_it_carries(image: str) -> None:
    code = """
import importlib, importlib.metadata, re, sys
from importlib.machinery import PathFinder

carried, modules = set(sys.argv[1].split(",")), sys.argv[2].split(",")
missing = {
    top
    for top, names in importlib.metadata.packages_distributions().items()
    if not any(re.sub("[-_.]+", "-", name).lower() in carried for name in names)
}

class Image(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in missing else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Image
for module in modules:
    importlib.import_module(module)
"""
    names = pins(DOCKER / "requirements" / f"{image}.txt")
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join((*names, "nightmarket")), ",".join(RUNS[image])],
        cwd=PROJECT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["airflow.providers.celery.executors.celery_executor", "asyncpg", "psycopg2"])
def test_what_only_the_cluster_needs_can_be_imported_in_the_pinned_version(module: str) -> None:
    """Celery 5.7 satisfies what Airflow's provider asks for, and lacks what it imports."""
    package = {"asyncpg": "asyncpg", "psycopg2": "psycopg2-binary"}.get(module, "celery")
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    assert version == pins(DOCKER / "requirements" / "airflow.txt")[package]
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_the_training_image_carries_torch() -> None:
    heavy = {
        image: {"torch", "transformers"} & pins(DOCKER / "requirements" / f"{image}.txt").keys() for image in IMAGES
    }
    assert heavy == {"spark": set(), "airflow": set(), "training": {"torch", "transformers"}}
