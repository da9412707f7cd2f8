"""What is known of a customer right after each of their events: counts, repeats, gaps, rates, what waits in the cart.

Every number at an event is made of that event and earlier ones: the customer's own, and for the crowd's shares what other
customers did with the same thing until then. Nothing of the event that follows is used. All features are columns of plain
numbers, NaN where there is nothing to tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
from scipy.signal import lfilter

from pipelines.core.errors import NoDataError
from training.task import Examples
from training.tasks.behaviour_events import CART, FAVORITE, KINDS, MIN_EVENTS, PURCHASE, TARGET, TEXT, Histories, texts

LAGS: Final = 10  # events looked at one by one
WINDOWS: Final = (3, 5, 10, 20, 50)  # events counted
HALF_LIVES: Final = (5, 15, 50)  # events after which an event counts half
SESSION_GAP_S: Final = 1_800
_CROWD = 20.0  # events that a thing's shares start from
_SHRINK = 10.0  # events without any of a kind that every customer is given, so that few events are no rate


@dataclass(frozen=True)
class Groups:
    """Events put together by a key, in time order inside: what came before in the same group."""

    key: np.ndarray  # (n,) int

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.key, kind="stable")

    @cached_property
    def _first(self) -> np.ndarray:
        """(n,) for each sorted place the place where its group begins."""
        sorted_key = self.key[self._order]
        is_first = np.append(True, sorted_key[1:] != sorted_key[:-1])[: len(sorted_key)]
        return np.maximum.accumulate(np.where(is_first, np.arange(len(sorted_key)), 0))

    def _back(self, values: np.ndarray) -> np.ndarray:
        return _unsorted(values, self._order)

    @cached_property
    def place(self) -> np.ndarray:
        """(n,) how many earlier events the group has."""
        return self._back(np.arange(len(self.key)) - self._first)

    @cached_property
    def previous(self) -> np.ndarray:
        """(n,) position of the group's event before, -1 where there is none."""
        before = np.append(-1, self._order[:-1])[: len(self.key)]
        return self._back(np.where(np.arange(len(self.key)) > self._first, before, -1))

    @cached_property
    def first(self) -> np.ndarray:
        """(n,) position of the group's first event."""
        return self._back(self._order[self._first])

    def total(self, values: np.ndarray) -> np.ndarray:
        """(n,) sum of values (n,) over the group up to and with each event."""
        summed = np.cumsum(values[self._order])
        before = np.append(0.0, summed)[self._first]
        return self._back(summed - before)

    def last(self, where: np.ndarray) -> np.ndarray:
        """(n,) position of the group's last event up to this one for which (n,) bool holds, -1 where there is none."""
        places = np.maximum.accumulate(np.where(where[self._order], np.arange(len(where)), -1))
        return self._back(np.where(places >= self._first, self._order[np.maximum(places, 0)], -1))


def examples_from(told: Histories, nights: Sequence[date]) -> Examples:
    """One example per event of `nights` after a customer's fifth, in time order. Raises NoDataError."""
    where = targets(told, nights)
    if not len(where):
        raise NoDataError(f"no customer has more than {MIN_EVENTS} events up to the {len(nights)} nights asked for")
    where = where[np.argsort(told.at_s[where], kind="stable")]
    known = {name: pa.array(values[where - 1]) for name, values in features(told).items()}
    return Examples(
        pa.table({TEXT: texts(told, where - 1), **known}),
        pa.table({TARGET: pa.array(np.array(KINDS)[told.kind[where]])}),
        told.keys[told.customer[where]],
        np.full(len(where), "", dtype=object),
        told.night[where],
    )


def targets(told: Histories, nights: Sequence[date]) -> np.ndarray:
    """(k,) positions of the events of `nights` that come after a customer's fifth."""
    start = np.searchsorted(told.customer, told.customer)
    is_late = np.arange(len(told)) - start >= MIN_EVENTS
    return np.flatnonzero(is_late & np.isin(told.night, np.array(sorted(nights), dtype="datetime64[D]")))


def features(told: Histories) -> dict[str, np.ndarray]:
    """(n,) float32 per name: the state after each of n events, by customer and time."""
    n = len(told)
    index = np.arange(n)
    mine = Groups(told.customer)
    start, place = mine.first, mine.place
    is_kind = told.kind[:, None] == np.arange(len(KINDS))
    counted = np.vstack([np.zeros(len(KINDS)), np.cumsum(is_kind, axis=0)])

    def since(first: np.ndarray, name: str) -> dict[str, np.ndarray]:
        """Events of each kind from position `first` on."""
        return {f"n_{kind}_{name}": counted[index + 1, k] - counted[first, k] for k, kind in enumerate(KINDS)}

    def seconds(before: np.ndarray) -> np.ndarray:
        """ln(1 + seconds) from the event at `before`, NaN for -1."""
        return np.where(before >= 0, np.log1p(np.maximum(told.at_s - told.at_s[before], 0)), np.nan)

    found: dict[str, np.ndarray] = {"n_events": place + 1.0}
    # the last events, one by one
    gap = seconds(mine.previous)
    for lag in range(LAGS):
        there = place >= lag
        back = np.where(there, index - lag, index)
        found[f"kind_{lag}_back"] = np.where(there, told.kind[back], np.nan)
        found[f"gap_{lag}_back"] = np.where(there, gap[back], np.nan)
        if lag:
            found[f"is_same_item_{lag}_back"] = np.where(there, told.item[back] == told.item, np.nan)
            found[f"is_same_category_{lag}_back"] = np.where(there, told.category[back] == told.category, np.nan)
    for width in WINDOWS:
        found |= since(np.maximum(start, index + 1 - width), f"last_{width}")
    for width in (5, 20):
        found[f"span_last_{width}"] = seconds(np.maximum(start, index + 1 - width))

    # the last event's item and category
    new = {}
    for name, key in (("item", told.item), ("category", told.category)):
        same = Groups(key)
        for k, kind in enumerate(KINDS):
            found[f"{name}_n_{kind}"] = same.total(is_kind[:, k])
        found[f"{name}_age"] = seconds(same.first)
        found[f"{name}_since"] = seconds(same.previous)
        found[f"{name}_events_since"] = np.where(same.previous >= 0, index - same.previous, np.nan)
        found[f"{name}_kind_before"] = np.where(same.previous >= 0, told.kind[same.previous], np.nan)
        new[name] = np.append(0.0, np.cumsum((same.place == 0) & told.has_item))
        found[f"{name}_new_share"] = (new[name][index + 1] - new[name][start]) / (place + 1)
        first = np.maximum(start, index + 1 - 20)
        found[f"{name}_new_last_20"] = new[name][index + 1] - new[name][first]
    for name, key in (("kind", told.kind), ("item", told.item), ("category", told.category)):
        changed = (place == 0) | np.append(True, key[1:] != key[:-1])[:n]
        found[f"run_{name}"] = index + 1.0 - np.maximum.accumulate(np.where(changed, index, 0))

    # how long each kind is ago, and whether it was about the same thing
    for k, kind in enumerate(KINDS):
        last = mine.last(is_kind[:, k])
        found[f"events_since_{kind}"] = np.where(last >= 0, index - last, np.nan)
        found[f"since_{kind}"] = seconds(last)
        found[f"{kind}_was_same_item"] = np.where(last >= 0, told.item[last] == told.item, np.nan)
        found[f"{kind}_was_same_category"] = np.where(last >= 0, told.category[last] == told.category, np.nan)

    # the session, the day
    begins = (place == 0) | (gap > np.log1p(SESSION_GAP_S))
    session = np.cumsum(begins)
    session_start = np.maximum.accumulate(np.where(begins, index, 0))
    found |= since(session_start, "session")
    found["session_events"] = index - session_start + 1.0
    found["session_duration"] = seconds(session_start)
    for name, key in (("items", told.item), ("categories", told.category)):
        is_new = (Groups(session * (int(key.max(initial=0)) + 1) + key).place == 0) & told.has_item
        summed = np.append(0.0, np.cumsum(is_new))
        found[f"session_{name}"] = summed[index + 1] - summed[session_start]
    found["n_sessions"] = mine.total(begins)
    found["events_per_session"] = (place + 1) / found["n_sessions"]
    day_begins = (place == 0) | np.append(True, np.diff(told.local_day) != 0)[:n]
    found |= since(np.maximum.accumulate(np.where(day_begins, index, 0)), "today")
    found["n_days"] = mine.total(day_begins)
    found["events_per_day"] = (place + 1) / found["n_days"]
    found["hour"], found["weekday"] = told.local_hour, (told.local_day + 3) % 7

    # habits: rates over the whole history, recent ones weighing more, and what follows an event like the last one
    kind_before = np.where(place > 0, np.append(-1, told.kind[:-1])[:n], -1)
    after = Groups(told.customer * (len(KINDS) + 1) + kind_before + 1)  # events that followed the same kind
    now = Groups(told.customer * (len(KINDS) + 1) + told.kind + 1)
    for k, kind in enumerate(KINDS):
        total = counted[index + 1, k] - counted[start, k]
        found[f"n_{kind}"] = total
        found[f"share_{kind}"] = total / (place + 1 + _SHRINK)
        followed = _looked_up(after.key, after.total(is_kind[:, k]), now.key, index)
        times = _looked_up(after.key, after.place + 1.0, now.key, index)
        found[f"share_{kind}_after_this"] = followed / (times + _SHRINK / 2)
    for half_life in HALF_LIVES:
        weights = _decayed(is_kind.astype(np.float64), place, 0.5 ** (1 / half_life))
        shares = weights / weights.sum(axis=1, keepdims=True)
        for k, kind in enumerate(KINDS):
            found[f"share_{kind}_half_life_{half_life}"] = shares[:, k]

    # what waits in the cart or on the wish list, and the price
    item = Groups(told.item)
    for k, name in ((CART, "carted"), (FAVORITE, "favored")):
        last = item.last((told.kind == k) | (told.kind == PURCHASE))
        waits = (last >= 0) & (told.kind[last] == k)
        before = item.previous
        waited = (before >= 0) & waits[before]
        found[f"n_{name}_open"] = mine.total(waits.astype(np.float64) - waited)
        found[f"is_{name}_open"] = waits
    price = np.log1p(told.price_cents)
    priced = ~np.isnan(price)
    mean = mine.total(np.where(priced, price, 0)) / np.maximum(mine.total(priced), 1)
    found["price"], found["price_above_usual"] = price, price - mean
    # the crowd: what other customers did with the last event's thing until now, shrunk to what they do with anything
    by_time = np.argsort(told.at_s, kind="stable")
    usual = np.cumsum(is_kind[by_time], axis=0) / np.arange(1, n + 1)[:, None]
    for name, key, own in (("item", told.shop_item, told.item), ("category", told.shop_category, told.category)):
        everybody, alone = Groups(key[by_time]), Groups(own[by_time])
        others = [everybody.total(done) - alone.total(done) for done in is_kind[by_time].T.astype(np.float64)]
        times = np.sum(others, axis=0)
        for k, kind in enumerate(KINDS):
            share = (others[k] + _CROWD * usual[:, k]) / (times + _CROWD)
            found[f"crowd_share_{kind}_of_{name}"] = _unsorted(np.where(key[by_time] >= 0, share, np.nan), by_time)
        found[f"crowd_n_of_{name}"] = _unsorted(np.log1p(times), by_time)
    return {name: values.astype(np.float32) for name, values in found.items()}


def _unsorted(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    found = np.empty_like(values)
    found[order] = values
    return found


def _looked_up(key: np.ndarray, values: np.ndarray, wanted: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(n,) the value of the last event up to this one whose `key` is this one's `wanted`, 0 where there is none.

    Both are sorted into one line by (key, position), so that one running maximum finds the last.
    """
    n = len(index)
    keys, positions = np.concatenate([key, wanted]), np.concatenate([index, index])
    asks = np.repeat([False, True], n)
    order = np.lexsort((asks, positions, keys))
    last = np.maximum.accumulate(np.where(asks[order], -1, np.arange(2 * n)))
    asked = order[asks[order]] - n
    source = last[asks[order]]
    held = order[np.maximum(source, 0)]
    fits = (source >= 0) & (keys[held] == wanted[asked])
    found = np.empty(n)
    found[asked] = np.where(fits, values[held % n], 0.0)
    return found


def _decayed(values: np.ndarray, place: np.ndarray, keep: float) -> np.ndarray:
    """(n, k) running sums per customer in which each event takes `keep` of what was there before it."""
    summed = lfilter([1.0], [1.0, -keep], values, axis=0)
    start = np.arange(len(place)) - place
    before = np.where((start > 0)[:, None], summed[np.maximum(start - 1, 0)], 0.0)
    return np.asarray(summed - before * (keep ** (place + 1.0))[:, None])
