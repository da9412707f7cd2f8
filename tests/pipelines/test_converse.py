"""Talks read by night: published, found up to date, read anew when words or knowledge change, taken back where none are."""

import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import champion, converse
from pipelines.core.columns import Columns as C
from pipelines.core.errors import ConfigError, RegistryError
from pipelines.core.machine import Machine
from pipelines.core.registry import Version
from pipelines.core.servicing import Service
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from pipelines.stage import Context, StageResult
from tests.fake_task import launch
from tests.pipelines.test_report import publish
from tests.training.small_sentiment import reviews
from training.language.sentiment import SentimentSettings, Told
from training.language.sentiment_files import save
from training.language.sentiment_fit import fit_words_alone

NIGHT = date(2026, 3, 14)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path) -> dict[str, Any]:
        made = launch(module, spec, machine, folder, logs)
        shutil.move(folder / module / converse.TABLE, folder / converse.TABLE)
        return made

    monkeypatch.setattr(converse, "launch", run)


def said(store: Store, *texts: str) -> None:
    rows = [
        {
            C.MESSAGE_ID: f"m{at}", C.CONVERSATION_ID: "t1", C.USER_KEY: "a" * 64,
            C.SENDER: "agent" if text.startswith("-") else "customer", C.TEXT: text.removeprefix("-"),
            C.OCCURRED_AT: datetime(2026, 3, 14, 12, at),
        }
        for at, text in enumerate(texts)
    ]  # fmt: skip
    publish(store, "messages", NIGHT, rows)


def context(root: Path, service: Service | None = Service(knowledge="demo")) -> Context:  # noqa: B008, frozen
    shop = Shop(shop="tiny", landing={"events": Source(connector="jsonl", pattern="{night}/*")}, service=service)
    return Context(shop, Machine(), Store(root, "tiny"), root)


def run(here: Context) -> StageResult:
    return converse.run(NIGHT, here, StageResult("listen", idle="nothing to listen to configured"))


def test_talks_are_published_once_and_read_again_when_something_was_said(tmp_path: Path) -> None:
    here = context(tmp_path)
    said(here.store, "Where is my parcel? mail me at a@b.org", "-we ask the carrier")
    done = run(here)
    assert (done.n_made, done.idle) == (1, "")
    assert done.counts["conversations"]["intents"] == {"order_status": 1}
    [row] = pq.ParquetFile(here.store.files("conversations", [NIGHT])[0]).read().to_pylist()
    assert (row[C.INTENT], row[C.MOOD], row[C.IS_RESOLVED]) == ("order_status", "negative", False)
    assert "a@b.org" not in row[C.TRANSCRIPT]
    first = here.store.manifest("conversations", NIGHT)
    again = run(here)
    assert (again.n_made, again.counts) == (0, done.counts)
    said(here.store, "Where is my parcel?", "-we ask the carrier", "thank you")
    assert run(here).n_made == 1
    now = here.store.manifest("conversations", NIGHT)
    assert first
    assert now
    assert now.content_hash != first.content_hash


def test_a_shop_without_a_desk_and_a_night_without_a_word_have_no_table(tmp_path: Path) -> None:
    here = context(tmp_path)
    said(here.store, "hello")
    run(here)
    gone = run(context(tmp_path, service=None))
    assert (gone.idle, here.store.manifest("conversations", NIGHT)) == ("nothing to listen to configured", None)
    run(here)
    here.store.retract("messages", NIGHT)
    assert run(here).n_made == 0
    assert here.store.manifest("conversations", NIGHT) is None


def test_a_knowledge_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no .*nobody\.yaml; known there: demo"):
        run(context(tmp_path, Service(knowledge="nobody")))


def test_the_table_s_types_are_those_that_readers_expect(tmp_path: Path) -> None:
    here = context(tmp_path)
    said(here.store, "hello")
    run(here)
    schema = pq.ParquetFile(here.store.files("conversations", [NIGHT])[0]).schema_arrow
    assert schema.field(C.OCCURRED_AT).type == pa.timestamp("us")
    assert schema.field(C.IS_RESOLVED).type == pa.bool_()


class Down:
    """A registry that does not answer."""

    def __init__(self, *where: Any) -> None: ...

    def champion(self, *asked: Any) -> None:
        raise RegistryError("no answer")


def registry_with(folder: Path) -> type:
    class Fitted(Down):
        def champion(self, *asked: Any) -> Any:
            return Version("tiny-sentiment", "2", "run", tags={"content_sha256": "abc"})

        def fetch(self, version: Version) -> Path:
            return folder

    return Fitted


def test_a_champion_of_sentiment_tells_moods_where_no_rule_does_and_outlives_a_registry_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = reviews(400, 0)
    told = Told([*sure.texts, *(["it came torn and stained"] * 100)], np.vstack([sure.targets, np.zeros((100, 1))]))
    folder = tmp_path / "model"
    folder.mkdir()
    save(fit_words_alone(told, SentimentSettings()), folder)
    here = context(tmp_path)
    here = Context(here.shop.model_copy(update={"models": Models(tasks=("sentiment",))}), here.machine, here.store, tmp_path)  # fmt: skip
    said(here.store, "the dress came torn and stained")

    def mood() -> str:
        run(here)
        [row] = pq.ParquetFile(here.store.files("conversations", [NIGHT])[0]).read().to_pylist()
        return str(row[C.MOOD])

    monkeypatch.setattr(champion, "Registry", Down)
    assert mood() == "neutral"  # no rule knows these words
    monkeypatch.setattr(champion, "Registry", registry_with(folder))
    assert mood() == "negative"
    manifest = here.store.manifest("conversations", NIGHT)
    assert manifest
    assert manifest.inputs["model/tiny-sentiment/2"] == "abc"
    monkeypatch.setattr(champion, "Registry", Down)
    assert run(here).n_made == 0
    assert here.store.manifest("conversations", NIGHT) == manifest
