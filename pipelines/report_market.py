"""The report's numbers about the market: what categories will be asked for, and what items should cost."""

from datetime import date
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.pricing import WHYS
from pipelines.strategy.trend import MEAN

NOTABLE_CHANGE, MOST_NOTABLE, SHOWN_PRICES = 0.05, 3, 8
_METHODS = {
    "seasonal_naive": "the same weekday of last week",
    "seasonal_mean": "the mean of the last weeks' weekdays",
    "smoothing": "exponential smoothing",
    "components": "a level and a weekday pattern by the Kalman filter",
    "combination": "the mean of two methods",
    MEAN: "the mean of all nights, for want of a whole week",
}


def coming(night: date, store: Store, trend: dict[str, Any]) -> dict[str, Any]:
    """The forecasts of the categories that `trend` shows, as small multiples; the furthest changes as sentences' parts.

    `change`: the nights forecast against as many nights before, where all of those are known.
    """
    table = read(store, "category_trend", [night], *(C.CATEGORY_ID, C.HORIZON_NIGHTS, C.FORECAST, C.FORECAST_LOW,
                 C.FORECAST_HIGH, C.METHOD, C.BACKTEST_ERROR, C.NAIVE_ERROR, C.N_NIGHTS_KNOWN))  # fmt: skip
    if table is None or "missing" in trend:
        return {"missing": "There is no forecast of this night yet: the market stage makes it."}
    by_category: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(table.to_pylist(), key=lambda row: (row[C.CATEGORY_ID], row[C.HORIZON_NIGHTS])):
        by_category.setdefault(row[C.CATEGORY_ID], []).append(row)
    categories = []
    for shown in trend["categories"]:
        rows = by_category.get(shown["category_id"])
        if not rows:
            continue
        first, before = rows[0], shown["events"][-len(rows) :]
        known = len(before) == len(rows) and None not in before and sum(before)
        expected = sum(row[C.FORECAST] for row in rows)
        error, naive = first[C.BACKTEST_ERROR], first[C.NAIVE_ERROR]
        categories.append(
            {
                "name": shown["name"],
                "events": shown["events"],
                **{name: [row[name] for row in rows] for name in (C.FORECAST, C.FORECAST_LOW, C.FORECAST_HIGH)},
                "expected": round(expected),
                "change": round(expected / sum(before) - 1, 6) if known else None,
                "method": _METHODS[first[C.METHOD]],
                "error_share": round(error / naive, 6) if error is not None and naive else None,
                "nights_known": first[C.N_NIGHTS_KNOWN],
            }
        )
    changed = [row for row in categories if row["change"] is not None and abs(row["change"]) >= NOTABLE_CHANGE]
    return {
        "nights": max((len(row[C.FORECAST]) for row in categories), default=0),
        "categories": categories,
        "notable": sorted(changed, key=lambda row: (-abs(row["change"]), row["name"]))[:MOST_NOTABLE],
        "tested": sum(row["error_share"] is not None for row in categories),
    }


def prices(night: date, shop: Shop, store: Store) -> dict[str, Any] | None:
    """Tomorrow's price suggestions; None where the shop does not ask for any."""
    if shop.pricing is None:
        return None
    manifest = store.manifest("price_suggestions", night)
    table = read(
        store, "price_suggestions", [night],
        C.ITEM_ID, C.PRICE_CENTS, C.SUGGESTED_CENTS, C.GAIN_CENTS, C.GAIN_LOW_CENTS, C.GAIN_HIGH_CENTS, C.GUARDRAIL, C.WHY,
    )  # fmt: skip
    if manifest is None or table is None:
        return {"missing": "No prices were suggested on this night."}
    rows = [row for row in table.to_pylist() if row[C.SUGGESTED_CENTS] not in (None, row[C.PRICE_CENTS])]
    rows.sort(key=lambda row: (-row[C.GAIN_CENTS], row[C.ITEM_ID]))
    reasons = sorted(manifest.counts["by_reason"].items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        **{
            name: manifest.counts[name]
            for name in ("items", "raised", "lowered", "gain_cents", "model", "version", "why")
        },
        "by_reason": [{"why": WHYS[code], "items": n} for code, n in reasons],
        "rows": rows[:SHOWN_PRICES],
    }
