"""Lists that were not shown, judged by logs of lists that were: against worlds whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.core.errors import OffPolicyError
from pipelines.strategy.judgement import judge_policy
from pipelines.strategy.off_policy_slots import SlotLog, compare_lists, fading, places, terms, weights

SLOTS, ITEMS, EXPLORE = 5, 40, 0.1
SEEN = 0.9 * np.arange(1, SLOTS + 1) ** -0.6


def lived(
    seed: int, customers: int = 250, nights: int = 3, skill: tuple[float, float] = (0.7, 2.0)
) -> tuple[SlotLog, np.ndarray, np.ndarray, float, float]:
    """A log of the champion's lists with lots for items outside of them, the places of challenger and champion, and the
    clicks per list that each truly gets. `skill`: how noisy their rankings are."""
    rng = np.random.default_rng(seed)
    attraction = 1 / (1 + np.exp(-rng.normal(-2.5, 1.0, (customers, ITEMS))))
    challenger, champion = (
        np.argsort(-(np.log(attraction) + noise * rng.normal(size=attraction.shape)), axis=1)[:, :SLOTS]
        for noise in skill
    )
    mine = np.repeat(np.arange(customers), nights)
    is_own = np.zeros((customers, ITEMS), dtype=bool)
    np.put_along_axis(is_own, champion, True, 1)
    pool = np.stack([np.flatnonzero(~row) for row in is_own])
    by_lot = rng.random((len(mine), SLOTS)) < EXPLORE
    lots = pool[mine[:, None], rng.integers(0, ITEMS - SLOTS, by_lot.shape)]
    shown = np.where(by_lot, lots, champion[mine])
    click = rng.random(shown.shape) < SEEN * attraction[mine[:, None], shown]
    log = SlotLog(
        list=np.repeat(np.arange(len(mine)), SLOTS),
        customer=np.repeat(mine, SLOTS),
        slot=np.tile(np.arange(1, SLOTS + 1), len(mine)),
        click=click.ravel().astype(np.float64),
        propensity=np.where(by_lot, EXPLORE / (ITEMS - SLOTS), 1 - EXPLORE).ravel(),
        is_explore=by_lot.ravel(),
        n_slots=SLOTS,
    )
    row = np.repeat(mine, SLOTS)
    found = [places(lists, row, shown.ravel()) for lists in (challenger, champion)]
    truth = [float((np.take_along_axis(attraction, lists, 1) * SEEN).sum(1).mean()) for lists in (challenger, champion)]
    return log, found[0], found[1], truth[0], truth[1]


def test_intervals_hold_the_truth_and_estimates_are_right_on_average() -> None:
    n = 120
    held, gaps = np.zeros((n, 3)), np.zeros((n, 2))
    for seed in range(n):
        log, new, old, true_new, true_old = lived(seed)
        found = compare_lists(log, new, old)
        for k, (name, truth) in enumerate(
            (("challenger", true_new), ("champion", true_old), ("difference", true_new - true_old))
        ):
            held[seed, k] = found[name]["low"] <= truth <= found[name]["high"]
        gaps[seed] = found["challenger"]["value"] - true_new, found["champion"]["value"] - true_old
    assert (held.mean(axis=0) >= 0.93).all()
    assert (np.abs(gaps.mean(axis=0)) < 3 * gaps.std(axis=0) / np.sqrt(n)).all()
    assert gaps[:, 1].std() < gaps[:, 0].std() / 3  # of its own lists the champion's log tells most


def test_a_better_recommender_is_found_better_and_a_worse_one_is_not_promoted() -> None:
    log, new, old, true_new, true_old = lived(7, customers=3_000, nights=5)
    found = compare_lists(log, new, old)
    assert true_new > true_old
    assert found["difference"]["low"] > 0
    assert found["supported"]["challenger"] == pytest.approx(1, abs=0.15)
    assert judge_policy(found).passed
    worse, than, *_ = lived(8, customers=3_000, nights=5, skill=(6.0, 0.3))[1:]
    log = lived(8, customers=3_000, nights=5, skill=(6.0, 0.3))[0]
    refused = judge_policy(compare_lists(log, worse, than))
    assert not refused.passed
    assert "clicks per list shown" in refused.text


def test_lists_that_the_log_could_not_have_shown_are_not_judged() -> None:
    log, new, old, *_ = lived(2, customers=500)
    rare = np.where(log.is_explore, 0, new)  # of what only lots could have shown nothing came up
    found = compare_lists(log, rare, old)
    assert found["supported"]["challenger"] < 0.7
    judged = judge_policy(found)
    assert judged.passed
    assert "cannot tell: the logged lists and lots could have shown only" in judged.text


def test_a_recommender_is_as_good_as_itself_exactly() -> None:
    log, _, old, _, true_old = lived(3)
    found = compare_lists(log, old, old)
    assert (found["disagree"], found["effective_rows"]) == (0, 0)
    assert found["difference"] == {"value": 0, "low": 0, "high": 0}
    assert found["champion"]["low"] < true_old < found["champion"]["high"]


def test_weights_are_those_of_the_formula() -> None:
    log = SlotLog(
        np.zeros(2, dtype=int), np.zeros(2, dtype=int), np.array([1, 2]), np.array([1.0, 0.0]), np.array([0.9, 0.01]),
        np.array([False, True]), 2,
    )  # fmt: skip
    seen = np.array([1.0, 0.5])
    # The own choice of slot 1 would stand in slot 2: 1 x 0.5 / (0.9 x 1); the lot of slot 2 in slot 1: 0.5 x 1 / (0.01 x 1.5)
    np.testing.assert_allclose(weights(log, np.array([2, 1]), seen), [0.5 / 0.9, 0.5 / 0.015])
    np.testing.assert_allclose(weights(log, np.array([0, 1]), seen), [0, 0.5 / 0.015])
    of_lists, _ = terms(log, np.array([2, 0]), seen)
    np.testing.assert_allclose(of_lists, [1.5])  # each of 1.5 looks was a click


def test_how_slots_fade_is_found_from_lots_and_not_from_few_clicks() -> None:
    rng = np.random.default_rng(5)
    slot = rng.integers(1, 11, 200_000)
    click = (rng.random(len(slot)) < 0.1 * slot**-0.8).astype(float)
    np.testing.assert_allclose(fading(slot, click, 10), np.arange(1, 11) ** -0.8, rtol=0.06)
    np.testing.assert_allclose(fading(slot[:20], np.zeros(20), 10), np.arange(1, 11) ** -0.5, rtol=1e-6)
    assert (
        fading(slot, (slot == 10).astype(float), 10) == 1
    ).all()  # a page whose last slot is clicked most does not fade


def test_what_cannot_be_weighed_is_refused_in_one_line() -> None:
    log = lived(1, customers=5)[0]
    with pytest.raises(
        OffPolicyError, match=r"propensity of 1 of 75 impressions is missing or outside \(0, 1\], row 3 has"
    ):
        replace(log, propensity=np.where(np.arange(75) == 3, np.nan, 0.5))
    with pytest.raises(OffPolicyError, match="slots from 1 to 5, expected 1 to 4"):
        replace(log, n_slots=4)
    with pytest.raises(OffPolicyError, match="2 values of click for 75 impressions"):
        replace(log, click=np.zeros(2))
    nobody = np.zeros(75, dtype=np.int64)
    assert compare_lists(log, nobody, nobody) == {"rows": 0, "disagree": 0.0, "effective_rows": 0.0}
