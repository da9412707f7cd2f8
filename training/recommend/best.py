"""The k best scores of each row, kept while scores stream by: what exact top-k is made of.

A score and its item's place are one whole number, the score's bits in order above the place's complement: so one sort
orders by score and breaks ties by the lower place. Scores are compared as float32.
"""

from typing import Final

import numpy as np

from training.recommend.interactions import NO_ITEM

_EMPTY: Final = np.iinfo(np.int64).min
_LOW: Final = 0xFFFFFFFF
_ROOM: Final = 80  # candidates beyond k that a row can wait with: a sort for each would cost more
_GROUPS: Final = 256


class Best:
    """r rows, the k best of what was added to each, and whatever else is within `margin` (r,) of the k-th.

    Where all margins are zero, items must come in the order of their places: later ones lose ties.
    """

    def __init__(self, rows: int, k: int, margin: np.ndarray | None = None) -> None:
        self.k = k
        self.margin = np.zeros(rows, np.float32) if margin is None else margin
        self.floor = np.full(rows, -np.inf, np.float32)  # a score counts if it is above
        self._keys = np.full((rows, k + _ROOM), _EMPTY)
        self._filled = np.zeros(rows, np.int64)

    def add(self, scores: np.ndarray, first: int, rows: np.ndarray) -> None:
        """scores: (a, c) float32 of the items from place `first` on, for the ascending `rows` (a,). -inf never counts."""
        floor = self.floor[rows]
        if scores.shape[1] >= 2 * self._groups and np.isneginf(floor).any():
            self.floor[rows] = floor = np.maximum(floor, self._first_floor(scores, self.margin[rows]))
        found = np.flatnonzero(scores > floor[:, None])
        row, column = np.divmod(found, scores.shape[1])
        self.add_some(rows[row], first + column, scores.reshape(-1)[found])

    def add_some(self, row: np.ndarray, place: np.ndarray, value: np.ndarray) -> None:
        """Single scores: `row` in ascending order, its item's `place` and `value`, each (c,)."""
        while len(row):
            counts = np.bincount(row, minlength=len(self._filled))
            if (self._filled + counts).max() > self._keys.shape[1]:
                self._compact()
            offset = self._filled - (np.cumsum(counts) - counts)
            slot = np.arange(len(row)) + offset[row]
            fits = slot < self._keys.shape[1]
            self._keys[row[fits], slot[fits]] = _keys(value[fits], place[fits])
            self._filled = np.minimum(self._filled + counts, self._keys.shape[1])
            if fits.all():
                return
            self._compact()
            rest = ~fits & (value > self.floor[row])
            row, place, value = row[rest], place[rest], value[rest]

    def lists(self) -> tuple[np.ndarray, np.ndarray]:
        """Places (r, w) and scores, best first, w at least k; NO_ITEM and -inf where a row has fewer."""
        keys = self._compact()[:, ::-1]
        places, values = _LOW - (keys & _LOW), _values(keys)
        none = keys == _EMPTY
        places[none], values[none] = NO_ITEM, -np.inf
        return places, values

    @property
    def _groups(self) -> int:
        return max(_GROUPS, 8 * self.k)

    def _first_floor(self, scores: np.ndarray, margin: np.ndarray) -> np.ndarray:
        """The k-th best of the maxima of groups of items: a bound from below that costs one pass."""
        n, groups = len(scores), self._groups
        slabs = scores.shape[1] // groups
        highest = scores[:, : slabs * groups].reshape(n, slabs, groups).max(axis=1)
        highest.partition(groups - self.k, axis=1)
        return np.nextafter(highest[:, groups - self.k] - margin, np.float32(-np.inf))

    def _compact(self) -> np.ndarray:
        """Drops what is no longer among the best; raises the floor; returns the kept keys (r, w), ascending."""
        width = self._keys.shape[1]
        self._keys.sort(axis=1)  # the empty ones come first
        values = _values(self._keys)
        kth = values[:, width - self.k]
        below = np.where(self.margin > 0, np.nextafter(kth - self.margin, np.float32(-np.inf)), kth)
        full = self._keys[:, width - self.k] != _EMPTY
        self.floor[full] = np.maximum(self.floor, below)[full]
        near = (values > self.floor[:, None]) & (self._keys != _EMPTY)
        kept = max(self.k, int(near.sum(axis=1).max(initial=0)))
        keys = self._keys[:, width - kept :].copy()
        if kept + _ROOM // 2 > width:  # many ties: a wider pool, as wide as the row at most
            self._keys = np.empty((len(keys), 2 * width), np.int64)
        self._keys[:, :kept], self._keys[:, kept:] = keys[:, ::-1], _EMPTY
        self._filled = (keys != _EMPTY).sum(axis=1)
        return keys


def _keys(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    bits = (values + np.float32(0)).view(np.int32)  # + 0: there is no negative zero
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.astype(np.int64) << 32) | (_LOW - places)


def _values(keys: np.ndarray) -> np.ndarray:
    ordered = (keys >> 32).astype(np.int32)
    return (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)
