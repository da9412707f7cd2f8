"""What every task promises, whatever its models are made of.

A task takes part through tests/training/small_TASK.py: `examples()` gives small (train, valid) Examples, `settings(encoder)`
the settings to hold the contract for, by a name; `encoder` is the folder of a tiny BERT.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.errors import TrainingError
from training.task import TASKS, Examples, Fitting, Model, Task, task_of

CASES = [
    (name, variant)
    for name in TASKS
    if find_spec(f"training.tasks.{name}") and find_spec(f"tests.training.small_{name}")
    for variant in ("baseline", *import_module(f"tests.training.small_{name}").settings(Path()))
]


@dataclass(frozen=True)
class Case:
    task: Task
    train: Examples
    valid: Examples
    fit: Callable[[], Model]
    model: Model


@pytest.fixture(scope="module")
def case_of(tiny_encoder: Path) -> Callable[[str, str], Case]:
    @cache
    def make(name: str, variant: str) -> Case:
        task, small = task_of(name), import_module(f"tests.training.small_{name}")
        train, valid = small.examples()
        how = Fitting(threads=1, settings=small.settings(tiny_encoder).get(variant, {}))

        def fit() -> Model:
            return task.baseline(train, how) if variant == "baseline" else task.fit(train, valid, how)

        return Case(task, train, valid, fit, fit())

    return make


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, case_of: Callable[[str, str], Case]) -> Case:
    return case_of(*request.param)


def saved(model: Model, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    model.save(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def numbers(table: pa.Table) -> dict[str, np.ndarray]:
    return {n: table[n].to_numpy() for n in table.schema.names if pa.types.is_floating(table[n].type)}


def texts(table: pa.Table) -> dict[str, list[Any]]:
    return {n: table[n].to_pylist() for n in table.schema.names if not pa.types.is_floating(table[n].type)}


def test_some_task_takes_part() -> None:
    assert {name for name, _ in CASES}


def test_fitting_twice_is_fitting_once(case: Case, tmp_path: Path) -> None:
    assert saved(case.fit(), tmp_path / "again") == saved(case.model, tmp_path / "once")


def test_saving_and_loading_changes_nothing(case: Case, tmp_path: Path) -> None:
    files = saved(case.model, tmp_path / "model")
    loaded = case.task.load(tmp_path / "model")
    assert loaded.kind == case.model.kind
    assert loaded.predict(case.valid.rows).equals(case.model.predict(case.valid.rows))
    assert saved(loaded, tmp_path / "again") == files


def test_nothing_is_saved_as_pickle(case: Case, tmp_path: Path) -> None:
    kinds = {Path(name).suffix for name in saved(case.model, tmp_path / "model")}
    assert kinds <= {".json", ".txt", ".safetensors"}


def test_a_batch_is_its_single_rows(case: Case) -> None:
    rows = case.valid.rows.slice(0, 12)
    batch = case.model.predict(rows)
    single = pa.concat_tables([case.model.predict(rows.slice(place, 1)) for place in range(len(rows))])
    assert texts(single) == texts(batch)
    for name, values in numbers(batch).items():
        np.testing.assert_allclose(numbers(single)[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


def test_an_empty_batch_gives_no_predictions(case: Case) -> None:
    empty = case.model.predict(case.valid.rows.slice(0, 0))
    assert empty.num_rows == 0
    assert empty.schema == case.model.predict(case.valid.rows.slice(0, 2)).schema


def test_unknown_categories_are_fine(case: Case) -> None:
    rows = case.valid.rows.slice(0, 5)
    for place, field in enumerate(rows.schema):
        if pa.types.is_string(field.type):
            rows = rows.set_column(place, field, pa.array(["never met before"] * 5))
    predicted = case.model.predict(rows)
    assert predicted.num_rows == 5
    for name, values in numbers(predicted).items():
        assert np.isfinite(values).all(), name
        if name.startswith("p_"):
            assert ((values >= 0) & (values <= 1)).all(), name


def test_columns_that_are_more_than_needed_are_ignored(case: Case) -> None:
    rows = case.valid.rows.slice(0, 5)
    more = rows.append_column("more_than_needed", pa.array(range(5)))
    assert case.model.predict(more).equals(case.model.predict(rows))


def test_features_that_are_not_told_are_fine(case: Case) -> None:
    rows = case.valid.rows.slice(0, 5)
    kept = {"recent", *case.task.example_columns}
    for place, field in enumerate(rows.schema):
        if field.name not in kept and pa.types.is_floating(field.type):
            rows = rows.set_column(place, field, pa.nulls(5, field.type))
    assert all(np.isfinite(values).all() for values in numbers(case.model.predict(rows)).values())


def test_every_measure_is_a_number(case: Case) -> None:
    predicted = case.model.predict(case.valid.rows)
    weight = np.ones(len(case.valid))
    assert case.task.metric in case.task.measures
    assert set(case.task.example_columns) <= set(case.valid.rows.schema.names)
    for name, measure in case.task.measures.items():
        value = measure.of(case.valid.target, predicted, weight)
        assert np.isfinite(value), name
        twice = measure.of(case.valid.target, predicted, 2 * weight)
        assert twice == pytest.approx(value), f"{name} hangs on how often all rows count, not on which"
        assert measure.docs


def test_another_folder_is_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as refused:
        case.task.load(tmp_path)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)
