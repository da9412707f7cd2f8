"""What the recommender learns from: each customer's newest events before a night, and what was touched on that night.

A row is a customer who came on the night and was known before it; on the newest night everybody known has a row, so that
what is alike and popular is learnt from all. Searches stand among the events, told by their text.
"""

import zlib
from datetime import date, timedelta
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from training.recommend.feedback import of_customers, read_answers
from training.recommend.interactions import BEHAVIOURS
from training.task import Examples

# Lists of a row, newest event first: an item's id or a search's text, what was done, how long before the night began.
TOUCHED, BEHAVIOUR, AGE_HOURS, CATEGORIES, PRICES = "touched", "behaviour", "age_hours", "categories", "prices_cents"
ITEMS, BOUGHT = "items", "bought"  # of the target: distinct items of the night
SEARCH: Final = len(BEHAVIOURS)  # place of a search among behaviours
MAX_EVENTS: Final = 200  # newest ones of a customer: what a busy program does can outweigh nobody
MAX_QUERY: Final = 80  # characters

ROWS: Final = pa.schema(
    [
        (C.USER_KEY, pa.string()), (C.SEGMENT_NAME, pa.string()), (TOUCHED, pa.list_(pa.string())),
        (BEHAVIOUR, pa.list_(pa.int64())), (AGE_HOURS, pa.list_(pa.float64())), (CATEGORIES, pa.list_(pa.string())),
        (PRICES, pa.list_(pa.float64())),
    ]
)  # fmt: skip
TARGET: Final = pa.schema([(ITEMS, pa.list_(pa.string())), (BOUGHT, pa.list_(pa.string()))])


def examples_of(shop: Shop, store: Store, nights: tuple[date, ...], max_customers: int) -> Examples:
    """The examples of `nights`; customers drawn by lot if there are more. Raises NoDataError where nobody came twice."""
    told = [night for night in store.nights("events") if nights and store.kept_from("clean") <= night <= max(nights)]
    asked = sorted(set(told[1:]) & set(nights))
    answers = read_answers(max(nights, default=date.min), store)  # of those nights and earlier ones only
    parts = []
    for night in asked:
        came = _target(store, night)
        known = histories(shop, store, night - timedelta(days=1), None if night == asked[-1] else came[C.USER_KEY])
        known = _drawn(known, max_customers)
        place = pc.index_in(known[C.USER_KEY], value_set=came[C.USER_KEY])
        target = pa.table(
            {name: pc.fill_null(came[name].combine_chunks().take(place), []) for name in TARGET.names}, schema=TARGET
        )
        shown = of_customers(answers, night, known[C.USER_KEY].to_pylist())
        target = pa.table([*target.columns, *shown.columns], names=[*target.column_names, *shown.column_names])
        parts.append((known, target, np.full(len(known), np.datetime64(night, "D"))))
    if not any(
        len(target) and pc.any(pc.greater(pc.list_value_length(target[ITEMS]), 0)).as_py() for _, target, _ in parts
    ):
        raise NoDataError(
            f"shop {shop.shop}: nobody known before came on one of {len(nights)} nights; simulate or land some"
        )
    rows, wanted = (pa.concat_tables([part[place] for part in parts]) for place in (0, 1))
    keys, named = (rows[name].to_numpy() for name in (C.USER_KEY, C.SEGMENT_NAME))
    return Examples(rows, wanted, keys, named, np.concatenate([part[2] for part in parts]))


def histories(shop: Shop, store: Store, night: date, keys: pa.ChunkedArray | None = None) -> pa.Table:
    """ROWS of everybody (or of `keys`) seen in the window that ends with `night`, by key, ages as of its end.

    Bots are left out; what is neither a touch of an item nor a search is not told.
    """
    files = [str(path) for path in store.files("events", window(night, shop.features.window_nights))]
    if not files:
        return ROWS.empty_table()
    end = np.datetime64(shop_midnight(shop, night + timedelta(days=1)), "us").astype(np.int64)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
    chosen = ""
    if keys is not None:
        connection.register("asked", pa.table({C.USER_KEY: keys}))
        chosen = f"AND {C.USER_KEY} IN (SELECT {C.USER_KEY} FROM asked)"
    names = ", ".join(f"'{name}'" for name in BEHAVIOURS)
    found = connection.sql(
        f"""WITH told AS (
              SELECT {C.USER_KEY}, CASE WHEN {C.EVENT_TYPE} = 'search' THEN lower(trim({C.QUERY}))[:{MAX_QUERY}]
                                        ELSE {C.ITEM_ID}::VARCHAR END AS {TOUCHED},
                coalesce(list_position([{names}], {C.EVENT_TYPE}) - 1, {SEARCH})::BIGINT AS {BEHAVIOUR},
                ({end} - epoch_us({C.OCCURRED_AT})) / 3.6e9 AS {AGE_HOURS},
                {C.CATEGORY_ID}::VARCHAR AS {CATEGORIES}, {C.PRICE_CENTS}::DOUBLE AS {PRICES}
              FROM read_parquet({files}, hive_partitioning = false)
              WHERE NOT coalesce({C.IS_BOT}, false) {chosen}
                AND ({C.EVENT_TYPE} IN ({names}) AND {C.ITEM_ID} IS NOT NULL
                     OR {C.EVENT_TYPE} = 'search' AND trim({C.QUERY}) <> '')
            ), newest AS (
              SELECT *, row_number() OVER (PARTITION BY {C.USER_KEY}
                ORDER BY {AGE_HOURS}, {BEHAVIOUR} DESC, {TOUCHED}, {PRICES}) AS place
              FROM told QUALIFY place <= {MAX_EVENTS})
            SELECT {C.USER_KEY}, {", ".join(f"list({name} ORDER BY place) AS {name}" for name in ROWS.names[2:])}
            FROM newest GROUP BY {C.USER_KEY} ORDER BY {C.USER_KEY}"""
    ).to_arrow_table()
    connection.close()
    return found.add_column(1, C.SEGMENT_NAME, segments(store, night, found[C.USER_KEY])).cast(ROWS)


def shop_midnight(shop: Shop, night: date) -> str:
    """When the shop's local night begins, as UTC text without a zone."""
    from datetime import UTC, datetime, time

    return datetime.combine(night, time(), shop.zone).astimezone(UTC).replace(tzinfo=None).isoformat()


def segments(store: Store, night: date, keys: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """(n,) names of the customers' segments, "" where there is none."""
    told = read(store, "segments", [night], C.USER_KEY, C.SEGMENT_NAME)
    if told is None:
        return pa.repeat("", len(keys))
    return pc.fill_null(told[C.SEGMENT_NAME].take(pc.index_in(keys, value_set=told[C.USER_KEY])), "")


def _target(store: Store, night: date) -> pa.Table:
    """One row per customer who touched an item on the night: USER_KEY, ITEMS, BOUGHT."""
    events = read(store, "events", [night], C.USER_KEY, C.EVENT_TYPE, C.ITEM_ID, C.IS_BOT)
    assert events is not None  # the night is one of the store's
    kept = pc.and_(pc.invert(pc.fill_null(events[C.IS_BOT], False)), pc.is_valid(events[C.ITEM_ID]))
    events = events.filter(pc.and_(kept, pc.is_in(events[C.EVENT_TYPE], value_set=pa.array(BEHAVIOURS))))
    item = pc.cast(events[C.ITEM_ID], pa.string())
    bought = pc.if_else(pc.equal(events[C.EVENT_TYPE], "purchase"), item, pa.scalar(None, pa.string()))
    each = pa.table({C.USER_KEY: events[C.USER_KEY], ITEMS: item, BOUGHT: bought})
    found = each.group_by(C.USER_KEY).aggregate([(ITEMS, "distinct"), (BOUGHT, "distinct")]).sort_by(C.USER_KEY)
    lists = {
        name: [sorted(one for one in items if one is not None) for items in found[f"{name}_distinct"].to_pylist()]
        for name in (ITEMS, BOUGHT)
    }
    return pa.table(
        {C.USER_KEY: found[C.USER_KEY], **{n: pa.array(v, pa.list_(pa.string())) for n, v in lists.items()}}
    )


def _drawn(rows: pa.Table, most: int) -> pa.Table:
    if len(rows) <= most:
        return rows
    n_lots = -(-len(rows) // most)
    keep = [zlib.crc32(key.encode()) % n_lots == 0 for key in rows[C.USER_KEY].to_pylist()]
    return rows.filter(pa.array(keep))
