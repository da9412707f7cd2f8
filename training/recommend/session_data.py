"""Events in the order of sessions (or of customers' whole histories), and what was done before each of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.recommend.interactions import Interactions

_BLOCK_SCORES = 4_000_000  # scores held at a time, 32 MB


@dataclass(frozen=True)
class Sequences:
    """n events of m sessions, the events of a session together and in time order. A session may be a customer's history."""

    n_items: int
    item: np.ndarray  # (n,) int64 places below n_items
    seconds: np.ndarray  # (n,) float64 since 1970, UTC
    behaviour: np.ndarray  # (n,) int8, place in BEHAVIOURS
    start: np.ndarray  # (m + 1,) int64: session s is start[s] up to start[s + 1]

    def __len__(self) -> int:
        return len(self.start) - 1

    @classmethod
    def of(cls, told: Interactions) -> "Sequences":
        """The histories of all customers who did anything, in the order of customers; equal times keep their order."""
        order = np.lexsort((told.seconds, told.customer))
        who = told.customer[order]
        start = np.append(np.flatnonzero(np.diff(who, prepend=-1)), len(who))
        return cls(len(told.items), told.item[order], told.seconds[order], told.behaviour[order], start)

    @property
    def session(self) -> np.ndarray:
        """(n,) which session an event is of."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    @property
    def ends(self) -> np.ndarray:
        """(m,) seconds of each session's last event."""
        return self.seconds[self.start[1:] - 1]

    @property
    def newest(self) -> np.ndarray:
        """(m,) each session's last event."""
        return self.start[1:] - 1

    @property
    def followed(self) -> np.ndarray:
        """(q,) the events that another of the same session follows: the next one is at the place behind."""
        is_last = np.zeros(len(self.item), dtype=bool)
        is_last[self.start[1:] - 1] = True
        return np.flatnonzero(~is_last)

    def take(self, where: np.ndarray) -> "Sequences":
        """The sessions where a mask (m,) is true."""
        events = where[self.session]
        start = np.append(0, np.cumsum(np.diff(self.start)[where]))
        return Sequences(self.n_items, self.item[events], self.seconds[events], self.behaviour[events], start)


@dataclass(frozen=True)
class Pasts:
    """What was done before and at each of q asked events: p pairs, sorted by query, the newest event of a query last."""

    query: np.ndarray  # (p,)
    event: np.ndarray  # (p,) place in the sequences
    back: np.ndarray  # (p,) 0 for the asked event, 1 for the one before, ...

    @classmethod
    def of(cls, told: Sequences, asked: np.ndarray, most: int | None = None) -> "Pasts":
        """The session of each asked event (q,) up to itself; the newest `most` of it."""
        first = told.start[np.searchsorted(told.start, asked, side="right") - 1]
        sizes = asked - first + 1 if most is None else np.minimum(asked - first + 1, most)
        query = np.repeat(np.arange(len(asked)), sizes)
        back = np.repeat(np.cumsum(sizes), sizes) - 1 - np.arange(sizes.sum())
        return cls(query, asked[query] - back, back)

    def last_of_each(self, item: np.ndarray, n_items: int) -> "Pasts":
        """Of each item of a query the newest event; `item` (n,) of the sequences. Sorted by query and item."""
        key = self.query * n_items + item[self.event]
        order = np.lexsort((-self.back, key))
        newest = order[np.append(np.diff(key[order]) != 0, True)] if len(key) else order
        return Pasts(self.query[newest], self.event[newest], self.back[newest])


def spans(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All places of some ranges [start, end): which range, and the place."""
    sizes = end - start
    which = np.repeat(np.arange(len(start)), sizes)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + start[which]


def blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of n rows, each of about as many numbers as fit well into memory when a row has `width` of them."""
    size = max(1, _BLOCK_SCORES // max(1, width))
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))
