"""The report's numbers about reviews: what is suddenly blamed, what is praised and blamed of each aspect and how that changed,
and what many say of an item.

The page counts and quotes nobody: the sentences that stand for many are in table review_summaries, each with its author, so
that they go when the author is erased.
"""

from collections import Counter
from datetime import date
from typing import Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.listening import RECENT_NIGHTS
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store

SHOWN_ASPECTS: Final = 14
SHOWN_ITEMS: Final = 6
LANGUAGES: Final = {"en": "English", "zh": "Chinese", "other": "another language"}
ITEM: Final = "item"  # scope of the sentences that stand for an item's reviews


def listened(night: date, shop: Shop, store: Store) -> dict[str, Any] | None:
    """The section's numbers; None where the shop does not listen."""
    if shop.listen is None:
        return None
    manifest = store.manifest("review_opinions", night)
    if manifest is None:
        return {"missing": "No review was read on this night yet: the listen stage does it."}
    told = manifest.counts
    names = ("reviews", "reviews_in_window", "topics_found", "no_alarm", "model", "version", "why")
    return {
        **{name: told[name] for name in names},
        "window_nights": shop.listen.window_nights,
        "recent_nights": RECENT_NIGHTS,
        "budget": shop.listen.false_alarms_per_month,
        "alerts": _alerts(night, store),
        "aspects": _aspects(told["aspects"]),
        "items": _items(night, store),
        "attributes": _attributes(night, store),
    }


def _alerts(night: date, store: Store) -> list[dict[str, Any]]:
    """The least likely by chance first."""
    names = (C.ASPECT, C.FIRST_NIGHT, C.N_NEGATIVE, C.N_EXPECTED, C.N_REVIEWS, C.P_VALUE, C.ITEM_IDS)
    table = read(store, "opinion_alerts", [night], *names)
    if table is None:
        return []
    titles = _titles(night, store)
    return [
        {
            "aspect": row[C.ASPECT],
            "since": row[C.FIRST_NIGHT],
            "blamed": row[C.N_NEGATIVE],
            "expected": round(row[C.N_EXPECTED], 2),
            "reviews": row[C.N_REVIEWS],
            "items": [titles.get(item) or item for item in row[C.ITEM_IDS].split(";") if item],
        }
        for row in table.sort_by([(C.P_VALUE, "ascending"), (C.ASPECT, "ascending")]).to_pylist()
    ]


def _aspects(told: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Shares of reviews that praise and blame each aspect in the recent nights, and how much more than before blame it."""
    rows: list[dict[str, Any]] = []
    for aspect, counted in told.items():
        n, n_before = counted["reviews"], counted["reviews_before"]
        blamed, before = counted.get("blamed", 0), counted.get("blamed_before", 0)
        rows.append(
            {
                "aspect": aspect,
                "praised": counted.get("praised", 0),
                "blamed": blamed,
                "blamed_share": round(blamed / n, 6) if n else None,
                "change": round(blamed / n - before / n_before, 6) if n and n_before else None,
            }
        )
    rows.sort(key=lambda row: (-row["praised"] - row["blamed"], row["aspect"]))
    return rows[:SHOWN_ASPECTS]


def _items(night: date, store: Store) -> list[dict[str, Any]]:
    """What many say of the items with most reviews, both languages apart."""
    names = (C.SCOPE, C.ITEM_ID, C.LANGUAGE, C.SIDE, C.RANK, C.ASPECT, C.N_SAID, C.N_REVIEWS)
    table = read(store, "review_summaries", [night], *names)
    if table is None:
        return []
    titles = _titles(night, store)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.sort_by([(C.RANK, "ascending"), (C.ASPECT, "ascending")]).to_pylist():
        if row[C.SCOPE] == ITEM:
            key = (row[C.ITEM_ID], row[C.LANGUAGE])
            one = found.setdefault(
                key, {"language": LANGUAGES.get(key[1], key[1]), "reviews": row[C.N_REVIEWS], "pro": [], "con": []}
            )
            one["title"] = titles.get(key[0]) or key[0]
            one[row[C.SIDE]].append({"aspect": row[C.ASPECT], "said": row[C.N_SAID]})
    ranked = sorted(found.items(), key=lambda one: (-one[1]["reviews"], one[0]))
    return [one for _, one in ranked[:SHOWN_ITEMS]]


def _attributes(night: date, store: Store) -> list[dict[str, Any]]:
    """How many items were guessed which attribute."""
    table = read(store, "item_attributes", [night], C.ATTRIBUTE)
    counted = Counter(table[C.ATTRIBUTE].to_pylist()) if table is not None else Counter[str]()
    return [{"attribute": name, "items": n} for name, n in sorted(counted.items(), key=lambda one: (-one[1], one[0]))]


def _titles(night: date, store: Store) -> dict[str, str]:
    catalog = read(store, "catalog", [night], C.ITEM_ID, C.TITLE)
    return dict(zip(*(catalog[name].to_pylist() for name in (C.ITEM_ID, C.TITLE)), strict=True)) if catalog else {}
