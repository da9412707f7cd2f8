"""Measures of lists, each by hand on lists that fit in the head."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from training.recommend.interactions import NO_ITEM
from training.recommend.measures import coverage, hit, hits, ndcg, next_item, popularity_lift, recall

LISTS = np.array([[2, 0, 1], [3, NO_ITEM, NO_ITEM], [0, 1, 2]])
TRUTH = csr_matrix(np.array([[1, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]))


def test_hits_are_the_places_whose_item_is_in_the_rows_own_truth() -> None:
    assert hits(LISTS, TRUTH).tolist() == [[True, True, False], [False, False, False], [False, False, False]]


def test_an_empty_place_hits_nothing_even_where_the_row_before_ends_with_a_hit() -> None:
    last_of_the_row_before = csr_matrix(np.array([[0, 0, 0, 1], [1, 0, 0, 0]]))
    assert not hits(np.array([[NO_ITEM], [NO_ITEM]]), last_of_the_row_before).any()


def test_recall_counts_what_no_list_could_hold_as_missed() -> None:
    assert recall(LISTS, TRUTH)[:2].tolist() == [2 / 3, 0.0]
    assert recall(LISTS, TRUTH, np.array([1, 0, 2])).tolist() == [2 / 4, 0.0, 0.0]


def test_ndcg_is_the_discounted_gain_over_the_best_list_of_this_length() -> None:
    found = ndcg(LISTS, TRUTH)
    gain = 1 + 1 / math.log2(3)
    assert found[0] == pytest.approx(gain / (gain + 1 / 2))
    assert found[1] == 0.0
    # Five wanted items, three places: a full list of hits is still the best.
    assert ndcg(np.array([[0, 1, 2]]), csr_matrix(np.ones((1, 3))), 2)[0] == pytest.approx(1.0)


def test_without_a_truth_recall_and_ndcg_are_not_defined_and_nothing_was_hit() -> None:
    assert math.isnan(recall(LISTS, TRUTH)[2])
    assert math.isnan(ndcg(LISTS, TRUTH)[2])
    assert hit(LISTS, TRUTH).tolist() == [1.0, 0.0, 0.0]


def test_counts_in_a_truth_are_worth_no_more_than_one() -> None:
    counted = TRUTH.copy()
    counted.data[:] = 7
    np.testing.assert_array_equal(ndcg(LISTS, counted), ndcg(LISTS, TRUTH))
    np.testing.assert_array_equal(recall(LISTS, counted), recall(LISTS, TRUTH))


def test_the_next_item_is_found_at_its_rank() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.3]])
    found, reciprocal = next_item(scores, np.array([2]), (1, 2, 3))
    assert found.tolist() == [[0.0, 1.0, 1.0]]
    assert reciprocal.tolist() == [[0.0, 0.5, 0.5]]


def test_ties_are_worth_what_a_random_order_gives_on_average() -> None:
    scores = np.array([[1.0, 1.0, 1.0, 2.0]])  # the target is second, third or fourth
    found, reciprocal = next_item(scores, np.array([0]), (2, 4))
    np.testing.assert_allclose(found, [[1 / 3, 1.0]])
    np.testing.assert_allclose(reciprocal, [[1 / 2 / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3]])


def test_an_item_that_nobody_can_rank_is_never_found() -> None:
    found, reciprocal = next_item(np.array([[1.0, 2.0]]), np.array([NO_ITEM]), (1, 2))
    assert found.tolist() == reciprocal.tolist() == [[0.0, 0.0]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 6), st.integers(0, 1_000))
def test_the_next_item_is_worth_the_mean_over_orders_of_ties(levels: list[int], k: int, seed: int) -> None:
    scores = np.array([levels], dtype=float)
    target = seed % len(levels)
    luck = np.random.default_rng(seed)
    ranks = np.array(
        [1 + (np.lexsort((luck.random(len(levels)), -scores[0])) == target).argmax() for _ in range(2_000)]
    )
    found, reciprocal = next_item(scores, np.array([target]), (k,))
    assert found[0, 0] == pytest.approx((ranks <= k).mean(), abs=0.05)
    assert reciprocal[0, 0] == pytest.approx(((ranks <= k) / ranks).mean(), abs=0.05)


def test_coverage_is_the_share_of_items_in_any_list() -> None:
    assert coverage(LISTS, 8) == 4 / 8
    assert coverage(np.full((2, 3), NO_ITEM), 8) == 0.0


def test_popularity_lift_compares_listed_items_with_those_the_same_customers_touched() -> None:
    touched = csr_matrix(np.array([[1, 1, 0], [5, 0, 0], [1, 0, 1]]))  # 3, 1 and 1 customers
    # Theirs: 3, 1, 3; mine: (3 + 1) / 2, 3, (3 + 1) / 2.
    lists = np.array([[0, NO_ITEM], [1, 2], [0, NO_ITEM]])
    assert popularity_lift(lists, touched) == pytest.approx((3 + 1 + 3) / (2 + 3 + 2) - 1)


def test_popularity_lift_of_nobody_is_not_defined() -> None:
    assert math.isnan(popularity_lift(np.full((2, 1), NO_ITEM), csr_matrix(np.ones((2, 2)))))
