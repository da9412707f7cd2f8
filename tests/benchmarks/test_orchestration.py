"""What is around the servers; that nights by Airflow equal those by hand is tested with servers in tests/pipelines/servers/."""

import json
from pathlib import Path

import pytest

import orchestration
from pipelines.core.config import load_machine, load_shop


def test_its_shop_is_the_demo_without_models_and_both_nights_share_key_and_landing_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = orchestration.configure(tmp_path)
    demo, shop = load_shop("demo"), load_shop("demo", tmp_path / "conf" / "shops")
    assert demo.models.tasks
    assert not shop.models.tasks
    assert shop.landing_folder == str(tmp_path / "landing")
    assert shop.simulator == demo.simulator
    assert len(environment["NIGHTMARKET_KEY"]) == 64
    monkeypatch.setenv("NIGHTMARKET_CONF", environment["NIGHTMARKET_CONF"])
    assert load_machine().engine == "duckdb"


@pytest.mark.parametrize("by_airflow", [{"events/2026-03-14": "b"}, {}, {"events/2026-03-14": "a", "more": "c"}])
def test_nights_that_differ_end_the_benchmark(by_airflow: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match="the night by Airflow differs from the one by hand: "):
        orchestration.check_agree(by_airflow, {"events/2026-03-14": "a"})


def test_nights_that_published_nothing_do_not_agree() -> None:
    with pytest.raises(SystemExit, match="nothing published"):
        orchestration.check_agree({}, {})
    assert orchestration.check_agree({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == 2


def test_content_is_what_the_manifests_say(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "clean" / "events" / "night=2026-03-14"
    folder.mkdir(parents=True)
    manifest = {"table": "events", "partition": "2026-03-14", "content_hash": "a"}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    assert orchestration.content(tmp_path) == {"events/2026-03-14": "a"}


def test_a_command_that_fails_ends_the_benchmark_with_its_line(tmp_path: Path) -> None:
    environment = orchestration.configure(tmp_path)
    with pytest.raises(
        SystemExit, match=r"nightmarket readout ended with 1: nightmarket: shop demo, night .*: no events"
    ):
        orchestration.command(environment, tmp_path / "root", "readout", "--shop", "demo")


def test_parsing_is_measured_in_fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestration, "_REPEAT", 1)
    found = orchestration.parse_seconds()
    assert found["dags"] >= 20
    assert found["parse_all_dags_seconds"] > 0
    assert found["import_airflow_seconds"] > 0
