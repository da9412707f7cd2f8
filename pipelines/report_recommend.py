"""The report's numbers about recommendations: what is shown tomorrow, from where, why, and what was kept out of the lists.

What is said is told in the words that customers read, of those sentences that many read.
"""

from datetime import date
from typing import Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.report_read import rows_by
from pipelines.report_reasons import MIN_SAID

SHOWN_ITEMS: Final = 8
SHOWN_BUNDLES: Final = 5
SOURCES: Final = {
    "own": "what the customer touched before",
    "together": "what goes together with it, and with searches",
    "category": "the best of the customer's categories",
    "popular": "what is popular",
    "new": "what nobody has touched yet",
    "lot": "lots, to go on learning",
}
REASONS: Final = {
    "again": "own history",
    "together": "an earlier item",
    "search": "a search",
    "category": "a category",
    "price_band": "the usual price range",
    "price_drop": "a lower price",
    "popular": "popular now",
    "new": "new in the shop",
    "lot": "drawn by lot",
    "range": "nothing in particular",
}
FILTERS: Final = {
    "withdrawn": "withdrawn",
    "stock": "out of stock",
    "bought": "bought, and not yet time to buy it again",
    "price_band": "far from the prices that the customer looks at",
    "diversity": "enough of its category",
}


def recommended(night: date, shop: Shop, store: Store) -> dict[str, Any] | None:
    """The section's numbers; None where the shop recommends nothing."""
    if shop.recommend is None:
        return None
    manifest = store.manifest("recommendations", night)
    table = read(store, "recommendations", [night], C.USER_KEY, C.SLOT, C.ITEM_ID, C.REASON_CODE, C.WHY_EN)
    if manifest is None or table is None:
        return {"missing": "Nothing is recommended on this night yet: the recommend stage does it."}
    told, rows = manifest.counts, len(table)
    names = ("customers", "served", "holdout", "no_consent", "items", "withdrawn", "out_of_stock", "distinct_items",
             "explored", "new", "kind", "model", "version", "why", "nights_to_buy_again")  # fmt: skip
    said = _most_said(table)
    reasons = [
        {"reason": REASONS[row["name"]], "rows": row["count"], "said": said.get(row["name"])}
        for row in _counted(told["by_reason"])
    ]
    return {
        **{name: told[name] for name in names},
        "k": shop.recommend.k,
        "rows": rows,
        "coverage": round(told["distinct_items"] / told["items"], 6) if told["items"] else None,
        "by_source": [{"source": SOURCES[row["name"]], "rows": row["count"]} for row in _counted(told["by_source"])],
        "by_reason": reasons,
        "filters": [{"filter": FILTERS[row["name"]], "rows": row["count"]} for row in _counted(told["filters"])],
        "shown": _most_shown(night, store, table),
        "bundles": _bundles(night, store),
    }


def _counted(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "count": n} for name, n in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if n]


def _most_said(table: Any) -> dict[str, dict[str, Any]]:
    """Per reason the sentence that most customers read, if it is told of many."""
    said: dict[str, dict[str, Any]] = {}
    rows = rows_by(table, [C.REASON_CODE, C.WHY_EN], (C.USER_KEY, "count_distinct"))
    count = f"{C.USER_KEY}_count_distinct"
    for row in sorted(rows, key=lambda row: (-row[count], row[C.WHY_EN])):
        if row[count] >= MIN_SAID:
            said.setdefault(row[C.REASON_CODE], {"text": row[C.WHY_EN], "customers": row[count]})
    return said


def _most_shown(night: date, store: Store, table: Any) -> list[dict[str, Any]]:
    """The items on most lists, with their titles."""
    rows = rows_by(table, [C.ITEM_ID], (C.USER_KEY, "count_distinct"), (C.SLOT, "mean"))
    count = f"{C.USER_KEY}_count_distinct"
    rows = sorted(rows, key=lambda row: (-row[count], row[C.ITEM_ID]))[:SHOWN_ITEMS]
    titles = _titles(night, store)
    return [
        {
            "item": row[C.ITEM_ID],
            "title": titles.get(row[C.ITEM_ID]) or row[C.ITEM_ID],
            "customers": row[count],
            "slot": round(row[f"{C.SLOT}_mean"], 2),
        }
        for row in rows
    ]


def _bundles(night: date, store: Store) -> list[dict[str, Any]]:
    """The pairs that promise most, with their titles."""
    names = (
        C.RANK,
        C.ITEM_A,
        C.ITEM_B,
        C.BUNDLE_CENTS,
        C.PRICE_CENTS,
        C.MARGIN_PERCENT,
        C.PROFIT_PER_1000_SESSIONS_CENTS,
    )
    table = read(store, "bundles", [night], *names, C.WHY)
    if table is None:
        return []
    titles = _titles(night, store)
    return [
        {
            "titles": [titles.get(row[name]) or row[name] for name in (C.ITEM_A, C.ITEM_B)],
            "cents": row[C.BUNDLE_CENTS],
            "alone_cents": row[C.PRICE_CENTS],
            "margin_percent": round(row[C.MARGIN_PERCENT], 2),
            "profit_cents": round(row[C.PROFIT_PER_1000_SESSIONS_CENTS], 2),
            "why": row[C.WHY],
        }
        for row in table.sort_by(C.RANK).slice(0, SHOWN_BUNDLES).to_pylist()
    ]


def _titles(night: date, store: Store) -> dict[str, str]:
    catalog = read(store, "catalog", [night], C.ITEM_ID, C.TITLE)
    return dict(zip(*(catalog[name].to_pylist() for name in (C.ITEM_ID, C.TITLE)), strict=True)) if catalog else {}
