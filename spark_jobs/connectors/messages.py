"""Customer-service messages as JSON lines; keys in docs/INPUT.md, section messages."""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import OCCURRED_US, Format, micros_of_iso, missing, one_of, text_id

FORMAT = Format(
    names=("message_id", "conversation_id", "user_id", "sender", "text", "language", "occurred_at"),
    columns=lambda cells: {
        C.MESSAGE_ID: cells["message_id"],
        C.CONVERSATION_ID: cells["conversation_id"],
        C.USER_ID: cells["user_id"],
        C.SENDER: cells["sender"],
        C.TEXT: cells["text"],
        C.LANGUAGE: cells["language"],
        OCCURRED_US: micros_of_iso(cells["occurred_at"]),
    },
    rules=lambda cells: [
        missing(cells, "message_id", "conversation_id", "user_id", "text"),
        *text_id(cells["message_id"], "message_id"),
        *text_id(cells["conversation_id"], "conversation_id"),
        *text_id(cells["user_id"], "user_id"),
        one_of(cells["sender"], "sender", "customer", "agent"),
        ("bad_timestamp", micros_of_iso(cells["occurred_at"]).isNull()),
    ],
)
