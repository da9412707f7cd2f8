import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.strategy.placement import HOURS, HourCounts, fit_hours, marginal_values, quiet

ALL = np.ones((1, HOURS), dtype=bool)


def counts_of(
    sessions: np.ndarray, sent: np.ndarray | None = None, clicked: np.ndarray | None = None, segment: object = None
) -> HourCounts:
    nothing = np.zeros(sessions.shape, dtype=np.int64)
    return HourCounts(
        sessions,
        nothing if sent is None else sent,
        nothing if clicked is None else clicked,
        np.zeros(len(sessions), dtype=np.int64) if segment is None else np.asarray(segment),
    )


def simulated(n: int, messages: int, seed: int = 1, attention: int = 5) -> tuple[HourCounts, np.ndarray]:
    """Customers who come around one hour of their own; a message is clicked if they come within `attention` hours. And
    the truth: (n, 24) probability of a click."""
    random = np.random.default_rng(seed)
    centre = np.where(random.random(n) < 0.5, 9, 20)[:, None] + random.normal(0, 1.5, (n, 1))
    gap = (np.arange(HOURS)[None, :] - centre + 12) % 24 - 12
    share = np.exp(-(gap**2) / (2 * 1.5**2))
    share /= share.sum(axis=1, keepdims=True)
    around = sum(np.roll(share, -later, axis=1) for later in range(attention))
    truth = 0.3 * np.asarray(around)
    sessions = random.multinomial(random.integers(0, 15, n), share)
    sent = random.multinomial(messages, np.full(HOURS, 1 / HOURS), size=n)
    return counts_of(sessions, sent, random.binomial(sent, truth)), truth


def test_a_customer_is_met_in_the_hours_before_the_usual_visits() -> None:
    sessions = np.zeros((2, HOURS), dtype=np.int64)
    sessions[0, 9], sessions[1, 20] = 40, 40
    hours = fit_hours(counts_of(sessions)).best_hour(np.array([0, 1]), np.repeat(ALL, 2, axis=0))
    assert 9 - 3 < hours[0] <= 9
    assert 20 - 3 < hours[1] <= 20


def test_who_was_never_seen_has_the_segment_s_hours() -> None:
    sessions = np.zeros((42, HOURS), dtype=np.int64)
    sessions[:20, 9], sessions[20:40, 20] = 10, 10
    segment = np.array([0] * 20 + [1] * 20 + [0, 1])
    model = fit_hours(counts_of(sessions, segment=segment))
    assert model.p_click[40, 7] > model.p_click[40, 18]
    assert model.p_click[41, 18] > model.p_click[41, 7]
    assert model.own_share[40] == 0
    assert 0 < model.own_share[0] < 1


def test_own_clicks_move_the_hour_where_visits_say_nothing() -> None:
    n = 200
    sent, clicked = np.zeros((2, n, HOURS), dtype=np.int64)
    sent[:, [8, 19]] = 10
    clicked[: n // 2, 8], clicked[n // 2 :, 19] = 8, 8
    model = fit_hours(counts_of(np.ones((n, HOURS), dtype=np.int64), sent, clicked))
    hours = model.best_hour(np.array([0, n - 1]), np.repeat(ALL, 2, axis=0))
    assert hours.tolist() == [8, 19]


@pytest.mark.parametrize("attention", [1, 5])
def test_learnt_hours_beat_the_shop_s_best_hour_and_any_hour_by_lot(attention: int) -> None:
    """However long a message is seen: that is learnt too."""
    counts, truth = simulated(3_000, messages=8, attention=attention)
    model = fit_hours(counts)
    everyone = np.arange(len(truth))
    allowed = np.broadcast_to(~quiet(21, 8), truth.shape)
    learnt = truth[everyone, model.best_hour(everyone, allowed)].mean()
    shop = truth[:, 8:21].mean(axis=0).max()
    assert learnt > 1.2 * shop
    assert learnt > 1.5 * truth[:, 8:21].mean()
    assert learnt > 0.8 * truth[:, 8:21].max(axis=1).mean()


def test_clicks_that_have_nothing_to_do_with_visits_lower_the_slope() -> None:
    counts, _ = simulated(2_000, messages=8)
    random = np.random.default_rng(5)
    by_lot = HourCounts(counts.sessions, counts.sent, random.binomial(counts.sent, 0.1), counts.segment)
    assert fit_hours(by_lot).slope < 0.3 < fit_hours(counts).slope


def test_nobody_and_nothing_are_answered_too() -> None:
    empty = fit_hours(counts_of(np.zeros((0, HOURS), dtype=np.int64)))
    assert empty.best_hour(np.zeros(0, dtype=np.int64), np.zeros((0, HOURS), dtype=bool)).shape == (0,)
    silent = fit_hours(counts_of(np.zeros((3, HOURS), dtype=np.int64)))
    assert silent.best_hour(np.array([2]), ALL).tolist() == [0]  # all alike: the earliest
    assert silent.best_hour(np.array([0]), ~ALL).tolist() == [-1]


@pytest.mark.parametrize(
    ("hours", "silent"), [((21, 8), [21, 22, 23, *range(8)]), ((0, 6), list(range(6))), ((5, 5), []), ((23, 0), [23])]
)
def test_quiet_hours_run_over_midnight(hours: tuple[int, int], silent: list[int]) -> None:
    assert np.flatnonzero(quiet(*hours)).tolist() == sorted(silent)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_probabilities_lie_between_0_and_1_and_a_best_hour_is_an_allowed_one(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    sent = random.integers(0, 4, (n, HOURS))
    counts = counts_of(random.integers(0, 3, (n, HOURS)), sent, random.binomial(sent, 0.5), random.integers(0, 3, n))
    model = fit_hours(counts)
    assert ((model.p_click > 0) & (model.p_click < 1)).all()
    allowed = random.random((n, HOURS)) < 0.2
    hour = model.best_hour(np.arange(n), allowed)
    assert (hour[allowed.any(axis=1)] >= 0).all()
    assert all(allowed[i, h] for i, h in enumerate(hour.tolist()) if h >= 0)


def test_one_message_more_is_worth_what_it_brings_beyond_the_best_with_fewer() -> None:
    profit = np.array([[1.0, 3.0, 2.0], [2.0, -1.0, 5.0], [-1.0, -2.0, np.nan]], dtype=np.float32)
    told = marginal_values(profit, np.array([1, 1, 2]))
    assert told == [
        {"frequency": 1, "marginal_cents": pytest.approx((3 + 2 - 1) / 3, abs=1e-4), "worth_it_share": 0.6667},
        {"frequency": 2, "marginal_cents": pytest.approx((2 - 3 + 5 - 2) / 2), "worth_it_share": 0.5},
    ]
