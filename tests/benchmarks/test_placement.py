"""The benchmark of placement: rules name the hours they should, and ours lies between the lot and the truth."""

import numpy as np

import placement
from pipelines.core.shop import SendWindow
from pipelines.strategy.placement import HOURS, HourCounts, open_hours

MORNING = open_hours(SendWindow(id="morning", from_hour=8, to_hour=11), None)


def test_each_rule_names_its_hour_of_the_window() -> None:
    visits, sent, clicked = np.zeros((3, 2, HOURS), dtype=np.int64)
    visits[0, [8, 20]] = 3, 9  # the second customer was never seen
    sent[:, 8:11] = 10
    clicked[:, 9] = 2
    truth = np.zeros((2, HOURS))
    truth[:, 10] = 0.5
    named = placement.hours_named(HourCounts(visits, sent, clicked, np.zeros(2, dtype=np.int64)), MORNING, truth)
    assert named["shop's best"].tolist() == [9, 9]
    assert named["own usual"].tolist() == [8, 9]
    assert named["truth"].tolist() == [10, 10]
    assert MORNING[named["ours"]].all()


def test_hours_learnt_are_better_than_the_lot_and_no_better_than_the_truth() -> None:
    rows, _ = placement.judged("demo", 7, 400, 7)
    told = {rule: found["p_click"]["value"] for rule, found in placement.summary([rows]).items()}
    assert told["lot"] < told["ours"] < told["truth"]
    assert max(told, key=lambda rule: told[rule]) == "truth"
