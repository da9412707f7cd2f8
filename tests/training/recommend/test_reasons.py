"""Reasons are true: what is named carried the score, and its words say what happened."""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.training.small_recommender import examples
from training.recommend.reason_words import Past, words
from training.recommend.reasons import RANGE, Reasons, reasons_of, score_without
from training.task import Fitting
from training.tasks.recommender import TASK
from training.tasks.recommender_examples import (
    AGE_HOURS,
    BEHAVIOUR,
    CATEGORIES,
    PRICES,
    SEARCH,
    TOUCHED,
)
from training.tasks.recommender_features import AGAIN, ALONG, CHEAPER, FEATURES, SEARCHED, TASTE, TREND, Sight
from training.tasks.recommender_knowledge import Knowledge
from training.tasks.recommender_model import RecommenderModel
from training.tasks.recommender_sight import Histories

LISTS = (TOUCHED, BEHAVIOUR, AGE_HOURS, CATEGORIES, PRICES)


@cache
def world(kind: str) -> tuple[RecommenderModel, Sight, np.ndarray, np.ndarray, Reasons]:
    """A model, its rows as it sees them, the five best pairs of each row and their reasons."""
    train, valid = examples()
    how = Fitting(threads=1, settings={"rounds": 40})
    model = TASK.baseline(train, how) if kind == "baseline" else TASK.fit(train, valid, how)
    sight = Sight(Histories.of(valid.rows), model.known)
    found = model.rank(sight)
    best = found.take(found.place < 5)
    return model, sight, best.row, best.item, reasons_of(model, sight, best.row, best.item)


def rows_without(row: int, code: str, cause: str) -> pa.Table:
    """One row of the examples, rebuilt by hand without its cause."""
    told = examples()[1].rows.slice(row, 1).to_pylist()[0]
    events = list(zip(*(told[name] for name in LISTS), strict=True))
    gone = {
        AGAIN: lambda one: one[0] == cause and one[1] != SEARCH,
        ALONG: lambda one: one[0] == cause and one[1] != SEARCH,
        SEARCHED: lambda one: one[0] == cause and one[1] == SEARCH,
        TASTE: lambda one: one[3] == cause,
    }[code]
    kept = [one for one in events if not gone(one)]
    told |= dict(zip(LISTS, (list(part) for part in zip(*kept, strict=True)) if kept else [[]] * 5, strict=True))
    return pa.Table.from_pylist([told], examples()[1].rows.schema)


def score(model: RecommenderModel, rows: pa.Table, item: int) -> float:
    sight = Sight(Histories.of(rows), model.known)
    return float(model.score(sight.features(np.zeros(1, dtype=int), np.array([item])))[0])


@pytest.mark.parametrize("kind", ["baseline", "blend"])
def test_without_the_named_cause_the_score_falls_and_without_another_item_it_mostly_does_not(kind: str) -> None:
    model, _, row, item, reasons = world(kind)
    rng = np.random.default_rng(1)
    falls: dict[str, list[bool]] = {"named": [], "random": []}
    for at in np.flatnonzero(np.isin(reasons.code, (AGAIN, ALONG, SEARCHED, TASTE)))[:120]:
        whole = score(model, examples()[1].rows.slice(int(row[at]), 1), item[at])
        told = examples()[1].rows.slice(int(row[at]), 1).to_pylist()[0]
        without = score(model, rows_without(int(row[at]), reasons.code[at], reasons.cause[at]), item[at])
        assert without - whole == pytest.approx(-reasons.fall[at])
        falls["named"].append(without < whole)
        own = model.known.shelf.items[item[at]]
        touched = {one for one, done in zip(told[TOUCHED], told[BEHAVIOUR], strict=True) if done != SEARCH}
        others = sorted(touched - {own, reasons.cause[at]})
        if others:
            other = str(rng.choice(others))
            falls["random"].append(score(model, rows_without(int(row[at]), ALONG, other), item[at]) < whole)
    assert len(falls["named"]) > 50
    assert all(falls["named"])
    assert np.mean(falls["random"]) < 0.5


def test_the_cause_with_the_largest_contribution_that_can_be_named_is_named_if_the_score_falls() -> None:
    model, sight, row, item, reasons = world("blend")
    carried = model.carried(sight.features(row, item))
    np.testing.assert_allclose(carried.sum(axis=1), model.score(sight.features(row, item)) - _base(model), atol=1e-6)
    groups = np.array(list(dict.fromkeys(FEATURES.values())))
    named = np.flatnonzero(reasons.code != RANGE)
    place = np.array([np.flatnonzero(groups == code)[0] for code in reasons.code[named]])
    rank = (carried[named] > carried[named, place][:, None]).sum(axis=1)
    assert (rank == 0).mean() > 0.5  # larger ones could not be named, or did not lower the score
    assert (carried[named, place] > 0).all()
    assert len(set(reasons.code)) > 2


def _base(model: RecommenderModel) -> float:
    assert model.ranker is not None
    return float(np.asarray(model.ranker.predict(np.zeros((1, len(FEATURES))), pred_contrib=True))[0, -1])


def test_an_item_that_is_not_popular_is_never_said_to_be() -> None:
    model, _, _, item, reasons = world("baseline")
    said = reasons.code == TREND
    assert said.any()
    assert (model.known.rate[item[said]] > np.median(model.known.rate)).all()
    assert all(cause is None for cause in reasons.cause[said])


def test_a_price_that_fell_is_named_by_its_percent_only_where_it_lifted_the_score() -> None:
    """A ranker that only knows prices: t0 costs 1,000 now and cost 2,000 when it was looked at."""
    train, valid = examples()
    model = TASK.baseline(train, Fitting())

    class ByPrice(RecommenderModel):
        def carried(self, features: np.ndarray) -> np.ndarray:
            found = np.zeros((len(features), len(dict.fromkeys(FEATURES.values()))))
            drop = features[:, list(FEATURES).index("price_drop")]
            found[:, list(dict.fromkeys(FEATURES.values())).index(CHEAPER)] = np.nan_to_num(drop)
            return found

    rows = valid.rows.slice(0, 1)
    dear = pa.array(
        [[2 * cents if cents else None for cents in rows[PRICES][0].as_py()]], rows.schema.field(PRICES).type
    )
    rows = rows.set_column(rows.schema.get_field_index(PRICES), PRICES, dear)
    known = Knowledge.fit(Histories.of(valid.rows))
    priced = ByPrice(known, model.length)
    sight = Sight(Histories.of(rows), known)
    item = np.unique(sight.own.thing)[:1]
    found = reasons_of(priced, sight, np.zeros(1, dtype=int), item)
    assert (found.code[0], found.cause[0]) == (CHEAPER, "50")
    assert score_without(priced, sight, np.zeros(1, dtype=int), item, CHEAPER, found.cause)[0] == 0


@pytest.mark.parametrize(
    ("code", "cause", "past", "english", "chinese"),
    [
        ("again", None, Past(views=1, hours=3), "You looked at this yesterday", "您昨天看过这件商品"),
        ("again", None, Past(views=2, hours=30), "You looked at this twice, last 2 days ago", "您看过这件商品2次，最近是2天前"),
        ("again", None, Past(hours=80, is_bought=True), "You bought this 4 days ago", "您4天前买过这件商品"),
        ("together", "Pot", Past(views=3, hours=1), "Because you looked at Pot 3 times, last yesterday", "因为您看过“Pot”3次，最近是昨天"),
        ("together", "Pot", Past(hours=25, is_carted=True), "Because you put Pot in your cart 2 days ago",
         "因为您2天前把“Pot”加入过购物车"),
        ("together", "P" * 99, Past(hours=25), f"Because you saved {'P' * 79}… 2 days ago", f"因为您2天前收藏了“{'P' * 79}…”"),
        ("search", "tea", Past(), "Because you searched for “tea”", "因为您搜索过“tea”"),
        ("category", "lamps", Past(count=2), "Because you looked at lamps", "因为您看过“lamps”"),
        ("category", "lamps", Past(count=3), "Because you often look at lamps", "因为您常看“lamps”"),
        ("price_drop", "15", Past(), "15% cheaper than when you last looked at it", "比您上次看时便宜了15%"),
        ("popular", None, Past(), "Many customers look at this now", "最近很多顾客都在看"),
    ],
)  # fmt: skip
def test_words_say_what_happened_in_both_languages(
    code: str, cause: Any, past: Past, english: str, chinese: str
) -> None:
    assert words(code, cause, past) == (english, chinese)


def test_a_reason_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="no words for reason 'fate'"):
        words("fate", None, Past())
