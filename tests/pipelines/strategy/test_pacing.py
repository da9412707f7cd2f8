"""A budget for several nights: what is left over carries over, and better nights get more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.strategy.pacing import tonights_budget, worth_of_weekdays


def test_equal_nights_share_what_is_left_equally() -> None:
    assert tonights_budget(700, 0, 1.0, [1.0] * 6) == 100
    assert tonights_budget(700, 100, 1.0, [1.0] * 5) == 100


def test_what_a_night_left_unspent_goes_to_all_that_are_left_and_the_last_gets_the_rest() -> None:
    assert tonights_budget(700, 40, 1.0, [1.0] * 5) == 110
    assert tonights_budget(700, 555, 1.0, []) == 145


def test_a_night_worth_twice_as_much_gets_twice_as_much_and_who_overspent_gets_nothing() -> None:
    assert tonights_budget(900, 0, 2.0, [1.0] * 7) == 200
    assert tonights_budget(900, 901, 2.0, [1.0]) == 0


@given(st.integers(0, 10**9), st.lists(st.floats(0.1, 10), min_size=1, max_size=31))
def test_a_period_that_spends_its_shares_spends_its_budget_and_no_more(budget: int, worth: list[float]) -> None:
    spent = 0
    for night in range(len(worth)):
        spent += tonights_budget(budget, spent, worth[night], worth[night + 1 :])
    assert spent == budget


def test_the_worth_of_weekdays_is_their_mean_drawn_towards_all_nights() -> None:
    sold, day = [10, 10, 30, 10, 10, 30], [0, 1, 5, 0, 1, 5]
    mean = 100 / 6
    expected = [(20 + mean) / 3, (20 + mean) / 3, mean, mean, mean, (60 + mean) / 3, mean]
    assert worth_of_weekdays(sold, day) == pytest.approx(np.array(expected))
    assert worth_of_weekdays([], []).tolist() == [1.0] * 7
    assert worth_of_weekdays([0, 0], [2, 3]).tolist() == [1.0] * 7
