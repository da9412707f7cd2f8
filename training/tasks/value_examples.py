"""What the value model learns from: the orders of every customer's night, and the order history as known before it."""

import zlib
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from training.task import Examples

N_ORDERS, LAST_ORDER_AGE, AGE, HORIZON = "n_orders", "last_order_age_nights", "age_nights", "horizon_nights"
ORDERS: Final = "orders"  # predicted and true, over the horizon


def examples_of(shop: Shop, store: Store, nights: tuple[date, ...], max_customers: int) -> Examples:
    """All customers known before each of `nights`, with that night's orders. Raises NoDataError."""
    told = [night for night in store.nights("events") if nights and store.kept_from("clean") <= night <= max(nights)]
    if len(told) < 2 or not set(told[1:]) & set(nights):
        raise NoDataError(
            f"shop {shop.shop}: no night with events and an earlier one among {len(nights)}; simulate or land some"
        )
    seen = pa.concat_tables([_bought(store, night) for night in told])
    names = pc.unique(seen[C.USER_KEY]).sort()
    if len(names) > max_customers:
        n_lots = -(-len(names) // max_customers)
        names = names.filter(pa.array([zlib.crc32(key.encode()) % n_lots == 0 for key in names.to_pylist()]))
        seen = seen.filter(pc.is_in(seen[C.USER_KEY], value_set=names))
    user = pc.index_in(seen[C.USER_KEY], value_set=names).to_numpy()
    day, spent, is_order = (seen[name].to_numpy() for name in (C.NIGHT, C.SPEND_CENTS, ORDERS))
    parts = [_night(store, names, night, user, day, spent, is_order) for night in sorted(set(told[1:]) & set(nights))]
    rows = pa.concat_tables([rows for rows, _ in parts])
    target = pa.concat_tables([target for _, target in parts])
    night_of = np.concatenate(
        [
            np.full(len(rows), np.datetime64(night, "D"))
            for (rows, _), night in zip(parts, sorted(set(told[1:]) & set(nights)), strict=True)
        ]
    )
    keys, segments = (rows[name].to_numpy() for name in (C.USER_KEY, C.SEGMENT_NAME))
    return Examples(rows, target, keys, segments, night_of)


def _night(
    store: Store,
    names: pa.Array,
    night: date,
    user: np.ndarray,
    day: np.ndarray,
    spent: np.ndarray,
    is_order: np.ndarray,
) -> tuple[pa.Table, pa.Table]:
    """Rows and targets of one night; the arrays have one entry per customer and night with events."""
    today, n = night.toordinal(), len(names)
    before = day < today
    first = np.full(n, today)
    np.minimum.at(first, user[before], day[before])
    last = np.zeros(n, dtype=np.int64)
    ordered = before & (is_order > 0)
    np.maximum.at(last, user[ordered], day[ordered])
    n_orders = np.bincount(user[ordered], minlength=n)
    cents = np.bincount(user[ordered], spent[ordered], minlength=n)
    tonight = (day == today) & (is_order > 0)
    known = np.flatnonzero(first < today)
    keys = names.take(pa.array(known))
    rows = pa.table(
        {
            C.USER_KEY: keys,
            C.SEGMENT_NAME: _segments(store, night - timedelta(days=1), keys),
            N_ORDERS: n_orders[known].astype(np.float64),
            # A night's orders come at its end: an order of the first night is one night old at least.
            LAST_ORDER_AGE: np.where(n_orders > 0, last - first + 1, 0)[known].astype(np.float64),
            AGE: (today - first)[known].astype(np.float64),
            C.AVG_ORDER_CENTS: (cents / np.maximum(n_orders, 1))[known],
            HORIZON: np.ones(len(known)),
        }
    )
    orders = np.bincount(user[tonight], minlength=n)[known].astype(np.float64)
    spend = np.bincount(user[tonight], spent[tonight], minlength=n)[known]
    return rows, pa.table({ORDERS: orders, C.SPEND_CENTS: spend})


def _bought(store: Store, night: date) -> pa.Table:
    """One row per customer seen on a night: USER_KEY, NIGHT (ordinal), SPEND_CENTS, ORDERS (1 if anything was bought)."""
    columns = [C.USER_KEY, C.EVENT_TYPE, C.PRICE_CENTS, C.QUANTITY, C.IS_BOT]
    events = pa.concat_tables(
        [pq.read_table(file, columns=columns, partitioning=None) for file in store.files("events", [night])]
    )
    events = events.filter(pc.invert(pc.fill_null(events[C.IS_BOT], False)))
    is_order = pc.cast(pc.equal(events[C.EVENT_TYPE], "purchase"), pa.float64())
    cents = pc.multiply(pc.fill_null(events[C.PRICE_CENTS], 0), pc.fill_null(events[C.QUANTITY], 1))
    each = pa.table(
        {
            C.USER_KEY: events[C.USER_KEY],
            ORDERS: is_order,
            C.SPEND_CENTS: pc.multiply(pc.cast(cents, pa.float64()), is_order),
        }
    )
    found = each.group_by(C.USER_KEY).aggregate([(ORDERS, "max"), (C.SPEND_CENTS, "sum")])
    return pa.table(
        {
            C.USER_KEY: pc.cast(found[C.USER_KEY], pa.string()),
            C.NIGHT: np.full(len(found), night.toordinal()),
            ORDERS: found[f"{ORDERS}_max"],
            C.SPEND_CENTS: found[f"{C.SPEND_CENTS}_sum"],
        }
    )


def _segments(store: Store, night: date, keys: pa.Array) -> pa.ChunkedArray | pa.Array:
    """(n,) names of the customers' segments, "" where there is none."""
    files = store.files("segments", [night])
    if not files:
        return pa.repeat("", len(keys))
    told = pa.concat_tables(
        [pq.read_table(file, columns=[C.USER_KEY, C.SEGMENT_NAME], partitioning=None) for file in files]
    )
    return pc.fill_null(told[C.SEGMENT_NAME].take(pc.index_in(keys, value_set=told[C.USER_KEY])), "")
