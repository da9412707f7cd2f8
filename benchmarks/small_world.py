"""A demo shop played in memory: the simulator's own nights, and the tables that plan and effect model read, made directly.

The nightly pipeline takes most of a minute a night for landing, cleaning, audits and reports, which leave the tables
that matter here as they are. `World` plays a night with the simulator, whose lines stay free of dirt, and writes events,
deliveries, outcomes, user_profiles, channel_response, segments and catalog with a few queries of DuckDB; a test holds
profiles and responses against those of the real jobs. Left out: the profile's vector; segments are price bands.
"""

import shutil
from copy import copy
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from unittest import mock

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.shop import SendWindow, Shop
from pipelines.core.storage import Store
from pipelines.simulator import night as simulated
from pipelines.simulator.answer import BOUNCE_SHARE, Plan, after, send
from pipelines.simulator.catalogue import category_id, item_id
from pipelines.simulator.dirt import Soiled
from pipelines.simulator.draws import Bools, Floats, Ints
from pipelines.simulator.response import Treatment, respond, tonight
from pipelines.simulator.state import State, first_state
from pipelines.simulator.words import CATEGORIES
from pipelines.simulator.world import World as Shop_World
from pipelines.simulator.world import build_world
from pipelines.strategy.candidates import Candidate, candidates

_TYPES = {
    "events": {
        "user_id": "VARCHAR", C.SESSION_ID: "VARCHAR", C.EVENT_TYPE: "VARCHAR", C.OCCURRED_AT: "TIMESTAMPTZ",
        C.ITEM_ID: "VARCHAR", C.CATEGORY_ID: "VARCHAR", C.BRAND: "VARCHAR", "price": "DOUBLE", C.QUANTITY: "BIGINT",
        C.ORDER_ID: "VARCHAR", C.CHANNEL: "VARCHAR",
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


class World:
    """One course of events of a simulated shop; `branch` starts another from the same point."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop, self.store = shop, Store(folder, shop.shop)
        self.truth: Shop_World = build_world(shop)
        people = self.truth.customers
        self.keys = np.array([f"{place:064x}" for place in range(people.size)])  # pseudonyms, in the order of customers
        self.user_of = {key: place for place, key in enumerate(self.keys.tolist())}
        channels = tuple(channel.id for channel in shop.strategy.channels)
        self.state: State = first_state(self.truth, channels)
        self.night = date.fromordinal(self.truth.first_night)  # the next to be played
        self.found = candidates(shop.strategy)
        windows = {window.id: window for window in shop.strategy.send_windows}
        self.treatments = [_treatment(candidate, windows[candidate.send_window]) for candidate in self.found]
        shelf = self.truth.catalogue
        share = np.array([CATEGORIES[c].cost_share for c in shelf.category])
        self.unit_cost = np.round(shelf.base_price_cents * share).astype(np.int64)

    def branch(self, folder: Path) -> "World":
        """A world of its own that has been the same so far."""
        other = World(self.shop, folder)
        shutil.copytree(self.store.folder, other.store.folder)
        other.state, other.night = replace(self.state), self.night
        return other

    # -- the truth

    def profit(self, of: list[int] | None = None) -> tuple[Floats, Floats]:
        """Tonight's truth before it is played, in cents: profit of every customer left alone (n,), and what each
        strategy (of the candidates `of`, all by default), sent today, would add to that (n, s): margin on what is bought,
        less message and complaint cost.

        Luck is averaged out but for the bounce of messages, which is drawn; who has left a channel adds nothing.
        """
        evening = tonight(self.truth, self.night.toordinal())
        who = np.arange(self.truth.customers.size)
        first, second = evening.basket.T
        cost = self.unit_cost[first] * evening.quantity + np.where(second >= 0, self.unit_cost[second], 0)
        alone = respond(self.truth, evening, who, None, self.state.fatigue)
        organic = alone.purchase * (alone.order_cents - cost)
        arrives = evening.luck["bounce"] >= BOUNCE_SHARE
        of = list(range(len(self.found))) if of is None else of
        added = np.zeros((len(who), len(of)))
        for column, k in enumerate(of):
            candidate, treatment = self.found[k], self.treatments[k]
            told = respond(self.truth, evening, who, treatment, self.state.fatigue)
            margin = told.purchase * (told.order_cents - cost) - organic
            complaints = self.shop.strategy.complaint_cost_cents * told.complaint
            gone = self.state.unsubscribed.get(treatment.channel, np.zeros(len(who), dtype=bool))
            added[:, column] = np.where(arrives & ~gone, margin - complaints, 0.0) - candidate.message_cost_cents
        return organic, added

    # -- playing

    def play(self, strategy: Ints | None = None) -> None:
        """Plays the next night: nobody is written to, or each customer as told (n,): a candidate's place, -1 for none."""
        plan = None if strategy is None else self._plan(strategy)
        with mock.patch.object(simulated, "soil", lambda lines, *rest: Soiled(lines, [])):
            done = simulated.live(self.shop, self.truth, self.night, self.state, plan, self.user_of)
        self.state = done.state
        for feed in _TYPES:
            self._write_feed(feed, done.feeds.get(feed, []))
        self.night += timedelta(days=1)

    def _plan(self, strategy: Ints) -> Plan:
        rows = np.flatnonzero(strategy >= 0)
        used, place = np.unique(strategy[rows], return_inverse=True)
        return Plan(
            self.keys[rows].tolist(),
            [self.found[k].strategy_id for k in strategy[rows].tolist()],
            place.astype(np.int64),
            [self.treatments[k] for k in used.tolist()],
        )

    def rehearsal(self) -> "World":
        """A world from this point on that can be tired, but not played: nothing is written."""
        other = copy(self)
        other.state = replace(self.state)
        return other

    def tire(self, strategy: Ints) -> Bools:
        """The next night as far as messages go: fatigue and unsubscribes. Who was delivered one, (n,)."""
        evening = tonight(self.truth, self.night.toordinal())
        answers = send(self.truth, evening, self.state, self._plan(strategy), self.user_of)
        fatigue, gone = after(self.state, answers)
        self.state = replace(self.state, fatigue=fatigue, unsubscribed=gone).rest()
        self.night += timedelta(days=1)
        return np.isin(np.arange(len(self.keys)), answers.user[answers.delivered])

    def _write_feed(self, feed: str, lines: list[bytes]) -> None:
        folder = self.store.partition(feed, self.night)
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
                users = pa.table({"user_id": self.truth.customers.ids.tolist(), C.USER_KEY: self.keys})
                base.register("users", users)
                # What belongs to no session of the shop's is one of its own, as in cleaning.
                session = f"coalesce({C.SESSION_ID}, {C.USER_KEY} || '-{self.night}') AS {C.SESSION_ID}"
                query = f"SELECT {C.USER_KEY}, {session}, {', '.join(columns)}, false AS {C.IS_BOT} FROM told"
                query += " JOIN users USING (user_id)"
            base.execute(f"COPY ({query}) TO '{folder}/part-00000.parquet'")
        raw.unlink()

    # -- what is known at the end of a night

    def remember(self) -> None:
        """Writes the feature tables and the catalogue as of the night just played."""
        night, strategy = self.night - timedelta(days=1), self.shop.strategy
        caps = " ".join(f"WHEN '{channel.id}' THEN {channel.cap_window_nights}" for channel in strategy.channels)
        names = ", ".join(f"('{channel.id}')" for channel in strategy.channels)
        with duckdb.connect() as base:
            base.execute("SET threads = 1; SET TimeZone = 'UTC'")
            for feed in _TYPES:
                files = sorted(str(file) for file in self.store.partition(feed, night).parent.glob("*/part-*.parquet"))
                at = C.SENT_AT if feed == "deliveries" else C.OCCURRED_AT
                local = f"timezone('{self.shop.timezone}', CAST({at} AS TIMESTAMPTZ))"
                base.execute(
                    f"""CREATE TABLE {feed} AS SELECT *, date_diff('day', CAST({local} AS DATE), DATE '{night}') AS ago,
                        CAST(hour({local}) AS BIGINT) AS hour FROM read_parquet({files}, hive_partitioning = false)"""
                )
            base.execute(f"SET VARIABLE nights = {self.shop.features.window_nights}")
            profiles = base.sql(_PROFILES).to_arrow_table()
            query = _RESPONSES.format(caps=caps, channels=names, rest=strategy.complaint_rest_nights)
            responses = base.sql(query).to_arrow_table()
        self._write("user_profiles", night, profiles)
        self._write("channel_response", night, responses)
        bands = profiles[C.PRICE_BAND].to_pylist()
        places = [("low", "mid", "high", "unknown").index(band) for band in bands]
        segments = {C.USER_KEY: profiles[C.USER_KEY], C.SEGMENT_ID: places, C.SEGMENT_NAME: bands}
        self._write("segments", night, pa.table(segments))
        shelf = self.truth.catalogue
        on_sale = np.flatnonzero(shelf.launch <= night.toordinal())
        catalogue = {
            C.ITEM_ID: [item_id(item) for item in on_sale.tolist()],
            C.CATEGORY_ID: [category_id(category) for category in shelf.category[on_sale].tolist()],
            C.PRICE_CENTS: shelf.prices(night.toordinal())[on_sale],
            C.UNIT_COST_CENTS: self.unit_cost[on_sale],
        }
        self._write("catalog", night, pa.table(catalogue))

    def _write(self, table: str, night: date, rows: pa.Table) -> None:
        folder = self.store.partition(table, night)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / "part-00000.parquet")


def _treatment(candidate: Candidate, window: SendWindow) -> Treatment:
    return Treatment(
        candidate.discount_percent, candidate.channel, window.from_hour, window.to_hour, candidate.frequency,
        candidate.creative_style,
    )  # fmt: skip


# The queries say what spark_jobs/user_profiles.py and channel_response.py do.
_PROFILES = """
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
  evening_share, coalesce(sent.n, 0) AS n_deliveries, coalesce(clicked.n, 0) AS n_clicks
FROM activity a LEFT JOIN banded b USING (user_key) LEFT JOIN active USING (user_key)
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
