"""What the behaviour model learns from: customers' events in order, and for each event after the fifth what came before it.

`Histories` is a table of events put in order, whether it comes from the store (`read_events`) or from a file. An example
is one event of a night: its kind is the target, its row is what was known right after the event before it. The row tells
the last events twice: as numbers (training/tasks/behaviour_features.py) and as text for an encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store

KINDS: Final = (
    "view",
    "click",
    "search",
    "favorite",
    "cart",
    "purchase",
)  # what is predicted, and all that is looked at
FAVORITE, CART, PURCHASE = KINDS.index("favorite"), KINDS.index("cart"), KINDS.index("purchase")
TEXT: Final = "recent"
TARGET: Final = "behaviour"
MIN_EVENTS: Final = 5  # events that a customer has before the first example
CONTEXT: Final = 32  # events that the text tells
BETWEEN: Final = " | "  # events in the text

_GAPS = (1, 10, 30, 60, 180, 600, 1_800, 7_200, 28_800, 86_400)  # seconds since the event before
_GAP_WORDS = np.array(
    ["instant", "fast", "quick", "moment", "minute", "minutes", "while", "hour", "hours", "night", "days"], dtype=object
)
_PRICES = (500, 1_000, 2_000, 5_000, 10_000, 30_000)  # cents
_PRICE_WORDS = np.array(["tiny", "cheap", "low", "medium", "high", "dear", "luxury"], dtype=object)
_MAX_WORDS = 8  # of a title, and of a search

EVENTS: Final = pa.schema(
    [
        (C.USER_KEY, pa.string()), (C.OCCURRED_AT, pa.timestamp("us", tz="UTC")), (C.EVENT_TYPE, pa.string()),
        (C.ITEM_ID, pa.string()), (C.CATEGORY_ID, pa.string()), (C.CATEGORY_PATH, pa.string()), (C.BRAND, pa.string()),
        (C.PRICE_CENTS, pa.int64()), (C.QUERY, pa.string()), (C.TITLE, pa.string()), (C.NIGHT, pa.date32()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Histories:
    """n events by customer and time; events of one second stay as they came."""

    customer: np.ndarray  # (n,) int, rising
    keys: np.ndarray  # user key per customer
    at_s: np.ndarray  # (n,) int, seconds since 1970
    local_day: np.ndarray  # (n,) int, days since 1970 in the shop's zone
    local_hour: np.ndarray  # (n,) float, 0 to 24
    night: np.ndarray  # (n,) datetime64[D]
    kind: np.ndarray  # (n,) int, place in KINDS
    item: np.ndarray  # (n,) int, the same for the same customer and item; without an item never the same
    category: np.ndarray  # (n,) int, alike
    has_item: np.ndarray  # (n,) bool
    shop_item: np.ndarray  # (n,) int, the same for the same item of anybody, -1 without
    shop_category: np.ndarray  # (n,) int, alike
    price_cents: np.ndarray  # (n,) float, NaN where not told
    words: np.ndarray  # (n,) object: what is told of the thing: brand, category, price, title or search

    def __len__(self) -> int:
        return len(self.customer)

    @classmethod
    def of(cls, events: pa.Table, zone: ZoneInfo) -> "Histories":
        """From a table with the columns EVENTS; kinds of events that are not in KINDS are left out."""
        events = events.filter(pc.is_in(events[C.EVENT_TYPE], value_set=pa.array(KINDS)))
        keys, customer = _codes(events[C.USER_KEY])
        at_s = pc.cast(events[C.OCCURRED_AT], pa.timestamp("s", tz="UTC"), safe=False).cast(pa.int64()).to_numpy()
        order = np.lexsort((at_s, customer))
        events, customer, at_s = events.take(order), customer[order], at_s[order]
        local_s = at_s + _offsets(at_s, zone)
        item, category = _known(events[C.ITEM_ID]), _known(events[C.CATEGORY_ID])
        return cls(
            customer, keys, at_s, local_s // 86_400, local_s % 86_400 / 3_600,
            events[C.NIGHT].to_numpy().astype("datetime64[D]"),
            pc.index_in(events[C.EVENT_TYPE], value_set=pa.array(KINDS)).to_numpy(),
            _same(customer, item), _same(customer, category), item >= 0, item, category,
            pc.cast(events[C.PRICE_CENTS], pa.float64()).to_numpy(zero_copy_only=False), _words(events),
        )  # fmt: skip


def read_events(shop: Shop, store: Store, nights: Sequence[date], max_examples: int) -> pa.Table:
    """Events (columns EVENTS) up to the last of `nights`, as far back as features look, without bots.

    Whole customers, drawn by a stable hash, so that about `max_examples` of their events lie in `nights`. Raises
    NoDataError where there is none.
    """
    first = min(nights) - timedelta(days=shop.features.window_nights)
    files = [str(file) for file in store.files("events", _between(first, max(nights)))]
    asked = ", ".join(f"DATE '{night}'" for night in sorted(nights))
    if not files:
        raise NoDataError(f"shop {shop.shop}: no events up to night {max(nights)}; run the night first")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"""CREATE TEMP TABLE kept AS SELECT * EXCLUDE (night), night::DATE AS night
            FROM read_parquet({files}, hive_partitioning = true)
            WHERE NOT coalesce({C.IS_BOT}, false) AND {C.EVENT_TYPE} IN {KINDS}
            AND {C.USER_KEY} IN (
              SELECT {C.USER_KEY} FROM (
                SELECT {C.USER_KEY}, sum(count(*)) OVER (ORDER BY md5({C.USER_KEY})) - count(*) AS before
                FROM read_parquet({files}, hive_partitioning = true)
                WHERE night::DATE IN ({asked}) AND NOT coalesce({C.IS_BOT}, false) AND {C.EVENT_TYPE} IN {KINDS}
                GROUP BY {C.USER_KEY})
              WHERE before < {max_examples})"""
    )
    titles = [night for night in store.nights("catalog") if night <= max(nights)][-1:]
    catalogue = [str(file) for file in store.files("catalog", titles)]
    title = f"(SELECT {C.ITEM_ID}, {C.TITLE} FROM read_parquet({catalogue}))" if catalogue else _NO_TITLES
    found = connection.sql(
        f"""SELECT kept.{C.USER_KEY}, {C.OCCURRED_AT}, {C.EVENT_TYPE}, kept.{C.ITEM_ID}, {C.CATEGORY_ID},
              {C.CATEGORY_PATH}, {C.BRAND}, {C.PRICE_CENTS}, {C.QUERY}, {C.TITLE}, night
            FROM kept LEFT JOIN {title} told ON told.{C.ITEM_ID} = kept.{C.ITEM_ID}
            ORDER BY kept.{C.USER_KEY}, {C.OCCURRED_AT}, {C.EVENT_TYPE}, kept.{C.ITEM_ID}, {C.SESSION_ID}, {C.QUERY}"""
    )
    return found.to_arrow_table().cast(EVENTS)


_NO_TITLES = f"(SELECT NULL::VARCHAR AS {C.ITEM_ID}, NULL::VARCHAR AS {C.TITLE} WHERE false)"


def texts(told: Histories, last: np.ndarray) -> list[str]:
    """For each position (k,) in `last`: the customer's events up to it, CONTEXT at most, the newest last."""
    each = event_texts(told).tolist()
    first = np.maximum(np.searchsorted(told.customer, told.customer[last]), last + 1 - CONTEXT)
    return [BETWEEN.join(each[a : b + 1]) for a, b in zip(first.tolist(), last.tolist(), strict=True)]


def event_texts(told: Histories) -> np.ndarray:
    """(n,) object: each event in words: how long after the one before, what, whether the thing was met before."""
    n = len(told)
    begins = np.append(True, told.customer[1:] != told.customer[:-1])[:n]
    gap = np.diff(told.at_s, prepend=told.at_s[:1])
    parts = [np.where(begins, "start", _GAP_WORDS[np.digitize(gap, _GAPS)]), np.array(KINDS, dtype=object)[told.kind]]
    for key, again, known in ((told.item, "again", "back"), (told.category, "similar", "familiar")):
        _, first = np.unique(key, return_index=True)
        is_known = np.ones(n, dtype=bool)
        is_known[first] = False
        is_same = ~begins & np.append(False, key[1:] == key[:-1])[:n]
        parts.append(np.where(is_same, again, np.where(is_known, known, "")))
    return np.array([" ".join(word for word in row if word) for row in zip(*parts, told.words, strict=True)], object)


def _words(events: pa.Table) -> np.ndarray:
    """(n,) object: search words; or brand, last part of the category's path, price band and title; "" where none is told."""
    path = pc.fill_null(events[C.CATEGORY_PATH], "")
    last = pc.replace_substring_regex(path, r"^.*[./>]", "")
    cents = pc.cast(events[C.PRICE_CENTS], pa.float64()).to_numpy(zero_copy_only=False)
    price = np.where(np.isnan(cents), "", _PRICE_WORDS[np.digitize(np.nan_to_num(cents), _PRICES)])
    columns = [last, events[C.BRAND], pa.array(price.tolist(), pa.string()), events[C.TITLE], events[C.QUERY]]
    told = pc.binary_join_element_wise(*columns, " ", null_handling="replace", null_replacement="")
    clean = pc.utf8_trim_whitespace(pc.replace_substring_regex(told, r"[\s|,.;:_]+", " "))
    shortest = pc.replace_substring_regex(clean, rf"^((?:\S+ ){{{_MAX_WORDS}}}).*$", r"\1")
    return np.asarray(pc.utf8_trim_whitespace(shortest).to_numpy(zero_copy_only=False), dtype=object)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values in order of appearance, and each row's place among them."""
    found = column.combine_chunks().dictionary_encode()
    return found.dictionary.to_numpy(zero_copy_only=False), found.indices.to_numpy().astype(np.int64)


def _known(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) int, equal for equal values, -1 where there is none."""
    _, code = _codes(pc.fill_null(column, ""))
    return np.where(pc.is_valid(column).to_numpy(zero_copy_only=False), code, -1)


def _same(customer: np.ndarray, code: np.ndarray) -> np.ndarray:
    """(n,) int, equal for rows of one customer with equal codes; rows with -1 are like no other row."""
    code = np.where(code < 0, code.max(initial=0) + 1 + np.arange(len(code)), code)
    _, both = np.unique(customer * (code.max(initial=0) + 1) + code, return_inverse=True)
    return np.asarray(both, dtype=np.int64)


def _offsets(at_s: np.ndarray, zone: ZoneInfo) -> np.ndarray:
    """(n,) seconds that the zone's clock is ahead of UTC, exact to the hour."""
    hours, place = np.unique(at_s // 3_600, return_inverse=True)
    ahead = [datetime.fromtimestamp(int(hour) * 3_600, zone).utcoffset() or timedelta() for hour in hours]
    return np.array([int(one.total_seconds()) for one in ahead], dtype=np.int64)[place]


def _between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=day) for day in range((last - first).days + 1)]
