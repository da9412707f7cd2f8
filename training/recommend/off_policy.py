"""Two recommenders on what was shown: which would have been clicked more, by the nights that neither has seen.

A list was logged where a customer of an example was shown one on the example's night. Which slot a model would have given
each item that was shown follows from its ranking for the same example; the slots of the shop's k count, whatever stock and
earlier purchases would have taken out, for both alike. The estimate is that of pipelines/strategy/off_policy_slots.py.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.shop import Shop
from pipelines.core.shown import Names, Shown, read_shown
from pipelines.core.storage import Store
from pipelines.strategy.off_policy_slots import SlotLog, compare_lists
from training.task import Examples


def compare_shown(
    shop: Shop, store: Store, examples: Examples, challenger: pa.ListArray, champion: pa.ListArray
) -> dict[str, Any]:
    """As pipelines.strategy.judgement.judge_policy takes it; no rows where nothing was recommended on these nights.

    `challenger` and `champion`: n lists of item ids, best first, for the n examples (a customer's night each).
    """
    nights = [night.item() for night in np.unique(examples.night)]
    shown = read_shown(nights, store)
    shown = shown.take(shown.is_shown)
    row = _rows(examples, shown)
    shown, row = shown.take(row >= 0), row[row >= 0]
    k = shop.recommend.k if shop.recommend else 0
    if not len(shown):
        return {"rows": 0, "disagree": 0.0, "effective_rows": 0.0}
    log = SlotLog(
        list=row,
        customer=shown.user.place,
        slot=shown.slot,
        click=shown.is_clicked.astype(np.float64),
        propensity=shown.propensity,
        is_explore=shown.is_explore,
        n_slots=max(k, int(shown.slot.max())),
    )
    return compare_lists(log, *(_places(lists, row, shown.item, k) for lists in (challenger, champion)))


def _rows(examples: Examples, shown: Shown) -> np.ndarray:
    """(m,) the example of each slot's customer and night, -1 where there is none."""
    users = shown.user.known
    if not len(users):
        return np.full(len(shown), -1)
    place = np.minimum(np.searchsorted(users, examples.customer.astype(str)), len(users) - 1)
    is_known = users[place] == examples.customer.astype(str)

    def keys(user: np.ndarray, night: np.ndarray) -> np.ndarray:
        return night.astype("datetime64[D]").astype(np.int64) * len(users) + user

    told, first = np.unique(np.where(is_known, keys(place, examples.night), -1), return_index=True)
    asked = keys(shown.user.place, shown.night)
    at = np.minimum(np.searchsorted(told, asked), len(told) - 1)
    return np.where(told[at] == asked, first[at], -1)


def _places(lists: pa.ListArray, row: np.ndarray, item: Names, k: int) -> np.ndarray:
    """(m,) slot from 1 to k at which an item stands in the list of its row, 0 where it does not."""
    asked = {name: place for place, name in enumerate(np.unique(row).tolist())}
    found = [
        {name: slot for slot, name in reversed(list(enumerate(listed[:k], start=1)))}
        for listed in lists.take(pa.array(list(asked))).to_pylist()
    ]
    return np.array(
        [found[asked[r]].get(i, 0) for r, i in zip(row.tolist(), item.texts.tolist(), strict=True)], dtype=np.int64
    )
