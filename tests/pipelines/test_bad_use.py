"""Wrong calls and broken places: one clear line, the right exit code, no traceback, and what is published is untouched."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.small_disk import mounted

SECOND = "2026-03-02"


@pytest.fixture(scope="module")
def kept(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of `finished` that every test of this file leaves as it is."""
    return finished.copy(tmp_path_factory.mktemp("kept") / "root")


@pytest.fixture(autouse=True)
def untouched(kept: Any) -> Iterator[None]:
    before = kept.published()
    yield
    assert kept.published() == before
    assert kept.litter() == []


def edited(market: Any, folder: Path, *, shop: tuple[str, str] = ("", ""), machine: str = "") -> Any:
    """The market with one change in its shop's or machine's file."""
    (folder / "shops").mkdir(parents=True)
    text = (market.conf / "shops" / "tiny.yaml").read_text()
    assert shop[0] in text
    (folder / "shops" / "tiny.yaml").write_text(text.replace(*shop) if shop[0] else text)
    (folder / "local.yaml").write_text((market.conf / "local.yaml").read_text() + machine)
    return replace(market, conf=folder)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["night", "--shop", "tinny"], "unknown shop 'tinny': no "),
        (["night", "--shop", "tinny"], "; known shops: tiny; add that file"),
        (["night", "--shop", "../tiny"], "unknown shop '../tiny'"),
        (["night", "--shop", "tiny", "--date", "2026-02-30"], "'2026-02-30' is no date: expected YYYY-MM-DD"),
        (["night", "--shop", "tiny", "--date", "yesterday"], "'yesterday' is no date: expected YYYY-MM-DD"),
        (["night", "--shop", "tiny", "--date", "-1"], "'-1' is no date: expected YYYY-MM-DD"),
        (["night", "--shop", "tiny", "--engine", "polars"], "unknown engine 'polars': expected duckdb or spark"),
        (["night", "--shop", "tiny", "--landing", "/not/there"], "landing folder /not/there is missing"),
        (["backfill", "--shop", "tiny", "--stale", "--from", SECOND], "--stale finds its nights itself"),
        (
            ["backfill", "--shop", "tiny", "--from", "2026-03-03", "--to", SECOND],
            "--from 2026-03-03 is after --to 2026-03-02; swap them",
        ),
        (["backfill", "--shop", "tiny", "--to", "soon"], "'soon' is no date"),
        (["backfill", "--shop", "nowhere"], "unknown shop 'nowhere'"),
        (["simulate", "--shop", "nowhere"], "unknown shop 'nowhere'"),
        (["simulate", "--shop", "tiny", "--through", "then"], "'then' is no date"),
        (["simulate", "--shop", "tiny", "--nights", "30"], "--nights, --seeds and --plot go with --evaluate"),
        (["simulate", "--shop", "tiny", "--evaluate", "--through", "2026-03-02"], "--evaluate plays worlds of its own"),
        (["simulate", "--shop", "tiny", "--evaluate", "--seeds", "1"], "expected 7 nights and 2 seeds at least"),
    ],
)
def test_a_wrong_call_exits_2_with_one_line(args: list[str], told: str, kept: Any) -> None:
    done = kept.warm(*args)
    assert done.code == 2, done.err
    assert told in done.complaint
    assert done.out == ""


@pytest.mark.parametrize(
    "args",
    [["nihgt"], ["night", "--dat", SECOND], ["night", "--shop"], ["night", "extra"], ["doctor", "--shop", "tiny"]],
)
def test_a_command_or_option_that_does_not_exist_exits_2(args: list[str], kept: Any) -> None:
    done = kept.warm(*args)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert "Error" in done.err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("currency", "currency"), ""),
        (("timezone: Europe/Amsterdam", "timezone: [Europe"), "not valid YAML"),
        (("timezone:", "timezones:"), "line 2: timezones: unknown key; allowed keys: shop, title, timezone,"),
        (
            ("nightly_budget_cents: 500", "nightly_budget_cents: -5"),
            "strategy.nightly_budget_cents: Input should be greater than or equal to 0 (found -5)",
        ),
        (
            ("nightly_budget_cents: 500", "nightly_budget_cents: lots"),
            "strategy.nightly_budget_cents: Input should be a valid integer",
        ),
        (
            ("customers: 60", "customers: -60"),
            "simulator.customers: Input should be greater than or equal to 10 (found -60)",
        ),
        (("shop: tiny", "shop: other"), "shop is 'other' but the file is named 'tiny'"),
    ][1:],
)
def test_a_malformed_configuration_exits_2_and_names_file_line_and_key(
    change: tuple[str, str], told: str, kept: Any, tmp_path: Path
) -> None:
    market = edited(kept, tmp_path / "conf", shop=change)
    done = market.night(SECOND)
    assert done.code == 2, done.err
    assert str(tmp_path / "conf" / "shops" / "tiny.yaml") in done.complaint
    assert told in done.complaint


def test_a_malformed_machine_file_exits_2(kept: Any, tmp_path: Path) -> None:
    done = edited(kept, tmp_path / "conf", machine="thread: 2\n").night(SECOND)
    assert done.code == 2
    assert "local.yaml: line 6: thread: unknown key; allowed keys: engine, threads," in done.complaint


def test_an_unknown_connector_names_the_known_ones(kept: Any, tmp_path: Path) -> None:
    market = edited(kept, tmp_path / "conf", shop=("connector: jsonl", "connector: clickhouse"))
    done = market.night(SECOND)
    assert done.code == 2, done.err
    assert "landing.events: unknown connector 'clickhouse'; known: catalog, deliveries, jsonl," in done.complaint


def test_a_shop_that_is_not_simulated_cannot_be(kept: Any, tmp_path: Path) -> None:
    text = next(
        line for line in (kept.conf / "shops" / "tiny.yaml").read_text().splitlines() if line.startswith("simulator")
    )
    done = edited(kept, tmp_path / "conf", shop=(text, "")).warm("simulate", "--shop", "tiny")
    assert done.code == 2
    assert "shop 'tiny' is not simulated" in done.complaint


@pytest.mark.parametrize("night", ["2026-02-01", "2031-01-01"])
def test_a_date_without_data_exits_1_and_says_what_was_expected(night: str, kept: Any) -> None:
    done = kept.night(night)
    assert done.code == 1
    assert night in done.complaint


def test_an_empty_night_exits_1(kept: Any, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    (landing / "2026-03-04").mkdir(parents=True)
    (landing / "2026-03-04" / "events.jsonl").write_text("")
    market = replace(kept.sibling(tmp_path / "root"), landing=landing)
    done = market.night("2026-03-04")
    assert done.code == 1
    assert "2026-03-04: no clean event" in done.complaint


def test_an_empty_landing_folder_exits_1_and_names_the_pattern(kept: Any, tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    market = replace(kept.sibling(tmp_path / "root"), landing=tmp_path / "landing")
    done = market.night(SECOND)
    assert done.code == 1
    assert (
        f"no events file in {tmp_path / 'landing'}: expected '{{night}}/events*.jsonl*' for {SECOND}" in done.complaint
    )


def test_a_landing_path_that_is_a_file_exits_2(kept: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = replace(kept, landing=tmp_path / "file").night(SECOND)
    assert done.code == 2


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("events.jsonl.gz", b"\x1f\x8b\x08\x00 not gzip at all"),
        ("events.jsonl.zip", b"PK\x03\x04 not a zip"),
        ("events.jsonl.gz", b"plain"),
    ],
)
def test_an_unreadable_file_exits_1_and_nothing_of_it_lands(name: str, data: bytes, kept: Any, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    (landing / SECOND).mkdir(parents=True)
    (landing / SECOND / name).write_bytes(data)
    market = replace(kept.sibling(tmp_path / "root"), landing=landing)
    done = market.night(SECOND)
    assert done.code == 1
    assert f"{landing / SECOND / name}: cannot be read to its end" in done.complaint
    assert market.published() == {}
    assert market.litter() == []


def test_a_landed_file_that_became_unreadable_leaves_what_is_published(kept: Any, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    (landing / SECOND).mkdir(parents=True)
    (landing / SECOND / "events.jsonl.gz").write_bytes(b"broken")
    done = replace(kept, landing=landing).night(SECOND)  # `untouched` looks at the rest
    assert done.code == 1
    assert "cannot be read to its end" in done.complaint


def test_a_link_out_of_the_landing_folder_is_refused(kept: Any, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    (landing / SECOND).mkdir(parents=True)
    (tmp_path / "secret.jsonl").write_text("{}\n")
    (landing / SECOND / "events.jsonl").symlink_to(tmp_path / "secret.jsonl")
    done = replace(kept.sibling(tmp_path / "root"), landing=landing).night(SECOND)
    assert done.code == 1
    assert "leads out of the landing folder" in done.complaint


def test_spark_without_java_exits_2_and_says_make_java(kept: Any, tmp_path: Path) -> None:
    done = kept.night(SECOND, "--engine", "spark", PATH=str(tmp_path), JAVA_HOME="")
    assert done.code == 2
    assert "ENGINE=spark needs Java 17 or newer, none is here: run `make java`" in done.complaint


@pytest.mark.parametrize("key", ["secret-that-must-not-show", "5E" * 32])
def test_a_malformed_key_exits_2_and_is_not_shown(key: str, kept: Any, tmp_path: Path) -> None:
    done = kept.sibling(tmp_path / "root").night(SECOND, NIGHTMARKET_KEY=key)
    assert done.code == 2
    assert "NIGHTMARKET_KEY: not a key: expected 64 lower-case hex digits" in done.complaint
    assert key not in done.out + done.err


@pytest.mark.parametrize("command", [["night"], ["backfill"], ["simulate"]])
def test_a_root_that_is_a_file_exits_1(command: list[str], kept: Any, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    done = kept.sibling(tmp_path / "root").warm(*command, "--shop", "tiny")
    assert done.code == 1
    assert str(tmp_path / "root") in done.complaint


@pytest.mark.parametrize("command", [["night"], ["backfill", "--stale"], ["simulate"]])
def test_a_root_without_write_permission_exits_1_and_says_what_to_do(
    command: list[str], kept: Any, tmp_path: Path
) -> None:
    """Permission bits do not bind root: a disk mounted read-only does."""
    folder = tmp_path / "readonly"
    folder.mkdir()
    market = kept.sibling(folder / "root")
    done = market.cold(*command, "--shop", "tiny", prefix=mounted(folder, "ro"))
    assert done.code == 1
    assert "no permission to write; check the owner of the folder or set NIGHTMARKET_ROOT" in done.complaint


def test_a_damaged_manifest_exits_1_and_says_which_folder_to_delete(kept: Any, tmp_path: Path) -> None:
    market = kept.copy(tmp_path / "root")
    path = market.folder / "clean" / "events" / f"night={SECOND}" / "_manifest.json"
    path.write_text("{")
    done = market.night(SECOND)
    assert done.code == 1
    assert f"{path}: damaged manifest" in done.complaint
    assert "delete that folder and run the night again" in done.complaint
    assert os.environ.get("NIGHTMARKET_ROOT") != str(market.root)
