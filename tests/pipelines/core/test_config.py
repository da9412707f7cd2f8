from pathlib import Path

import pytest

from pipelines.core import sizing
from pipelines.core.config import PROJECT, load_machine, load_shop
from pipelines.core.errors import ConfigError
from pipelines.core.machine import Machine
from pipelines.core.shop import Shop, Source

SHOPS = sorted(path.stem for path in (PROJECT / "conf" / "shops").glob("*.yaml"))
GOOD = """\
shop: corner
timezone: Asia/Shanghai
landing:
  events: {connector: jsonl, pattern: "{night}/*.jsonl"}
cleaning:
  late_nights: 3
strategy:
  channels:
    - id: email
      cost_cents: 1
      capacity_per_night: 10
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corner.yaml").write_text(GOOD)
    return tmp_path


def complaint(folder: Path, text: str) -> str:
    (folder / "corner.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_shop("corner", folder)
    told = str(caught.value)
    assert "\n" not in told
    assert told.startswith(f"{folder / 'corner.yaml'}: ")
    return told.removeprefix(f"{folder / 'corner.yaml'}: ")


@pytest.mark.parametrize("name", SHOPS)
def test_every_shipped_shop_loads(name: str) -> None:
    assert load_shop(name).shop == name


@pytest.mark.parametrize("name", ["local", "cluster"])
def test_every_shipped_machine_loads(name: str) -> None:
    assert isinstance(load_machine(name), Machine)


def test_a_small_shop_has_defaults_for_the_rest(folder: Path) -> None:
    shop = load_shop("corner", folder)
    assert shop.cleaning.late_nights == 3
    assert shop.features.window_nights == 28
    assert shop.strategy.channels[0].default_consent is False


def test_an_unknown_shop_is_told_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown shop 'cornr': no .*cornr\.yaml; known shops: corner; add that file"
    ):
        load_shop("cornr", folder)


@pytest.mark.parametrize("name", ["../corner", "/etc/passwd", "", "."])
def test_a_shop_s_name_cannot_lead_out_of_the_folder(name: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match="unknown shop"):
        load_shop(name, folder)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "late_nights: 3",
            "late_night: 3",
            "line 6: cleaning.late_night: unknown key; allowed keys: late_nights, session_gap_minutes,",
        ),
        ("shop: corner", "shopp: corner", "line 1: shopp: unknown key; allowed keys: shop, title,"),
        ("late_nights: 3", "late_nights: three", "line 6: cleaning.late_nights: Input should be a valid integer"),
        (
            "late_nights: 3",
            "late_nights: -1",
            "line 6: cleaning.late_nights: Input should be greater than or equal to 0",
        ),
        ("late_nights: 3", "late_nights: 61", "line 6: cleaning.late_nights: Input should be less than or equal to 60"),
        (
            "cost_cents: 1",
            "cost_cents: -1",
            "line 10: strategy.channels.0.cost_cents: Input should be greater than or equal to 0",
        ),
        ("cost_cents: 1", "costs: 1", "line 10: strategy.channels.0.costs: unknown key; allowed keys: id, cost_cents,"),
        (
            "Asia/Shanghai",
            "Asia/Shangai",
            "line 2: timezone: 'Asia/Shangai' is no IANA time zone such as Asia/Shanghai",
        ),
        (
            "connector: jsonl",
            "conector: jsonl",
            "line 4: landing.events.conector: unknown key; allowed keys: connector, pattern,",
        ),
        ("events:", "events_:", "line 4: landing.events_"),
        ("{night}/*.jsonl", "../*.jsonl", "line 4: landing.events.pattern: a pattern stays inside the landing folder"),
        (
            "{night}/*.jsonl",
            "*.jsonl",
            "line 4: landing.events: a pattern without '{night}' is an archive: first_night and last_night",
        ),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_what_is_allowed(old: str, new: str, told: str, folder: Path) -> None:
    assert GOOD.count(old) == 1
    found = complaint(folder, GOOD.replace(old, new))
    assert found.startswith(told), found


def test_a_missing_key_is_told(folder: Path) -> None:
    assert complaint(folder, "shop: corner\n") == "line 1: landing: needed but not given"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shop: [corner\nlanding: {}\n", "line 2: not valid YAML: "),
        ("shop: corner\n\tlanding: {}\n", "line 2: not valid YAML: "),
        ("just words\n", "line 1: expected keys and values; allowed keys: shop, title,"),
        ("", "line 1: expected keys and values; allowed keys: shop, title,"),
        ("- a\n- b\n", "line 1: expected keys and values; allowed keys: shop, title,"),
    ],
)
def test_malformed_yaml_is_told_with_its_line(text: str, told: str, folder: Path) -> None:
    found = complaint(folder, text)
    assert found.startswith(told), found


def test_a_file_that_is_no_utf8_is_told(folder: Path) -> None:
    (folder / "corner.yaml").write_bytes(b"shop: corn\xe9r\n")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 10; save the file as UTF-8"):
        load_shop("corner", folder)


def test_a_key_given_twice_is_told(folder: Path) -> None:
    found = complaint(folder, GOOD + "timezone: UTC\n")
    assert "line 12" in found
    assert "timezone" in found


def test_a_file_named_otherwise_than_its_shop_is_told(folder: Path) -> None:
    (folder / "other.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match="shop is 'corner' but the file is named 'other'; make them equal"):
        load_shop("other", folder)


def test_a_missing_machine_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTMARKET_MACHINE", "laptop")
    with pytest.raises(
        ConfigError, match=r"no machine configuration .*laptop\.yaml; NIGHTMARKET_MACHINE must name a file"
    ):
        load_machine()


def test_configuration_is_frozen_and_its_digest_follows_its_values(folder: Path) -> None:
    shop = load_shop("corner", folder)
    with pytest.raises(ValueError, match="frozen"):
        shop.cleaning.late_nights = 4  # type: ignore[misc]
    assert shop.digest == load_shop("corner", folder).digest
    (folder / "corner.yaml").write_text(GOOD.replace("late_nights: 3", "late_nights: 4"))
    assert shop.digest != load_shop("corner", folder).digest


def test_an_archive_holds_its_nights_and_a_daily_drop_the_late_ones() -> None:
    from datetime import date

    archive = {"connector": "taobao", "pattern": "*.csv", "first_night": "2017-11-25", "last_night": "2017-12-03"}
    for source, night, arrival, nights in (
        (archive, date(2017, 11, 30), date(2017, 12, 3), (date(2017, 11, 25), date(2017, 12, 3))),
        (
            {"connector": "jsonl", "pattern": "{night}.jsonl"},
            date(2026, 3, 9),
            date(2026, 3, 9),
            (date(2026, 3, 2), date(2026, 3, 9)),
        ),
    ):
        shop = Shop(shop="corner", landing={"events": Source.model_validate(source)})
        assert shop.arrival_of("events", night) == arrival
        assert shop.nights_of("events", arrival) == nights


def test_the_cluster_s_file_explains_every_setting_there_is() -> None:
    lines = (PROJECT / "conf" / "cluster.yaml").read_text().splitlines()
    explained = {
        line.partition(":")[0]: [
            lines[at - 1].startswith("# "),
            len(lines[at - 1]) > 40 or lines[at - 2].startswith("# "),
        ]
        for at, line in enumerate(lines)
        if line and line[0] not in "# "
    }
    assert list(explained) == list(Machine.model_fields), "conf/cluster.yaml: each field of Machine once, in its order"
    assert all(all(found) for found in explained.values()), explained


def test_the_cluster_s_memory_and_partitions_are_not_tuned_by_hand() -> None:
    machine = load_machine("cluster")
    assert machine.partitions is None
    assert sizing.executor_memory_gb(machine) == machine.executor_cores * sizing.GB_PER_CORE
