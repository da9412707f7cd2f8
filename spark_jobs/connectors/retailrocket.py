"""RetailRocket events: timestamp (ms), visitorid, event (view, addtocart, transaction), itemid, transactionid."""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import OCCURRED_US, Format, micros_of_millis, whole_id

FORMAT = Format(
    names=("timestamp", "visitorid", "event", "itemid", "transactionid"),
    separator=",",
    has_header=True,
    event_types={"view": "view", "addtocart": "cart", "transaction": "purchase"},
    columns=lambda cells: {
        C.USER_ID: cells["visitorid"],
        C.ITEM_ID: cells["itemid"],
        C.EVENT_TYPE: cells["event"],
        C.ORDER_ID: cells["transactionid"],
        OCCURRED_US: micros_of_millis(cells["timestamp"]),
    },
    rules=lambda cells: [
        *whole_id(cells["visitorid"], "user_id"),
        *whole_id(cells["itemid"], "item_id"),
        *whole_id(cells["transactionid"], "order_id"),
    ],
)
