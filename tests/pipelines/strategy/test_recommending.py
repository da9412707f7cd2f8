"""Decisions about lists of recommendations: hand-checkable lists, lots whose chances are known, waits of a known rate."""

from datetime import date, timedelta

import numpy as np
import pytest

from pipelines.strategy.holdout import is_holdout
from pipelines.strategy.recommending import choose, explore, is_held_out, nights_to_buy_again

NIGHT = date(2026, 3, 14)
KEYS = [f"u{number}" for number in range(4_000)]


def test_the_holdout_is_as_large_as_asked_stable_and_independent_of_the_campaigns_one() -> None:
    held = is_held_out(KEYS, 7, 10)
    assert held.mean() == pytest.approx(0.1, abs=0.015)
    assert (is_held_out(KEYS[::-1], 7, 10)[::-1] == held).all()
    assert held[is_held_out(KEYS, 7, 5)].all()
    campaigns = is_holdout(KEYS, 7, 10)  # the same seed on purpose
    assert held[campaigns].mean() == pytest.approx(0.1, abs=0.05)


def test_lists_are_filled_greedily_with_at_most_so_many_of_a_category() -> None:
    row = np.array([0, 0, 0, 0, 0, 1, 1])
    category = np.array([5, 5, 5, 2, -1, 5, 5])
    chosen, over = choose(row, category, np.zeros(7, dtype=bool), 4, 2)
    assert chosen.tolist() == [0, 1, 3, 4, 5, 6]
    assert over.tolist() == [False, False, True, False, False, False, False]


def test_what_is_late_or_too_much_of_a_category_fills_only_what_else_would_stay_empty() -> None:
    row, category = np.zeros(5, dtype=int), np.array([1, 1, 1, 1, 2])
    late = np.array([True, False, False, False, False])
    assert choose(row, category, late, 2, 1)[0].tolist() == [1, 4]
    assert choose(row, category, late, 4, 1)[0].tolist() == [1, 4, 0, 2]
    assert choose(row, category, late, 9, 1)[0].tolist() == [1, 4, 0, 2, 3]
    assert [part.tolist() for part in choose(row[:0], category[:0], late[:0], 3, 1)] == [[], []]


def test_each_slot_gets_each_item_as_often_as_its_propensity_says() -> None:
    """2,000 nights of one customer with a list of 3 and a pool of 4, of another with a pool of 1."""
    n_nights, k, percent = 2_000, 3, 40
    shown = np.zeros((2, k, 5))
    for at in range(n_nights):
        which, propensity = explore(
            ["ann", "ben"], np.array([3, 3]), np.array([4, 1]), k, 1, NIGHT + timedelta(days=at), percent
        )
        assert all(len(set(found)) == len(found) for found in (row[row >= 0].tolist() for row in which))
        expected = np.where(which >= 0, 0.4 / np.array([[4], [1]]), [[0.6] * 3, [0.6, 1, 1]])
        np.testing.assert_allclose(propensity, expected)
        for row in range(2):
            shown[row, np.arange(k), which[row]] += 1  # the last place counts the listed item
    np.testing.assert_allclose(shown[0] / n_nights, [[0.1] * 4 + [0.6]] * k, atol=0.03)
    np.testing.assert_allclose(shown[1] / n_nights, [[0.4, 0, 0, 0, 0.6], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]], atol=0.03)


def test_no_lot_is_drawn_where_none_is_wanted_or_nothing_is_left_to_draw() -> None:
    for n_pool, percent in ((4, 0), (0, 50)):
        which, propensity = explore(["ann"], np.array([2]), np.array([n_pool]), 2, 1, NIGHT, percent)
        assert (which == -1).all()
        assert (propensity == 1).all()


def test_the_wait_until_an_item_is_bought_again_is_that_of_a_known_rate() -> None:
    """Tea is bought again every 10 nights on average, lamps never; both are watched for 100 nights."""
    rng = np.random.default_rng(3)
    rows = []
    for customer in range(300):
        age = 100.0
        while age > 0:
            rows.append((customer, 0, 0, int(age)))
            age -= rng.exponential(10)
        rows.append((customer, 1, 1, 60))
    found = nights_to_buy_again(*np.array(rows).T, 3)
    assert found[0] == pytest.approx(10 * np.log(2), rel=0.1)
    assert found[1] > 365  # nobody bought a second lamp in 18,000 nights of waiting
    assert found[2] == found[3]  # of what was never bought, and of what has no category, the shop's is known
    assert found[0] < found[2] < found[1]


def test_without_repeats_what_was_bought_rests_long_and_without_purchases_nothing_is_asked() -> None:
    once = nights_to_buy_again(*np.array([[1, 1, 0, 20], [2, 2, 0, 20]]).T, 1)
    assert (once > 20).all()
    assert np.isfinite(nights_to_buy_again(*np.zeros((4, 0), dtype=int), 2)).all()


def test_two_pieces_of_one_night_are_one_purchase() -> None:
    one, two = (nights_to_buy_again(*np.array(rows).T, 1) for rows in ([[1, 1, 0, 9]], [[1, 1, 0, 9], [1, 1, 0, 9]]))
    assert (one == two).all()
