"""The model card: what a reviewer needs to decide, on one page of Markdown. It becomes the version's description."""

import sys
from collections.abc import Mapping
from typing import Any, Final

from pipelines.core.registry import MAX_TEXT
from pipelines.strategy.judgement import LEVEL, Interval
from training.task import Task

ROOM_FOR_VERDICT: Final = 1_200  # characters that promotion may add
LIMITS: Final = {
    "behaviour": "Knows the order of the last events, not why they happened; a customer with no events gets the shop's "
    "average; a new type of event is unknown to it until it is trained again.",
    "effect": "Learnt from campaigns whose strategy was drawn by lot among those allowed; says nothing about strategies "
    "that were never sent. Effects beyond the night of the message are not seen. What makes each lift of a plan, factor by "
    "factor, is in its table plan_reasons.",
    "policy": "What a message does tonight is the effect model's word; learnt is what it leaves behind, from nights whose "
    "strategies were drawn by lot. Purchases scatter so much that a small shop cannot tell two policies apart.",
    "recommender": "Knows what was touched within the window and how, not what is wanted and was never looked at; judged on "
    "what customers touched by themselves, which favours what they knew. Its view of items is learnt anew each night.",
    "value": "Extrapolates purchases of the past; sales, seasons and new goods that the past did not have are not in it.",
}


def card(
    task: Task,
    tags: Mapping[str, str],
    found: Mapping[str, Any],
    where: str,
    speed: Mapping[str, Mapping[str, float]],
) -> str:
    """Markdown of at most MAX_TEXT - ROOM_FOR_VERDICT characters.

    `tags` of the version, `found` by training.judge.compare, `where`: on which nights, `speed` per model. Segments that
    do not fit are left out, the smallest first.
    """
    models = list(found["metrics"])
    head = [
        f"# {task.name}: {tags.get('kind', '?')}",
        (sys.modules[type(task).__module__].__doc__ or "").partition("\n")[0],
        "## Data",
        f"- learnt from {tags.get('data_first', '?')} to {tags.get('data_last', '?')}: "
        f"{tags.get('train_rows', '?')} examples; choices made on {tags.get('valid_rows', '?')} later ones",
        f"- digest of partitions, settings and code {tags.get('training_digest', '?')[:16]}; partitions in lineage.json",
        f"- measured on {where}: {found['rows']:,} examples of {found['customers']:,} customers",
        "## Metrics",
        f"{LEVEL:.0%} intervals from resampling customers; differences on the same draws. "
        f"Promotion decides on **{found['metric']}**.",
        "",
        *_metrics(task, found, models),
    ]
    tail = [
        "## Limits",
        f"- {LIMITS.get(task.name, 'None written down.')}",
        f"- {'; '.join(_speed(name, numbers) for name, numbers in speed.items())}" if speed else "- speed not measured",
    ]
    segments = _segments(found, models)
    while segments and len("\n".join([*head, *segments, *tail])) > MAX_TEXT - ROOM_FOR_VERDICT:
        segments.pop()
    return "\n".join([*head, *segments, *tail])


def _metrics(task: Task, found: Mapping[str, Any], models: list[str]) -> list[str]:
    others = list(found["paired"])
    lines = [
        _row("metric", *models, *(f"minus {other}" for other in others)),
        _row(*["---"] * (1 + len(models + others))),
    ]
    for name, measure in task.measures.items():
        arrow = "higher" if measure.higher_is_better else "lower"
        numbers = [_number(found["metrics"][model][name]) for model in models]
        differences = [_number(found["paired"][other][name]) for other in others]
        lines.append(_row(f"{name} ({arrow} is better)", *numbers, *differences))
    return lines


def _segments(found: Mapping[str, Any], models: list[str]) -> list[str]:
    if not found["segments"]:
        return []
    metric, others = found["metric"], list(found["paired"])
    lines = [
        f"## {metric} per segment, intervals that hold together",
        _row("segment", "customers", *models, *(f"minus {other}" for other in others)),
        _row(*["---"] * (2 + len(models + others))),
    ]
    for name, part in sorted(found["segments"].items(), key=lambda item: -item[1]["customers"]):
        values = [f"{part['metrics'][model][metric]['value']:.4g}" for model in models]
        differences = [_number(part["paired"][other][metric]) for other in others]
        lines.append(_row(name, f"{part['customers']:,}", *values, *differences))
    return lines


def _number(told: Mapping[str, float | None]) -> str:
    return str(Interval.from_dict(told))


def _speed(name: str, numbers: Mapping[str, float]) -> str:
    return f"{name}: {numbers['seconds_per_row'] * 1e6:.3g} µs a row, {numbers['size_mb']:.2g} MB"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
