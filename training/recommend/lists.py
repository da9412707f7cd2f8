"""From ranked candidates to what each customer is shown: filters, bounds, lots, each counted by its name.

Nothing that is withdrawn, short of stock or bought too lately is ever shown. Prices far from what a customer looks at, and
more than a few items of one category, stand only where nothing else could.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np

from pipelines.core.recommending import Recommend
from pipelines.strategy.recommending import choose, explore
from training.recommend.reasons import LOT
from training.tasks.recommender_examples import MAX_EVENTS
from training.tasks.recommender_features import NEW, SOURCES, Sight
from training.tasks.recommender_model import Ranked, RecommenderModel
from training.tasks.recommender_sight import NEVER, Histories

WITHDRAWN, STOCK, BOUGHT, BAND, DIVERSITY = FILTERS = ("withdrawn", "stock", "bought", "price_band", "diversity")
_POOL_LISTS: Final = 2  # an exploring slot draws from as many candidates more as so many lists hold
_NEW_IN_POOL: Final = 5  # of these, items that nobody has touched yet


@dataclass(frozen=True)
class Rules:
    """What tonight's shop allows."""

    settings: Recommend
    night: date
    is_withdrawn: np.ndarray  # (i,) bool
    is_short: np.ndarray  # (i,) bool, of stock
    again_hours: np.ndarray  # (i,) how long an item rests once it was bought

    @property
    def allowed(self) -> np.ndarray:
        """(i,) bool."""
        found: np.ndarray = ~(self.is_withdrawn | self.is_short)
        return found


@dataclass(frozen=True)
class Lists:
    """c rows of customers' lists, by customer and slot."""

    row: np.ndarray  # (c,)
    slot: np.ndarray  # (c,) from 1
    item: np.ndarray  # (c,) places on the shelf
    score: np.ndarray  # (c,)
    source: np.ndarray  # (c,) str
    runner_up: np.ndarray  # (c,) object: str or None
    propensity: np.ndarray  # (c,)
    is_explore: np.ndarray  # (c,) bool
    bound: Counter[str]  # filter -> places in lists that items lost to it


def lists_of(model: RecommenderModel, seen: Histories, keys: Sequence[str], rules: Rules) -> tuple[Sight, Lists]:
    """The lists of n customers. Fewer items than asked for only where nothing else may be shown."""
    k = rules.settings.k
    sight = Sight(seen, model.known, rules.allowed)
    found = model.rank(sight)
    held = _held(sight, found, rules)
    n_able = np.bincount(found.row[~held.any(axis=1)], minlength=len(seen))
    if (short := np.flatnonzero(n_able < min(k, int(rules.allowed.sum())))).size:
        wide = replace(sight, seen=seen.take(short), n_popular=k + MAX_EVENTS)  # more than anyone could have bought
        more = model.rank(wide)
        more = replace(more, row=short[more.row])
        found = _merged(found, more)
        held = _held(sight, found, rules)
    bound = Counter({name: int((held[:, at] & (found.place < k)).sum()) for at, name in enumerate(FILTERS[:3])})
    is_able = np.asarray(~held.any(axis=1))
    able = found.take(is_able)
    late = _is_late(sight, able, rules)
    category = sight.category_of[able.item] if len(sight.category_of) else np.zeros(0, dtype=np.int64)
    chosen, is_over = choose(able.row, category, late, k, rules.settings.max_per_category)
    place = able.place
    bound.update({BAND: int((late & (place < k)).sum()), DIVERSITY: int((is_over & (place < k)).sum())})
    return sight, _with_lots(able, chosen, model, keys, rules, bound)


def _held(sight: Sight, found: Ranked, rules: Rules) -> np.ndarray:
    """(p, 3) bool: which candidates are never shown, by the first three FILTERS."""
    own = sight.own.at(found.row, found.item)
    bought = sight.own.get("bought_hours", own, NEVER)
    is_bought = (bought < NEVER) & (bought < rules.again_hours[found.item])
    return np.column_stack([rules.is_withdrawn[found.item], rules.is_short[found.item], is_bought])


def _is_late(sight: Sight, found: Ranked, rules: Rules) -> np.ndarray:
    """(p,) bool: priced far from what the customer looks at, and never looked at."""
    with np.errstate(invalid="ignore", divide="ignore"):
        away = np.abs(np.log(sight.known.shelf.price[found.item]) - sight.log_price[found.row])
    is_own = sight.own.at(found.row, found.item) >= 0
    return ~is_own & (np.nan_to_num(away, posinf=0.0) > np.log(rules.settings.price_band_factor))


def _merged(one: Ranked, other: Ranked) -> Ranked:
    """Both, the other's in place of the one's rows that it has."""
    kept = one.take(~np.isin(one.row, other.row))
    both = Ranked(*(np.concatenate([getattr(kept, n), getattr(other, n)]) for n in Ranked.__dataclass_fields__))
    return both.take(np.argsort(both.row, kind="stable"))


def _with_lots(
    able: Ranked, chosen: np.ndarray, model: RecommenderModel, keys: Sequence[str], rules: Rules, bound: Counter[str]
) -> Lists:
    """The chosen candidates, some slots of them given by lot to what stands behind."""
    n, settings = len(keys), rules.settings
    is_new = model.known.age_nights[able.item] == 0
    behind = np.ones(len(able.row), dtype=bool)
    behind[chosen] = False
    pool = np.flatnonzero(behind)
    fresh = is_new[pool] & (able.source[pool] == SOURCES.index(NEW))
    order = np.lexsort((np.arange(len(pool)), fresh, able.row[pool]))
    rank = np.empty(len(pool), dtype=np.int64)
    group = able.row[pool][order] * 2 + fresh[order]
    rank[order] = np.arange(len(pool)) - np.searchsorted(group, group)
    first = fresh & (rank < _NEW_IN_POOL)
    pool = pool[np.lexsort((np.arange(len(pool)), ~first, able.row[pool]))]
    place = np.arange(len(pool)) - np.searchsorted(able.row[pool], able.row[pool])
    pool = pool[place < _POOL_LISTS * settings.k]
    n_listed, n_pool = (np.bincount(able.row[part], minlength=n) for part in (chosen, pool))
    which, propensity = explore(
        keys, n_listed, n_pool, settings.k, settings.seed, rules.night, settings.explore_percent
    )
    slot = np.arange(len(chosen)) - np.searchsorted(able.row[chosen], able.row[chosen])
    drawn = which[able.row[chosen], slot]
    start = np.cumsum(n_pool) - n_pool
    is_explore = drawn >= 0
    shown = chosen.copy()
    shown[is_explore] = pool[start[able.row[chosen]][is_explore] + drawn[is_explore]]
    names = np.array([*SOURCES, None], dtype=object)
    return Lists(
        able.row[shown], slot + 1, able.item[shown], able.score[shown],
        np.where(is_explore, LOT, names[able.source[shown]]).astype(str), names[able.runner_up[shown]],
        propensity[able.row[chosen], slot], is_explore, bound,
    )  # fmt: skip
