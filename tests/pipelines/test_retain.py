"""Retention: what is too old goes, nothing that was made of it is made anew, and consent that was taken back stays so."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.core.config import load_machine, load_shop
from pipelines.core.errors import ConfigError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.core.tables import ARTEFACTS, TABLES
from pipelines.night import open_context
from pipelines.retain import run
from pipelines.stage import Context

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 10)
NEXT = LAST + timedelta(days=1)
KEPT = {
    "raw_nights": 3, "clean_nights": 8, "features_nights": 4, "decisions_nights": 3, "reports_nights": 2,
    "landing_nights": 2, "logs_nights": 5,
}  # fmt: skip
SMALL = {
    "cleaning": {"late_nights": 1},
    "features": {"window_nights": 2},
    "gates": {"volume_window_nights": 7},
}


def conf_with(conf: Path, folder: Path, **more: Any) -> Path:
    """The tiny shop's configuration with short memories, and `more`."""
    shutil.copytree(conf, folder)
    path = folder / "shops" / "tiny.yaml"
    told = yaml.safe_load(path.read_text()) | SMALL
    told["strategy"] |= {"complaint_rest_nights": 3, "unhappy_rest_nights": 2}
    path.write_text(yaml.safe_dump(told | more))
    return folder


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, conf: Path, warm_process: Callable[[], Any], finished: Any) -> Any:
    """The first two and the last two of ten nights, of which everything is kept."""
    folder = tmp_path_factory.mktemp("grown")
    market = replace(finished, root=folder / "root", conf=conf_with(conf, folder / "conf"), landing=None)
    assert market.warm("simulate", "--shop", "tiny", "--through", str(FIRST)).code == 0
    left = {"user_id": "c0000001", "event_type": "unsubscribe", "occurred_at": f"{FIRST}T10:00:00Z"}
    (market.folder / "landing" / str(FIRST) / "events-more.jsonl").write_text(json.dumps(left) + "\n")
    for day in (1, 2, 9, 10):
        done = market.night(f"2026-03-{day:02d}")
        assert done.code == 0, done.err
    assert market.warm("backfill", "--shop", "tiny", "--stale").code == 0
    return market


@pytest.fixture
def aged(grown: Any, tmp_path: Path) -> Any:
    """A copy of it under a configuration that keeps less, before anything is removed."""
    market = replace(grown.copy(tmp_path / "root"), landing=None)
    return replace(market, conf=conf_with(grown.conf, tmp_path / "conf", retention=KEPT))


@pytest.fixture
def context_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Context]:
    """A market's context in this process."""

    def opened(market: Any) -> Context:
        for name, value in market.environment.items():
            monkeypatch.setenv(name, value)
        return open_context(load_shop("tiny"), load_machine(), None)

    return opened


def nights_of(market: Any) -> dict[str, list[date]]:
    store = Store(market.root, "tiny")
    return {name: store.nights(name) for name in (*TABLES, *ARTEFACTS) if store.nights(name)}


def test_each_layer_keeps_its_nights_and_what_later_nights_are_made_of(
    aged: Any, context_of: Callable[[Any], Context]
) -> None:
    before = nights_of(aged)
    result = run(LAST, context_of(aged))
    after = nights_of(aged)
    for name, nights in before.items():
        table = TABLES.get(name) or ARTEFACTS[name]
        first = LAST - timedelta(days=KEPT[f"{table.layer}_nights"] - 1)
        stays = table.is_kept or name in ("events", "outcomes")
        assert after.get(name, []) == [night for night in nights if stays or night >= first], name
    assert result.counts["kept_from"]["clean"] == "2026-03-03"
    assert all(n > 0 for n in result.counts["removed"].values())
    assert run(LAST, context_of(aged)).n_made == 0
    assert run(FIRST, context_of(aged)).n_made == 0
    folders = sorted(path.name for path in (aged.folder / "landing").glob("20*"))
    assert len(folders) == 10  # the demo shop would simulate a night without a folder anew
    assert {path.parent.name for path in (aged.folder / "landing").glob("20*/*")} == {"2026-03-09", "2026-03-10"}
    assert {path.name for path in (aged.folder / "reports" / "audits").iterdir()} == {"2026-03-09", "2026-03-10"}
    runs = [json.loads(path.read_text())["night"] for path in (aged.folder / "runs").iterdir()]
    assert min(runs) == "2026-03-09"


def test_of_old_events_the_unsubscribes_stay_and_nothing_else(
    aged: Any, grown: Any, context_of: Callable[[Any], Context]
) -> None:
    run(LAST, context_of(aged))
    old = [LAST - timedelta(days=n) for n in (8, 9)]
    for table, column in (("events", "event_type"), ("outcomes", "outcome")):
        for night in old:
            whole, left = (Store(market.root, "tiny").files(table, [night]) for market in (grown, aged))
            for before, after in zip(whole, left, strict=True):
                rows = pq.ParquetFile(before).read()
                said = [value == "unsubscribe" for value in rows[column].to_pylist()]
                assert pq.ParquetFile(after).read().equals(rows.filter(said))


def test_nothing_is_stale_and_the_last_night_is_not_made_anew(aged: Any, context_of: Callable[[Any], Context]) -> None:
    run(LAST, context_of(aged))
    left = aged.content()
    Store(aged.root, "tiny").mark_stale()
    assert aged.stale() == {}
    done = aged.night(str(LAST))
    assert done.code == 0, done.err
    assert done.err.count("up to date") == 7, (
        done.err
    )  # retain too; the report tells of the shop's settings, which have changed
    assert {name: digest for name, digest in aged.content().items() if "report" not in name} == {
        name: digest for name, digest in left.items() if "report" not in name
    }


def test_the_next_night_is_what_it_would_be_if_all_were_kept(
    aged: Any, grown: Any, tmp_path: Path, context_of: Callable[[Any], Context]
) -> None:
    run(LAST, context_of(aged))
    whole = replace(grown.copy(tmp_path / "whole"), landing=None)
    for market in (aged, whole):
        done = market.night(str(NEXT))
        assert done.code == 0, done.err
    lean, full = aged.content(), whole.content()
    for table in (*TABLES, "plan_export"):
        name = f"{table}/{NEXT}"
        if table != "channel_response" and name in full:
            assert lean[name] == full[name], name
    suppressed = [
        sorted(
            (row["user_key"], row["channel"])
            for path in Store(market.root, "tiny").files("channel_response", [NEXT])
            for row in pq.ParquetFile(path).read().to_pylist()
            if row["is_suppressed"]
        )
        for market in (aged, whole)
    ]
    assert suppressed[0] == suppressed[1] != []
    assert run(NEXT, context_of(aged)).counts["kept_from"]["raw"] == "2026-03-09"


def test_a_night_that_is_kept_no_longer_is_refused_and_not_made_half_empty(
    aged: Any, context_of: Callable[[Any], Context]
) -> None:
    run(LAST, context_of(aged))
    before = aged.published()
    for night in (FIRST, LAST - timedelta(days=3)):
        done = aged.night(str(night))
        assert done.code == 2
        assert f"night {night}: it is kept no longer" in done.complaint
        assert "nights from 2026-03-08 on can be run" in done.complaint
    assert aged.published() == before
    assert aged.night("2026-03-08").code == 0


def test_killed_between_any_two_removals_the_next_run_goes_on(
    aged: Any, grown: Any, tmp_path: Path, context_of: Callable[[Any], Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = replace(aged.copy(tmp_path / "calm"), landing=None)
    run(LAST, context_of(calm))

    class StoppedError(Exception):
        """In place of a kill."""

    context = context_of(aged)
    retract = context.store.retract
    for n_before in (0, 1, 5, 17):
        left = iter(range(n_before))

        def stopping(table: str, night: date, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise StoppedError
            retract(table, night)

        monkeypatch.setattr(context.store, "retract", stopping)
        with pytest.raises(StoppedError):
            run(LAST, context)
        assert aged.night(str(FIRST)).code == 2
    monkeypatch.undo()
    run(LAST, context_of(aged))
    assert aged.published() == calm.published()


def test_where_all_is_kept_nothing_is_written(grown: Any, tmp_path: Path, context_of: Callable[[Any], Context]) -> None:
    market = replace(grown.copy(tmp_path / "root"), landing=None)
    result = run(LAST, context_of(market))
    assert (result.idle, result.n_made) == ("all is kept", 0)
    assert not (market.folder / "retention.json").exists()
    assert market.published() == grown.published()


@pytest.mark.parametrize(
    ("retention", "told"),
    [
        ({"raw_nights": 1}, "retention.raw_nights is 1, but 2 are needed (cleaning.late_nights"),
        ({"raw_nights": 2, "clean_nights": 3}, "retention.clean_nights is 3, but 4 are needed (features.window_nights"),
        ({"raw_nights": 2, "clean_nights": 7}, "but 8 are needed (gates.volume_window_nights"),
        ({"clean_nights": 20}, "retention.raw_nights is not given, but at most clean_nights (20)"),
        ({"raw_nights": 21, "clean_nights": 20}, "retention.raw_nights is 21, but at most clean_nights (20)"),
        ({"features_nights": 2}, "retention.features_nights is 2, but 3 are needed"),
        ({"decisions_nights": 2}, "retention.decisions_nights is 2, but 3 are needed"),
        ({"raw_nights": 0}, "greater than or equal to 1"),
        ({"row_nights": 3}, "unknown key; allowed keys: raw_nights, clean_nights"),
    ],
)
def test_what_other_settings_need_cannot_be_forgotten(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retention: dict[str, int], told: str
) -> None:
    monkeypatch.setenv("NIGHTMARKET_CONF", str(conf_with(conf, tmp_path / "conf", retention=retention)))
    with pytest.raises(ConfigError) as refused:
        load_shop("tiny")
    assert told in str(refused.value)


def test_models_need_the_nights_that_they_learn_from() -> None:
    told = yaml.safe_load((Path(__file__).resolve().parents[2] / "conf" / "shops" / "demo.yaml").read_text())
    kept = {"raw_nights": 40, "clean_nights": 63, "features_nights": 36, "decisions_nights": 36}
    assert Shop.model_validate(told | {"retention": kept}).retention.clean_nights == 63
    with pytest.raises(ValueError, match="but 63 are needed"):
        Shop.model_validate(told | {"retention": kept | {"clean_nights": 62}})
