"""What customers made of recommendations, as examples for the next recommender: each as if every slot were looked at.

Clicks tell of the slot as much as of the item. With t the chance that a slot is looked at, relative to the first
(pipelines/strategy/off_policy_slots.py), an example that was clicked weighs 1 / t (Joachims, Swaminathan and Schnabel
2017), one that was not weighs how likely it was looked at after all, (1 - a) / (1 - t a) (the E step of Wang et al. 2018,
"Position Bias Estimation for Unbiased Learning to Rank in Personal Search"), a being the share clicked of all that are
looked at. So the weights of an item's examples add up to as many clicks and refusals as slot 1 would have brought, and
none is negative. It is exact for items that are as attractive as the mean, and near it where clicks are rare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.core.shown import Names, Shown, nights_shown, read_shown
from pipelines.core.storage import Store
from pipelines.strategy.off_policy_slots import fading

REFUSED, CLICKED, BOUGHT = range(3)  # labels, from the weakest to the strongest
NIGHTS: Final = 28  # looked back on
COLUMNS: Final = ("shown", "answer", "answer_weight")  # lists per customer and night: items, labels, weights


@dataclass(frozen=True)
class Answers:
    """n recommendations that customers had before them."""

    night: np.ndarray  # (n,) datetime64[D] on which they were shown
    user: Names  # (n,) user keys
    item: Names  # (n,)
    label: np.ndarray  # (n,) int64: REFUSED, CLICKED, BOUGHT
    weight: np.ndarray  # (n,) float64, without the favour of the slot
    is_explore: np.ndarray  # (n,) bool: drawn by lot, so chosen by no model

    def __len__(self) -> int:
        return len(self.item)


def answers_of(shown: Shown) -> Answers:
    """Examples from the slots that were shown; how slots fade is learnt from those drawn by lot."""
    told = shown.take(shown.is_shown)
    if not len(told):
        none = np.zeros(0)
        return Answers(told.night, told.user, told.item, none.astype(np.int64), none, none.astype(bool))
    drawn, clicked = told.is_explore, told.is_clicked.astype(np.float64)
    seen = fading(told.slot[drawn], clicked[drawn], int(told.slot.max()))[told.slot - 1]
    attraction = min(float(clicked.sum() / seen.sum()), 0.99)
    weight = np.where(told.is_clicked, 1 / seen, (1 - attraction) / (1 - seen * attraction))
    label = np.where(told.is_bought, BOUGHT, np.where(told.is_clicked, CLICKED, REFUSED))
    return Answers(told.night, told.user, told.item, label, weight, told.is_explore)


def of_customers(answers: Answers, night: date, keys: Sequence[str]) -> pa.Table:
    """COLUMNS of customers (n,) on a night, a row each in their order: lists of what was shown to them, empty for others."""
    here = np.flatnonzero(answers.night == np.datetime64(night, "D"))
    place = {key: at for at, key in enumerate(keys)}
    known = np.array([place.get(user, -1) for user in answers.user.known.tolist()], dtype=np.int64)
    row = known[answers.user.place[here]]
    order = np.argsort(row, kind="stable")
    here, row = here[order][row[order] >= 0], row[order][row[order] >= 0]
    offsets = pa.array(np.searchsorted(row, np.arange(len(keys) + 1)).astype(np.int32))
    values = (answers.item[here].texts, answers.label[here], answers.weight[here])
    kinds = (pa.string(), pa.int64(), pa.float64())
    columns = [
        pa.ListArray.from_arrays(offsets, pa.array(told.tolist(), kind))
        for told, kind in zip(values, kinds, strict=True)
    ]
    return pa.table(dict(zip(COLUMNS, columns, strict=True)))


def read_answers(last: date, store: Store) -> Answers:
    """Of the last NIGHTS nights up to `last` that had recommendations; empty before the first."""
    return answers_of(read_shown(nights_shown(last, store, NIGHTS), store))
