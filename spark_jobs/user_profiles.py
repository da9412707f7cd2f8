"""user_profiles: one row per user seen in the window: recency, frequency, money, taste, price band, hours, script, answers.

The vector is added by spark_jobs/segments.py, which knows the anchor's projection.
"""

from typing import Final

from pipelines.core.columns import Columns as C
from spark_jobs.event_window import (
    COUNTS,
    IS_NON_LATIN,
    LOCAL_HOUR,
    NIGHTS_AGO,
    TOUCHES,
    USER,
    VISIT,
    EventWindow,
    event_counts,
    ratio,
    rounded_mean,
    total,
)
from spark_jobs.session import DataFrame, F, Window, engine

# How much an event says about taste.
TASTE_WEIGHTS: Final = {"purchase": 5, "cart": 3, "favorite": 3, "click": 1, "view": 1}
DAY_PARTS: Final = {
    C.NIGHT_SHARE: (0, 5),
    C.MORNING_SHARE: (6, 11),
    C.AFTERNOON_SHARE: (12, 17),
    C.EVENING_SHARE: (18, 23),
}

_N, _SUM, _WEIGHT, _WHOLE, _RANK, _N_ORDERS, _PRICED = "n", "sum", "weight", "whole", "rank", "n_orders", "is_priced"


def user_profiles(window: EventWindow, deliveries: DataFrame, outcomes: DataFrame) -> DataFrame:
    """Profiles without the vector. The feeds carry nights_ago of sent_at and occurred_at."""
    events = window.events
    frame = window.users
    for part in (
        _activity(events),
        _orders(events),
        _items(events),
        _active_hours(events),
        _script(events),
        _top(events, C.CATEGORY_ID, C.TOP_CATEGORY_ID, C.TOP_CATEGORY_SHARE),
        _top(events, C.BRAND, C.TOP_BRAND, C.TOP_BRAND_SHARE),
    ):
        # Held one by one: in one query DuckDB would first copy all events, to share them among the parts.
        frame = frame.join(engine().hold(part), on=USER, how="left")
    frame = frame.join(_answers(deliveries, outcomes, window.nights), on=C.USER_KEY, how="left")
    nothing = F.lit(0).cast("bigint")
    return frame.select(
        *[C.USER_KEY, C.RECENCY_NIGHTS, C.N_ACTIVE_NIGHTS, C.N_SESSIONS, *COUNTS],
        F.coalesce(F.col(C.N_ITEMS), nothing).alias(C.N_ITEMS),
        rounded_mean(F.col(C.REVENUE_CENTS), F.coalesce(F.col(_N_ORDERS), nothing)).alias(C.AVG_ORDER_CENTS),
        F.coalesce(F.col(C.AVG_PRICE_CENTS), nothing).alias(C.AVG_PRICE_CENTS),
        F.coalesce(F.col(C.PRICE_BAND), F.lit("unknown")).alias(C.PRICE_BAND),
        C.TOP_CATEGORY_ID,
        F.coalesce(F.col(C.TOP_CATEGORY_SHARE), F.lit(0).cast("double")).alias(C.TOP_CATEGORY_SHARE),
        C.TOP_BRAND,
        F.coalesce(F.col(C.TOP_BRAND_SHARE), F.lit(0).cast("double")).alias(C.TOP_BRAND_SHARE),
        C.ACTIVE_HOUR,
        *DAY_PARTS,
        C.NON_LATIN_SHARE,
        F.coalesce(F.col(C.N_DELIVERIES), nothing).alias(C.N_DELIVERIES),
        F.coalesce(F.col(C.N_CLICKS), nothing).alias(C.N_CLICKS),
    )


def _activity(events: DataFrame) -> DataFrame:
    per_visit = events.groupBy(USER, VISIT, NIGHTS_AGO).agg(*event_counts())
    return per_visit.groupBy(USER).agg(
        F.min(NIGHTS_AGO).alias(C.RECENCY_NIGHTS),
        F.countDistinct(NIGHTS_AGO).alias(C.N_ACTIVE_NIGHTS),
        F.countDistinct(VISIT).alias(C.N_SESSIONS),
        *[total(name).alias(name) for name in COUNTS],
    )


def _orders(events: DataFrame) -> DataFrame:
    """Number of orders: distinct order ids, and each purchase that has none."""
    bought = events.where(F.col(C.EVENT_TYPE) == "purchase")
    unnamed = F.count(F.when(F.col(C.ORDER_ID).isNull(), F.lit(1)))
    return bought.groupBy(USER).agg((F.countDistinct(C.ORDER_ID) + unnamed).alias(_N_ORDERS))


def _items(events: DataFrame) -> DataFrame:
    """Touched items and what they cost: each item counts once, at the mean price the user met it at.

    Bands are terciles of the users with a price; equal prices share a band.
    """
    per_item = (
        events.where(F.col(C.EVENT_TYPE).isin(*TOUCHES) & F.col(C.ITEM_ID).isNotNull())
        .groupBy(USER, C.ITEM_ID)
        .agg(F.sum(C.PRICE_CENTS).cast("bigint").alias(_SUM), F.count(C.PRICE_CENTS).alias(_N))
    )
    price = F.when(F.col(_N) > 0, rounded_mean(F.col(_SUM), F.col(_N)))
    per_user = (
        per_item.select(USER, price.alias(_SUM))
        .groupBy(USER)
        .agg(F.count("*").alias(C.N_ITEMS), total(_SUM).alias(_SUM), F.count(_SUM).alias(_N))
        .select(
            USER,
            C.N_ITEMS,
            rounded_mean(F.col(_SUM), F.col(_N)).alias(C.AVG_PRICE_CENTS),
            (F.col(_N) > 0).alias(_PRICED),
        )
    )
    ranked = per_user.select(
        *[USER, C.N_ITEMS, C.AVG_PRICE_CENTS, _PRICED],
        F.rank().over(Window.partitionBy(_PRICED).orderBy(C.AVG_PRICE_CENTS)).alias(_RANK),
        F.count("*").over(Window.partitionBy(_PRICED)).alias(_WHOLE),
    )
    below = (F.col(_RANK) - 1) * 3  # users with a lower price, times three
    band = (
        F.when(below < F.col(_WHOLE), F.lit("low"))
        .when(below < F.col(_WHOLE) * 2, F.lit("mid"))
        .otherwise(F.lit("high"))
    )
    known = F.when(F.col(_PRICED), band).otherwise(F.lit("unknown"))
    return ranked.select(USER, C.N_ITEMS, C.AVG_PRICE_CENTS, known.alias(C.PRICE_BAND))


def _active_hours(events: DataFrame) -> DataFrame:
    """The local hour with most events (ties: the earlier) and the shares of the day's four parts."""
    per_hour = events.groupBy(USER, LOCAL_HOUR).agg(F.count("*").alias(_N))
    hour = F.col(LOCAL_HOUR)
    counted = per_hour.groupBy(USER).agg(
        total(_N).alias(_WHOLE),
        # Count and hour in one whole number: the largest is the most frequent hour, the earliest among equals.
        F.max(F.col(_N) * 24 + (23 - hour)).alias(_RANK),
        *[
            F.coalesce(F.sum(F.when(hour.between(first, last), F.col(_N))), F.lit(0)).cast("bigint").alias(share)
            for share, (first, last) in DAY_PARTS.items()
        ],
    )
    return counted.select(
        USER,
        (23 - F.col(_RANK) % 24).cast("bigint").alias(C.ACTIVE_HOUR),
        *[ratio(F.col(share), F.col(_WHOLE)).alias(share) for share in DAY_PARTS],
    )


def _script(events: DataFrame) -> DataFrame:
    """How much of what a user searched for was typed in another script than Latin: which language suits them."""
    typed = events.where(F.col(IS_NON_LATIN).isNotNull())
    return typed.groupBy(USER).agg(
        ratio(F.count(F.when(F.col(IS_NON_LATIN), F.lit(1))), F.count("*")).alias(C.NON_LATIN_SHARE)
    )


def _top(events: DataFrame, column: str, top: str, share: str) -> DataFrame:
    """The value of `column` with most weighted events (ties: first in the alphabet) and its share of them all."""
    weight = F.lit(0)
    for event_type, value in TASTE_WEIGHTS.items():
        weight = F.when(F.col(C.EVENT_TYPE) == event_type, F.lit(value)).otherwise(weight)
    weighted = (
        events.where(F.col(column).isNotNull() & F.col(C.EVENT_TYPE).isin(*TASTE_WEIGHTS))
        .groupBy(USER, column)
        .agg(F.sum(weight).cast("bigint").alias(_WEIGHT))
    )
    order = Window.partitionBy(USER).orderBy(F.col(_WEIGHT).desc(), F.col(column).asc())
    ranked = weighted.select(
        USER,
        F.col(column).alias(top),
        F.col(_WEIGHT),
        F.sum(_WEIGHT).over(Window.partitionBy(USER)).cast("bigint").alias(_WHOLE),
        F.row_number().over(order).alias(_RANK),
    )
    return ranked.where(F.col(_RANK) == 1).select(USER, top, ratio(F.col(_WEIGHT), F.col(_WHOLE)).alias(share))


def _answers(deliveries: DataFrame, outcomes: DataFrame, window_nights: int) -> DataFrame:
    """Messages delivered to the user in the window, and clicks on them."""
    recent = F.col(NIGHTS_AGO) < window_nights
    one, none = F.lit(1).cast("bigint"), F.lit(0).cast("bigint")
    sent = deliveries.where(recent & (F.col(C.STATUS) == "delivered"))
    clicked = outcomes.where(recent & (F.col(C.OUTCOME) == "click"))
    return (
        sent.select(C.USER_KEY, one.alias(C.N_DELIVERIES), none.alias(C.N_CLICKS))
        .unionAll(clicked.select(C.USER_KEY, none.alias(C.N_DELIVERIES), one.alias(C.N_CLICKS)))
        .groupBy(C.USER_KEY)
        .agg(total(C.N_DELIVERIES).alias(C.N_DELIVERIES), total(C.N_CLICKS).alias(C.N_CLICKS))
    )
