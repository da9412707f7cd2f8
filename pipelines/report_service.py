"""The report's numbers about the service desk: what customers asked, what stays open, and what that changes in the plan."""

from collections import Counter
from datetime import date
from typing import Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.servicing import NEGATIVE
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from pipelines.report_read import share

TABLE: Final = "conversations"
OPEN_NIGHTS: Final = 7  # in which talks that were not settled are looked for
SHOWN_INTENTS: Final = 10
_COLUMNS: Final = (
    C.CONVERSATION_ID, C.INTENT, C.TOPIC, C.LANGUAGE, C.MOOD, C.IS_OUT_OF_SCOPE, C.IS_COMPLAINT, C.IS_RESOLVED,
    C.IS_HANDED_OVER, C.OCCURRED_AT,
)  # fmt: skip


def served(night: date, shop: Shop, store: Store) -> dict[str, Any] | None:
    """The section's numbers; None where the shop has no desk."""
    if shop.service is None:
        return None
    tonight = _talks(store, [night])
    plan = store.manifest("campaign_plan", night)
    told = {
        "rest_nights": shop.strategy.unhappy_rest_nights,
        "unhappy": int(plan.counts["by_constraint"].get("unhappy", 0)) if plan else None,
        "open_nights": OPEN_NIGHTS,
    }
    if not tonight:
        return told | {"conversations": 0, "open": _open(night, store)}
    n = len(tonight)
    counted = Counter(row[C.INTENT] or "" for row in tonight)
    unhappy = Counter(row[C.INTENT] or "" for row in tonight if row[C.MOOD] == NEGATIVE)
    settled = Counter(row[C.INTENT] or "" for row in tonight if row[C.IS_RESOLVED])
    intents = [
        {"intent": words(name), "count": count, "negative": unhappy[name], "settled": settled[name]}
        for name, count in sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:SHOWN_INTENTS]
    ]
    return told | {
        "conversations": n,
        "intents": intents,
        "languages": dict(sorted(Counter(row[C.LANGUAGE] for row in tonight).items())),
        "shares": {
            name: share(sum(bool(row[column]) for row in tonight), n)
            for name, column in (
                ("settled", C.IS_RESOLVED), ("for_people", C.IS_HANDED_OVER), ("not_understood", C.IS_OUT_OF_SCOPE),
                ("complaints", C.IS_COMPLAINT),
            )
        },
        "open": _open(night, store),
    }  # fmt: skip


def words(intent: str) -> str:
    """An id as people read it."""
    return intent.replace("_", " ") if intent else "nothing that the desk knows"


def _open(night: date, store: Store) -> list[dict[str, Any]]:
    """Topics of talks of the last nights that were not settled when last heard of, the most first."""
    latest: dict[str, dict[str, Any]] = {}
    for row in _talks(store, window(night, OPEN_NIGHTS)):
        known = latest.get(row[C.CONVERSATION_ID])
        if known is None or known[C.OCCURRED_AT] <= row[C.OCCURRED_AT]:
            latest[row[C.CONVERSATION_ID]] = row
    all_of = Counter(row[C.TOPIC] or "" for row in latest.values())
    still = Counter(row[C.TOPIC] or "" for row in latest.values() if not row[C.IS_RESOLVED])
    return [
        {"topic": words(topic), "open": count, "of": all_of[topic]}
        for topic, count in sorted(still.items(), key=lambda one: (-one[1], one[0]))
    ]


def _talks(store: Store, nights: list[date]) -> list[dict[str, Any]]:
    table = read(store, TABLE, nights, *_COLUMNS)
    return [] if table is None else table.to_pylist()
