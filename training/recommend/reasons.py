"""Why an item is recommended, in words that the customer could read: the cause that carried its score.

Causes are what the pair's features came from: the item's own earlier events, another item or a search that goes with it,
its category, prices, popularity. They are tried from the largest contribution down (exact for sums over history, TreeSHAP
for trees). A cause is named only if the score falls once it is taken out of the customer's history, or out of the item;
where none does, the words claim no more than that the shop sells it.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix

from training.tasks.recommender_features import (
    AGAIN,
    ALONG,
    BAND,
    CHEAPER,
    FRESH,
    NAMES,
    SEARCHED,
    TASTE,
    TREND,
    Sight,
)
from training.tasks.recommender_model import GROUPS, RecommenderModel
from training.tasks.recommender_sight import MARK

RANGE, LOT = "range", "lot"
TRIED: Final = 3  # causes per item, then it is RANGE
_MIN_DROP: Final = 0.03  # of a price, that is worth a word
_NEW_NIGHTS: Final = 7
_POPULAR: Final = 0.75  # quantile of rates from which on an item is called popular
_USUAL: Final = 1.5  # times dearer or cheaper that is still the usual price range


@dataclass(frozen=True)
class Reasons:
    """Of p pairs."""

    code: np.ndarray  # (p,) str
    cause: np.ndarray  # (p,) object: str, or None where nothing more is to be named
    fall: np.ndarray  # (p,) how far the score falls without the cause, NaN for RANGE


def reasons_of(model: RecommenderModel, sight: Sight, row: np.ndarray, item: np.ndarray) -> Reasons:
    """The reasons of pairs: rows (p,) of the sight and items (p,) of its shelf."""
    if not len(row):
        return Reasons(np.zeros(0, dtype=str), np.zeros(0, dtype=object), np.zeros(0))
    features = sight.features(row, item)
    score, carried = model.score(features), model.carried(features)
    causes = _causes(sight, row, item, features)
    nameable = np.column_stack(
        [[one is not None for one in causes[name]] if name in causes else [False] * len(row) for name in GROUPS]
    )
    carried = np.where(nameable, carried, -np.inf)
    order = np.argsort(-carried, axis=1, kind="stable")
    code, cause = np.full(len(row), RANGE, dtype=object), np.full(len(row), None, dtype=object)
    fall = np.full(len(row), np.nan)
    for rank in range(min(TRIED, len(GROUPS))):
        group = order[:, rank]
        open_ = (code == RANGE) & (carried[np.arange(len(row)), group] > 0)
        for name in causes:
            at = np.flatnonzero(open_ & (group == GROUPS.index(name)))
            if not len(at):
                continue
            named = causes[name][at]
            without = score_without(model, sight, row[at], item[at], name, named)
            held = score[at] > without
            code[at[held]], cause[at[held]] = name, named[held]
            fall[at[held]] = (score[at] - without)[held]
    cause[np.isin(code.astype(str), (TREND, FRESH))] = None
    return Reasons(code.astype(str), cause, fall)


def score_without(
    model: RecommenderModel, sight: Sight, row: np.ndarray, item: np.ndarray, code: str, cause: np.ndarray
) -> np.ndarray:
    """(p,) scores of pairs once their cause is taken away.

    An item, a search or all of a category goes out of the customer's history; of a price the customer's own prices; of
    popularity and news what the item has over the usual item.
    """
    seen = sight.seen.take(row)
    told, pair = seen.told, seen.told.customer
    if code in (AGAIN, ALONG, SEARCHED):
        names = np.char.add(MARK, cause.astype(str)) if code == SEARCHED else cause.astype(str)
        seen = seen.take_events(told.items[told.item] != names[pair])
    elif code == TASTE:
        seen = seen.take_events(replace(sight, seen=seen).event_category != cause.astype(str)[pair])
    elif code in (BAND, CHEAPER):
        mine = told.items[told.item] == sight.known.shelf.items[item][pair]
        seen = replace(seen, price=np.where((code == BAND) | mine, np.nan, seen.price))
    features = replace(sight, seen=seen).features(np.arange(len(row)), item)
    if code in (TREND, FRESH):
        known = sight.known
        usual = {"rate": known.rate, "rate_in_category": np.ones(1), "trend": known.trend} if code == TREND else {
            "age_nights": known.age_nights
        }  # fmt: skip
        for name, values in usual.items():
            features[:, NAMES.index(name)] = np.median(values) if len(values) else 0.0
    return model.score(features)


def _causes(sight: Sight, row: np.ndarray, item: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
    """Group -> (p,) what its cause would be named, None where there is none to name."""
    shelf, known = sight.known.shelf, sight.known
    told = {name: features[:, NAMES.index(name)] for name in NAMES}
    along = sight.carried(row, item)
    names = known.names
    percent = np.round(100 * (1 - np.exp(-np.nan_to_num(told["price_drop"])))).astype(int)

    def where(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        found = np.full(len(mask), None, dtype=object)
        found[mask] = values[mask]
        return found

    others, searches = (_largest(along, which) for which in (~known.is_search, known.is_search))
    searched = np.array([names[at].removeprefix(MARK) if at >= 0 else None for at in searches], dtype=object)
    nothing = np.full(len(row), "", dtype=object)
    is_popular = (known.rate[item] >= np.quantile(known.rate, _POPULAR)) & (known.age_nights[item] > 0)
    return {
        AGAIN: where(told["own_count"] > 0, shelf.items[item]),
        ALONG: np.array([names[at] if at >= 0 else None for at in others], dtype=object),
        SEARCHED: searched,
        TASTE: where((told["category_count"] > 0) & (shelf.category[item] != ""), shelf.category[item]),
        BAND: where(np.nan_to_num(told["price_away"], nan=np.inf) < np.log(_USUAL), nothing),
        CHEAPER: where(np.nan_to_num(told["price_drop"]) > _MIN_DROP, percent.astype(str)),
        TREND: where(is_popular, nothing),
        FRESH: where(known.age_nights[item] <= _NEW_NIGHTS, nothing) if known.age_nights.max(initial=0) > _NEW_NIGHTS
        else where(known.age_nights[item] == 0, nothing),
    }  # fmt: skip


def _largest(carried: csr_matrix, which: np.ndarray) -> np.ndarray:
    """(p,) column of the largest positive value among some columns of a sparse matrix (p, t), -1 without any."""
    told = carried.tocoo()
    kept = which[told.col] & (told.data > 0) if len(which) else np.zeros(0, dtype=bool)
    row, column, value = told.row[kept], told.col[kept], told.data[kept]
    order = np.lexsort((column, -value, row))
    rows, first = np.unique(row[order], return_index=True)
    found = np.full(carried.shape[0], -1)
    found[rows] = column[order][first]
    return found
