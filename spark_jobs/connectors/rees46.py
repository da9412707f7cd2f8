"""REES46 multi-category store: header, "YYYY-MM-DD HH:MM:SS UTC", 19-digit category ids, missing brands, zero prices.

A price of 0.00 means that none is known.
"""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import OCCURRED_US, Cells, Format, cents, micros_of_iso, text_id, whole_id
from spark_jobs.session import F


def _columns(cells: Cells) -> Cells:
    price = cents(cells["price"])
    return {
        C.USER_ID: cells["user_id"],
        C.SESSION_ID: cells["user_session"],
        C.ITEM_ID: cells["product_id"],
        C.CATEGORY_ID: cells["category_id"],
        C.CATEGORY_PATH: cells["category_code"],
        C.BRAND: cells["brand"],
        C.EVENT_TYPE: cells["event_type"],
        C.PRICE_CENTS: F.when(price != 0, price),
        OCCURRED_US: micros_of_iso(F.regexp_replace(cells["event_time"], r" UTC\z", "Z")),
    }


FORMAT = Format(
    names=(
        "event_time",
        "event_type",
        "product_id",
        "category_id",
        "category_code",
        "brand",
        "price",
        "user_id",
        "user_session",
    ),
    separator=",",
    has_header=True,
    event_types={"view": "view", "cart": "cart", "remove_from_cart": "remove_from_cart", "purchase": "purchase"},
    columns=_columns,
    price="price",
    rules=lambda cells: [
        *whole_id(cells["user_id"], "user_id"),
        *whole_id(cells["product_id"], "item_id"),
        *whole_id(cells["category_id"], "category_id"),
        *text_id(cells["user_session"], "session_id"),
        ("missing_session", cells["user_session"].isNull()),
    ],
)
