"""What each customer segment is shown who is not known by name: its most popular items, drawn to everybody's."""

from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from pipelines.strategy.recommending import choose
from training.recommend.lists import Rules
from training.recommend.ranker_protocol import places
from training.recommend.reason_words import Past, words
from training.tasks.recommender_knowledge import Knowledge
from training.tasks.recommender_sight import Histories

EVERYBODY: Final = -1
_TAU_NIGHTS: Final = 7.0
_AS_EVERYBODY: Final = 50.0  # touches that everybody's shares weigh as much as, in a segment's


def segment_lists(seen: Histories, segment: np.ndarray, known: Knowledge, rules: Rules) -> pa.Table:
    """segment_recommendations of the segments (n,) of the histories' rows, and of everybody."""
    shelf = known.shelf
    place = places(shelf.items, seen.told.items)
    item = place[seen.told.item] if len(place) else np.zeros(0, dtype=np.int64)
    kept = np.flatnonzero(item >= 0)
    # Each customer counts once per item, by the latest touch: the last of a pair in time.
    pair = seen.told.customer[kept] * np.int64(max(len(shelf), 1)) + item[kept]
    pairs, last = np.unique(pair[::-1], return_index=True)
    weight = np.exp(-seen.age_hours[kept][::-1][last] / 24 / _TAU_NIGHTS)
    item, segment_of = pairs % max(len(shelf), 1), segment[pairs // max(len(shelf), 1)]
    overall = np.bincount(item, weight, minlength=len(shelf)) + known.rate * (known.age_nights == 0)
    share = overall / max(overall.sum(), 1e-12)
    able = np.flatnonzero(rules.allowed)
    names = np.unique(shelf.category[shelf.category != ""])
    parts = []
    for name in (EVERYBODY, *np.unique(segment).tolist()):
        mine = np.ones(len(item), dtype=bool) if name == EVERYBODY else segment_of == name
        counted = np.bincount(item[mine], weight[mine], minlength=len(shelf))
        drawn = (counted + _AS_EVERYBODY * share) / (counted.sum() + _AS_EVERYBODY) * counted.sum() / _TAU_NIGHTS
        order = able[np.argsort(-drawn[able], kind="stable")]
        category, nothing = places(names, shelf.category[order]), np.zeros(len(order), dtype=bool)
        settings = rules.settings
        chosen, _ = choose(
            np.zeros(len(order), dtype=np.int64), category, nothing, settings.k, settings.max_per_category
        )
        listed = order[chosen]
        why = [words("popular" if counted[at] > 0 else "range", None, Past()) for at in listed]
        parts.append(
            pa.table(
                {
                    C.SEGMENT_ID: np.full(len(listed), name, dtype=np.int64),
                    C.SLOT: 1 + np.arange(len(listed)),
                    C.ITEM_ID: pa.array(shelf.items[listed].tolist(), pa.string()),
                    C.SCORE: drawn[listed],
                    C.WHY_EN: pa.array([one[0] for one in why], pa.string()),
                    C.WHY_ZH: pa.array([one[1] for one in why], pa.string()),
                }
            )
        )
    return pa.concat_tables(parts)
