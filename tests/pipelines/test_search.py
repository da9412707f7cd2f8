"""The command that searches: what is refused before a process is started, and what a catalogue on disk answers."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import search
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.storage import Store
from pipelines.show import search_table
from tests.training.search.small_catalog import catalog
from training.search_items import opened, run

NIGHT = date(2026, 3, 5)


class Files(Store):
    """A store of plain files."""

    content = "one"

    def nights(self, table: str) -> list[date]:
        return [NIGHT] if self.files(table, [NIGHT]) else []

    def manifest(self, table: str, night: date) -> Any:
        return SimpleNamespace(content_hash=self.content)


@pytest.fixture
def store(tmp_path: Path) -> Files:
    made = Files(tmp_path, "demo")
    folder = made.partition("catalog", NIGHT)
    folder.mkdir(parents=True)
    pq.write_table(catalog(), folder / "part-00000.parquet")
    return made


def spec(store: Store, query: str, **more: Any) -> dict[str, Any]:
    told = {"root": str(store.root), "shop": "demo", "query": query, "filters": [], "k": 3, "threads": 1, "model": None}
    return {**told, "weights": str(store.root / "no weights"), **more}


def test_too_many_items_are_refused() -> None:
    with pytest.raises(WrongUseError, match="--k 0: expected 1 to 1000"):
        search.search("lamp", context=None, k=0)  # type: ignore[arg-type]  # it is refused before anything is opened


def test_without_weights_words_alone_answer(store: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.search_items.Store", Files)
    told = run(spec(store, "sihrt red shose", filters=["price<100"]))
    assert told["by"] == ["words"]
    assert told["hits"][0]["item_id"] == "a1"
    assert told["hits"][0]["price_cents"] == 4_900
    assert told["mended"]
    assert run(spec(store, ""))["hits"] == []
    table = search_table(told, "EUR")
    assert table.row_count == len(told["hits"])


def test_the_index_is_kept_until_the_catalogue_changes(store: Files) -> None:
    weights = store.root / "none"
    assert opened(store, 1, weights)[1:] == (NIGHT, True)
    assert opened(store, 1, weights)[2] is False
    (store.folder / "search" / "index" / "index.safetensors").write_bytes(b"damaged")
    assert opened(store, 1, weights)[2] is True
    store.content = "two"
    assert opened(store, 1, weights)[2] is True


def test_a_shop_without_a_catalogue_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="no night has a catalogue"):
        opened(Files(tmp_path, "demo"), 1, tmp_path)
