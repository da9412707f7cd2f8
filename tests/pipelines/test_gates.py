import pytest

from pipelines.core.shop import Gates
from pipelines.gates import gate, judge_volume

GATES = Gates(
    max_quarantine_share=0.05,
    max_duplicate_share=0.5,
    max_bot_share=0.5,
    volume_window_nights=28,
    min_reference_nights=3,
    max_volume_ratio=4.0,
)
GOOD = {"lines_read": 1_000, "clean": 900, "duplicate": 80, "quarantined": 20, "bots": 9}
WEEKDAYS = [1_000, 1_100, 900, 1_000, 1_050]


def test_a_good_night_has_no_breach() -> None:
    assert gate(GOOD, WEEKDAYS, [1_000], GATES) == []


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"quarantined": 51}, "quarantined share 5.1% is above 5.0%: 51 of 1,000 lines_read"),
        ({"duplicate": 501}, "duplicate share 50.1% is above 50.0%: 501 of 1,000 lines_read"),
        ({"bots": 451}, "bots share 50.1% is above 50.0%: 451 of 900 clean"),
    ],
)
def test_each_share_above_its_limit_is_one_line(counts: dict[str, int], line: str) -> None:
    assert gate({**GOOD, **counts}, WEEKDAYS, [], GATES) == [line]


def test_a_share_at_its_limit_passes() -> None:
    assert gate({**GOOD, "quarantined": 50, "duplicate": 500, "bots": 450}, WEEKDAYS, [], GATES) == []


def test_all_breaches_are_told() -> None:
    assert len(gate({**GOOD, "quarantined": 900, "duplicate": 600, "bots": 900, "clean": 5}, WEEKDAYS, [], GATES)) == 4


def test_a_limit_of_zero_forbids_the_first_one() -> None:
    strict = GATES.model_copy(update={"max_quarantine_share": 0.0})
    assert gate({**GOOD, "quarantined": 1}, [], [], strict) == [
        "quarantined share 0.1% is above 0.0%: 1 of 1,000 lines_read"
    ]
    assert gate({**GOOD, "quarantined": 0}, [], [], strict) == []


def test_counts_that_are_missing_or_of_nothing_are_not_judged() -> None:
    assert gate({}, WEEKDAYS, [], GATES) == []
    assert gate({"lines_read": 0, "quarantined": 0}, WEEKDAYS, [], GATES) == []


@pytest.mark.parametrize("volume", [250, 1_000, 4_000])
def test_a_volume_within_the_ratio_of_the_median_passes(volume: int) -> None:
    assert judge_volume(volume, WEEKDAYS, [], GATES) is None


@pytest.mark.parametrize("volume", [0, 224, 4_001])
def test_a_volume_outside_the_ratio_is_told_with_both_medians(volume: int) -> None:
    line = judge_volume(volume, WEEKDAYS, [900], GATES)
    assert line is not None
    assert line.startswith(f"volume {volume:,} clean events is not within 4 times of the usual 1,000")
    assert "900 on this weekday" in line


def test_a_sunday_is_no_anomaly_where_sundays_are_quiet() -> None:
    week, sunday = [1_000] * 6, 100
    reference = [*week, sunday, *week, sunday]
    assert judge_volume(110, reference, [sunday, sunday], GATES) is None
    assert judge_volume(110, reference, [1_000, 1_000], GATES) is not None  # the same volume on a Monday


def test_one_odd_night_does_not_move_what_is_usual() -> None:
    assert judge_volume(1_000, [1_000, 1_000, 1_000_000, 1_000], [], GATES) is None


def test_with_few_earlier_nights_volume_is_not_judged() -> None:
    assert judge_volume(1, [1_000, 1_000], [1_000], GATES) is None
    assert judge_volume(1, [1_000, 1_000, 1_000], [], GATES) is not None


def test_a_shop_that_was_closed_may_stay_closed() -> None:
    assert judge_volume(0, [0, 0, 0], [0], GATES) is None
    assert judge_volume(5, [0, 0, 0], [0], GATES) is not None
