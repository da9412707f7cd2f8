"""The command that searches: what is refused before a process is started, and what a catalogue on disk answers."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import search
from pipelines.core.errors import JobError, NoDataError, WrongUseError
from pipelines.core.storage import Store
from pipelines.show import search_table
from pipelines.stage import StageResult
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


class Asked:
    """Stands in for processes: does the work here and remembers what was asked."""

    def __init__(self, store: Files, tasks: tuple[str, ...]) -> None:
        self.specs: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.context: Any = SimpleNamespace(
            shop=SimpleNamespace(models=SimpleNamespace(tasks=tasks)),
            store=store,
            machine=SimpleNamespace(threads=1, without_spark=None),
            progress=self.told.append,
        )

    def launch(self, module: str, spec: dict[str, Any], *others: Any) -> dict[str, Any]:
        self.specs.append(spec)
        return run(spec)

    def night(self, night: date = NIGHT) -> dict[str, Any]:
        return search.prepare(night, self.context, StageResult("recommend", counts={"items": 7})).counts


@pytest.fixture
def asked(store: Files, monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked(store, ("search",))
    monkeypatch.setattr("training.search_items.Store", Files)
    monkeypatch.setattr(search, "launch", made.launch)
    return made


def test_a_night_builds_the_index_once_and_the_search_opens_it(asked: Asked, store: Files) -> None:
    assert asked.night() == {"items": 7, "search_index": {"built": True, "items": len(catalog())}}
    assert asked.night() == {"items": 7}
    assert [spec["query"] for spec in asked.specs] == [None]
    assert run(spec(store, "red shoes"))["built"] is False


def test_a_night_builds_no_index_that_nobody_asked_for_or_of_an_older_catalogue(asked: Asked) -> None:
    assert asked.night(date(2026, 3, 4)) == {"items": 7}
    asked.context.shop.models.tasks = ("effect",)
    assert asked.night() == {"items": 7}
    assert asked.specs == []


def test_an_index_that_cannot_be_built_fails_no_night_and_is_told(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any) -> dict[str, Any]:
        raise JobError("the disk is full")

    monkeypatch.setattr(search, "launch", fails)
    assert asked.night()["search_index"] == {"built": False, "why": "the disk is full"}
    assert asked.told == ["no search index: the disk is full"]
