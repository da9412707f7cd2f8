"""What the effect of a message is explained by: the model's columns, gathered into factors that a person can name.

Columns that only make sense together are one factor: answers on the channels and the channel that is used, the hours of
a customer's visits and the hours of the message. A factor tells in words what is so of one row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from training.tasks.effect_examples import OWN_ITEM, RECENT, SEEN, WEEKDAY, on_channel

OTHERS: Final = "others"  # columns that a model may see and that no factor names
_PARTS: Final = {
    C.NIGHT_SHARE: "night", C.MORNING_SHARE: "morning", C.AFTERNOON_SHARE: "afternoon", C.EVENING_SHARE: "evening",
}  # fmt: skip
_NOT_KNOWN: Final = (C.USER_KEY, C.STRATEGY_ID, WEEKDAY)  # alike for all customers of a night, or made of other columns


@dataclass(frozen=True)
class Words:
    """What is needed to say it: names and units of the shop."""

    window_nights: int = 28
    currency: str = "EUR"
    categories: Mapping[str, str] = field(default_factory=dict)  # category_id -> path

    def money(self, cents: Any) -> str:
        return f"{(cents or 0) / 100:,.2f} {self.currency}"

    def often(self, number: Any, one: str, many: str) -> str:
        """3 -> '3 visits in 28 nights'; counts of a young shop are told as for a whole window, so not always whole."""
        number = number or 0
        text = f"{number:,.0f}" if number >= 10 or abs(number - round(number)) < 0.05 else f"{number:.1f}"
        return f"{'no' if text == '0' else text} {one if text in ('0', '1') else many} in {self.window_nights} nights"


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Factor:
    """One named part of what a model sees of a customer and a strategy."""

    name: str
    columns: tuple[str, ...]
    tell: Callable[[Row, Words], str]


def factors_of(rows: pa.Table) -> tuple[Factor, ...]:
    """The factors whose columns `rows` has; every column that may matter is in exactly one, all unnamed ones in OTHERS."""
    answered = tuple(name for name in rows.schema.names if name.endswith((f"_{C.N_DELIVERIES}", f"_{C.N_CLICKS}")))
    known = (
        Factor("answers", (C.N_DELIVERIES, C.N_CLICKS, *answered, C.CHANNEL), _answers),
        Factor("hours", (*_PARTS, SEEN, C.ACTIVE_HOUR, C.SEND_WINDOW), _hours),
        Factor("offer", (C.OFFER, C.DISCOUNT_PERCENT), _offer),
        Factor("frequency", (C.FREQUENCY,), lambda row, _: f"{_count(row[C.FREQUENCY], 'message', 'messages')}"),
        Factor("style", (C.CREATIVE_STYLE, C.NON_LATIN_SHARE), _style),
        Factor("purchases", (C.N_PURCHASES, C.REVENUE_CENTS, C.AVG_ORDER_CENTS), _purchases),
        Factor(
            "prices",
            (C.AVG_PRICE_CENTS,),
            lambda row, words: f"looks at items of {words.money(row[C.AVG_PRICE_CENTS])}",
        ),
        Factor("basket", (C.N_CARTS, C.N_FAVORITES), _basket),
        Factor(
            "visits",
            (C.RECENCY_NIGHTS, C.N_ACTIVE_NIGHTS, C.N_SESSIONS, C.N_EVENTS, C.N_VIEWS, C.N_SEARCHES, C.N_ITEMS),
            _visits,
        ),
        Factor("taste", (C.TOP_CATEGORY_ID, C.TOP_CATEGORY_SHARE, C.TOP_BRAND_SHARE), _taste),
        Factor("item", (OWN_ITEM,), _item),
        Factor(
            "contacts", (RECENT,), lambda row, _: f"{_count(row[RECENT], 'message', 'messages')} in the last nights"
        ),
        Factor("segment", (C.SEGMENT_NAME,), lambda row, _: f"segment {row[C.SEGMENT_NAME] or 'unknown'}"),
    )
    found = [
        Factor(one.name, tuple(name for name in one.columns if name in rows.schema.names), one.tell) for one in known
    ]
    named = {name for one in found for name in one.columns} | set(_NOT_KNOWN)
    rest = tuple(name for name in rows.schema.names if name not in named)
    found.append(Factor(OTHERS, rest, lambda row, _: "what else is known of the customer"))
    return tuple(one for one in found if one.columns)


def strategy_ids(rows: pa.Table) -> pa.ChunkedArray:
    """(n,) the ids that the strategies of `rows` have or would have, from their parts (pipelines/strategy/candidates.py)."""
    frequency = pc.cast(pc.cast(rows[C.FREQUENCY], pa.int64()), pa.string())
    times = pc.binary_join_element_wise("x", frequency, "")
    return pc.binary_join_element_wise(
        rows[C.CHANNEL], rows[C.OFFER], rows[C.SEND_WINDOW], times, rows[C.CREATIVE_STYLE], "."
    )


def _count(number: Any, one: str, many: str) -> str:
    number = number or 0
    return f"{'no' if not number else f'{number:,.0f}'} {one if number in (0, 1) else many}"


def _answers(row: Row, words: Words) -> str:
    channel = row[C.CHANNEL]
    sent, clicked = row.get(C.N_DELIVERIES) or 0, row.get(C.N_CLICKS) or 0
    if not sent:
        return f"first message, by {channel}"
    told = f"clicked {clicked:,.0f} of {_count(sent, 'message', 'messages')}"
    if on_channel(channel, C.N_DELIVERIES) not in row:
        return f"{told}, now by {channel}"
    here, clicked_here = (row[on_channel(channel, name)] or 0 for name in (C.N_DELIVERIES, C.N_CLICKS))
    if not here:
        return f"{told}, first by {channel}"
    return f"clicked {clicked_here:,.0f} of {here:,.0f} by {channel}" + (f", {told} in all" if here != sent else "")


def _hours(row: Row, words: Words) -> str:
    part = max(_PARTS, key=lambda name: row.get(name) or 0.0)
    return f"{_PARTS[part]} shopper ({row.get(part) or 0:.0%}), sent in window {row[C.SEND_WINDOW]}"


def _offer(row: Row, words: Words) -> str:
    return f"{row[C.DISCOUNT_PERCENT]:g}% off" if row[C.DISCOUNT_PERCENT] else f"offer {row[C.OFFER]}, no discount"


def _style(row: Row, words: Words) -> str:
    searches = row.get(C.NON_LATIN_SHARE)
    whose = "" if searches is None else f", {searches:.0%} of searches in another script"
    return f"written in style {row[C.CREATIVE_STYLE]}{whose}"


def _purchases(row: Row, words: Words) -> str:
    told = words.often(row.get(C.N_PURCHASES), "purchase", "purchases")
    return f"{told}, {words.money(row[C.AVG_ORDER_CENTS])} an order" if row.get(C.AVG_ORDER_CENTS) else told


def _basket(row: Row, words: Words) -> str:
    return words.often(row.get(C.N_CARTS), "item put into the basket", "items put into the basket")


def _visits(row: Row, words: Words) -> str:
    nights = row.get(C.RECENCY_NIGHTS) or 0
    last = "here tonight" if not nights else f"last here {_count(nights, 'night', 'nights')} ago"
    return f"{last}, {words.often(row.get(C.N_SESSIONS), 'visit', 'visits')}"


def _item(row: Row, words: Words) -> str:
    is_own = row.get(OWN_ITEM)
    if is_own is None:
        return "about no item"
    return "about an item the customer looked at before" if is_own else "about an item recommended for another reason"


def _taste(row: Row, words: Words) -> str:
    category = row.get(C.TOP_CATEGORY_ID)
    if not category:
        return "no favourite category"
    return f"favourite category {words.categories.get(category, category)} ({row.get(C.TOP_CATEGORY_SHARE) or 0:.0%})"
