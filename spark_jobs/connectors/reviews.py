"""Customers' reviews as JSON lines; keys in docs/INPUT.md, section reviews."""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import OCCURRED_US, Format, micros_of_iso, missing, text_id, whole_number
from spark_jobs.session import F

FORMAT = Format(
    names=("review_id", "user_id", "item_id", "rating", "text", "language", "occurred_at"),
    columns=lambda cells: {
        C.REVIEW_ID: cells["review_id"],
        C.USER_ID: cells["user_id"],
        C.ITEM_ID: cells["item_id"],
        C.RATING: whole_number(cells["rating"]),
        C.TEXT: cells["text"],
        C.LANGUAGE: cells["language"],
        OCCURRED_US: micros_of_iso(cells["occurred_at"]),
    },
    rules=lambda cells: [
        missing(cells, "review_id", "user_id", "item_id", "text"),
        *text_id(cells["review_id"], "review_id"),
        *text_id(cells["user_id"], "user_id"),
        *text_id(cells["item_id"], "item_id"),
        ("bad_rating", ~F.coalesce(whole_number(cells["rating"]).between(1, 5), F.lit(False))),
        ("bad_timestamp", micros_of_iso(cells["occurred_at"]).isNull()),
    ],
)
