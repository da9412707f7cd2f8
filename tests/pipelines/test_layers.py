"""Imports point one way: dags -> pipelines -> base <- spark_jobs, training. Importing pipelines costs no heavy library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {  # folder -> first-party prefixes it may import
    "dags": ("pipelines",),
    "pipelines/core": ("pipelines.core",),
    "pipelines/strategy": ("pipelines.strategy", "pipelines.core"),
    "pipelines": ("pipelines",),
    "spark_jobs": ("spark_jobs", "pipelines.core"),
    "training": ("training", "pipelines.core", "pipelines.strategy"),
}
SOURCES = ("dags", "pipelines", "spark_jobs", "training")
FIRST_PARTY = (*SOURCES, "tests")
HEAVY = (
    "torch",
    "pyspark",
    "mlflow",
    "great_expectations",
    "pandas",
    "pyarrow",
    "duckdb",
    "sqlframe",
    "matplotlib",
    "boto3",
)
FILES = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]  # a folder may not be there yet


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide their layer: write the whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def test_there_are_sources_to_look_at() -> None:
    assert {"dags", "pipelines", "spark_jobs"} <= {path.relative_to(ROOT).parts[0] for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    layer = next(key for key in sorted(ALLOWED, key=len, reverse=True) if relative.startswith(f"{key}/"))
    wrong = [name for name in imports(path) if under(name, FIRST_PARTY) and not under(name, ALLOWED[layer])]
    assert not wrong, f"{relative} ({layer}) may import {ALLOWED[layer]}, but imports {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_simulator_s_truth_is_told_to_evaluators_only(path: Path) -> None:
    if path.is_relative_to(ROOT / "pipelines" / "simulator"):
        return
    assert not [name for name in imports(path) if under(name, ("pipelines.simulator.truth",))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_the_schedule_knows_airflow(path: Path) -> None:
    if path.is_relative_to(ROOT / "dags") or path.is_relative_to(ROOT / "pipelines" / "schedule"):
        return
    wrong = [name for name in imports(path) if under(name, ("airflow", "pipelines.schedule"))]
    assert not wrong or wrong == ["pipelines.schedule.GPU_POOL"], (
        f"{path.relative_to(ROOT)} imports {wrong}: a night runs without Airflow; move it to pipelines/schedule/"
    )


def test_importing_every_module_of_pipelines_loads_no_heavy_library() -> None:
    modules = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in FILES
        if path.is_relative_to(ROOT / "pipelines")
    ]
    program = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sorted(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert told.returncode == 0, told.stderr
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert not loaded & set(HEAVY)


def test_no_folder_of_tests_or_of_the_audits_project_is_a_package() -> None:
    for folder in ("tests", "great_expectations"):
        assert not list((ROOT / folder).rglob("__init__.py")), (
            f"{folder}/ must hold no __init__.py: it would shadow what it is named after"
        )


@pytest.mark.parametrize("folder", ["spark_jobs", "training"])
def test_no_file_that_spark_starts_beside_hides_a_module_of_the_standard_library(folder: str) -> None:
    names = {path.stem for path in (ROOT / folder).iterdir() if not path.name.startswith(("_", "."))}
    assert not names & sys.stdlib_module_names
