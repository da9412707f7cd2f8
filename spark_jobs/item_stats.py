"""item_stats: one row per item seen in the window. category_stats: one row per category of the night alone."""

from pipelines.core.columns import Columns as C
from spark_jobs.event_window import NIGHTS_AGO, as_table, count_of, event_counts, ratio
from spark_jobs.session import DataFrame, F

_TREND_NIGHTS = 7
_LAST, _SEEN, _BOUGHT, _RECENT, _BEFORE = "last", "n_seen", "n_bought", "n_recent", "n_before"
_COUNTS = (C.N_EVENTS, C.N_VIEWS, C.N_SEARCHES, C.N_FAVORITES, C.N_CARTS, C.N_PURCHASES, C.REVENUE_CENTS)


def item_stats(events: DataFrame) -> DataFrame:
    """Items of an `event_window`.

    category_id, brand and price_cents: each as last told in the window (at the same instant: the larger).
    conversion_share: users who viewed and bought, of users who viewed; 0 without viewers.
    trend_ratio: (events of the last 7 nights + 1) / (events of the 7 nights before + 1).
    """
    about_items = events.where(F.col(C.ITEM_ID).isNotNull())
    stats = (
        _counts(about_items)
        .join(_users(about_items), on=C.ITEM_ID)
        .join(_last_known(about_items), on=C.ITEM_ID)
    )
    return as_table(
        stats.select(
            *[C.ITEM_ID, C.CATEGORY_ID, C.BRAND, C.PRICE_CENTS, *_COUNTS, C.N_USERS],
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
    per_user = events.groupBy(C.ITEM_ID, C.USER_KEY).agg(
        count_of("view").alias(_SEEN), count_of("purchase").alias(_BOUGHT)
    )
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


def category_stats(events: DataFrame) -> DataFrame:
    """Categories of the last night of an `event_window`; events without a category count nowhere."""
    tonight = events.where((F.col(NIGHTS_AGO) == 0) & F.col(C.CATEGORY_ID).isNotNull())
    return as_table(
        tonight.groupBy(C.CATEGORY_ID).agg(*event_counts(), F.countDistinct(C.USER_KEY).alias(C.N_USERS)), "category_stats"
    )
