"""What was recommended for a night and what became of it: the table of the evening before joined to the night's events.

Read-outs count it, off-policy evaluation weighs it, the next recommender learns from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.recommending import CHANNEL
from pipelines.core.storage import Store

if TYPE_CHECKING:
    import pyarrow as pa

TABLE: Final = "recommendations"
_COLUMNS: Final = (
    C.USER_KEY, C.SLOT, C.ITEM_ID, C.SOURCE, C.REASON_CODE, C.PROPENSITY, C.IS_EXPLORE, C.MODEL_NAME, C.MODEL_VERSION,
)  # fmt: skip
_MODEL: Final = "model"
_EVENTS: Final = (C.USER_KEY, C.EVENT_TYPE, C.ITEM_ID, C.CHANNEL, C.PRICE_CENTS, C.QUANTITY, C.IS_BOT)


MOST_ROWS: Final = 10_000_000  # of lists read at once, the newest nights first: some seconds and 1 GB


@dataclass(frozen=True)
class Names:
    """n texts of which many are alike, such as user keys: each is a place among the distinct ones."""

    known: np.ndarray  # (m,) str, sorted
    place: np.ndarray  # (n,) int64

    @classmethod
    def of(cls, texts: np.ndarray) -> "Names":
        known, place = np.unique(texts, return_inverse=True)
        return cls(known, place)

    @classmethod
    def joined(cls, parts: "Sequence[Names]") -> "Names":
        known = np.unique(np.concatenate([part.known for part in parts]))
        return cls(known, np.concatenate([np.searchsorted(known, part.known)[part.place] for part in parts]))

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, where: np.ndarray) -> "Names":
        return Names(self.known, self.place[where])

    @property
    def texts(self) -> np.ndarray:
        """(n,) str."""
        return np.asarray(self.known[self.place])


@dataclass(frozen=True)
class Shown:
    """n slots of the lists made for some nights, by night, customer and slot, whether the customer came or not.

    A purchase counts where the customer clicked on the recommended item and bought it on the same night; whether it would
    have been bought anyway only the holdout tells.
    """

    night: np.ndarray  # (n,) datetime64[D] on which the list was to be seen
    user: Names  # (n,) user keys
    slot: np.ndarray  # (n,) int64 from 1
    item: Names  # (n,)
    source: Names  # (n,) "" where not told
    reason: Names  # (n,) reason codes
    model: Names  # (n,) name and version
    propensity: np.ndarray  # (n,) float64, as planned
    is_explore: np.ndarray  # (n,) bool
    is_shown: np.ndarray  # (n,) bool: an impression was told
    is_clicked: np.ndarray  # (n,) bool
    is_bought: np.ndarray  # (n,) bool
    spent_cents: np.ndarray  # (n,) float64, of those purchases

    def __len__(self) -> int:
        return len(self.user)

    def take(self, where: np.ndarray) -> "Shown":
        """The slots where a mask (n,) is true."""
        return Shown(**{name: values[where] for name, values in vars(self).items()})


_NOBODY, _NONE, _FALSE = Names.of(np.zeros(0, dtype=str)), np.zeros(0), np.zeros(0, dtype=bool)
_NOTHING: Final = Shown(
    _NONE.astype("datetime64[D]"), _NOBODY, _NONE.astype(np.int64), _NOBODY, _NOBODY, _NOBODY, _NOBODY, _NONE,
    _FALSE, _FALSE, _FALSE, _FALSE, _NONE,
)  # fmt: skip


def best_items(night: date, store: Store, *columns: str) -> "pa.Table | None":
    """The first item of each customer's list that no lot drew: user_key and `columns`. None where nothing was recommended."""
    import pyarrow.compute as pc

    listed = read(store, TABLE, [night], C.USER_KEY, C.SLOT, C.IS_EXPLORE, *columns)
    if listed is None:
        return None
    chosen = listed.filter(pc.invert(listed[C.IS_EXPLORE])).sort_by([(C.USER_KEY, "ascending"), (C.SLOT, "ascending")])
    best = chosen.group_by(C.USER_KEY, use_threads=False).aggregate([(name, "first") for name in columns])
    return best.rename_columns([C.USER_KEY, *columns])


def nights_shown(night: date, store: Store, most: int) -> list[date]:
    """The last `most` nights up to `night` that had lists and whose events are told, in order; fewer where their lists are
    more than MOST_ROWS."""
    found: list[date] = []
    rows = 0
    for made in reversed(store.nights(TABLE)):
        lived, manifest = made + timedelta(days=1), store.manifest(TABLE, made)
        if manifest is None or lived > night or store.manifest("events", lived) is None:
            continue
        rows += manifest.rows
        if len(found) == most or (found and rows > MOST_ROWS):
            break
        found.append(lived)
    return found[::-1]


def read_shown(nights: list[date], store: Store) -> Shown:
    """Of all these nights; those without lists or events are left out."""
    parts = [found for one in nights if (found := _of_night(one, store)) is not None]
    joined: dict[str, Any] = {}
    for field in fields(Shown):
        values = [getattr(part, field.name) for part in parts or [_NOTHING]]
        joined[field.name] = Names.joined(values) if isinstance(values[0], Names) else np.concatenate(values)
    return Shown(**joined)


def _of_night(night: date, store: Store) -> Shown | None:
    import pyarrow.compute as pc

    lists, events = read(store, TABLE, [night - timedelta(days=1)], *_COLUMNS), read(store, "events", [night], *_EVENTS)
    if lists is None or events is None:
        return None
    lists = lists.sort_by([(C.USER_KEY, "ascending"), (C.SLOT, "ascending")])
    named = (pc.fill_null(lists[name], "") for name in (C.MODEL_NAME, C.MODEL_VERSION))
    lists = lists.append_column(_MODEL, pc.binary_join_element_wise(*named, " "))
    events = events.filter(pc.invert(pc.fill_null(events[C.IS_BOT], False)))
    ours = pc.fill_null(pc.equal(events[C.CHANNEL], CHANNEL), False)
    kind = events[C.EVENT_TYPE]
    place = _Places(lists)
    flags = {}
    for name, mask in (("is_shown", pc.equal(kind, "impression")), ("is_clicked", pc.equal(kind, "click"))):
        flags[name] = np.zeros(len(lists), dtype=bool)
        flags[name][place.of(events.filter(pc.and_(ours, mask)))[0]] = True
    flags["is_shown"] |= flags["is_clicked"]  # an impression may be lost on its way, a click was on something
    paid = events.filter(pc.equal(kind, "purchase"))
    rows, which = place.of(paid)
    price, quantity = (pc.fill_null(paid[name].cast("double"), value) for name, value in _PAID.items())
    cents = (price.to_numpy() * quantity.to_numpy())[which]
    counted = flags["is_clicked"][rows] & (cents >= 0)  # a negative price is a return
    spent, bought = np.zeros(len(lists)), np.zeros(len(lists), dtype=bool)
    np.add.at(spent, rows[counted], cents[counted])
    bought[rows[counted]] = True

    def names(name: str) -> Names:
        coded = pc.fill_null(lists[name], "").combine_chunks().dictionary_encode()
        known = Names.of(np.asarray(coded.dictionary.to_numpy(zero_copy_only=False), dtype=str))
        return known[coded.indices.to_numpy()]

    return Shown(
        night=np.full(len(lists), np.datetime64(night, "D")),
        user=names(C.USER_KEY),
        slot=lists[C.SLOT].to_numpy().astype(np.int64),
        item=names(C.ITEM_ID),
        source=names(C.SOURCE),
        reason=names(C.REASON_CODE),
        model=names(_MODEL),
        propensity=np.array(lists[C.PROPENSITY].to_numpy(), dtype=np.float64),
        is_explore=pc.fill_null(lists[C.IS_EXPLORE], False).to_numpy(),
        is_bought=bought,
        spent_cents=spent,
        **flags,
    )


_PAID: Final = {C.PRICE_CENTS: 0.0, C.QUANTITY: 1.0}  # and what stands for what is not told


class _Places:
    """Where a customer's item stands in the lists, the first slot where it stands in two."""

    def __init__(self, lists: "pa.Table") -> None:
        import pyarrow.compute as pc

        self.users, self.items = pc.unique(lists[C.USER_KEY]), pc.unique(lists[C.ITEM_ID])
        self.keys, self.first = np.unique(self._codes(lists), return_index=True)

    def _codes(self, rows: "pa.Table") -> np.ndarray:
        """(n,) one number per customer and item, -1 where the lists lack either."""
        import pyarrow.compute as pc

        user, item = (
            pc.fill_null(pc.index_in(rows[name], value_set=known), -1).to_numpy().astype(np.int64)
            for name, known in ((C.USER_KEY, self.users), (C.ITEM_ID, self.items))
        )
        return np.where((user >= 0) & (item >= 0), user * max(len(self.items), 1) + item, -1)

    def of(self, events: "pa.Table") -> tuple[np.ndarray, np.ndarray]:
        """Rows of the lists (m,) that events tell of, and which events (m,) these are."""
        codes = self._codes(events)
        if not len(self.keys):
            return np.zeros((2, 0), dtype=np.int64)[0], np.zeros(0, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.keys, codes), len(self.keys) - 1)
        told = np.flatnonzero(self.keys[at] == codes)
        return self.first[at[told]], told
