"""YooChoose clicks as session-rec ships them: SessionId, ItemId, Time (unix seconds with decimals); tab, header.

There is no customer: the session stands for one.
"""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import OCCURRED_US, Format, micros_of_seconds, whole_id
from spark_jobs.session import F

FORMAT = Format(
    names=("SessionId", "ItemId", "Time"),
    separator="\t",
    has_header=True,
    event_types={"click": "click"},
    columns=lambda cells: {
        C.USER_ID: cells["SessionId"],
        C.SESSION_ID: cells["SessionId"],
        C.ITEM_ID: cells["ItemId"],
        C.EVENT_TYPE: F.lit("click"),
        OCCURRED_US: micros_of_seconds(cells["Time"]),
    },
    rules=lambda cells: [*whole_id(cells["SessionId"], "user_id"), *whole_id(cells["ItemId"], "item_id")],
)
