"""The command `nightmarket readout` and what it reads."""

import json
from typing import Any

import pytest

THIRD = "2026-03-03"


def test_help_teaches(market: Any) -> None:
    done = market.warm("readout", "--help")
    assert done.code == 0
    for text in ("What the campaigns did", "--date", "--json", "--shop"):
        assert text in done.out


@pytest.fixture(scope="module")
def told(finished: Any) -> Any:
    """The read-out of the newest night, as JSON."""
    done = finished.warm("readout", "--shop", "tiny", "--json")
    assert done.code == 0, done.err
    return done.json  # all of standard output


def test_the_newest_night_is_read_out_with_the_numbers_of_its_report(told: Any, finished: Any) -> None:
    report = finished.folder / "reports" / "nightly_report" / f"night={THIRD}"
    numbers = json.loads((report / "report.json").read_text())
    assert set(told) == {"shop", "night", "answers", "effect"}
    assert (told["shop"], told["night"]) == ("tiny", THIRD)
    assert told["answers"] == numbers["measured"]["answers"]
    assert told["effect"] == numbers["measured"]["effect"]


def test_answers_are_counts_with_intervals_around_their_rates(told: Any) -> None:
    rows = told["answers"]["by_channel"]
    assert rows
    for row in rows:
        assert row["channel"] == "email"
        click = row["click"]
        assert 0 <= click["low"] <= click["rate"] <= click["high"] <= 1
        assert row["delivered"] > 0


def test_a_person_reads_tables_of_the_same_numbers(told: Any, finished: Any) -> None:
    done = finished.warm("readout", "--shop", "tiny", "--date", THIRD)
    assert done.code == 0, done.err
    assert f"tiny, night {THIRD}" in done.out
    delivered = sum(row["delivered"] for row in told["answers"]["by_channel"])
    assert f"{delivered:,}" in done.out
    assert "holdout" in done.out


def test_nothing_is_written(finished: Any) -> None:
    before = finished.published()
    assert finished.warm("readout", "--shop", "tiny").code == 0
    assert finished.published() == before


def test_before_the_first_night_one_line_says_what_to_run(market: Any) -> None:
    done = market.warm("readout", "--shop", "tiny")
    assert (done.code, done.out) == (1, "")
    assert done.complaint == (
        f"nightmarket: shop tiny, night {THIRD}: no events, so nothing to read out; run `nightmarket night` first"
    )


def test_a_night_without_events_names_the_nights_that_have_some(finished: Any) -> None:
    done = finished.warm("readout", "--shop", "tiny", "--date", "2026-04-01", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.complaint.endswith("nights with events: 2026-03-01 to 2026-03-03")


def test_a_date_that_is_none_is_wrong_use(market: Any) -> None:
    done = market.warm("readout", "--shop", "tiny", "--date", "tomorrow")
    assert done.code == 2
    assert "'tomorrow' is no date: expected YYYY-MM-DD" in done.complaint
