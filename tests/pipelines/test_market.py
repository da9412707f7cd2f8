"""The market stage on a store small enough to count by hand: forecasts every night, prices where they are wanted."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines import market, price, trend
from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, RegistryError
from pipelines.core.machine import Machine
from pipelines.core.pricing import Pricing
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from pipelines.stage import Context
from tests.fake_task import launch
from tests.pipelines.test_report import publish

NIGHT = date(2026, 3, 10)


class NoChampion:
    """A registry that answers, and has none."""

    def __init__(self, *given: Any) -> None:
        pass

    def champion(self, task: str, night: date) -> None:
        assert (task, night) == ("pricing", NIGHT)


class Down(NoChampion):
    def champion(self, task: str, night: date) -> None:
        raise RegistryError("no answer")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path) -> dict[str, Any]:
        made = launch(module, spec, machine, folder, logs)
        (folder / module / "price_suggestions").rename(folder / "price_suggestions")
        return made

    monkeypatch.setattr(price, "launch", run)
    monkeypatch.setattr(price, "Registry", NoChampion)


def context(root: Path, *, is_priced: bool = True) -> Context:
    shop = Shop(
        shop="small",
        landing={"events": Source(connector="jsonl", pattern="{night}/*")},
        models=Models(tasks=("pricing",)),
        pricing=Pricing(explore_percent=0) if is_priced else None,
    )
    return Context(shop, Machine(), Store(root, "small"), root)


def fill(store: Store, n_nights: int = 3) -> None:
    """Two views and a purchase of one item a night, one view of the other category; a catalogue tonight."""
    for back in range(n_nights):
        rows = [
            {C.USER_KEY: user, C.EVENT_TYPE: kind, C.ITEM_ID: item, C.CATEGORY_ID: category, C.PRICE_CENTS: 1999, C.IS_BOT: bot}
            for user, kind, item, category, bot in (
                ("ann", "view", "a", "k1", False), ("ann", "purchase", "a", "k1", False), ("ben", "view", "a", "k1", False),
                ("ben", "view", "b", "k2", False), ("bot", "view", "b", "k2", True),
            )
        ]  # fmt: skip
        publish(store, "events", NIGHT - timedelta(days=back), rows)
    items = [
        {C.ITEM_ID: item, C.CATEGORY_ID: category, C.PRICE_CENTS: 1999} for item, category in (("a", "k1"), ("b", "k2"))
    ]
    publish(store, "catalog", NIGHT, items)


def rows_of(store: Store, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.ParquetFile(store.files(table, [NIGHT])[0]).read().to_pylist()
    return found


def test_it_publishes_forecasts_and_prices_and_a_second_run_finds_them_up_to_date(tmp_path: Path) -> None:
    here = context(tmp_path)
    fill(here.store)
    done = market.run(NIGHT, here)
    assert done.n_made == 2
    forecasts = rows_of(here.store, "category_trend")
    assert [(row[C.CATEGORY_ID], row[C.HORIZON_NIGHTS]) for row in forecasts] == [
        (name, ahead) for name in ("k1", "k2") for ahead in range(1, 8)
    ]
    assert [row[C.FORECAST] for row in forecasts] == [3] * 7 + [1] * 7
    assert {row[C.METHOD] for row in forecasts} == {"mean"}  # three nights are no week, and it says so
    assert forecasts[0][C.BACKTEST_ERROR] is None
    assert {row[C.ITEM_ID]: row[C.REASON_CODE] for row in rows_of(here.store, "price_suggestions")} == {
        "a": "uncertain", "b": "never_sold",
    }  # fmt: skip
    assert done.counts["prices"]["why"].startswith("no champion")
    before = here.store.manifest("price_suggestions", NIGHT)
    again = market.run(NIGHT, here)
    assert again.n_made == 0
    assert here.store.manifest("price_suggestions", NIGHT) == before


def test_a_registry_that_is_down_keeps_prices_instead_of_stopping_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price, "Registry", Down)
    here = context(tmp_path)
    fill(here.store)
    told = market.run(NIGHT, here).counts["prices"]
    assert told["why"] == "the model registry does not answer: prices are kept but for lots"
    assert told["raised"] == told["lowered"] == 0


def test_without_pricing_or_a_catalogue_nothing_is_suggested_and_what_was_is_taken_back(tmp_path: Path) -> None:
    here = context(tmp_path)
    fill(here.store)
    market.run(NIGHT, here)
    assert market.run(NIGHT, context(tmp_path, is_priced=False)).counts["prices"] == "no pricing configured"
    assert here.store.manifest("price_suggestions", NIGHT) is None
    here.store.retract("catalog", NIGHT)
    assert market.run(NIGHT, here).counts["prices"] == "no catalogue on this night"


def test_counts_come_from_category_stats_or_the_nights_events_and_unknown_nights_stay_unknown(tmp_path: Path) -> None:
    store = context(tmp_path).store
    fill(store, 1)
    publish(store, "category_stats", NIGHT - timedelta(days=2), [{C.CATEGORY_ID: "k2", C.N_EVENTS: 9}])
    publish(store, "category_stats", NIGHT - timedelta(days=40), [{C.CATEGORY_ID: "old", C.N_EVENTS: 5}])
    names, counts = trend.history(NIGHT, store)
    assert names == ["k1", "k2"]  # `old` was not looked at for four weeks
    assert counts.shape == (2, 41)
    np.testing.assert_equal(counts[:, -3:], [[0, np.nan, 3], [9, np.nan, 1]])


def test_a_night_without_events_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="night 2026-03-10: no events to forecast from"):
        market.run(NIGHT, context(tmp_path))
