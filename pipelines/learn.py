"""The learn stage: trains what is due tonight, and promotes what is better.

A model that cannot be trained or judged does not stop the night: the champion of before goes on scoring, and the cause
stands in the run record, in the summary and in the report.
"""

from datetime import date
from typing import Any

from pipelines.core.errors import NightmarketError
from pipelines.promote import promote
from pipelines.stage import Context, StageResult
from pipelines.train import is_due, make_features, train


def run(night: date, context: Context) -> StageResult:
    """Counts per task: {trained, version, verdict, reasons} or {error}."""
    result = StageResult("learn")
    if not context.shop.models.tasks:
        result.idle = "no models configured"
    for task in context.shop.models.tasks:
        told: dict[str, Any] = {"trained": False}
        try:
            if is_due(task, night, context):
                make_features(task, night, context)
                made = train(task, night, context)
                verdict = promote(task, night, context, made["version"])
                told = {"trained": True, "version": made["version"], **verdict.as_dict()}
                result.n_made += 1
        except NightmarketError as error:
            told["error"] = str(error)
            context.progress(f"{task} was not trained: {error}")
        result.counts[task] = told
    return result
