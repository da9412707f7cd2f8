"""Judges versions of one task's model on the same nights: metrics with intervals, paired differences, segments, speed.

    python -m training.judge SPEC.json

The spec is written by pipelines/promote.py: `shop`, `root`, `mlflow_uri`, `task`, `nights` (held back from training),
`challenger` and `champion` (version numbers), `out`. Files whose hash is not the registered one end the job.
"""

import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from pipelines.core.fairness import FairnessGate
from pipelines.core.registry import BASELINE_FOLDER, Registry
from pipelines.core.shop import Shop
from pipelines.strategy.fairness import groups_by, judge_preferences, preferred
from pipelines.strategy.judgement import MIN_SEGMENT_CUSTOMERS, Finding, Interval, Metric, resampled, segment_level
from training.card import card
from training.job import run_job
from training.reading import Reading
from training.task import Examples, Measure, Model, PolicyTask, Task, task_of

CHALLENGER, CHAMPION, BASELINE = "challenger", "champion", "baseline"


def compare(task: Task, examples: Examples, predicted: Mapping[str, pa.Table], who: str = CHALLENGER) -> dict[str, Any]:
    """What each of some models is worth on the same examples, and what `who` is worth more than each other.

    `predicted`: n rows of predictions per model. Numbers are Interval.as_dict; differences are `who` minus the other, on
    the same draws. Segments carry the deciding metric alone, at the level of intervals that all hold together.
    """
    values = _resampled(task.measures, examples, predicted)
    counted = {
        name: examples.segment == name
        for name in sorted(set(examples.segment.tolist()) - {""})
        if len(np.unique(examples.customer[examples.segment == name])) >= MIN_SEGMENT_CUSTOMERS
    }
    segments = {}
    for name, where in counted.items():
        part = examples.take(where)
        tables = {model: table.filter(pa.array(where)) for model, table in predicted.items()}
        found = _resampled({task.metric: task.measures[task.metric]}, part, tables)
        level = segment_level(len(counted))
        segments[name] = {"rows": len(part), "customers": len(np.unique(part.customer))} | _told(found, who, level)
    return {
        "rows": len(examples),
        "customers": len(np.unique(examples.customer)),
        "metric": task.metric,
        "higher_is_better": {name: measure.higher_is_better for name, measure in task.measures.items()},
        **_told(values, who),
        "segments": segments,
    }


def _resampled(
    measures: Mapping[str, Measure], examples: Examples, predicted: Mapping[str, pa.Table]
) -> dict[str, dict[str, np.ndarray]]:
    """Per model and metric the value on the rows as they are and on each draw; one pass over the draws for all."""

    def bound(measure: Measure, table: pa.Table) -> Metric:
        return lambda weight: measure.of(examples.target, table, weight)

    metrics = {
        f"{model} {name}": bound(measure, table)
        for model, table in predicted.items()
        for name, measure in measures.items()
    }
    drawn = resampled(metrics, examples.customer)
    return {model: {name: drawn[f"{model} {name}"] for name in measures} for model in predicted}


def _told(values: Mapping[str, Mapping[str, np.ndarray]], who: str, level: float = 0.95) -> dict[str, Any]:
    def intervals(numbers: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {name: Interval.of(drawn, level).as_dict() for name, drawn in numbers.items()}

    mine = values[who]
    return {
        "metrics": {model: intervals(numbers) for model, numbers in values.items()},
        "paired": {
            model: intervals({name: mine[name] - drawn for name, drawn in numbers.items()})
            for model, numbers in values.items()
            if model != who
        },
    }


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Keys of `compare` and `fairness`, `speed` per model {seconds_per_row, size_mb}, the `card`, the
    task's own `max_seconds_per_row` if it has one, and `off_policy` where the
    model chooses what is sent. Raises RegistryError, NoDataError."""
    shop, task = Shop.model_validate(spec["shop"]), task_of(spec["task"])
    nights = tuple(date.fromisoformat(night) for night in spec["nights"])
    registry = Registry(shop.shop, Path(spec["root"]), spec["mlflow_uri"])
    challenger = registry.get(task.name, spec["challenger"])
    folders = {
        CHALLENGER: registry.fetch(challenger),
        CHAMPION: registry.fetch(registry.get(task.name, spec["champion"])),
        BASELINE: registry.file(challenger, BASELINE_FOLDER),
    }
    store = Reading(registry.root, shop.shop, max(nights))
    examples = task.examples(shop, store, nights)
    models = {name: task.load(folder) for name, folder in folders.items()}
    predicted, speed = {}, {}
    for name, folder in folders.items():
        predicted[name], speed[name] = timed(models[name], examples.rows)
        speed[name]["size_mb"] = size_mb(folder)
    found = compare(task, examples, predicted)
    if limit := getattr(task, "max_seconds_per_row", None):  # where a row is more than a customer
        found["max_seconds_per_row"] = limit
    found |= fairness(shop.fairness_gate, examples, predicted)
    if isinstance(task, PolicyTask):
        found["off_policy"] = task.compare_policies(shop, store, examples, models[CHALLENGER], models[CHAMPION])
    return found | {"speed": speed, "card": card(task, challenger.tags, found, f"judged nights {_span(nights)}", speed)}


def fairness(rules: FairnessGate, examples: Examples, predicted: Mapping[str, pa.Table]) -> dict[str, Any]:
    """{"fairness": {check, passed, text}}: whether the challenger prefers some group of customers, among those who were sent
    something by lot. Nothing for a task without lifts and for a shop without a bound on who is treated."""
    bound = rules.max_treated_gap
    if bound is None or any(C.LIFT_SPEND_CENTS not in table.schema.names for table in predicted.values()):
        return {}
    if rules.column not in examples.rows.schema.names:
        text = f"not judged here: models do not see {rules.column}; each plan is held against its bound"
        return {"fairness": vars(Finding("fairness", True, text))}
    sent = examples.rows[C.FREQUENCY].to_numpy() > 0
    group = groups_by(rules.column, examples.rows[rules.column].combine_chunks())[sent]
    chosen = {who: preferred(table[C.LIFT_SPEND_CENTS].to_numpy()[sent]) for who, table in predicted.items()}
    found = judge_preferences(rules.column, group, examples.customer[sent], chosen[CHALLENGER], chosen[CHAMPION], bound)
    return {"fairness": vars(found)}


def timed(model: Model, rows: pa.Table) -> tuple[pa.Table, dict[str, float]]:
    """Predictions and {seconds_per_row}; what a model does at its first call is not counted."""
    model.predict(rows.slice(0, 16))
    started = time.perf_counter()
    predicted = model.predict(rows)
    seconds = time.perf_counter() - started
    if len(predicted) != len(rows):
        raise TrainingError(f"a {model.kind} model made {len(predicted)} predictions of {len(rows)} rows")
    return predicted, {"seconds_per_row": seconds / max(1, len(rows))}


def size_mb(folder: Path) -> float:
    """Bytes of all files below, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _span(nights: tuple[date, ...]) -> str:
    return f"{min(nights)} to {max(nights)}"


if __name__ == "__main__":
    run_job(run)
