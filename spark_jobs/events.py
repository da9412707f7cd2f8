"""Events from raw lines: parse, judge, drop duplicates, flag bots, split sessions, pseudonymise.

Pure transformations; `spark_jobs/clean.py` runs them.
"""

import importlib
from functools import reduce
from operator import or_

from pipelines.core.columns import Columns as C
from pipelines.core.errors import ConfigError
from pipelines.core.privacy import PseudonymKey
from pipelines.core.shop import Cleaning, Shop, Source
from pipelines.core.tables import TABLES
from spark_jobs.event_window import is_shown
from spark_jobs.parse import IS_HEADER, OCCURRED_US, Format, cents, first_reason, mapped, money, split
from spark_jobs.session import Column, DataFrame, F, Window, engine

_AMOUNT = "amount_cents"
_OWN_SESSION = "own_session"
_HAS_SESSION = "has_session"
_IS_SHOWN = "is_shown"
_NEED_ITEM = ("view", "favorite", "cart", "remove_from_cart", "purchase")
# All that an event is made of before it gets its pseudonym; equal in all of these is a duplicate.
CONTENT = {
    C.USER_ID: "string",
    C.SESSION_ID: "string",
    OCCURRED_US: "bigint",
    C.EVENT_TYPE: "string",
    C.ITEM_ID: "string",
    C.CATEGORY_ID: "string",
    C.CATEGORY_PATH: "string",
    C.BRAND: "string",
    C.PRICE_CENTS: "bigint",
    C.QUANTITY: "bigint",
    C.QUERY: "string",
    C.ORDER_ID: "string",
    C.CHANNEL: "string",
}


def load_format(connector: str) -> Format:
    """The connector's FORMAT; a new platform is one new file in spark_jobs/connectors/."""
    try:
        module = importlib.import_module(f"spark_jobs.connectors.{connector}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"unknown connector '{connector}': no spark_jobs/connectors/{connector}.py; "
            "add it or mend landing.*.connector"
        ) from error
    form: Format = module.FORMAT
    return form


def parse_events(lines: DataFrame, form: Format, source: Source, shop: Shop) -> DataFrame:
    """One row per raw line: its place, is_header, reason (null if good), night ("YYYY-MM-DD" local), and what the
    platform tells of event_id and CONTENT; what it never tells has no column."""
    frame, cells, rules = split(lines, form)
    typed = form.columns(cells)
    typed[C.EVENT_TYPE] = mapped(typed[C.EVENT_TYPE], {**form.event_types, **source.event_types})
    if source.default_brand:
        typed[C.BRAND] = F.coalesce(typed.get(C.BRAND, F.lit(None)), F.lit(source.default_brand))
    place = [C.ARRIVAL, C.SOURCE_FILE, C.LINE_NUMBER, IS_HEADER]
    amount = cents(cells[form.price]) if form.price else F.lit(None).cast("bigint")
    # What is judged becomes a column first, so that it is computed once, however many rules ask for it.
    frame = frame.withColumns({**typed, _AMOUNT: amount})
    happened = F.timestamp_of_micros(F.col(OCCURRED_US))
    rules = [
        *rules,
        ("missing_user", F.col(C.USER_ID).isNull()),
        *form.rules(cells),
        ("unknown_event_type", F.col(C.EVENT_TYPE).isNull()),
        ("bad_timestamp", F.col(OCCURRED_US).isNull()),
        ("missing_item", F.col(C.ITEM_ID).isNull() & reduce(or_, [F.col(C.EVENT_TYPE) == name for name in _NEED_ITEM])),
        ("missing_query", _missing(C.QUERY, typed) & (F.col(C.EVENT_TYPE) == "search")),
        *(money(F.col(_AMOUNT), cells[form.price], shop.cleaning.max_price) if form.price else []),
    ]
    judged = frame.select(*place, F.coalesce(F.col(C.FAULT), first_reason(rules)).alias(C.REASON), *typed)
    local = F.to_date(F.local_timestamp(happened, shop.timezone)).cast("string")
    named = judged.withColumn(C.NIGHT, F.when(F.col(C.REASON).isNull(), local))
    outside = F.coalesce(~_within(F.col(C.NIGHT), F.col(C.ARRIVAL), source, shop.cleaning), F.lit(False))
    return named.withColumn(C.REASON, F.coalesce(F.col(C.REASON), F.when(outside, F.lit("outside_window"))))


def _missing(name: str, typed: dict[str, Column]) -> Column:
    return F.col(name).isNull() if name in typed else F.lit(True)


def _within(night: Column, arrival: Column, source: Source, cleaning: Cleaning) -> Column:
    """True where a line of this arrival may tell of this night."""
    if source.first_night and source.last_night:
        return night.between(F.lit(source.first_night.isoformat()), F.lit(source.last_night.isoformat()))
    first = F.date_format(F.date_sub(F.to_date(arrival), cleaning.late_nights), "yyyy-MM-dd")
    return (night <= arrival) & (night >= first)


def told(frame: DataFrame) -> list[str]:
    """What of night, event_id and CONTENT the frame has: what makes two events differ."""
    return [name for name in (C.NIGHT, C.EVENT_ID, *CONTENT) if name in frame.columns]


def drop_duplicates(parsed: DataFrame) -> DataFrame:
    """One row per distinct event of good lines; `arrival` is the earliest that told of it."""
    # As a date, because Spark would sort all rows to find the smallest text.
    return parsed.groupBy(*told(parsed)).agg(F.min(F.to_date(C.ARRIVAL)).cast("string").alias(C.ARRIVAL))


def drop_resent(events: DataFrame) -> DataFrame:
    """One row per night, user and event id: of lines that differ under one id, the one that arrived first stays (then
    the first in order of content). By night, because nights are written apart and in any order."""
    order = [F.col(name).asc_nulls_first() for name in (C.ARRIVAL, *told(events))]
    numbered = events.withColumn(
        "nth", F.row_number().over(Window.partitionBy(C.NIGHT, C.USER_ID, C.EVENT_ID).orderBy(*order))
    )
    return numbered.filter(F.col(C.EVENT_ID).isNull() | (F.col("nth") == 1)).drop("nth")


def find_bots(events: DataFrame, cleaning: Cleaning) -> DataFrame:
    """(night, user_id) with more events in one minute of the clock, or in the night, than a person makes; a page of
    recommendations is none of them."""
    minute = F.floor(F.col(OCCURRED_US) / 60_000_000)
    own = events.filter(~is_shown(events.columns))
    by_minute = own.groupBy(C.NIGHT, C.USER_ID, minute.alias("minute")).agg(F.count(F.lit(1)).alias("n"))
    by_night = by_minute.groupBy(C.NIGHT, C.USER_ID).agg(F.max("n").alias("n_minute"), F.sum("n").alias("n_night"))
    fast = (F.col("n_minute") > cleaning.bot_events_per_minute) | (F.col("n_night") > cleaning.bot_events_per_night)
    return by_night.filter(fast).select(C.NIGHT, C.USER_ID)


def split_sessions(events: DataFrame, cleaning: Cleaning, *, one_night: bool = False) -> DataFrame:
    """Adds `session_number` (1, 2, ... of a user's night) where the platform gave no session: a new one after a gap of
    silence, and 0 for recommendations shown outside of any. `one_night`: the events are of one night, which then need not be
    a key (a fifth quicker)."""
    keys = [C.USER_ID] if one_night else [C.NIGHT, C.USER_ID]
    if C.SESSION_ID in events.columns:
        events = events.withColumn(_HAS_SESSION, F.col(C.SESSION_ID).isNotNull())
        keys.append(_HAS_SESSION)
    if C.CHANNEL in events.columns:
        events = events.withColumn(_IS_SHOWN, is_shown(events.columns))
        keys.append(_IS_SHOWN)
    by_user = Window.partitionBy(*keys).orderBy(OCCURRED_US)
    silence = F.col(OCCURRED_US) - F.lag(OCCURRED_US).over(by_user)
    starts = F.when(silence > cleaning.session_gap_minutes * 60_000_000, F.lit(1)).otherwise(F.lit(0))
    marked = events.withColumn("starts", starts)
    # The default frame takes in equal times, so that which of them came first makes no difference.
    number = F.sum("starts").over(by_user).cast("bigint") + 1
    if C.CHANNEL in events.columns:
        number = F.when(F.col(_IS_SHOWN), F.lit(0).cast("bigint")).otherwise(number)
    return marked.withColumn("session_number", number)


def pseudonyms(events: DataFrame, key: PseudonymKey) -> DataFrame:
    """user_id -> user_key for every user: HMAC-SHA256 built from SHA-256 (RFC 2104). The key's pads come in as a
    table, so that no query text, plan or error shows them."""
    inner, outer = key.pads
    pads = engine().rows({"inner_pad": "binary", "outer_pad": "binary"}, [(inner, outer)])
    users = events.select(C.USER_ID).distinct().crossJoin(pads)
    message = F.concat(F.col("inner_pad"), F.encode(F.col(C.USER_ID), "utf-8"))
    keyed = F.sha2(F.concat(F.col("outer_pad"), F.unhex(F.sha2(message, 256))), 256)
    return users.select(C.USER_ID, keyed.alias(C.USER_KEY))


def finish(events: DataFrame, bots: DataFrame, users: DataFrame) -> DataFrame:
    """The columns of table `events`, in order, before them the night and the user id."""
    own = F.concat_ws(
        "-", F.substring(F.col(C.USER_KEY), 1, 16), F.col(C.NIGHT), F.col("session_number").cast("string")
    )
    # Before the next join: on DuckDB an expression behind it would take the night of the bots, null for everybody else.
    named = events.join(users, on=C.USER_ID, how="inner").withColumn(_OWN_SESSION, own)
    joined = named.join(bots.withColumn(C.IS_BOT, F.lit(True)), on=[C.NIGHT, C.USER_ID], how="left")
    made = {
        C.SESSION_ID: F.coalesce(F.col(C.SESSION_ID), F.col(_OWN_SESSION))
        if C.SESSION_ID in events.columns
        else F.col(_OWN_SESSION),
        C.OCCURRED_AT: F.timestamp_of_micros(F.col(OCCURRED_US)),
        C.IS_BOT: F.coalesce(F.col(C.IS_BOT), F.lit(False)),
    }

    def column(name: str, kind: str) -> Column:
        return made[name] if name in made else F.col(name) if name in joined.columns else F.lit(None).cast(kind)

    return joined.select(
        C.NIGHT, C.USER_ID, *[column(name, kind).alias(name) for name, kind in TABLES["events"].columns.items()]
    )


def quarantined(parsed: DataFrame, lines: DataFrame, max_chars: int) -> DataFrame:
    """The columns of table `quarantine`: bad lines with their text, cut to `max_chars`."""
    place = [C.ARRIVAL, C.SOURCE_FILE, C.LINE_NUMBER]
    bad = parsed.filter(F.col(C.REASON).isNotNull() & ~F.col(IS_HEADER)).select(*place, C.REASON)
    text = F.substring(F.col(C.RAW_TEXT), 1, max_chars).alias(C.RAW_TEXT)
    return bad.join(lines.select(*place, text), on=place, how="inner").select(*TABLES["quarantine"].columns)
