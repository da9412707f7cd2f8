"""Line accounting from manifests: three counts that add up, or a clear error."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.accounting import Lines, late_lines, of_arrival, of_night
from pipelines.core.errors import AccountingError, NoDataError
from pipelines.core.storage import Store

MONDAY, TUESDAY = date(2026, 3, 9), date(2026, 3, 10)


def publish(store: Store, table: str, night: date, rows: int, counts: dict[str, Any]) -> None:
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        store.publish(table, night, folder, rows=rows, inputs={}, config_hash="c", counts=counts)


def judged(store: Store, arrival: date, nights: dict[str, int], quarantined: int = 0) -> None:
    publish(store, "quarantine", arrival, quarantined, {"quarantined": quarantined, "nights": nights})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Monday's drop: 10 lines, 1 bad, 9 good of which 8 are kept. Tuesday's: 6 of its own, 2 late ones of Monday, 1 of
    those known already."""
    store = Store(tmp_path, "tiny")
    monday, tuesday = str(MONDAY), str(TUESDAY)
    judged(store, MONDAY, {monday: 9}, quarantined=1)
    judged(store, TUESDAY, {monday: 2, tuesday: 6})
    publish(store, "events", MONDAY, 9, {"lines": {monday: 9, tuesday: 2}, "kept": {monday: 8, tuesday: 1}})
    publish(store, "events", TUESDAY, 6, {"lines": {tuesday: 6}, "kept": {tuesday: 6}})
    return store


def test_an_arrival_counts_its_lines_in_whatever_night_they_ended(store: Store) -> None:
    assert of_arrival(store, MONDAY) == Lines(lines_read=10, clean=8, duplicate=1, quarantined=1)
    assert of_arrival(store, TUESDAY) == Lines(lines_read=8, clean=7, duplicate=1, quarantined=0)


def test_a_night_counts_its_lines_whenever_they_arrived(store: Store) -> None:
    assert of_night(store, MONDAY) == Lines(lines_read=11, clean=9, duplicate=2, quarantined=0)


def test_late_lines_tell_of_an_earlier_night(store: Store) -> None:
    assert (late_lines(store, MONDAY), late_lines(store, TUESDAY)) == (0, 2)


@pytest.mark.parametrize("counts", [(10, 8, 1, 0), (10, 8, 2, 1), (1, 3, -2, 0)])
def test_counts_that_do_not_add_up_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(AccountingError, match=f"{counts[0]} lines read"):
        Lines(*counts)


def test_a_line_lost_between_judging_and_writing_is_found(store: Store) -> None:
    judged(store, TUESDAY, {str(MONDAY): 3, str(TUESDAY): 6})
    with pytest.raises(AccountingError, match=r"3 good lines tell of night 2026-03-09, but .* 2 of them"):
        of_arrival(store, TUESDAY)


def test_a_night_that_is_not_published_is_found(store: Store) -> None:
    judged(store, TUESDAY, {"2026-03-08": 1, str(TUESDAY): 6})
    with pytest.raises(AccountingError, match="2026-03-08"):
        of_arrival(store, TUESDAY)


def test_rows_that_differ_from_the_lines_kept_are_found(store: Store) -> None:
    publish(store, "events", TUESDAY, 5, {"lines": {str(TUESDAY): 6}, "kept": {str(TUESDAY): 6}})
    with pytest.raises(AccountingError, match="5 rows, but 6 of 6 lines read"):
        of_night(store, TUESDAY)


def test_what_was_never_cleaned_is_told(store: Store) -> None:
    with pytest.raises(NoDataError, match="arrival 2026-03-20"):
        of_arrival(store, date(2026, 3, 20))
    with pytest.raises(NoDataError, match="2026-03-20"):
        of_night(store, date(2026, 3, 20))
