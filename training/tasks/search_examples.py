"""What the search task learns from: what customers typed, and what they touched of what came.

A row is a search and the items touched after it in the same session before the next search: the first one, and all that
were bought. The shop's items stand among the rows, too (those of the newest night, without a query): a search is nothing
without them. They have no target and no measure counts them. A shop whose history came without a catalogue has the first
one that came later: it says what things are called, not what customers did; what it does not list is left out.
"""

from datetime import date
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from training.reading import Reading
from training.search.index import CATALOG
from training.search.words import MAX_CHARACTERS
from training.task import Examples
from training.tasks.recommender_examples import segments

ITEMS, GAINS = "items", "gains"  # of the target
GAIN: Final = {"click": 0.3, "view": 0.3, "favorite": 0.5, "cart": 0.7, "purchase": 1.0}
MINUTES: Final = 30  # after a search that what is touched may answer it

_KINDS: Final = {C.PRICE_CENTS: pa.int64(), C.STOCK: pa.float64()}
ROWS: Final = pa.schema(
    [
        (C.USER_KEY, pa.string()), (C.SEGMENT_NAME, pa.string()), (C.QUERY, pa.string()),
        *((name, _KINDS.get(name, pa.string())) for name in CATALOG),
    ]
)  # fmt: skip
TARGET: Final = pa.schema([(ITEMS, pa.list_(pa.string())), (GAINS, pa.list_(pa.float64()))])


def examples_of(shop: Shop, store: Store, nights: tuple[date, ...], max_searches: int) -> Examples:
    """The newest searches of `nights`, and the newest catalogue by then or, where there is none, the next.

    Raises NoDataError where nobody touched what was found.
    """
    first = store.kept_from("clean")
    told = [night for night in store.nights("events") if night in set(nights) and night >= first]
    found = [(night, _searches(store, night)) for night in told]
    n = sum(len(table) for _, table in found)
    listed = _listed(store, max(nights, default=date.min))
    catalog = read(store, "catalog", [listed], *CATALOG) if listed else None
    if not n or catalog is None:
        raise NoDataError(
            f"shop {shop.shop}: {n} searches led to an item on {len(nights)} nights, "
            f"{'one' if listed else 'no'} night has a catalogue; land more"
        )
    kept: list[tuple[date, pa.Table]] = []
    left = max_searches
    for night, table in reversed(found):
        kept.insert(0, (night, table.slice(0, left)))
        left = max(0, left - len(table))
    rows, wanted, when = [_items(catalog)], [], [np.full(len(catalog), np.datetime64(told[0], "D"))]
    for night, table in kept:
        segment = segments(store, night, table[C.USER_KEY])
        columns = {C.USER_KEY: table[C.USER_KEY], C.SEGMENT_NAME: segment, C.QUERY: table[C.QUERY]}
        rows.append(pa.table({name: columns.get(name, pa.nulls(len(table))) for name in ROWS.names}).cast(ROWS))
        wanted.append(table.select(TARGET.names).cast(TARGET))
        when.append(np.full(len(table), np.datetime64(night, "D")))
    nothing = pa.array([[]] * len(catalog), pa.list_(pa.string()))
    of_items = pa.table({ITEMS: nothing, GAINS: nothing.cast(pa.list_(pa.float64()))}, schema=TARGET)
    all_rows, target = pa.concat_tables(rows), pa.concat_tables([of_items, *wanted])
    keys, named = (all_rows[name].to_numpy() for name in (C.USER_KEY, C.SEGMENT_NAME))
    return Examples(all_rows, target, keys, named, np.concatenate(when))


def _listed(store: Store, last: date) -> date | None:
    """The newest night up to `last` with a catalogue, or else the first one after it."""
    known = store.nights("catalog")
    before = [night for night in known if night <= last]
    if known:
        return before[-1] if before else known[0]
    return store.open_next("catalog") if isinstance(store, Reading) else None


def _items(catalog: pa.Table) -> pa.Table:
    n = len(catalog)
    own = {C.USER_KEY: pa.repeat("", n), C.SEGMENT_NAME: pa.repeat("", n), C.QUERY: pa.nulls(n, pa.string())}
    return pa.table({name: own.get(name, catalog[name] if name in CATALOG else None) for name in ROWS.names}).cast(ROWS)


def _searches(store: Store, night: date) -> pa.Table:
    """USER_KEY, QUERY, ITEMS, GAINS of a night, by customer and time."""
    files = [str(path) for path in store.files("events", [night])]
    gains = " ".join(f"WHEN '{kind}' THEN {gain}" for kind, gain in GAIN.items())
    session = f"PARTITION BY {C.USER_KEY}, {C.SESSION_ID}"
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
    found = connection.sql(
        f"""WITH told AS (
              SELECT {C.USER_KEY}, {C.SESSION_ID}, {C.OCCURRED_AT} AS moment, {C.ITEM_ID}::VARCHAR AS item,
                CASE {C.EVENT_TYPE} {gains} END AS gain,
                CASE WHEN {C.EVENT_TYPE} = 'search' THEN left(trim({C.QUERY}), {MAX_CHARACTERS}) END AS query
              FROM read_parquet({files}, hive_partitioning = false)
              WHERE NOT coalesce({C.IS_BOT}, false) AND {C.SESSION_ID} IS NOT NULL
                AND ({C.EVENT_TYPE} = 'search' AND trim({C.QUERY}) <> ''
                     OR {C.EVENT_TYPE} IN ({", ".join(f"'{kind}'" for kind in GAIN)}) AND {C.ITEM_ID} IS NOT NULL)
            ), after AS (
              SELECT *, max(CASE WHEN query IS NOT NULL THEN moment END) OVER ({session}
                ORDER BY moment, query IS NULL ROWS UNBOUNDED PRECEDING) AS asked_at
              FROM told
            ), asked AS (
              SELECT {C.USER_KEY}, {C.SESSION_ID}, moment AS asked_at, min(query) AS query FROM told WHERE query IS NOT NULL
              GROUP BY ALL
            ), touched AS (
              SELECT {C.USER_KEY}, {C.SESSION_ID}, asked_at, item, max(gain) AS gain, min(moment) AS moment
              FROM after WHERE item IS NOT NULL AND asked_at IS NOT NULL
                AND moment <= asked_at + INTERVAL {MINUTES} MINUTE
              GROUP BY ALL
            ), placed AS (
              SELECT *, row_number() OVER ({session}, asked_at ORDER BY moment, item) AS place FROM touched)
            SELECT {C.USER_KEY}, query AS {C.QUERY}, list(item ORDER BY place) AS {ITEMS}, list(gain ORDER BY place) AS {GAINS}
            FROM placed JOIN asked USING ({C.USER_KEY}, {C.SESSION_ID}, asked_at)
            WHERE place = 1 OR gain >= 1
            GROUP BY {C.USER_KEY}, {C.SESSION_ID}, asked_at, query ORDER BY {C.USER_KEY}, asked_at, {C.SESSION_ID}"""
    ).to_arrow_table()
    connection.close()
    return found


def catalog_of(rows: pa.Table) -> pa.Table:
    """The items among the rows."""
    return rows.filter(pc.and_(pc.is_null(rows[C.QUERY]), pc.is_valid(rows[C.ITEM_ID]))).select(CATALOG)
