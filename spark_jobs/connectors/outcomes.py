"""What deliveries led to, as JSON lines; keys in docs/INPUT.md, section outcomes."""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import OCCURRED_US, Format, cents, micros_of_iso, missing, one_of, pseudonym, text_id
from spark_jobs.session import F

FORMAT = Format(
    names=("outcome_id", "delivery_id", "user_key", "channel", "outcome", "revenue", "occurred_at"),
    columns=lambda cells: {
        C.OUTCOME_ID: cells["outcome_id"],
        C.DELIVERY_ID: cells["delivery_id"],
        C.USER_KEY: cells["user_key"],
        C.CHANNEL: cells["channel"],
        C.OUTCOME: cells["outcome"],
        C.REVENUE_CENTS: F.coalesce(cents(cells["revenue"]), F.lit(0).cast("bigint")),
        OCCURRED_US: micros_of_iso(cells["occurred_at"]),
    },
    price="revenue",
    rules=lambda cells: [
        missing(cells, "outcome_id", "delivery_id", "user_key", "channel"),
        *text_id(cells["outcome_id"], "outcome_id"),
        *text_id(cells["delivery_id"], "delivery_id"),
        pseudonym(cells["user_key"]),
        one_of(cells["outcome"], "outcome", "click", "purchase", "complaint", "unsubscribe"),
        ("bad_timestamp", micros_of_iso(cells["occurred_at"]).isNull()),
    ],
)
