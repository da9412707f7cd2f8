"""What the campaigns did: answers to the messages of the last nights, and purchases of the holdout beside everybody else.

    nightmarket readout --shop demo --date 2026-03-15

The same numbers as in the night's report, with 95% intervals; nothing is written.
"""

from datetime import date
from typing import Any

from pipelines.core.errors import NoDataError
from pipelines.report_audience import measured
from pipelines.stage import Context


def readout(night: date, context: Context) -> dict[str, Any]:
    """{shop, night, answers, effect} as known at the end of `night`. Raises NoDataError."""
    if context.store.manifest("events", night) is None:
        known = context.store.nights("events")
        nearest = f"nights with events: {known[0]} to {known[-1]}" if known else "run `nightmarket night` first"
        raise NoDataError(f"shop {context.shop.shop}, night {night}: no events, so nothing to read out; {nearest}")
    return {"shop": context.shop.shop, "night": night.isoformat(), **measured(night, context.store)}
