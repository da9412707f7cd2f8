"""Gradient boosting by LightGBM, the same way everywhere: deterministic, stopped early on later nights, saved as text.

A saved model is LightGBM's own text; what turns a table into its matrix (`Encoding`) is JSON beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.errors import TrainingError
from training.task import Fitting

_CLASSES = ("binary", "multiclass")
_MAX_CATEGORIES = 1_000


@dataclass(frozen=True)
class Encoding:
    """Which columns of a table make which columns of a matrix.

    A text becomes its place among the known texts, the most frequent first; unknown and missing texts become NaN, and so
    do columns that a table lacks.
    """

    numbers: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]  # column -> known texts

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the matrix' columns."""
        return (*self.numbers, *self.categories)

    def matrix(self, rows: pa.Table) -> np.ndarray:
        """(n, len(names)) float64; numbers, booleans and texts."""
        found = np.full((rows.num_rows, len(self.names)), np.nan)
        for at, name in enumerate(self.names):
            if name not in rows.schema.names:
                continue
            column = rows[name]
            if name in self.categories:
                known = pa.array(self.categories[name], pa.string())
                column = pc.index_in(pc.cast(column, pa.string()), value_set=known, skip_nulls=True)
            found[:, at] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
        return found

    def to_json(self) -> dict[str, Any]:
        return {"numbers": list(self.numbers), "categories": {k: list(v) for k, v in self.categories.items()}}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Encoding":
        return cls(tuple(told["numbers"]), {name: tuple(known) for name, known in told["categories"].items()})


def encoding_of(rows: pa.Table, numbers: Sequence[str], texts: Sequence[str] = ()) -> Encoding:
    """The encoding of `rows`: the texts of each text column by falling count, then alphabet; at most 1,000 of them."""
    categories = {}
    for name in texts:
        counted = pc.value_counts(pc.drop_null(pc.cast(rows[name], pa.string()))).to_pylist()
        counted.sort(key=lambda one: (-one["counts"], one["values"]))
        categories[name] = tuple(one["values"] for one in counted[:_MAX_CATEGORIES])
    return Encoding(tuple(numbers), categories)


@dataclass(frozen=True)
class Data:
    """What LightGBM learns from: n rows, f features."""

    x: np.ndarray  # (n, f) float, NaN where missing
    y: np.ndarray  # (n,) classes 0, 1, ... or numbers
    weight: np.ndarray | None = None  # (n,)
    init_score: np.ndarray | None = None  # (n,) raw scores that the trees add to
    group: np.ndarray | None = None  # (g,) rows of each list to be ranked, which stand together


def fit_boosted(
    train: Data,
    valid: Data | None,
    how: Fitting,
    *,
    objective: str,
    rounds: int = 1_000,
    patience: int = 50,
    names: Sequence[str] | None = None,
    label: str = "",
    **settings: Any,
) -> lightgbm.Booster:
    """Trees on `train`, as many as serve `valid` best (without it: `rounds`); `settings` are LightGBM's parameters, `label`
    begins the names of the logged curves.

    Equal data and settings give an equal model, whatever the number of threads. Raises TrainingError for no rows, a
    target of one class only and a target that is no number.
    """
    _check(train, objective)
    given = {
        "objective": objective,
        "seed": how.seed,
        "num_threads": how.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
        **settings,
    }
    if objective == "multiclass":
        given.setdefault("num_class", int(train.y.max()) + 1)
    columns = list(names) if names else [f"f{at}" for at in range(train.x.shape[1])]
    matrix = lightgbm.Dataset(
        train.x, train.y, weight=train.weight, group=train.group, init_score=train.init_score, feature_name=columns,
        params=given,
    )  # fmt: skip
    curve: dict[str, dict[str, list[float]]] = {}
    callbacks = [lightgbm.record_evaluation(curve)]
    held = []
    if valid is not None and len(valid.y):
        held.append(
            matrix.create_valid(valid.x, valid.y, weight=valid.weight, group=valid.group, init_score=valid.init_score)
        )
        callbacks.append(lightgbm.early_stopping(patience, verbose=False))
    try:
        fitted = lightgbm.train(
            given,
            matrix,
            num_boost_round=rounds,
            valid_sets=held,
            valid_names=["valid"] * len(held),
            callbacks=callbacks,
        )
    except lightgbm.basic.LightGBMError as error:
        raise TrainingError(
            f"LightGBM cannot fit {train.x.shape[0]} rows of {train.x.shape[1]} features: {error}"
        ) from None
    for metric, values in curve.get("valid", {}).items():
        for step, value in enumerate(values):
            how.log({f"{label}valid_{metric}": value}, step)
    # Read back from its text, so that what was fitted and what is loaded are the same thing to the last bit.
    return booster_of(fitted.model_to_string(num_iteration=fitted.best_iteration or -1))


def booster_of(text: str) -> lightgbm.Booster:
    """A model from its text. Raises TrainingError for a text that is none or was cut."""
    if not text.startswith("tree\n") or not text.rstrip().rpartition("\n")[2].startswith("pandas_categorical:"):
        raise TrainingError("a LightGBM model was expected, the text is none or was cut; train again")
    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise TrainingError(f"a LightGBM model that cannot be read ({error}); train again") from None


def save_booster(booster: lightgbm.Booster, path: Path) -> None:
    """Writes the model's text."""
    path.write_text(booster.model_to_string(), encoding="utf-8")


def load_booster(path: Path) -> lightgbm.Booster:
    """Reads what `save_booster` wrote. Raises TrainingError where it is missing or damaged."""
    try:
        return booster_of(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, TrainingError) as error:
        raise TrainingError(f"{path}: no readable LightGBM model ({error}); train again") from None


def _check(train: Data, objective: str) -> None:
    if not len(train.y):
        raise TrainingError("no examples to fit: 0 rows; wait for more nights")
    if not np.isfinite(train.y).all():
        raise TrainingError(
            f"the target holds {int((~np.isfinite(train.y)).sum())} values that are no numbers; mend the data"
        )
    if objective in _CLASSES:
        classes = np.unique(train.y)
        if len(classes) < 2:
            raise TrainingError(
                f"all {len(train.y)} examples have the class {classes[0]:g}: nothing to tell apart; wait for more nights"
            )
