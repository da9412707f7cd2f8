"""Alarms: their chance without a surge, how fast a surge is found, and odd shops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.language.surge import LEAST, begun, draw, surges, tail, told

RATES = np.array([0.12, 0.08, 0.05, 0.03, 0.02, 0.01])
LENGTH, BUDGET = 35, 1 / 30


def shop(
    seed: int, nights: int, *, times: float = 1.0, first: int = 10**6
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts by night and topic, reviews, weekdays; from night `first` on topic 0 is blamed `times` as often."""
    rng = np.random.default_rng(seed)
    days = np.arange(nights) % 7
    reviews = rng.poisson(50 * (1 + 0.3 * np.sin(days)))
    rate = np.tile(RATES, (nights, 1))
    rate[first:, 0] *= times
    return draw(rate, np.full(len(RATES), 1.2), reviews, rng), reviews, days


def watch(told_of: tuple[np.ndarray, np.ndarray, np.ndarray], last: int) -> list[int]:
    """Topics that surge at the end of night `last`."""
    part = slice(last + 1 - LENGTH, last + 1)
    found = surges(*(one[part] for one in told_of), budget=BUDGET, seed=1, nights=200)
    return [surge.topic for surge in found.surges]


def test_without_a_surge_alarms_stay_near_their_budget() -> None:
    """100 nights may bring 3.3 alerts; ten or more would come in 2 of 1,000 such shops. 3,000 nights: docs/LOG.md."""
    world = shop(5, LENGTH + 100)
    alarm = np.zeros((100, len(RATES)), dtype=bool)
    for night in range(100):
        alarm[night, watch(world, LENGTH + night)] = True
    assert begun(alarm).sum() < 10


def test_three_times_as_much_blame_is_found_within_two_nights_in_most_shops() -> None:
    found = 0
    for seed in range(20):
        world = shop(seed, LENGTH + 2, times=3.0, first=LENGTH)
        found += any(0 in watch(world, LENGTH + night) for night in range(2))
    assert found >= 17


def test_an_alert_tells_since_when_how_many_and_how_many_are_usual() -> None:
    negative = np.zeros((LENGTH, 2), dtype=int)
    negative[::3, 0] = 1
    negative[-1, 1] = 8
    reviews, days = np.full(LENGTH, 40), np.arange(LENGTH) % 7
    [surge] = surges(negative, reviews, days, budget=BUDGET, seed=1, nights=500).surges
    assert (surge.topic, surge.nights, surge.n_negative, surge.n_reviews) == (1, 1, 8, 40)
    assert surge.n_expected < 0.5
    text = told(surge, "delivery", ["A kettle"], first_night="2026-03-14")
    assert text.startswith("delivery: 8 of 40 reviews since 2026-03-14 blame it")
    assert text.endswith("most about A kettle")


def test_more_reviews_of_the_same_kind_are_no_surge() -> None:
    reviews = np.full(LENGTH, 20)
    reviews[-2:] = 120
    negative = np.stack([reviews // 10, reviews // 20], axis=1)
    assert surges(negative, reviews, np.arange(LENGTH) % 7, budget=BUDGET, seed=1, nights=500).surges == ()


def test_a_topic_that_is_blamed_every_monday_is_usual_on_mondays() -> None:
    days, reviews = np.arange(64) % 7, np.full(64, 60)
    negative = np.where(days == 0, 14, 1)[:, None]
    monday = surges(negative[:57], reviews[:57], days[:57], budget=BUDGET, seed=1, nights=500)
    assert days[56] == 0
    assert monday.surges == ()


def test_few_nights_tell_nothing_and_say_so() -> None:
    young = surges(np.ones((9, 1), int), np.full(9, 5), np.arange(9), budget=BUDGET, seed=1)
    assert young.surges == ()
    assert young.why.startswith("9 nights of reviews")
    silent = surges(np.zeros((40, 1), int), np.zeros(40, int), np.arange(40) % 7, budget=BUDGET, seed=1)
    assert silent.why.startswith("0 nights of reviews")


def test_a_single_angry_customer_is_no_alert() -> None:
    negative = np.zeros((LENGTH, 1), int)
    negative[-1] = LEAST - 1
    assert surges(negative, np.full(LENGTH, 30), np.arange(LENGTH) % 7, budget=10.0, seed=1, nights=300).surges == ()


@given(st.floats(0.01, 30), st.floats(1, 5), st.floats(0.5, 100), st.integers(0, 40))
@settings(max_examples=50)
def test_the_tail_is_a_chance_that_falls_with_the_count(mean: float, spread: float, known: float, count: int) -> None:
    here, next_one = (
        float(tail(np.array(n), np.array(mean), np.array(spread), np.array(known))) for n in (count, count + 1)
    )
    assert 0 <= next_one <= here <= 1


def test_the_tail_of_a_spread_of_one_and_a_known_mean_is_poisson_s() -> None:
    found = float(tail(np.array(5), np.array(2.0), np.array(1.0), np.array(1e9)))
    assert found == pytest.approx(0.0526530, abs=1e-4)  # 1 - exp(-2) (1 + 2 + 2 + 4/3 + 2/3)


def test_an_alarm_that_goes_on_is_one_alert_and_one_after_a_quiet_week_another() -> None:
    alarm = np.zeros((20, 1), dtype=bool)
    alarm[[1, 2, 5, 15]] = True
    assert np.flatnonzero(begun(alarm)[:, 0]).tolist() == [1, 15]
