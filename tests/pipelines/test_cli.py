import json
from pathlib import Path
from typing import Any

import pytest

THIRD = "2026-03-03"
KEYS = {
    "shop", "night", "run_id", "lines_read", "clean", "duplicate", "quarantined",
    "tables", "audits", "models", "plan", "report", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return finished.copy(tmp_path_factory.mktemp("kept") / "root")


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            [],
            [
                "night",
                "backfill",
                "simulate",
                "doctor",
                "review",
                "marketing plan, every night",
                "0 done, 1 failed, 2 wrong use, 3 an audit failed",
            ],
        ),
        (
            ["night"],
            [
                "Run one night: land, clean, features, learn, listen, market, recommend, score, plan, publish, report, retain.",
                "--date",
                "--engine",
                "--replay-quarantine",
                "--json",
            ],
        ),
        (["backfill"], ["Run many nights.", "--from", "--to", "--stale"]),
        (["review"], ["Creatives that moderation held", "list", "show", "approve", "reject"]),
        (["label"], ["worth a person's time most", "--task", "--set", "TEXT_ID=LABEL", "--json"]),
        (["simulate"], ["Write the demo shop's landing files", "--through"]),
        (
            ["doctor"],
            [
                "Check Python, Java, disk, clock, DAGs, databases, ports and configuration, and say what to do.",
                "--json",
            ],
        ),
    ],
)
def test_help_teaches(command: list[str], told: list[str], kept: Any) -> None:
    done = kept.warm(*command, "--help", COLUMNS="200")
    assert done.code == 0
    for text in told:
        assert text in words(done.out)


def test_without_a_command_the_help_is_shown(kept: Any) -> None:
    done = kept.warm()
    assert "Usage:" in done.out + done.err
    assert done.code in (0, 2)


def test_a_night_as_json_is_one_object_with_the_promised_keys_and_nothing_else(kept: Any) -> None:
    done = kept.night(THIRD, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)  # all of standard output
    assert set(found) >= KEYS
    assert (found["shop"], found["night"]) == ("tiny", THIRD)
    assert found["clean"] + found["duplicate"] + found["quarantined"] == found["lines_read"] > 0
    for name, table in found["tables"].items():
        manifest = kept.content()[f"{name}/{THIRD}"]
        assert table["hash"] == manifest
        assert table["rows"] >= 0
    assert set(found["plan"]) >= {"rows", "cost", "holdout"}
    assert Path(found["report"]).is_file()
    assert (kept.folder / "runs" / f"{found['run_id']}.json").is_file()
    assert found["seconds"] > 0


def test_a_night_for_people_ends_with_its_table_the_report_and_what_to_do_next(kept: Any) -> None:
    done = kept.night(THIRD, COLUMNS="300")
    assert done.code == 0, done.err
    for text in ("read = ", "audits", "segments", "plan", "holdout", "Report: ", "Next: "):
        assert text in words(done.out)
    stages = "land clean features learn listen market score recommend plan publish report"
    for stage in stages.split():
        assert f"  {stage} " in done.err
    assert done.err.count("up to date") == 7
    assert "no models configured" in done.err
    assert "nothing to listen to configured" in done.err


def test_backfill_as_json_tells_every_night_and_stale_of_nothing_is_none(kept: Any) -> None:
    done = kept.warm("backfill", "--shop", "tiny", "--landing", str(kept.landing), "--json")
    assert done.code == 0, done.err
    assert [night["night"] for night in done.json["nights"]] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    done = kept.warm("backfill", "--shop", "tiny", "--landing", str(kept.landing), "--stale", "--json")
    assert (done.code, done.json) == (0, {"shop": "tiny", "nights": []})


def test_simulate_as_json_tells_the_nights_that_it_wrote(market: Any) -> None:
    done = market.warm("simulate", "--shop", "tiny", "--through", "2026-03-02", "--json")
    assert done.code == 0, done.err
    assert done.json["nights"] == ["2026-03-01", "2026-03-02"]
    assert (
        sorted(path.name for path in Path(done.json["landing"]).iterdir() if not path.name.startswith("."))
        == done.json["nights"]
    )
    done = market.warm("simulate", "--shop", "tiny", "--through", "2026-03-02", "--json")
    assert done.json["nights"] == []


def test_doctor_exits_0_where_all_is_well_and_1_where_something_is_broken(market: Any, tmp_path: Path) -> None:
    done = market.warm("doctor", "--json")
    assert done.code == 0, done.out
    assert {finding["what"] for finding in done.json["findings"]} >= {"Python", "Java", "disk", "shop tiny"}
    assert "nightmarket doctor" in market.warm("doctor").out

    (tmp_path / "conf" / "shops").mkdir(parents=True)
    (tmp_path / "conf" / "local.yaml").write_text("engine: duckdb\n")
    (tmp_path / "conf" / "shops" / "bad.yaml").write_text("shop: bad\nlanding: {}\n")
    market.conf = tmp_path / "conf"
    done = market.warm("doctor", "--json")
    assert done.code == 1
    broken = [finding for finding in done.json["findings"] if finding["state"] == "broken"]
    assert [finding["what"] for finding in broken] == ["shop bad"]
    assert broken[0]["advice"]
