"""The night's blend as a ranker of interactions: the same model, without a store."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from tests.training.recommend.small_interactions import NOW_S, shop, told
from training.recommend.interactions import Interactions
from training.recommend.ranker_protocol import DAY_S, best
from training.tasks.recommender_examples import AGE_HOURS, BEHAVIOUR, CATEGORIES, MAX_EVENTS, TOUCHED
from training.tasks.recommender_ranker import NightRanker, rows_of


@pytest.fixture(scope="module")
def events() -> Interactions:
    return shop()


@pytest.fixture(scope="module")
def ranker(events: Interactions) -> NightRanker:
    return NightRanker.fit(events, NOW_S)


def test_rows_hold_what_was_done_before_the_moment_newest_first() -> None:
    seen = told(
        [("a", "x", "view", 30), ("a", "y", "cart", 20), ("a", "x", "view", 2), ("c", "y", "purchase", 40)],
        {"x": 5, "y": -1},
    )
    rows = rows_of(seen, NOW_S - 10 * DAY_S, np.arange(len(seen.customers))).to_pylist()
    assert [row[C.USER_KEY] for row in rows] == seen.customers.tolist()
    one = rows[0]
    assert (one[TOUCHED], one[BEHAVIOUR], one[CATEGORIES]) == (["y", "x"], [2, 0], [None, "5"])
    assert one[AGE_HOURS] == pytest.approx([240, 480])
    many = told([("a", f"i{n % 7}", "view", 1 + n / 100) for n in range(MAX_EVENTS + 50)])
    assert len(rows_of(many, NOW_S, np.array([0])).to_pylist()[0][TOUCHED]) == MAX_EVENTS


def test_it_ranks_every_item_what_is_no_candidate_by_popularity(events: Interactions, ranker: NightRanker) -> None:
    everybody = np.arange(len(events.customers))
    scores = ranker.score(events, everybody, NOW_S)
    assert scores.shape == (len(everybody), len(events.items))
    assert np.isfinite(scores).all()
    unasked = scores < -90
    popular = np.broadcast_to(ranker.popularity.share(events.items), scores.shape)
    np.testing.assert_allclose(scores[unasked], popular[unasked] - 100)
    one_by_one = np.concatenate([ranker.score(events, everybody[[at]], NOW_S) for at in range(3)])
    np.testing.assert_allclose(one_by_one, scores[:3])


def test_it_finds_what_comes_better_than_popularity_and_looks_at_nothing_later(events: Interactions) -> None:
    at_s = NOW_S - DAY_S
    past, came = events.before(at_s), events.take(events.seconds >= at_s)
    ranker = NightRanker.fit(past, at_s)
    who = np.unique(came.customer)
    scores = ranker.score(events, who, at_s)
    np.testing.assert_array_equal(scores, ranker.score(past, who, at_s))
    truth = came.matrix().toarray()[who] > 0

    def found(lists: np.ndarray) -> float:
        return float(np.take_along_axis(truth, lists, axis=1).mean())

    assert found(best(scores, 5)) > found(best(ranker.popularity.score(events, who, at_s), 5))


def test_saved_and_loaded_it_scores_the_same(events: Interactions, ranker: NightRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path)
    everybody = np.arange(len(events.customers))
    np.testing.assert_array_equal(
        NightRanker.load(tmp_path).score(events, everybody, NOW_S), ranker.score(events, everybody, NOW_S)
    )


def test_too_few_days_are_one_clear_line(events: Interactions) -> None:
    with pytest.raises(NoDataError, match="the night's blend needs four"):
        NightRanker.fit(events.take(events.seconds > NOW_S - 2 * DAY_S), NOW_S)
