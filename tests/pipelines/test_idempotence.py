"""Same inputs, same bytes: repeated, backwards, with late events, on the other engine; and the key is nowhere."""

import gzip
import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipelines.core.tables import TABLES

NIGHTS = ("2026-03-01", "2026-03-02", "2026-03-03")
FIRST, SECOND, THIRD = NIGHTS


def backfill_stale(market: Any) -> list[str]:
    done = market.warm("backfill", "--shop", "tiny", "--landing", str(market.landing), "--stale", "--json")
    assert done.code == 0, done.err
    return [night["night"] for night in done.json["nights"]]


def test_a_finished_history_is_whole_and_nothing_of_it_is_stale(finished: Any) -> None:
    assert finished.stale() == {}
    assert finished.litter() == []
    content = finished.content()
    assert {name for name in content if name.endswith(f"/{THIRD}")} >= {
        f"{table}/{THIRD}" for table in ("events", "segments", "campaign_plan", "plan_export", "nightly_report")
    }


def test_a_night_run_again_makes_nothing(finished: Any, tmp_path: Path) -> None:
    market = finished.copy(tmp_path / "root")
    done = market.night(SECOND)
    assert done.code == 0, done.err
    assert done.err.count("up to date") == 7  # models: nothing to do
    assert market.published() == finished.published()


def test_a_night_computed_again_changes_no_byte(finished: Any, tmp_path: Path) -> None:
    market = finished.copy(tmp_path / "root")
    for night in (SECOND, THIRD):
        done = market.night(night, "--force")
        assert done.code == 0, done.err
        assert "up to date" not in done.err
    assert market.published() == finished.published()
    assert market.litter() == []


def test_nights_run_backwards_and_then_the_stale_ones_make_the_same_bytes_as_forwards(
    finished: Any, tmp_path: Path
) -> None:
    market = finished.sibling(tmp_path / "root")
    for night in reversed(NIGHTS):
        done = market.night(night)
        assert done.code == 0, done.err
    assert backfill_stale(market) != []
    assert market.stale() == {}
    assert market.published() == finished.published()


def test_late_events_go_to_their_night_and_what_depended_on_it_is_stale_until_it_is_run(
    finished: Any, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    shutil.copytree(finished.landing, landing)
    file = landing / THIRD / "events.jsonl.gz"
    whole = gzip.decompress(file.read_bytes())
    file.write_bytes(
        gzip.compress(b"".join(line for line in whole.splitlines(keepends=True) if not is_of(line, SECOND)))
    )
    market = finished.sibling(tmp_path / "root")
    market.landing = landing
    for night in NIGHTS:
        assert market.night(night).code == 0
    backfill_stale(market)
    assert market.stale() == {}
    before = market.content()

    shutil.copy(
        finished.landing / THIRD / "events.jsonl.gz", file
    )  # sent again, now with the late events of the second night
    done = market.night(THIRD, "--json")
    assert done.code == 0, done.err
    assert market.content()[f"events/{SECOND}"] != before[f"events/{SECOND}"]
    assert market.content()[f"events/{FIRST}"] == before[f"events/{FIRST}"]
    stale = market.stale()
    assert f"user_profiles/{SECOND}" in stale[f"campaign_plan/{SECOND}"]
    # The third night was just made of the new events; only its report looks back on the plan of the night before.
    assert {name: why for name, why in stale.items() if name.endswith(THIRD)} == {
        f"nightly_report/{THIRD}": [f"campaign_plan/{SECOND}"]
    }
    assert done.json["stale_nights"] == sorted({name.partition("/")[2] for name in stale}) == [SECOND, THIRD]

    assert backfill_stale(market) == [SECOND, THIRD]
    assert market.stale() == {}
    assert market.published() == finished.published()


def is_of(line: bytes, night: str) -> bool:
    """True for a whole line that tells of the night."""
    try:
        at = datetime.fromisoformat(json.loads(line)["occurred_at"])
    except (ValueError, KeyError, TypeError):
        return False
    return bool(at.tzinfo) and at.astimezone(ZoneInfo("Europe/Amsterdam")).date().isoformat() == night


def test_the_key_is_in_no_file_no_log_and_no_output(finished: Any, tmp_path: Path) -> None:
    key = finished.environment["NIGHTMARKET_KEY"]
    market = finished.copy(tmp_path / "root")
    failing = (
        "import pipelines.clean as c, pipelines.launch as l\n"
        "def launch(m, s, *r, **k):\n"
        " return l.launch(m, s | {'night': None, 'shop': 1}, *r, **k)\n"
        "c.launch = launch"
    )
    done = market.night(THIRD, "--force", setup=failing)
    assert done.code == 1
    assert (market.folder / "logs" / "clean.log").is_file()
    texts = [done.out, done.err, market.night(THIRD, "--force").err]
    files = [path for path in market.root.rglob("*") if path.is_file() and path.name != "key"]
    assert {"runs", "logs", "clean", "reports"} <= {path.relative_to(market.folder).parts[0] for path in files}
    texts += [path.read_text(errors="replace") for path in files]
    for path in files:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            texts.append(str(pq.read_table(path, partitioning=None).to_pydict()))
    for text in texts:
        assert key not in text
        assert str(bytes.fromhex(key)) not in text


def test_user_ids_leave_the_raw_layer_as_pseudonyms_only(finished: Any) -> None:
    raw = gzip.decompress((finished.landing / FIRST / "events.jsonl.gz").read_bytes()).decode(errors="replace")
    users = set(re.findall(r'"user_id": ?"([^"]+)"', raw))
    assert len(users) > 10
    any_user = re.compile(rf"\b({'|'.join(map(re.escape, sorted(users)))})\b")
    for layer in ("clean", "features", "decisions", "reports"):
        for path in (finished.folder / layer).rglob("*"):
            if path.suffix == ".parquet":
                import pyarrow.parquet as pq

                found = str(pq.read_table(path, partitioning=None).to_pydict())
            else:
                found = path.read_text(errors="replace") if path.is_file() else ""
            assert not any_user.search(found), path


@pytest.mark.slow
def test_spark_makes_the_same_rows_as_duckdb_and_the_same_bytes_when_repeated(finished: Any, market: Any) -> None:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer: make java")
    import pyarrow.parquet as pq

    market.landing = finished.landing
    command = ("night", "--shop", "tiny", "--date", FIRST, "--landing", str(market.landing), "--engine", "spark")
    done = market.cold(*command)
    assert done.code == 0, done.err
    first = market.published()
    plain = finished.sibling(market.root.with_name("duckdb"))
    assert plain.night(FIRST).code == 0
    assert set(market.content()) == set(plain.content())
    for name in TABLES:
        folders = [place.folder / TABLES[name].layer / name for place in (market, plain)]
        rows = [
            [
                row
                for path in sorted(folder.rglob("part-*.parquet"))
                for row in pq.read_table(path, partitioning=None).to_pylist()
            ]
            for folder in folders
        ]
        order = TABLES[name].sort_by
        spark, duckdb = [sorted(found, key=lambda row: [str(row[column]) for column in order]) for found in rows]
        assert spark == duckdb, name

    done = market.cold(*command, "--force")
    assert done.code == 0, done.err
    assert market.published() == first
