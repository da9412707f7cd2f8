"""The report's numbers about copy: how many texts were written, what holds those that were held, and examples to read."""

from datetime import date
from typing import Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.copywriting import SAFE, TEMPLATE, USABLE
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store

SHOWN_HELD: Final = 6
WRITERS: Final = {
    TEMPLATE: "template",
    SAFE: "safe template, without a product",
    "no text": "the offer's own words alone",
}
_COLUMNS: Final = (
    C.CREATIVE_ID, C.ITEM_ID, C.CHANNEL, C.CREATIVE_STYLE, C.LANGUAGE, C.TEXT, C.SOURCE, C.STATUS, C.RULE, C.DETAIL,
)  # fmt: skip


def written(night: date, shop: Shop, store: Store) -> dict[str, Any] | None:
    """The section's numbers; None where the shop writes nothing."""
    if shop.write is None:
        return None
    manifest = store.manifest("creatives", night)
    table, copies = read(store, "creatives", [night], *_COLUMNS), read(store, "plan_copy", [night], C.CREATIVE_ID)
    if manifest is None or table is None or copies is None:
        return {"missing": "Nothing is written for this night yet: the plan stage does it."}
    told = manifest.counts
    readers: dict[str, int] = {}
    for name in copies[C.CREATIVE_ID].to_pylist():
        if name:
            readers[name] = readers.get(name, 0) + 1
    rows = table.to_pylist()
    names = ("customers", "generated", "reused", "model", "version", "why")
    return {
        **{name: told[name] for name in names},
        "texts": len(rows),
        "usable": sum(row[C.STATUS] in USABLE for row in rows),
        "by_status": [{"status": name, "rows": n} for name, n in _counted(told["by_status"])],
        "by_source": [
            {"source": WRITERS.get(name, name), "rows": n} for name, n in _counted(told["customers_by_source"])
        ],
        "by_rule": [{"rule": name, "rows": n} for name, n in _counted(told["by_rule"])],
        "examples": _examples(rows, readers),
        "held": _held(rows),
    }


def _counted(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(((name, n) for name, n in counts.items() if n), key=lambda one: (-one[1], one[0]))


def _examples(rows: list[dict[str, Any]], readers: dict[str, int]) -> list[dict[str, Any]]:
    """Per channel, style and language the text that most customers read, of those about a product where there are any."""
    best: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in sorted(
        rows, key=lambda row: (row[C.ITEM_ID] is None, -readers.get(row[C.CREATIVE_ID], 0), row[C.CREATIVE_ID])
    ):
        if readers.get(row[C.CREATIVE_ID]):
            best.setdefault((row[C.CHANNEL], row[C.CREATIVE_STYLE], row[C.LANGUAGE]), row)
    names = (C.CHANNEL, C.CREATIVE_STYLE, C.LANGUAGE, C.TEXT)
    return [
        {**{name: row[name] for name in names}, "customers": readers[row[C.CREATIVE_ID]],
         "source": WRITERS.get(row[C.SOURCE], row[C.SOURCE])}
        for _, row in sorted(best.items())
    ]  # fmt: skip


def _held(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each rule that holds something one text, then more, as far as there is room."""
    held = sorted((row for row in rows if row[C.STATUS] == "held"), key=lambda row: row[C.CREATIVE_ID])
    first = {row[C.RULE]: row for row in reversed(held)}
    chosen = [*first.values(), *(row for row in held if row is not first[row[C.RULE]])][:SHOWN_HELD]
    names = (C.CREATIVE_ID, C.RULE, C.DETAIL, C.TEXT)
    return [
        {name: row[name] for name in names} for row in sorted(chosen, key=lambda row: (row[C.RULE], row[C.CREATIVE_ID]))
    ]
