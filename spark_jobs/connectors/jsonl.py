"""Nightmarket's own events as JSON lines, all event types; keys in docs/INPUT.md, section events."""

from pipelines.core.columns import Columns as C
from pipelines.core.tables import EVENT_TYPES
from spark_jobs.parse import OCCURRED_US, Format, cents, micros_of_iso, text_id, whole_number

FORMAT = Format(
    names=(
        "user_id", "event_type", "occurred_at", "event_id", "session_id", "item_id", "category_id", "category_path",
        "brand", "price", "quantity", "query", "order_id", "channel",
    ),
    event_types={name: name for name in EVENT_TYPES},
    columns=lambda cells: {
        C.USER_ID: cells["user_id"],
        C.EVENT_TYPE: cells["event_type"],
        OCCURRED_US: micros_of_iso(cells["occurred_at"]),
        C.EVENT_ID: cells["event_id"],
        C.SESSION_ID: cells["session_id"],
        C.ITEM_ID: cells["item_id"],
        C.CATEGORY_ID: cells["category_id"],
        C.CATEGORY_PATH: cells["category_path"],
        C.BRAND: cells["brand"],
        C.PRICE_CENTS: cents(cells["price"]),
        C.QUANTITY: whole_number(cells["quantity"]),
        C.QUERY: cells["query"],
        C.ORDER_ID: cells["order_id"],
        C.CHANNEL: cells["channel"],
    },
    price="price",
    rules=lambda cells: [
        *text_id(cells["user_id"], "user_id"),
        *text_id(cells["event_id"], "event_id"),
        *text_id(cells["session_id"], "session_id"),
        *text_id(cells["item_id"], "item_id"),
        *text_id(cells["order_id"], "order_id"),
        ("bad_quantity", cells["quantity"].isNotNull() & whole_number(cells["quantity"]).isNull()),
    ],
)  # fmt: skip
