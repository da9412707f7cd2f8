"""The benchmarks run, on tiny sizes: that all contenders agree is tested here, how fast they are is not."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import clean_events

LINES = [
    "u1,view,i1,c1,1.50,1772323200",
    "u1,view,i1,c1,1.50,1772323200",  # the same again
    "u1,cart,i1,c1,1.50,1772325000",  # after 30 minutes: the same session
    "u1,purchase,i1,c1,1.50,1772326801",  # after 30 minutes and a second: the next one
    "u2,view,i2,c2,0.29,1772323200",
    "u2,zoom,i2,c2,0.29,1772323201",
    "u2,view,i2",
    ",view,i2,c2,0.29,1772323201",
    "u2,view,i2,c2,0.29,1772323201x",
]


def _names() -> list[str]:
    here = set(clean_events.CONTENDERS)
    if shutil.which("java") is None:
        here -= set(clean_events.NEED_JAVA)
    return [name for name in clean_events.CONTENDERS if name in here]


@pytest.mark.slow
def test_all_contenders_make_the_same_events_sessions_and_quarantine_of_nine_lines(tmp_path: Path) -> None:
    pytest.importorskip("polars", reason="polars is a development dependency")
    csv = tmp_path / "events.csv"
    csv.write_text("\n".join(LINES) + "\n")
    assert clean_events.agree(_names(), csv, tmp_path) == {"rows": 4, "sessions": 3, "quarantined": 4}


def test_a_contender_that_differs_ends_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([{"rows": 4, "sessions": 3}, {"rows": 4, "sessions": 2}])
    monkeypatch.setattr(clean_events, "measure", lambda name, csv, out: out.mkdir())
    monkeypatch.setattr(clean_events, "fingerprint", lambda out: next(found))
    with pytest.raises(SystemExit, match=r"polars differs from sql_lean: \{'sessions': \(2, 3\)\}"):
        clean_events.agree(["sql_lean", "polars"], tmp_path / "none.csv", tmp_path)


def test_the_made_file_has_its_share_of_duplicates_and_bad_lines_and_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    clean_events.make(first, 50_000)
    clean_events.make(second, 50_000)
    assert first.read_bytes() == second.read_bytes()
    lines = first.read_text().splitlines()
    assert len(lines) == pytest.approx(50_000, rel=0.01)
    assert len(lines) - len(set(lines)) == pytest.approx(0.02 * len(lines), rel=0.2)
    bad = [line for line in lines if line.count(",") != 5 or ",zoom," in line or line[0] == "," or line[-1] == "x"]
    assert len(bad) == pytest.approx(0.005 * len(lines), rel=0.3)


@pytest.mark.slow
def test_growth_measures_three_sizes_and_a_run_with_little_memory(tmp_path: Path) -> None:
    report = clean_events.growth(5_000, tmp_path / "kept", tmp_path, repeat=1)
    assert list(report["events"]) == [1_000, 5_000, 20_000]
    assert report["low_memory"]["limit_gb"] < clean_events.MEMORY_GB


@pytest.mark.slow
def test_the_command_prints_one_json_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("polars", reason="polars is a development dependency")
    monkeypatch.setattr(clean_events.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(
        sys, "argv", ["clean_events.py", "--events", "2000", "--repeat", "1", "--engines", "duckdb", "--json"]
    )
    clean_events.main()
    report = json.loads(capsys.readouterr().out)
    assert set(report["contenders"]) == set(clean_events.CONTENDERS) - set(clean_events.NEED_JAVA)
    assert all(found["cpu_seconds"] > 0 and found["peak_mb"] > 0 for found in report["contenders"].values())
