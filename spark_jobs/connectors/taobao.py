"""Taobao UserBehavior: user,item,category,behaviour,unix seconds; no header. pv, cart, fav, buy."""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import OCCURRED_US, Format, micros_of_whole_seconds, whole_id

FORMAT = Format(
    names=("user", "item", "category", "behaviour", "seconds"),
    separator=",",
    event_types={"pv": "view", "cart": "cart", "fav": "favorite", "buy": "purchase"},
    columns=lambda cells: {
        C.USER_ID: cells["user"],
        C.ITEM_ID: cells["item"],
        C.CATEGORY_ID: cells["category"],
        C.EVENT_TYPE: cells["behaviour"],
        OCCURRED_US: micros_of_whole_seconds(cells["seconds"]),
    },
    rules=lambda cells: [
        *whole_id(cells["user"], "user_id"),
        *whole_id(cells["item"], "item_id"),
        *whole_id(cells["category"], "category_id"),
    ],
)
