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
def read_out(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The three nights, of which this file publishes read-outs."""
    return finished.copy(tmp_path_factory.mktemp("readout") / "root")


@pytest.fixture(scope="module")
def told(read_out: Any) -> Any:
    """The read-out of the newest night, as JSON."""
    done = read_out.warm("readout", "--shop", "tiny", "--json")
    assert done.code == 0, done.err
    return done.json  # all of standard output


def test_the_newest_night_is_read_out_with_the_numbers_of_its_report(told: Any, read_out: Any) -> None:
    report = read_out.folder / "reports" / "nightly_report" / f"night={THIRD}"
    numbers = json.loads((report / "report.json").read_text())
    measured = {"answers", "effect", "experiments", "recommendations"}
    assert set(told) == {"shop", "night", "period", "anomalies", "notes", "table"} | measured
    assert told["recommendations"] is None  # the shop makes none
    assert (told["shop"], told["night"]) == ("tiny", THIRD)
    assert told["answers"] == numbers["measured"]["answers"]
    assert told["effect"] == numbers["measured"]["effect"]
    assert told["experiments"] == numbers["experiments"]["experiments"]
    assert told["anomalies"] == numbers["experiments"]["anomalies"]


def test_the_holdout_is_read_out_and_every_verdict_is_a_sentence(told: Any) -> None:
    holdout = told["experiments"][0]
    assert holdout["experiment"] == "holdout"
    for verdict in (verdict for one in told["experiments"] for verdict in one["verdicts"]):
        assert verdict["text"].startswith(
            ("no verdict", "stopped", "stop ", f"{verdict['arm']} beat", f"{verdict['arm']} lost")
        )


def test_answers_are_counts_with_intervals_around_their_rates(told: Any) -> None:
    rows = told["answers"]["by_channel"]
    assert rows
    for row in rows:
        assert row["channel"] == "email"
        click = row["click"]
        assert 0 <= click["low"] <= click["rate"] <= click["high"] <= 1
        assert row["delivered"] > 0


def test_a_person_reads_tables_of_the_same_numbers(told: Any, read_out: Any) -> None:
    done = read_out.warm("readout", "--shop", "tiny", "--date", THIRD)
    assert done.code == 0, done.err
    assert f"tiny, night {THIRD}" in done.out
    delivered = sum(row["delivered"] for row in told["answers"]["by_channel"])
    assert f"{delivered:,}" in done.out
    assert "holdout" in done.out


def test_only_its_own_table_is_written_and_again_the_same_bytes(told: Any, read_out: Any) -> None:
    before = read_out.published()
    assert read_out.warm("readout", "--shop", "tiny", "--json").json["table"] == told["table"]
    assert read_out.published() == before
    folder = read_out.folder / "decisions" / "experiment_readout" / f"night={THIRD}"
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert manifest["rows"] == told["table"]["rows"] == sum(len(one["readings"]) for one in told["experiments"]) > 0
    assert manifest["audit"]["success"]


def test_a_report_is_the_same_page_whether_or_not_its_night_was_read_out(told: Any, read_out: Any) -> None:
    page = read_out.folder / "reports" / "nightly_report" / f"night={THIRD}" / "report.html"
    before = page.read_bytes()
    done = read_out.warm("night", "--shop", "tiny", "--date", THIRD, "--force")
    assert done.code == 0, done.err
    assert page.read_bytes() == before


def test_before_the_first_night_one_line_says_what_to_run(market: Any) -> None:
    done = market.warm("readout", "--shop", "tiny")
    assert (done.code, done.out) == (1, "")
    assert done.complaint == (
        f"nightmarket: shop tiny, night {THIRD}: no events, so nothing to read out; run `nightmarket night` first"
    )


def test_a_night_without_events_names_the_nights_that_have_some(read_out: Any) -> None:
    done = read_out.warm("readout", "--shop", "tiny", "--date", "2026-04-01", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.complaint.endswith("nights with events: 2026-03-01 to 2026-03-03")


def test_a_date_that_is_none_is_wrong_use(market: Any) -> None:
    done = market.warm("readout", "--shop", "tiny", "--date", "tomorrow")
    assert done.code == 2
    assert "'tomorrow' is no date: expected YYYY-MM-DD" in done.complaint
