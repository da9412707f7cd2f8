"""item_stats: one row per item seen in the window. category_stats: one row per category of the night alone."""

from pipelines.core.columns import Columns as C
from spark_jobs.event_window import COUNTS, NIGHTS_AGO, USER, EventWindow, as_table, count_of, event_counts, ratio
from spark_jobs.session import DataFrame, F, engine

_TREND_NIGHTS = 7
_LAST, _SEEN, _BOUGHT, _RECENT, _BEFORE = "last", "n_seen", "n_bought", "n_recent", "n_before"


def item_stats(window: EventWindow) -> DataFrame:
    """Items of the window.

    category_id, brand and price_cents: each as last told in the window (at the same instant: the larger).
    conversion_share: users who viewed and bought, of users who viewed; 0 without viewers.
    trend_ratio: (events of the last 7 nights + 1) / (events of the 7 nights before + 1).
    """
    events = window.events.where(F.col(C.ITEM_ID).isNotNull())
    counts, users, last = (engine().hold(part) for part in (_counts(events), _users(events), _last_known(events)))
    stats = counts.join(users, on=C.ITEM_ID).join(last, on=C.ITEM_ID)
    return as_table(
        stats.select(
            *[C.ITEM_ID, C.CATEGORY_ID, C.BRAND, C.PRICE_CENTS, *COUNTS, C.N_USERS],
            ratio(F.col(_BOUGHT), F.col(_SEEN)).alias(C.CONVERSION_SHARE),
            ratio(F.col(_RECENT) + 1, F.col(_BEFORE) + 1).alias(C.TREND_RATIO),
        ),
        "item_stats",
    )


def _counts(events: DataFrame) -> DataFrame:
    ago = F.col(NIGHTS_AGO)
    return events.groupBy(C.ITEM_ID).agg(
        *event_counts(),
        F.count(F.when(ago < _TREND_NIGHTS, F.lit(1))).alias(_RECENT),
        F.count(F.when((ago >= _TREND_NIGHTS) & (ago < 2 * _TREND_NIGHTS), F.lit(1))).alias(_BEFORE),
    )


def _users(events: DataFrame) -> DataFrame:
    """Distinct users, by two groupings: counting distinct long keys would take the memory of all of them at once."""
    per_user = events.groupBy(C.ITEM_ID, USER).agg(count_of("view").alias(_SEEN), count_of("purchase").alias(_BOUGHT))
    seen = F.col(_SEEN) > 0
    return per_user.groupBy(C.ITEM_ID).agg(
        F.count("*").alias(C.N_USERS),
        F.count(F.when(seen, F.lit(1))).alias(_SEEN),
        F.count(F.when(seen & (F.col(_BOUGHT) > 0), F.lit(1))).alias(_BOUGHT),
    )


def _last_known(events: DataFrame) -> DataFrame:
    told = (C.CATEGORY_ID, C.BRAND, C.PRICE_CENTS)
    distinct = events.groupBy(C.ITEM_ID, *told).agg(F.max(C.OCCURRED_AT).alias(_LAST))
    newest = distinct.groupBy(C.ITEM_ID).agg(
        *[F.max(F.when(F.col(name).isNotNull(), F.struct(F.col(_LAST), F.col(name)))).alias(name) for name in told]
    )
    return newest.select(C.ITEM_ID, *[F.col(name).getField(name).alias(name) for name in told])


def category_stats(window: EventWindow) -> DataFrame:
    """Categories of the window's last night; events without a category count nowhere."""
    tonight = window.events.where((F.col(NIGHTS_AGO) == 0) & F.col(C.CATEGORY_ID).isNotNull())
    return as_table(
        tonight.groupBy(C.CATEGORY_ID).agg(*event_counts(), F.countDistinct(USER).alias(C.N_USERS)), "category_stats"
    )
