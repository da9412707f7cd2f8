import numpy as np
import pytest

from pipelines.strategy.uplift_curve import SHARES, TOP, Trial, gains, in_top, uplift_curve


def trial(expected: list[float], is_sent: list[bool], outcome: list[float], chance: float = 0.5) -> Trial:
    """Customers of one night of whom nothing was known before."""
    n = len(expected)
    return Trial(
        np.array(expected), np.array(is_sent), np.full(n, chance), np.array(outcome), np.zeros((n, 0)), np.arange(n),
        np.zeros(n, dtype=np.int64),
    )  # fmt: skip


def world(seed: int, knows: bool, n: int = 300, nights: int = 4) -> tuple[Trial, np.ndarray]:
    """Customers who buy by habit and, if sent something, by what moves them; richer ones are sent something more often."""
    rng = np.random.default_rng(seed)
    customer, night = np.tile(np.arange(n), nights), np.repeat(np.arange(nights), n)
    habit, moved = rng.gamma(1, 5, n)[customer], 6 * rng.random(n)[customer]
    chance = np.where(habit > 5, 0.8, 0.4)
    is_sent = rng.random(n * nights) < chance
    outcome = habit + rng.normal(0, 3, n * nights) + is_sent * moved
    expected = moved + 100 * night if knows else rng.random(n * nights)  # each night on a scale of its own
    return Trial(expected, is_sent, chance, outcome, habit[:, None], customer, night), moved


def test_an_effect_is_what_was_brought_beyond_what_was_to_be_expected_by_the_chance_of_it() -> None:
    found = gains(trial([1, 2, 3, 4], [True, False, True, False], [6.0, 2.0, 0.0, 2.0], chance=0.25))
    # customers 0 and 2 are expected to do what 1 and 3 did on average, 2, and these what those did, 3
    assert found.tolist() == pytest.approx([(6 - 2) / 0.25, -(2 - 3) / 0.75, (0 - 2) / 0.25, -(2 - 3) / 0.75])


def test_equals_share_what_is_left_of_the_top() -> None:
    told = trial([5, 3, 3, 1], [True] * 4, [0.0] * 4)
    assert in_top(told, 0.5).tolist() == [1, 0.5, 0.5, 0]
    assert in_top(told, 0.1).tolist() == pytest.approx([0.4, 0, 0, 0])
    assert in_top(told, 1.0).tolist() == [1, 1, 1, 1]


def test_the_curve_and_the_lead_hold_the_truth_and_a_ranking_that_knows_is_told_from_one_that_does_not() -> None:
    held, better = [], {True: 0, False: 0}
    for seed in range(40):
        for knows in (True, False):
            told, moved = world(seed, knows)
            curve = uplift_curve(told)
            better[knows] += curve.ahead.low > 0
            for share, point in zip(SHARES, curve.points, strict=True):
                held.append(point.low <= (in_top(told, share) * moved).mean() <= point.high)
            held.append(curve.ahead.low <= ((in_top(told, TOP) - TOP) * moved).mean() <= curve.ahead.high)
    assert np.mean(held) > 0.93
    assert better[True] >= 38
    assert better[False] <= 4


def test_a_model_that_tells_nobody_apart_is_ahead_of_the_lot_by_nothing() -> None:
    told, _ = world(1, knows=True)
    same = Trial(np.zeros(len(told.outcome)), *list(vars(told).values())[1:])
    assert vars(uplift_curve(same).ahead) == pytest.approx({"value": 0, "low": 0, "high": 0}, abs=1e-12)
