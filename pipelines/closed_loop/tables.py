"""The tables that plan and effect model read, made directly from what a simulated night told.

The nightly pipeline takes most of a minute a night for landing, cleaning, audits and reports, which leave the tables
that matter here as they are. These are events, deliveries and outcomes, then user_profiles, channel_response, segments and
catalog, by a few queries of DuckDB; a test holds profiles and responses against those of the real jobs. Left out: the
profile's vector; segments are price bands.
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.shop import Shop
from pipelines.core.storage import MANIFEST, Manifest, Store
from pipelines.simulator.catalogue import Catalogue, category_id, item_id
from pipelines.simulator.draws import Ints

if TYPE_CHECKING:
    import pyarrow as pa

FEEDS = ("events", "deliveries", "outcomes")
_TYPES = {
    "events": {
        "user_id": "VARCHAR", C.SESSION_ID: "VARCHAR", C.EVENT_TYPE: "VARCHAR", C.OCCURRED_AT: "TIMESTAMPTZ",
        C.ITEM_ID: "VARCHAR", C.CATEGORY_ID: "VARCHAR", C.BRAND: "VARCHAR", "price": "DOUBLE", C.QUANTITY: "BIGINT",
        C.ORDER_ID: "VARCHAR", C.QUERY: "VARCHAR", C.CHANNEL: "VARCHAR",
    },
    "deliveries": {
        C.DELIVERY_ID: "VARCHAR", C.USER_KEY: "VARCHAR", C.STRATEGY_ID: "VARCHAR", C.CHANNEL: "VARCHAR",
        C.STATUS: "VARCHAR", "cost": "DOUBLE", C.SENT_AT: "TIMESTAMPTZ",
    },
    "outcomes": {
        C.OUTCOME_ID: "VARCHAR", C.DELIVERY_ID: "VARCHAR", C.USER_KEY: "VARCHAR", C.CHANNEL: "VARCHAR",
        C.OUTCOME: "VARCHAR", "revenue": "DOUBLE", C.OCCURRED_AT: "TIMESTAMPTZ",
    },
}  # fmt: skip
_MONEY = {"price": C.PRICE_CENTS, "cost": C.COST_CENTS, "revenue": C.REVENUE_CENTS}


def write_feed(
    store: Store, night: date, feed: str, lines: Sequence[bytes], ids: Sequence[str], keys: Sequence[str]
) -> None:
    """One night of a feed from its lines as a table; `ids` are the customers as the shop knows them, `keys` their pseudonyms."""
    import duckdb
    import pyarrow as pa

    folder = store.partition(feed, night)
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "lines.jsonl"
    raw.write_bytes(b"".join(line + b"\n" for line in lines))
    columns = [
        f"CAST(round({name} * 100) AS BIGINT) AS {_MONEY[name]}" if name in _MONEY else name
        for name in _TYPES[feed]
        if name not in ("user_id", C.SESSION_ID)
    ]
    query = f"SELECT {', '.join(columns)} FROM told"
    with duckdb.connect() as base:
        base.execute("SET threads = 1; SET TimeZone = 'UTC'")
        base.execute(
            f"CREATE TABLE told AS FROM read_json('{raw}', format = 'newline_delimited', columns = {_TYPES[feed]})"
        )
        if feed == "events":  # who is no customer is a bot
            base.register("users", pa.table({"user_id": list(ids), C.USER_KEY: list(keys)}))
            # What belongs to no session of the shop's is one of its own, as in cleaning.
            session = f"coalesce({C.SESSION_ID}, {C.USER_KEY} || '-{night}') AS {C.SESSION_ID}"
            query = f"SELECT {C.USER_KEY}, {session}, {', '.join(columns)}, false AS {C.IS_BOT} FROM told"
            query += " JOIN users USING (user_id)"
        base.execute(f"COPY ({query}) TO '{folder}/part-00000.parquet'")
    raw.unlink()
    _publish(store, feed, night, len(lines))


def remember(shop: Shop, store: Store, night: date) -> None:
    """Writes user_profiles, channel_response and segments as of the end of a night whose feeds are written."""
    import duckdb
    import pyarrow as pa

    strategy = shop.strategy
    caps = " ".join(f"WHEN '{channel.id}' THEN {channel.cap_window_nights}" for channel in strategy.channels)
    names = ", ".join(f"('{channel.id}')" for channel in strategy.channels)
    with duckdb.connect() as base:
        base.execute("SET threads = 1; SET TimeZone = 'UTC'")
        for feed in FEEDS:
            files = sorted(str(file) for file in store.partition(feed, night).parent.glob("*/part-*.parquet"))
            at = C.SENT_AT if feed == "deliveries" else C.OCCURRED_AT
            local = f"timezone('{shop.timezone}', CAST({at} AS TIMESTAMPTZ))"
            base.execute(
                f"""CREATE TABLE {feed} AS SELECT *, date_diff('day', CAST({local} AS DATE), DATE '{night}') AS ago,
                    CAST(hour({local}) AS BIGINT) AS hour FROM read_parquet({files}, hive_partitioning = false)"""
            )
        base.execute(f"SET VARIABLE nights = {shop.features.window_nights}")
        profiles = base.sql(_PROFILES).to_arrow_table()
        query = _RESPONSES.format(caps=caps, channels=names, rest=strategy.complaint_rest_nights)
        responses = base.sql(query).to_arrow_table()
    _write(store, "user_profiles", night, profiles)
    _write(store, "channel_response", night, responses)
    bands = profiles[C.PRICE_BAND].to_pylist()
    places = [("low", "mid", "high", "unknown").index(band) for band in bands]
    _write(
        store,
        "segments",
        night,
        pa.table({C.USER_KEY: profiles[C.USER_KEY], C.SEGMENT_ID: places, C.SEGMENT_NAME: bands}),
    )


def write_catalogue(store: Store, night: date, shelf: Catalogue, unit_cost: Ints) -> None:
    """The catalogue as of the end of a night; `unit_cost` [item] in cents."""
    import pyarrow as pa

    on_sale = np.flatnonzero(shelf.launch <= night.toordinal())
    catalogue = {
        C.ITEM_ID: [item_id(item) for item in on_sale.tolist()],
        C.CATEGORY_ID: [category_id(category) for category in shelf.category[on_sale].tolist()],
        C.PRICE_CENTS: shelf.prices(night.toordinal())[on_sale],
        C.UNIT_COST_CENTS: unit_cost[on_sale],
    }
    _write(store, "catalog", night, pa.table(catalogue))


def _write(store: Store, table: str, night: date, rows: "pa.Table") -> None:
    import pyarrow.parquet as pq

    folder = store.partition(table, night)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / "part-00000.parquet")
    _publish(store, table, night, len(rows))


def _publish(store: Store, table: str, night: date, rows: int) -> None:
    """The manifest that says that the partition is there; nothing was audited or hashed."""
    manifest = Manifest(table, night.isoformat(), rows, "", {}, "", "")
    (store.partition(table, night) / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


# The queries say what spark_jobs/user_profiles.py and channel_response.py do.
_PROFILES = r"""
WITH seen AS (
  SELECT * FROM events WHERE ago BETWEEN 0 AND getvariable('nights') - 1
), activity AS (
  SELECT user_key, min(ago) AS recency_nights, count(DISTINCT ago) AS n_active_nights,
    count(DISTINCT session_id) AS n_sessions, count(*) AS n_events,
    count(*) FILTER (event_type = 'view') AS n_views, count(*) FILTER (event_type = 'search') AS n_searches,
    count(*) FILTER (event_type = 'favorite') AS n_favorites, count(*) FILTER (event_type = 'cart') AS n_carts,
    count(*) FILTER (event_type = 'purchase') AS n_purchases,
    coalesce(sum(coalesce(price_cents, 0) * coalesce(quantity, 1)) FILTER (event_type = 'purchase'), 0)::BIGINT
      AS revenue_cents,
    count(DISTINCT order_id) FILTER (event_type = 'purchase')
      + count(*) FILTER (event_type = 'purchase' AND order_id IS NULL) AS n_orders
  FROM seen GROUP BY user_key
), touched AS (
  SELECT user_key, item_id, sum(price_cents) AS cents, count(price_cents) AS n FROM seen
  WHERE event_type IN ('view', 'click', 'favorite', 'cart', 'remove_from_cart', 'purchase') AND item_id IS NOT NULL
  GROUP BY user_key, item_id
), items AS (
  SELECT user_key, count(*) AS n_items, sum((cents * 2 + n) // (n * 2)) FILTER (n > 0) AS cents,
    count(*) FILTER (n > 0) AS n FROM touched GROUP BY user_key
), priced AS (
  SELECT user_key, n_items, n > 0 AS is_priced,
    coalesce(CASE WHEN n > 0 THEN (cents * 2 + n) // (n * 2) END, 0)::BIGINT AS avg_price_cents FROM items
), banded AS (
  SELECT *, (rank() OVER (PARTITION BY is_priced ORDER BY avg_price_cents) - 1) * 3 AS below,
    count(*) OVER (PARTITION BY is_priced) AS whole FROM priced
), hours AS (
  SELECT user_key, hour, count(*) AS n FROM seen GROUP BY user_key, hour
), active AS (
  SELECT user_key, (23 - max(n * 24 + 23 - hour) % 24)::BIGINT AS active_hour,
    coalesce(sum(n) FILTER (hour BETWEEN 0 AND 5), 0) / sum(n) AS night_share,
    coalesce(sum(n) FILTER (hour BETWEEN 6 AND 11), 0) / sum(n) AS morning_share,
    coalesce(sum(n) FILTER (hour BETWEEN 12 AND 17), 0) / sum(n) AS afternoon_share,
    coalesce(sum(n) FILTER (hour BETWEEN 18 AND 23), 0) / sum(n) AS evening_share FROM hours GROUP BY user_key
), weighted AS (
  SELECT user_key, category_id, brand, CASE event_type WHEN 'purchase' THEN 5 WHEN 'cart' THEN 3 WHEN 'favorite' THEN 3
    ELSE 1 END AS weight FROM seen WHERE event_type IN ('purchase', 'cart', 'favorite', 'click', 'view')
), category AS (
  SELECT user_key, category_id, sum(weight) AS weight FROM weighted WHERE category_id IS NOT NULL GROUP BY ALL
), top_category AS (
  SELECT user_key, arg_max(category_id, (weight, -rank)) AS top_category_id, max(weight) / sum(weight) AS share FROM
    (SELECT *, dense_rank() OVER (ORDER BY category_id) AS rank FROM category) GROUP BY user_key
), brand AS (
  SELECT user_key, brand, sum(weight) AS weight FROM weighted WHERE brand IS NOT NULL GROUP BY ALL
), top_brand AS (
  SELECT user_key, arg_max(brand, (weight, -rank)) AS top_brand, max(weight) / sum(weight) AS share FROM
    (SELECT *, dense_rank() OVER (ORDER BY brand) AS rank FROM brand) GROUP BY user_key
), script AS (
  SELECT user_key, count(*) FILTER (regexp_matches(query, '[^\x{0000}-\x{036F}\x{1E00}-\x{20CF}]')) / count(*) AS share
  FROM seen WHERE event_type = 'search' AND query IS NOT NULL GROUP BY user_key
), sent AS (
  SELECT user_key, count(*) AS n FROM deliveries WHERE status = 'delivered' AND ago < getvariable('nights') GROUP BY ALL
), clicked AS (
  SELECT user_key, count(*) AS n FROM outcomes WHERE outcome = 'click' AND ago < getvariable('nights') GROUP BY ALL
)
SELECT a.user_key, recency_nights, n_active_nights, n_sessions, n_events, n_views, n_searches, n_favorites, n_carts,
  n_purchases, revenue_cents, coalesce(b.n_items, 0) AS n_items,
  CASE WHEN n_orders > 0 THEN ((revenue_cents * 2 + n_orders) // (n_orders * 2))::BIGINT ELSE 0 END AS avg_order_cents,
  coalesce(b.avg_price_cents, 0) AS avg_price_cents,
  CASE WHEN b.is_priced IS NOT TRUE THEN 'unknown' WHEN below < whole THEN 'low' WHEN below < whole * 2 THEN 'mid'
    ELSE 'high' END AS price_band,
  top_category_id, coalesce(c.share, 0)::DOUBLE AS top_category_share, top_brand,
  coalesce(d.share, 0)::DOUBLE AS top_brand_share, active_hour, night_share, morning_share, afternoon_share,
  evening_share, script.share AS non_latin_share, coalesce(sent.n, 0) AS n_deliveries, coalesce(clicked.n, 0) AS n_clicks
FROM activity a LEFT JOIN banded b USING (user_key) LEFT JOIN active USING (user_key) LEFT JOIN script USING (user_key)
  LEFT JOIN top_category c USING (user_key) LEFT JOIN top_brand d USING (user_key)
  LEFT JOIN sent USING (user_key) LEFT JOIN clicked USING (user_key) ORDER BY a.user_key
"""

_RESPONSES = """
WITH consent AS (
  SELECT user_key, channel, event_type AS said, ago FROM events WHERE event_type IN ('unsubscribe', 'complaint')
  UNION ALL
  SELECT user_key, channel, outcome, ago FROM outcomes WHERE outcome IN ('unsubscribe', 'complaint')
), facts AS (
  SELECT user_key, channel, (status = 'delivered')::BIGINT AS delivered,
    (status = 'delivered' AND ago < CASE channel {caps} ELSE 0 END)::BIGINT AS recent, 0 AS clicks, 0 AS purchases,
    0 AS complaints, 0 AS revenue, false AS closed FROM deliveries
  UNION ALL
  SELECT user_key, channel, 0, 0, (outcome = 'click')::BIGINT, (outcome = 'purchase')::BIGINT,
    (outcome = 'complaint')::BIGINT, coalesce(revenue_cents, 0), false FROM outcomes
  UNION ALL
  SELECT user_key, channel, 0, 0, 0, 0, 0, 0, true FROM consent WHERE said = 'unsubscribe' AND channel IS NOT NULL
  UNION ALL
  SELECT user_key, c.channel, 0, 0, 0, 0, 0, 0, true FROM consent, (VALUES {channels}) c(channel)
  WHERE (said = 'complaint' AND ago < {rest}) OR (said = 'unsubscribe' AND consent.channel IS NULL)
)
SELECT user_key, channel, sum(delivered)::BIGINT AS n_deliveries, sum(recent)::BIGINT AS n_deliveries_cap_window,
  sum(clicks)::BIGINT AS n_clicks, sum(purchases)::BIGINT AS n_purchases, sum(complaints)::BIGINT AS n_complaints,
  sum(revenue)::BIGINT AS revenue_cents, bool_or(closed) AS is_suppressed
FROM facts GROUP BY ALL ORDER BY user_key, channel
"""
