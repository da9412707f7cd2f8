"""The listen stage on a store small enough to count by hand: what it publishes, finds up to date and takes back."""

from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import champion, listen
from pipelines.core.columns import Columns as C
from pipelines.core.errors import RegistryError, WrongUseError
from pipelines.core.listening import Listen
from pipelines.core.machine import Machine
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from pipelines.erase_tables import KEYED
from pipelines.stage import Context
from tests.fake_task import launch
from tests.pipelines.test_report import publish
from tests.training.small_shop import CUSTOMERS, NIGHT
from training.listen_night import run as read_reviews

N_NIGHTS = 20
ANN = CUSTOMERS[0]
USUAL = ("Lovely lamp, fair price.", 5, "en"), ("The lamp is fine.", 4, "en"), ("台灯质量很好，推荐。", 5, "zh")
LATE = "Delivery was nine days late, write to ann@lee.org or call 0031 20 555 0100!"


class NoChampion:
    """A registry that answers, and has none."""

    def __init__(self, *given: Any) -> None:
        pass

    def champion(self, task: str, night: Any) -> None:
        raise AssertionError(f"task {task} is not trained here: nobody asks for its champion")


class Down(NoChampion):
    def __init__(self, *given: Any) -> None:
        raise RegistryError("no answer")


def shop(**more: Any) -> Shop:
    return Shop(
        shop="small",
        landing={"events": Source(connector="jsonl", pattern="{night}/*")},
        models=Models(),
        listen=Listen(window_nights=N_NIGHTS, **more),
    )


def fill(root: Path) -> Store:
    """Three usual reviews a night, of one lamp; tonight ten customers more blame its delivery."""
    store = Store(root, "small")
    for back in range(N_NIGHTS):
        night = NIGHT - timedelta(days=back)
        told = [*USUAL, *((LATE, 1, "en") for _ in range(10 if back == 0 else 0))]
        publish(store, "reviews", night, [
            {
                C.REVIEW_ID: f"r{night}{at:02d}", C.USER_KEY: CUSTOMERS[at % 12], C.ITEM_ID: "l0", C.TEXT: text, C.RATING: stars,
                C.LANGUAGE: language, C.OCCURRED_AT: datetime.combine(night, time(12, at)),
            }
            for at, (text, stars, language) in enumerate(told)
        ])  # fmt: skip
    publish(store, "catalog", NIGHT, [{C.ITEM_ID: "l0", C.TITLE: "A brass lamp"}])
    return store


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path) -> dict[str, Any]:
        made = launch(module, spec, machine, folder, logs)
        for table in listen.TABLES:
            (folder / module / table).rename(folder / table)
        return made

    monkeypatch.setattr(listen, "launch", run)
    monkeypatch.setattr(champion, "Registry", NoChampion)


def context(root: Path, **more: Any) -> Context:
    return Context(shop(**more), Machine(), fill(root), root)


def rows(store: Store, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.ParquetFile(store.files(table, [NIGHT])[0]).read().to_pylist()
    return found


def test_it_publishes_opinions_an_alert_and_summaries_and_finds_them_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = context(tmp_path)
    done = listen.run(NIGHT, here)
    assert (done.n_made, done.counts["reviews"], done.counts["why"]) == (
        4,
        13,
        "no champion: words weighed by stars judge",
    )
    manifests = [here.store.manifest(table, NIGHT) for table in listen.TABLES]
    assert all(manifest and manifest.audit["success"] for manifest in manifests)

    opinions = rows(here.store, "review_opinions")
    late = [row for row in opinions if row[C.ASPECT] == "delivery"]
    assert len(late) == 10
    assert {row[C.OPINION] for row in late} == {-1}
    assert LATE[late[0][C.FIRST_CHARACTER] : late[0][C.END_CHARACTER]] == "Delivery was nine days late"

    [alert] = rows(here.store, "opinion_alerts")
    assert (alert[C.ASPECT], alert[C.FIRST_NIGHT], alert[C.N_NEGATIVE]) == ("delivery", "2026-03-14", 10)
    assert alert[C.N_EXPECTED] < 1
    assert "A brass lamp" in alert[C.WHY]

    told = rows(here.store, "review_summaries")
    assert {row[C.SCOPE] for row in told} == {"item", "alert"}
    assert {(row[C.LANGUAGE], row[C.SIDE]) for row in told if row[C.SCOPE] == "item"} == {
        ("en", "pro"),
        ("en", "con"),
        ("zh", "pro"),
    }
    review_texts = {LATE, *(text for text, _, _ in USUAL)}
    for row in told:
        assert "ann@lee.org" not in row[C.SENTENCE]
        assert "555" not in row[C.SENTENCE]
        assert any(row[C.SENTENCE][:12] in text for text in review_texts), "a sentence is a stretch of a review"

    assert listen.run(NIGHT, here).n_made == 0
    monkeypatch.setattr(champion, "Registry", Down)
    assert listen.run(NIGHT, here).n_made == 0  # a registry that is down changes nothing made before
    assert [here.store.manifest(table, NIGHT) for table in listen.TABLES] == manifests


def test_a_registry_that_is_down_lets_words_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion, "Registry", Down)
    told = listen.run(NIGHT, context(tmp_path)).counts
    assert told["why"] == "the model registry does not answer: words weighed by stars judge"


def test_without_settings_what_was_heard_is_taken_back(tmp_path: Path) -> None:
    here = context(tmp_path)
    listen.run(NIGHT, here)
    off = Context(here.shop.model_copy(update={"listen": None}), here.machine, here.store, tmp_path)
    assert listen.run(NIGHT, off).idle == "nothing to listen to configured"
    assert [here.store.manifest(table, NIGHT) for table in listen.TABLES] == [None] * 4


def test_a_night_without_reviews_or_catalogue_has_empty_tables(tmp_path: Path) -> None:
    done = listen.run(NIGHT, Context(shop(), Machine(), Store(tmp_path, "small"), tmp_path))
    assert [manifest.rows for manifest in done.manifests.values()] == [0] * 4
    assert done.counts["no_alarm"] == "no review tells of any aspect"


def test_a_customer_s_words_stand_in_tables_that_an_erasure_cuts() -> None:
    assert {"review_opinions", "review_summaries"} <= set(KEYED)


def test_a_review_that_came_twice_counts_as_it_came_last(tmp_path: Path) -> None:
    here = context(tmp_path)
    again = {
        C.REVIEW_ID: "twice",
        C.USER_KEY: ANN,
        C.ITEM_ID: "l0",
        C.LANGUAGE: "en",
        C.OCCURRED_AT: datetime(2026, 3, 14),
    }
    publish(here.store, "reviews", NIGHT - timedelta(days=1), [{**again, C.TEXT: "Poor quality.", C.RATING: 1}])
    publish(here.store, "reviews", NIGHT, [{**again, C.TEXT: "Good quality after all.", C.RATING: 5}])
    listen.run(NIGHT, here)
    [row] = rows(here.store, "review_opinions")
    assert (row[C.REVIEW_ID], row[C.ASPECT], row[C.OPINION]) == ("twice", "quality", 1)


def test_the_same_night_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    here = context(tmp_path)
    one = {key: manifest.content_hash for key, manifest in listen.run(NIGHT, here).manifests.items()}
    again = Context(here.shop, here.machine, here.store, tmp_path, force=True)
    assert {key: manifest.content_hash for key, manifest in listen.run(NIGHT, again).manifests.items()} == one


def test_the_job_says_what_a_shop_that_does_not_listen_lacks(tmp_path: Path) -> None:
    deaf = shop().model_copy(update={"listen": None})
    spec = {"shop": deaf.model_dump(mode="json"), "root": str(tmp_path), "night": "2026-03-14", "out": str(tmp_path)}
    with pytest.raises(WrongUseError, match="no 'listen' in its configuration"):
        read_reviews(spec)
