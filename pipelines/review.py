"""What a person reviews: creatives that moderation held, beside what is known of what they advertise.

    nightmarket review list
    nightmarket review show ID
    nightmarket review approve ID --note "the catalogue is behind"
    nightmarket review reject ID --note "nobody says that"

Decisions go to the ledger (pipelines/review_ledger.py) and hold for that text from the next run of a night's plan stage;
an approved text may be sent, a rejected one never again, whatever moderation says of it.
"""

import json
import re
from collections import Counter
from datetime import date
from typing import Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.review_ledger import Word, decisions, history, record

TABLE: Final = "creatives"
HELD: Final = "held"
USABLE: Final = ("clean", "approved")
_ID: Final = re.compile(r"[0-9a-f]{8,64}")
_WHO: Final = re.compile(r"[\w .@\-]{1,64}")
_MAX_NOTE: Final = 500
_SHOWN: Final = (
    C.CREATIVE_ID, C.BRIEF_ID, C.ITEM_ID, C.OFFER_ID, C.CHANNEL, C.CREATIVE_STYLE, C.LANGUAGE, C.TEXT, C.SOURCE, C.STATUS,
    C.RULE, C.DETAIL,
)  # fmt: skip
_OF_ITEM: Final = (C.ITEM_ID, C.TITLE, C.DESCRIPTION, C.BRAND, C.CATEGORY_PATH, C.ATTRIBUTES, C.PRICE_CENTS)


def queue(store: Store, night: date | None = None, *, everything: bool = False) -> dict[str, Any]:
    """Creatives of a night (the newest by default) that wait for a decision, by rule and id; all of them with `everything`."""
    night = night or _newest(store)
    decided = decisions(store)
    rows = sorted(_rows(store, night), key=lambda row: (row[C.RULE] or "", row[C.CREATIVE_ID]))
    told = [row | {"decision": decided.get(row[C.CREATIVE_ID])} for row in rows]
    waiting = [row for row in told if row["decision"] is None and row[C.STATUS] == HELD]
    return {
        "shop": store.shop,
        "night": night.isoformat(),
        "waiting": len(waiting),
        "by_rule": dict(sorted(Counter(row[C.RULE] for row in waiting).items())),
        "creatives": told if everything else waiting,
    }


def side_by_side(store: Store, shop: Shop, creative_id: str) -> dict[str, Any]:
    """The newest of a creative, what is known of its product and offer, why it is held, what could be sent instead, and
    who has decided what. Raises WrongUseError for an unknown id."""
    night, row = _find(store, creative_id)
    offer = next((one for one in shop.strategy.offers if one.id == row[C.OFFER_ID]), None)
    others = [
        other
        for other in _rows(store, night)
        if other[C.BRIEF_ID] == row[C.BRIEF_ID] and other[C.CREATIVE_ID] != creative_id and other[C.STATUS] in USABLE
    ]
    return {
        "night": night.isoformat(),
        "creative": row,
        "known": {
            "offer_text": offer.text if offer else None,
            "discount_percent": offer.discount_percent if offer else None,
            "currency": shop.currency,
            **_item(store, night, row[C.ITEM_ID]),
        },
        "instead": [{C.TEXT: other[C.TEXT], C.SOURCE: other[C.SOURCE]} for other in others],
        "decision": decisions(store).get(creative_id),
        "history": [vars(one) for one in history(store) if one.creative_id == creative_id],
    }


def decide(store: Store, creative_id: str, word: Word, who: str, note: str = "") -> dict[str, Any]:
    """Records a decision on a creative that exists. Raises WrongUseError for an unknown id, or a name or note that is none."""
    if not _WHO.fullmatch(who.strip()):
        raise WrongUseError("--as: expected the reviewer's name, 1 to 64 letters, digits, spaces, '.', '@', '-'")
    if len(note) > _MAX_NOTE or any(ord(c) < 32 for c in note):
        raise WrongUseError(f"--note: expected one line of at most {_MAX_NOTE} characters, this has {len(note)}")
    if word == "rejected" and not note.strip():
        raise WrongUseError("a rejection needs a reason: give --note, so that who wrote the text can learn from it")
    night, row = _find(store, creative_id)
    made, is_new = record(store, creative_id, word, who.strip(), note.strip())
    return {"night": night.isoformat(), C.RULE: row[C.RULE], "new": is_new, **vars(made)}


def _newest(store: Store) -> date:
    nights = store.nights(TABLE)
    if not nights:
        raise NoDataError(f"shop {store.shop}: no creatives yet; configure 'write' in its file and run a night")
    return nights[-1]


def _rows(store: Store, night: date) -> list[dict[str, Any]]:
    table = read(store, TABLE, [night], *_SHOWN)
    if table is None:
        known = ", ".join(one.isoformat() for one in store.nights(TABLE)[-3:]) or "none"
        raise NoDataError(f"shop {store.shop}: no creatives of {night}; the newest nights that have some: {known}")
    return list(table.to_pylist())


def _find(store: Store, creative_id: str) -> tuple[date, dict[str, Any]]:
    """The newest night that has it, and its row there."""
    if not _ID.fullmatch(creative_id):
        raise WrongUseError(
            "that is no creative's id: expected 8 to 64 hex digits, as `nightmarket review list` shows them"
        )
    for night in reversed(store.nights(TABLE)):
        for row in _rows(store, night):
            if row[C.CREATIVE_ID] == creative_id:
                return night, row
    raise WrongUseError(
        f"shop {store.shop}: no creative {creative_id}; `nightmarket review list --shop {store.shop}` shows what waits"
    )


def _item(store: Store, night: date, item_id: str | None) -> dict[str, Any]:
    """What the catalogue of that night says of an item; nothing where there is none."""
    table = read(store, "catalog", [night], *_OF_ITEM) if item_id else None
    rows = [] if table is None else [row for row in table.to_pylist() if row[C.ITEM_ID] == item_id]
    if not rows:
        return {}
    told = rows[0]
    try:
        attributes = json.loads(told[C.ATTRIBUTES] or "{}")
    except ValueError:
        attributes = told[C.ATTRIBUTES]
    return told | {C.ATTRIBUTES: attributes}
