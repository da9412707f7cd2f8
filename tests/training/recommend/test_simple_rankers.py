"""Popularity, own history, item-kNN, EASE and ALS: each against what a hand or the definition gives."""

import math

import numpy as np
import pytest

from pipelines.core.errors import TrainingError
from tests.training.recommend.small_interactions import NOW_S, shop, told
from training.recommend import ease
from training.recommend.als import Als
from training.recommend.ease import Ease
from training.recommend.history import History, Weights
from training.recommend.item_knn import ItemKnn
from training.recommend.popularity import Popularity
from training.recommend.ranker_protocol import best

EQUAL = Weights((1.0, 1.0, 1.0, 1.0), None)
E_MINUS_1 = math.e - 1  # so many equal events of a pair count log(1 + n) = 1; weights are set to it below
ONE = Weights((E_MINUS_1,) * 4, None)


def test_popularity_counts_customers_not_events() -> None:
    loud = told([("a", "loud", "view", 1)] * 9 + [("a", "quiet", "view", 2), ("b", "quiet", "view", 3)])
    assert Popularity.fit(loud, NOW_S).customers.tolist() == [1.0, 2.0]


def test_recent_popularity_lets_a_customer_fade_from_the_latest_touch() -> None:
    found = Popularity.fit(told([("a", "x", "view", 5), ("a", "x", "view", 2), ("b", "x", "view", 4)]), NOW_S, 2.0)
    assert found.customers[0] == pytest.approx(math.exp(-1) + math.exp(-2))


def test_history_adds_what_behaviours_tell_each_fading_with_its_age() -> None:
    events = told([("a", "x", "view", 4), ("a", "x", "cart", 8), ("a", "y", "purchase", 12), ("b", "z", "view", 1)])
    scores = History.fit(events, NOW_S, Weights((1, 2, 3, 4), 4.0)).score(events, np.array([0]), NOW_S)[0]
    expected = [math.exp(-1) + 3 * math.exp(-2), 4 * math.exp(-3), 0.0]
    np.testing.assert_allclose(scores, expected, atol=1e-8)


def test_behind_the_own_history_stands_what_is_popular() -> None:
    events = told([("a", "old", "view", 9), *((who, "hit", "view", 1) for who in "bcd"), ("b", "rare", "view", 1)])
    lists = best(History.fit(events, NOW_S).score(events, np.array([0]), NOW_S), 3)
    assert events.items[lists[0]].tolist() == ["old", "hit", "rare"]


def test_item_knn_is_the_cosine_over_customers_damped_for_other_items() -> None:
    # x: a, b; y: a, b, c; z: c. Norms: sqrt 2, sqrt 3, 1.
    pairs = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y"), ("c", "y"), ("c", "z")]
    events = told([(who, what, "view", 1) for who, what in pairs])
    similar = ItemKnn.fit(events, NOW_S, ONE, damping=1.0).similar.toarray()
    xy, yz = 2 / (math.sqrt(6) + 1), 1 / (math.sqrt(3) + 1)
    np.testing.assert_allclose(similar, [[1, xy, 0], [xy, 1, yz], [0, yz, 1]], rtol=1e-12)
    scores = ItemKnn.fit(events, NOW_S, ONE).score(events, np.array([2]), NOW_S)[0]
    np.testing.assert_allclose(scores, [xy, 1 + yz, 1 + yz], atol=1e-8)


def test_item_knn_keeps_the_nearest_neighbours_only() -> None:
    events = shop()
    all_of_them = ItemKnn.fit(events, NOW_S, neighbours=1_000).similar.toarray()
    few = ItemKnn.fit(events, NOW_S, neighbours=3).similar.toarray()
    assert ((few > 0).sum(axis=1) == 3).all()
    for row in range(len(few)):
        assert sorted(few[row][few[row] > 0]) == pytest.approx(sorted(all_of_them[row])[-3:])


@pytest.mark.parametrize(("n_customers", "n_items"), [(6, 30), (40, 8)])
def test_ease_from_either_side_is_the_direct_inverse(n_customers: int, n_items: int) -> None:
    events = shop(n_customers=n_customers, n_items=n_items)
    model = Ease.fit(events, NOW_S, EQUAL, penalty=2.0)
    assert (model.customers is not None) == (n_customers < len(events.items))
    x = np.log1p(events.matrix().toarray())
    inverse = np.linalg.inv(x.T @ x + 2.0 * np.eye(x.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    found = model.score(events, np.arange(n_customers), NOW_S)
    np.testing.assert_allclose(found, x @ weights, atol=1e-7)


def test_ease_says_so_where_both_sides_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "MAX_SIDE", 5)
    with pytest.raises(TrainingError, match=r"6 customers and \d+ items, one of them must be at most 5"):
        Ease.fit(shop(n_customers=6), NOW_S)


def test_als_solves_a_customers_point_as_the_library_does() -> None:
    from implicit.als import AlternatingLeastSquares

    events = shop()
    model = Als.fit(events, NOW_S, EQUAL, n_factors=4, alpha=5.0, iterations=2)
    library = AlternatingLeastSquares(factors=4, regularization=0.1, alpha=5.0, num_threads=1)
    library.item_factors = model.factors
    theirs = library.recalculate_user(np.arange(5), events.matrix()[:5].astype(np.float32))
    np.testing.assert_allclose(model.score(events, np.arange(5), NOW_S), theirs @ model.factors.T, rtol=1e-3, atol=1e-4)


def test_als_puts_customers_near_what_their_likes_touch() -> None:
    two_tastes = [(f"a{n}", f"x{m}", "view", 1) for n in range(6) for m in range(4) if n != m]
    two_tastes += [(f"b{n}", f"y{m}", "view", 1) for n in range(6) for m in range(4) if n != m]
    events = told(two_tastes)
    scores = Als.fit(events, NOW_S, EQUAL, n_factors=2, iterations=10).score(events, np.array([0]), NOW_S)[0]
    assert events.items[0] == "x0", "which a0 did not touch"
    assert scores[0] > 3 * max(scores[4:])
