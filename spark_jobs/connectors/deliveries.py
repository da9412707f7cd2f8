"""What the shop sent, as JSON lines; keys in docs/INPUT.md, section deliveries."""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import OCCURRED_US, Format, cents, micros_of_iso, missing, one_of, pseudonym, text_id
from spark_jobs.session import F

FORMAT = Format(
    names=("delivery_id", "user_key", "strategy_id", "channel", "status", "cost", "sent_at"),
    columns=lambda cells: {
        C.DELIVERY_ID: cells["delivery_id"],
        C.USER_KEY: cells["user_key"],
        C.STRATEGY_ID: cells["strategy_id"],
        C.CHANNEL: cells["channel"],
        C.STATUS: cells["status"],
        C.COST_CENTS: F.coalesce(cents(cells["cost"]), F.lit(0).cast("bigint")),
        OCCURRED_US: micros_of_iso(cells["sent_at"]),
    },
    price="cost",
    rules=lambda cells: [
        missing(cells, "delivery_id", "user_key", "strategy_id", "channel"),
        *text_id(cells["delivery_id"], "delivery_id"),
        *text_id(cells["strategy_id"], "strategy_id"),
        pseudonym(cells["user_key"]),
        one_of(cells["status"], "status", "delivered", "bounced", "skipped"),
        ("bad_timestamp", micros_of_iso(cells["sent_at"]).isNull()),
    ],
)
