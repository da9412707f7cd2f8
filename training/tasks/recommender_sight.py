"""What is known of customers at one moment: their newest events as arrays, and per item and category what they add up to."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from training.recommend.interactions import BEHAVIOURS, Interactions
from training.tasks.recommender_examples import AGE_HOURS, BEHAVIOUR, CATEGORIES, PRICES, SEARCH, TOUCHED

MARK: Final = "\x1f"  # begins the name of a search, as no item's id does
NEVER: Final = 1e6  # hours
_VIEW = BEHAVIOURS.index("view")
_CART, _PURCHASE = BEHAVIOURS.index("cart"), BEHAVIOURS.index("purchase")


@dataclass(frozen=True)
class Histories:
    """The events of n rows, the moment being 0 seconds; `told.items` are ids of items and, behind a MARK, texts of searches."""

    told: Interactions  # customers are the rows; in time order
    category: np.ndarray  # (e,) str of each event, "" where not told
    price: np.ndarray  # (e,) cents, NaN where not told

    def __len__(self) -> int:
        return len(self.told.customers)

    @classmethod
    def of(cls, rows: pa.Table) -> "Histories":
        """From rows with the lists of recommender_examples.ROWS."""
        lists = {name: rows[name].combine_chunks() for name in (TOUCHED, BEHAVIOUR, AGE_HOURS, CATEGORIES, PRICES)}
        length = pc.fill_null(pc.list_value_length(lists[TOUCHED]), 0).to_numpy(zero_copy_only=False)
        flat = {name: pc.list_flatten(column) for name, column in lists.items()}
        behaviour = flat[BEHAVIOUR].to_numpy(zero_copy_only=False)
        text = pc.cast(flat[TOUCHED], pa.string())
        name = pc.if_else(pa.array(behaviour == SEARCH), pc.binary_join_element_wise(MARK, text, ""), text)
        seconds = -3600.0 * flat[AGE_HOURS].to_numpy(zero_copy_only=False)
        order = np.argsort(seconds, kind="stable")
        encoded = name.dictionary_encode()
        names, place = np.unique(encoded.dictionary.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
        item = place[encoded.indices.to_numpy(zero_copy_only=False)] if len(name) else np.zeros(0, dtype=np.int64)
        told = Interactions(
            customers=np.arange(len(rows)).astype(str),
            items=names,
            customer=np.repeat(np.arange(len(rows)), length)[order],
            item=item[order],
            behaviour=np.where(behaviour == SEARCH, 0, behaviour).astype(np.int8)[order],
            seconds=seconds[order],
        )
        category = pc.fill_null(pc.cast(flat[CATEGORIES], pa.string()), "").to_numpy(zero_copy_only=False).astype(str)
        price = pc.cast(flat[PRICES], pa.float64()).to_numpy(zero_copy_only=False)
        return cls(told, category[order], price[order])

    @property
    def age_hours(self) -> np.ndarray:
        return -self.told.seconds / 3600

    @property
    def is_search(self) -> np.ndarray:
        """(names,) bool."""
        return np.char.startswith(self.told.items, MARK) if len(self.told.items) else np.zeros(0, dtype=bool)

    def before(self, hours: float) -> "Histories":
        """As it was so many hours earlier."""
        kept = self.take_events(self.age_hours > hours)
        return replace(kept, told=replace(kept.told, seconds=kept.told.seconds + 3600 * hours))

    def take_events(self, where: np.ndarray) -> "Histories":
        """The events where a mask (e,) is true, of all rows."""
        return Histories(self.told.take(where), self.category[where], self.price[where])

    def only(self, names: np.ndarray) -> "Histories":
        """As if nothing but some of the names (m,) bool had ever been seen."""
        kept = self.take_events(names[self.told.item])
        place = np.cumsum(names) - 1
        return replace(kept, told=replace(kept.told, items=self.told.items[names], item=place[kept.told.item]))

    def take(self, rows: np.ndarray) -> "Histories":
        """The histories of rows (k,), each as often as it is named."""
        order = np.argsort(self.told.customer, kind="stable")
        count = np.bincount(self.told.customer, minlength=len(self))
        start = np.cumsum(count) - count
        size = count[rows]
        first = np.cumsum(size) - size
        event = order[np.repeat(start[rows] - first, size) + np.arange(size.sum())]
        told = replace(self.told.take(event), customers=np.arange(len(rows)).astype(str))
        told = replace(told, customer=np.repeat(np.arange(len(rows)), size))
        return Histories(told, self.category[event], self.price[event])


@dataclass(frozen=True)
class Sums:
    """What events of (row, thing) pairs add up to; looked up by `at`."""

    keys: np.ndarray  # (p,) row * n_things + thing, rising
    n_things: int
    weight: np.ndarray  # (p,)
    count: np.ndarray  # (p,)
    views: np.ndarray  # (p,)
    last_hours: np.ndarray  # (p,) since the newest
    view_hours: np.ndarray  # (p,) since the newest view, NEVER without
    cart_hours: np.ndarray  # (p,) since the newest put into a cart
    bought_hours: np.ndarray  # (p,)
    last_price: np.ndarray  # (p,) cents when it was last looked at, NaN where not told

    @classmethod
    def of(cls, row: np.ndarray, thing: np.ndarray, n_things: int, weight: np.ndarray, events: "Histories") -> "Sums":
        """row, thing, weight: (e,) of the events; a thing below 0 counts nowhere."""
        age, behaviour, price = events.age_hours, events.told.behaviour, events.price
        kept = np.flatnonzero(thing >= 0)
        key = row[kept] * np.int64(max(n_things, 1)) + thing[kept]
        kept = kept[np.lexsort((age[kept], key))]  # the newest of a pair first
        keys, first, count = np.unique(
            row[kept] * np.int64(max(n_things, 1)) + thing[kept], return_index=True, return_counts=True
        )

        def newest(is_it: np.ndarray) -> np.ndarray:
            hours = np.where(is_it[kept], age[kept], NEVER)
            return np.minimum.reduceat(hours, first) if len(first) else np.zeros(0)

        return cls(
            keys, max(n_things, 1),
            np.add.reduceat(weight[kept], first) if len(first) else np.zeros(0),
            count.astype(np.float64),
            np.add.reduceat((behaviour[kept] == _VIEW).astype(np.float64), first) if len(first) else np.zeros(0),
            age[kept][first],
            newest(behaviour == _VIEW), newest(behaviour == _CART), newest(behaviour == _PURCHASE), price[kept][first],
        )  # fmt: skip

    @property
    def row(self) -> np.ndarray:
        return self.keys // self.n_things

    @property
    def thing(self) -> np.ndarray:
        return self.keys % self.n_things

    def at(self, row: np.ndarray, thing: np.ndarray) -> np.ndarray:
        """(k,) places of pairs among the sums, -1 where there are none."""
        asked = row * np.int64(self.n_things) + thing
        if not len(self.keys):
            return np.full(len(asked), -1)
        place = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        return np.where((self.keys[place] == asked) & (thing >= 0), place, -1)

    def get(self, name: str, place: np.ndarray, missing: float) -> np.ndarray:
        """(k,) one of the sums at `place`, as `at` gives it."""
        values: np.ndarray = getattr(self, name)
        return np.where(place >= 0, values[place], missing) if len(values) else np.full(len(place), missing)

    def matrix(self, n_rows: int) -> csr_matrix:
        """(n_rows, n_things) of weights."""
        return csr_matrix((self.weight, (self.row, self.thing)), shape=(n_rows, self.n_things))
