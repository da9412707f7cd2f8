"""What the pricing model learns from: the units sold of every item on every night, with the night's price and the item's
history as known before it.

Units are those that people put on their orders, bots left out. The price is the catalogue's of that night, or where none
was kept, what the night's events showed. An item without a price above zero, or out of stock and unsold, tells nothing of
demand on that night and makes no row.
"""

import json
import zlib
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from training.task import Examples

N_UNITS, N_NIGHTS, LOG_PRICE, LOG_PRICE_BEFORE = "n_units_before", "n_nights_before", "log_price", "log_price_before"
ATTENTION, WEEKDAY = "attention", "weekday"
UNITS: Final = "units"  # predicted and true, of the item's night
HISTORY_NIGHTS: Final = 28
_RECENT_NIGHTS: Final = 7


@dataclass(frozen=True)
class Panel:
    """Items by nights, from the first night on without a gap."""

    nights: list[date]
    items: np.ndarray  # (i,) ids, sorted
    category: np.ndarray  # (i,) "" where unknown
    price: np.ndarray  # (i, t) cents, NaN where the item had none or could not be bought
    units: np.ndarray  # (i, t)
    views: np.ndarray  # (i, t) by those who did not buy the item on that night

    def rows(self, place: int, price: np.ndarray | None = None) -> tuple[pa.Table, np.ndarray]:
        """Features of the night at `place` (the night after the last one is allowed, at `price` (i,) cents), from the
        nights before it alone; and which of the items (k,) they are of: those with a price."""
        now = self.price[:, place] if price is None else np.where(price > 0, price, np.nan)
        before = slice(max(0, place - HISTORY_NIGHTS), place)
        priced = np.isfinite(self.price[:, before])
        n_nights = priced.sum(axis=1)
        which = np.flatnonzero(np.isfinite(now))
        log_now = np.log(now[which])
        history = np.log(np.where(priced, self.price[:, before], 1.0)[which]).sum(axis=1)
        seen = self.views[:, before][which]
        n_recent = min(_RECENT_NIGHTS, seen.shape[1])
        # How much it is looked at now, against how much it was: one view more on either side keeps zeros tame.
        attention = np.log((seen[:, -n_recent:].mean(axis=1) + 1 / n_recent) / (seen.mean(axis=1) + 1 / n_recent))
        night = self.nights[0] + timedelta(days=place)
        return pa.table(
            {
                C.ITEM_ID: pa.array(self.items[which], pa.string()),
                C.CATEGORY_ID: pa.array(self.category[which], pa.string()),
                LOG_PRICE: log_now,  # of an item that is new, no other is known
                LOG_PRICE_BEFORE: np.where(n_nights[which] > 0, history / np.maximum(n_nights[which], 1), log_now),
                N_UNITS: np.where(priced, self.units[:, before], 0.0).sum(axis=1)[which],
                N_NIGHTS: n_nights[which].astype(np.float64),
                ATTENTION: attention,
                WEEKDAY: np.full(len(which), float(night.weekday())),
            }
        ), which

    def examples(self, nights: list[date]) -> Examples:
        """The examples of those of `nights` that have a night before them. Raises NoDataError where there are none."""
        parts = [(self.rows(self.nights.index(n)), n) for n in nights if n in self.nights[1:]]
        parts = [part for part in parts if part[0][0].num_rows]
        if not parts:
            raise NoDataError(
                f"pricing: no item has a price on one of {len(nights)} nights with a night before; land a catalogue"
            )
        rows = pa.concat_tables([rows for (rows, _), _ in parts])
        units = [self.units[which, self.nights.index(n)] for (_, which), n in parts]
        night = [np.full(len(which), np.datetime64(n, "D")) for (_, which), n in parts]
        # An item's nights are alike, so items are resampled; categories are the segments that must not get worse.
        return Examples(
            rows,
            pa.table({UNITS: np.concatenate(units)}),
            rows[C.ITEM_ID].to_numpy(),
            rows[C.CATEGORY_ID].to_numpy(),
            np.concatenate(night),
        )


def panel_of(shop: Shop, store: Store, nights: list[date], max_items: int) -> Panel:
    """The panel of `nights` and the history before them; items drawn by lot if there are more. Raises NoDataError."""
    told = set(store.nights("events"))
    span = window(max(nights), (max(nights) - min(nights)).days + 1 + HISTORY_NIGHTS) if nights else []
    span = [night for night in span if night in told and night >= store.kept_from("clean")]
    if not span:
        raise NoDataError(f"shop {shop.shop}: no events on {len(nights)} nights and those before; land some")
    seen = {night: _events(store, night) for night in span}
    shelves = {night: catalog_of(store, night) for night in span if store.files("catalog", [night])}
    ids = [table[C.ITEM_ID].combine_chunks() for table in (*seen.values(), *shelves.values())]
    names = pc.unique(pa.chunked_array(ids, pa.string())).drop_null().sort()
    if len(names) > max_items:
        n_lots = -(-len(names) // max_items)
        names = names.filter(pa.array([zlib.crc32(name.encode()) % n_lots == 0 for name in names.to_pylist()]))
    every = window(span[-1], (span[-1] - span[0]).days + 1)
    shape = (len(names), len(every))
    price, units, views = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
    category = np.full(len(names), "", dtype=object)
    for night in span:
        at = every.index(night)
        units[:, at], views[:, at], price[:, at] = _sold(seen[night], names, category)
        if night in shelves:
            _overrule(price[:, at], units[:, at], shelves[night], names, category)
        elif at:  # without a catalogue, what nobody looked at costs what it did
            price[:, at] = np.where(np.isfinite(price[:, at]), price[:, at], price[:, at - 1])
    return Panel(every, names.to_numpy(zero_copy_only=False), category, price, units, views)


def _overrule(price: np.ndarray, units: np.ndarray, shelf: pa.Table, names: pa.Array, category: np.ndarray) -> None:
    """What the night's catalogue tells goes before what events tell, in place: `price` and `category` (i,)."""
    place = pc.index_in(shelf[C.ITEM_ID], value_set=names)
    mine, place = shelf.filter(pc.is_valid(place)), place.drop_null().to_numpy()
    cents = pc.cast(mine[C.PRICE_CENTS], pa.float64()).to_numpy()
    is_out = pc.fill_null(pc.less_equal(mine[C.STOCK], 0), False).to_numpy() & (units[place] == 0)
    price[place] = np.where((cents > 0) & ~is_out, cents, np.nan)
    category[place] = pc.fill_null(mine[C.CATEGORY_ID], "").to_numpy()


def catalog_of(store: Store, night: date) -> pa.Table:
    """The night's catalogue: ids, categories, prices, costs, stock, attributes. Raises NoDataError where there is none."""
    columns = [C.ITEM_ID, C.CATEGORY_ID, C.PRICE_CENTS, C.UNIT_COST_CENTS, C.STOCK, C.ATTRIBUTES]
    files = store.files("catalog", [night])
    if not files:
        raise NoDataError(f"shop {store.shop}, night {night}: no catalogue; land its feed")
    return pa.concat_tables([pq.read_table(file, columns=columns, partitioning=None) for file in files])


def list_prices(shelf: pa.Table) -> np.ndarray:
    """(n,) cents of the attribute `list_price`, in the shop's currency; NaN where it is not told or not above zero."""
    found = np.full(shelf.num_rows, np.nan)
    for place, text in enumerate(shelf[C.ATTRIBUTES].to_pylist()):
        told = json.loads(text).get("list_price") if text and "list_price" in text else None
        if isinstance(told, int | float) and told > 0:
            found[place] = round(100 * told)
    return found


def _events(store: Store, night: date) -> pa.Table:
    columns = [C.USER_KEY, C.ITEM_ID, C.CATEGORY_ID, C.EVENT_TYPE, C.PRICE_CENTS, C.QUANTITY, C.IS_BOT]
    files = store.files("events", [night])
    events = pa.concat_tables([pq.read_table(file, columns=columns, partitioning=None) for file in files])
    return events.filter(pc.and_(pc.invert(pc.fill_null(events[C.IS_BOT], False)), pc.is_valid(events[C.ITEM_ID])))


def _sold(events: pa.Table, names: pa.Array, category: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units of the items `names`, views by customers who did not buy the item that night, and the price that was shown
    (i,): the median, not of purchases, which may have been cheaper by a message. Fills in `category` (i,)."""
    item = pc.fill_null(pc.index_in(events[C.ITEM_ID], value_set=names), -1).to_numpy()
    user = pc.dictionary_encode(events[C.USER_KEY].combine_chunks()).indices.to_numpy().astype(np.int64)
    quantity = pc.fill_null(events[C.QUANTITY], 1).to_numpy()
    is_bought, is_viewed = (
        pc.equal(events[C.EVENT_TYPE], kind).to_numpy() & (item >= 0) for kind in ("purchase", "view")
    )
    units, views = demand(user, item, quantity, is_bought, is_viewed, len(names))
    known = pc.is_valid(events[C.CATEGORY_ID]).to_numpy() & (item >= 0)
    category[item[known]] = events[C.CATEGORY_ID].to_numpy()[known]
    cents = pc.fill_null(pc.cast(events[C.PRICE_CENTS], pa.float64()), 0.0).to_numpy()
    shown = np.flatnonzero((cents > 0) & (item >= 0) & ~is_bought)
    shown = shown[np.lexsort((cents[shown], item[shown]))]
    place, first, n = np.unique(item[shown], return_index=True, return_counts=True)
    price = np.full(len(names), np.nan)
    price[place] = cents[shown[first + (n - 1) // 2]]
    return units, views, price


def demand(
    user: np.ndarray, item: np.ndarray, quantity: np.ndarray, is_bought: np.ndarray, is_viewed: np.ndarray, n_items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of events (n,) of a night: units per item, and views by those who did not buy the item, (n_items,) each.

    Buyers' views would carry what a low price brought about into what stands for interest apart from the price.
    """
    pair = user * n_items + item
    is_viewed = is_viewed & ~np.isin(pair, pair[is_bought])
    units = np.bincount(item[is_bought], quantity[is_bought], minlength=n_items)
    return units, np.bincount(item[is_viewed], minlength=n_items).astype(np.float64)
