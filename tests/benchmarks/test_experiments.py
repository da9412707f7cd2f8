"""The benchmark of daily looking, on few small experiments: every way is asked, and peeking is caught at it."""

import numpy as np
import pytest

import experiments
from pipelines.strategy.cuped import Difference


@pytest.mark.parametrize("kind", ["panel", "arrivals", "lots"])
def test_a_strong_effect_is_found_by_every_way_of_looking(kind: str) -> None:
    report = experiments.judge(experiments.World(kind, 6_000, 0.5, lift=8.0), 2)
    assert {way: found["share"] for way, found in report.items()} == dict.fromkeys(experiments.WAYS, 1.0)
    assert report["once_at_the_end"]["median_night"] == experiments.NIGHTS


def test_a_look_that_is_an_accident_is_taken_for_an_effect_by_peeking_alone() -> None:
    nights = [[Difference(0, 0, 0.1, 1.0, 0.1, 1.0)] for _ in range(experiments.NIGHTS)]
    nights[3] = [Difference(0, 0, 2.1, 1.0, 2.1, 1.0)]
    called = experiments.found(nights)
    assert [way for way in experiments.WAYS if called[way]] == ["every_night"]
    assert called["every_night"] == 4


def test_several_arms_are_corrected_for_and_arms_without_data_wait() -> None:
    world = experiments.World("panel", 900, 0.75, arms=4)
    told = experiments.looks(world, np.random.default_rng(1))
    assert len(told) == experiments.NIGHTS
    assert told[0] == [None, None, None]
    assert all(one is not None for one in told[-1])


def test_the_sample_ratio_is_quiet_on_a_fair_split_of_95_to_5_and_loud_on_a_leak() -> None:
    assert experiments.ratios(10) == {"fair": 0.0, "one in ten of the small arm is lost": 1.0}
