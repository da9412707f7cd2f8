"""What all feature transformations start from: the events of a window in the shop's local time, and the shared counts."""

from datetime import date
from typing import Final

from pipelines.core.columns import Columns as C
from pipelines.core.tables import TABLES
from spark_jobs.session import Column, DataFrame, F

NIGHTS_AGO: Final = "nights_ago"  # local nights before the night of the features: 0 is that night itself
LOCAL_HOUR: Final = "local_hour"  # 0 to 23 on the shop's wall clock

# What a customer does to an item; an impression only shows it.
TOUCHES: Final = ("view", "click", "favorite", "cart", "remove_from_cart", "purchase")


def nights_ago(timestamp: str, night: date, zone: str) -> Column:
    """Whole local nights from a UTC timestamp column to `night`; negative for what comes later."""
    return F.datediff(F.lit(night), F.to_date(F.local_timestamp(F.col(timestamp), zone))).cast("bigint")


def event_window(events: DataFrame, night: date, zone: str, window_nights: int) -> DataFrame:
    """Events of the `window_nights` local nights that end with `night`, without bots and without anything later.

    Adds nights_ago, local_hour and revenue_cents (price times quantity of a purchase; no price counts as 0).
    """
    paid = F.coalesce(F.col(C.PRICE_CENTS), F.lit(0)) * F.coalesce(F.col(C.QUANTITY), F.lit(1))
    local = events.where(~F.coalesce(F.col(C.IS_BOT), F.lit(False))).select(
        C.USER_KEY,
        C.SESSION_ID,
        C.OCCURRED_AT,
        C.EVENT_TYPE,
        C.ITEM_ID,
        C.CATEGORY_ID,
        C.BRAND,
        C.PRICE_CENTS,
        C.ORDER_ID,
        F.when(F.col(C.EVENT_TYPE) == "purchase", paid).otherwise(F.lit(0)).cast("bigint").alias(C.REVENUE_CENTS),
        nights_ago(C.OCCURRED_AT, night, zone).alias(NIGHTS_AGO),
        F.hour(F.local_timestamp(F.col(C.OCCURRED_AT), zone)).cast("bigint").alias(LOCAL_HOUR),
    )
    return local.where((F.col(NIGHTS_AGO) >= 0) & (F.col(NIGHTS_AGO) < window_nights))


def event_counts() -> list[Column]:
    """The counts that sessions, profiles, items and categories share; to be aggregated over events of `event_window`."""
    return [
        F.count("*").alias(C.N_EVENTS),
        count_of("view").alias(C.N_VIEWS),
        count_of("search").alias(C.N_SEARCHES),
        count_of("favorite").alias(C.N_FAVORITES),
        count_of("cart").alias(C.N_CARTS),
        count_of("purchase").alias(C.N_PURCHASES),
        total(C.REVENUE_CENTS).alias(C.REVENUE_CENTS),
    ]


def count_of(event_type: str) -> Column:
    return F.count(F.when(F.col(C.EVENT_TYPE) == event_type, F.lit(1)))


def total(column: str) -> Column:
    """Sum of whole numbers as bigint (DuckDB would widen it), 0 over nothing."""
    return F.coalesce(F.sum(column), F.lit(0)).cast("bigint")


def touched(column: str) -> Column:
    """The column's value where the event touches an item, else null."""
    return F.when(F.col(C.EVENT_TYPE).isin(*TOUCHES), F.col(column))


def ratio(part: Column, whole: Column) -> Column:
    """part / whole of whole numbers below 2**53, so that both engines give the same double; 0 where whole is 0."""
    return F.when(whole > 0, part.cast("double") / whole.cast("double")).otherwise(F.lit(0).cast("double"))


def rounded_mean(sum_of: Column, n: Column) -> Column:
    """sum_of / n rounded half up to a whole number, 0 where n is 0; exact, unlike a rounded double."""
    mean = F.floor((sum_of * 2 + n) / (n * 2)).cast("bigint")
    return F.when(n > 0, mean).otherwise(F.lit(0).cast("bigint"))


def as_table(frame: DataFrame, table: str) -> DataFrame:
    """The frame with exactly the declared columns of `table`, in order and of the declared types."""
    return frame.select(*[F.col(name).cast(kind).alias(name) for name, kind in TABLES[table].columns.items()])
