"""What all feature transformations start from: events of a window in the shop's local time, and the shared counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from pipelines.core.columns import Columns as C
from pipelines.core.recommending import CHANNEL as RECOMMENDED
from pipelines.core.tables import TABLES
from spark_jobs.session import Column, DataFrame, F, Window, engine

NIGHTS_AGO: Final = "nights_ago"  # local nights before the night of the features: 0 is that night itself
USER: Final = "user"  # a whole number for a user_key, and
VISIT: Final = "visit"  # one for a user_key and session_id: the long keys would be hashed and held again at every step
LOCAL_HOUR: Final = C.LOCAL_HOUR
IS_NON_LATIN: Final = "is_non_latin"  # a search with letters beyond Latin ones; null where nothing was typed

# Letters and accents of European languages end at U+024F; signs such as the euro lie between that and the next scripts.
_BEYOND_LATIN = r"[^\x{0000}-\x{036F}\x{1E00}-\x{20CF}]"

_MAX_VISITS = 1 << 24  # of one user in a window

# What a customer does to an item; an impression only shows it.
TOUCHES: Final = ("view", "click", "favorite", "cart", "remove_from_cart", "purchase")


def is_shown(columns: Sequence[str]) -> Column:
    """True for the impression of a recommendation: the shop showed it by itself, so it is nothing that a customer did. It
    starts no visit, makes no bot and counts in no feature. `columns`: that the events have."""
    if C.CHANNEL not in columns:
        return F.lit(False)
    by_us = F.coalesce(F.col(C.CHANNEL), F.lit("")) == RECOMMENDED
    return (F.col(C.EVENT_TYPE) == "impression") & by_us


def nights_ago(timestamp: str, night: date, zone: str) -> Column:
    """Whole local nights from a UTC timestamp column to `night`; negative for what comes later."""
    return F.datediff(F.lit(night), F.to_date(F.local_timestamp(F.col(timestamp), zone))).cast("bigint")


@dataclass(frozen=True)
class EventWindow:
    """`events`: one row per event, with user, visit, nights_ago, local_hour, is_non_latin and revenue_cents (price times
    quantity of a purchase; no price counts as 0). `visits`: one row per visit: visit, user, user_key, session_id. Both held."""

    events: DataFrame
    visits: DataFrame
    nights: int

    @property
    def users(self) -> DataFrame:
        """user, user_key."""
        return self.visits.select(USER, C.USER_KEY).distinct()


def event_window(events: DataFrame, night: date, zone: str, window_nights: int) -> EventWindow:
    """Events of the `window_nights` local nights that end with `night`, without bots, without what was only
    recommended and without anything later."""
    paid = F.coalesce(F.col(C.PRICE_CENTS), F.lit(0)) * F.coalesce(F.col(C.QUANTITY), F.lit(1))
    own = events.where(~is_shown(events.columns))
    local = own.where(~F.coalesce(F.col(C.IS_BOT), F.lit(False))).select(
        C.USER_KEY,
        C.SESSION_ID,
        C.OCCURRED_AT,
        C.EVENT_TYPE,
        C.ITEM_ID,
        C.CATEGORY_ID,
        C.BRAND,
        C.PRICE_CENTS,
        C.ORDER_ID,
        F.when(F.col(C.EVENT_TYPE) == "search", F.col(C.QUERY).rlike(_BEYOND_LATIN)).alias(IS_NON_LATIN),
        F.when(F.col(C.EVENT_TYPE) == "purchase", paid).otherwise(F.lit(0)).cast("bigint").alias(C.REVENUE_CENTS),
        nights_ago(C.OCCURRED_AT, night, zone).alias(NIGHTS_AGO),
        F.hour(F.local_timestamp(F.col(C.OCCURRED_AT), zone)).cast("bigint").alias(LOCAL_HOUR),
    )
    local = local.where((F.col(NIGHTS_AGO) >= 0) & (F.col(NIGHTS_AGO) < window_nights))
    visits = _visits(local)
    named = local.join(visits, on=[C.USER_KEY, C.SESSION_ID])
    numbered = named.select(
        *[USER, VISIT, C.OCCURRED_AT, C.EVENT_TYPE, C.ITEM_ID, C.CATEGORY_ID, C.BRAND, C.PRICE_CENTS, C.ORDER_ID],
        *[C.REVENUE_CENTS, NIGHTS_AGO, LOCAL_HOUR, IS_NON_LATIN],
    )
    return EventWindow(engine().hold(numbered), visits, window_nights)


def _visits(events: DataFrame) -> DataFrame:
    """Numbers in the order of the keys, so the same in every run; sessions within their user, in parallel."""
    visits = engine().hold(events.select(C.USER_KEY, C.SESSION_ID).distinct())
    by_key = Window.orderBy(C.USER_KEY)
    users = (
        visits.select(C.USER_KEY).distinct().select(C.USER_KEY, F.row_number().over(by_key).cast("bigint").alias(USER))
    )
    by_session = Window.partitionBy(C.USER_KEY).orderBy(C.SESSION_ID)
    ranked = visits.select(C.USER_KEY, C.SESSION_ID, F.row_number().over(by_session).cast("bigint").alias(VISIT))
    return engine().hold(
        ranked.join(engine().hold(users), on=C.USER_KEY).select(
            C.USER_KEY, C.SESSION_ID, USER, (F.col(USER) * _MAX_VISITS + F.col(VISIT)).alias(VISIT)
        )
    )


COUNTS: Final = (
    C.N_EVENTS,
    C.N_VIEWS,
    C.N_SEARCHES,
    C.N_FAVORITES,
    C.N_CARTS,
    C.N_PURCHASES,
    C.REVENUE_CENTS,
)


def event_counts() -> list[Column]:
    """COUNTS, as sessions, profiles, items and categories share them; aggregates over events of an EventWindow."""
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
