"""The market stage: what each category will be asked for (category_trend) and what each item should cost tomorrow
(price_suggestions, where the shop configures `pricing`).

    nightmarket night --shop demo --date 2026-03-15
"""

from datetime import date

from pipelines import price, trend
from pipelines.stage import Context, StageResult


def run(night: date, context: Context) -> StageResult:
    """Publishes both tables of the night. Raises NoDataError without events, AuditError."""
    result = StageResult("market")
    trend.publish(night, context, result)
    price.publish(night, context, result)
    return result
