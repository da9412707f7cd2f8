"""The recommend stage on a store small enough to count by hand: what it publishes, finds up to date and takes back."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import publish, recommend
from pipelines.core.columns import Columns as C
from pipelines.core.errors import RegistryError
from pipelines.core.machine import Machine
from pipelines.export import MANIFEST, export
from pipelines.stage import Context
from tests.fake_task import launch
from tests.pipelines.test_report import publish as put
from tests.training.small_shop import CUSTOMERS, NIGHT, fill, shop


class NoChampion:
    """A registry that answers, and has none."""

    def __init__(self, *given: Any) -> None:
        pass

    def champion(self, task: str, night: Any) -> None:
        assert (task, night) == ("recommender", NIGHT)


class Down(NoChampion):
    def champion(self, task: str, night: Any) -> None:
        raise RegistryError("no answer")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path) -> dict[str, Any]:
        made = launch(module, spec, machine, folder, logs)
        for table in recommend.TABLES:
            (folder / module / table).rename(folder / table)
        return made

    monkeypatch.setattr(recommend, "launch", run)
    monkeypatch.setattr(recommend, "Registry", NoChampion)


def context(root: Path, **settings: Any) -> Context:
    store = fill(root)
    return Context(shop(**settings), Machine(), store, root)


def test_it_publishes_its_tables_and_a_second_run_finds_them_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = context(tmp_path, explore_percent=20)
    done = recommend.run(NIGHT, here)
    assert done.n_made == 4
    assert done.counts["why"] == "no champion: own history and popularity rank"
    manifests = [here.store.manifest(table, NIGHT) for table in recommend.TABLES]
    assert [manifest.rows for manifest in manifests[:2] if manifest] == [48, 12]
    assert all(manifest and manifest.audit["success"] for manifest in manifests)
    assert recommend.run(NIGHT, here).n_made == 0
    monkeypatch.setattr(recommend, "Registry", Down)
    again = recommend.run(NIGHT, here)
    assert again.n_made == 0  # a registry that is down changes no list made before
    assert [here.store.manifest(table, NIGHT) for table in recommend.TABLES] == manifests


def test_a_registry_that_is_down_lets_own_history_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommend, "Registry", Down)
    told = recommend.run(NIGHT, context(tmp_path)).counts
    assert told["why"] == "the model registry does not answer: own history and popularity rank"
    assert (told["kind"], told["model"]) == ("own_history", "small-recommender-baseline")


def test_without_settings_what_was_recommended_is_taken_back(tmp_path: Path) -> None:
    here = context(tmp_path)
    recommend.run(NIGHT, here)
    off = Context(here.shop.model_copy(update={"recommend": None}), here.machine, here.store, tmp_path)
    assert recommend.run(NIGHT, off).idle == "no recommendations configured"
    assert here.store.manifest("recommendations", NIGHT) is None


def test_the_shop_receives_the_lists_beside_the_plan(tmp_path: Path) -> None:
    here = context(tmp_path, holdout_percent=30, explore_percent=40)
    recommend.run(NIGHT, here)
    put(here.store, "campaign_plan", NIGHT, [])
    publish.run(NIGHT, here)
    folder = here.store.partition("plan_export", NIGHT)
    table = pq.ParquetFile(here.store.files("recommendations", [NIGHT])[0]).read().to_pylist()
    lines = (folder / "recommendations.csv").read_text().splitlines()
    assert lines[0] == "user_key,slot,item_id,propensity"
    assert lines[1:] == [f"{row[C.USER_KEY]},{row[C.SLOT]},{row[C.ITEM_ID]},{row[C.PROPENSITY]!r}" for row in table]
    segments = (folder / "segment_recommendations.csv").read_text().splitlines()
    assert segments[:2] == ["segment_id,slot,item_id", f"-1,1,{segments[1].rpartition(',')[2]}"]
    assert len(segments) == 13
    told = here.store.manifest("plan_export", NIGHT)
    assert told is not None
    assert told.counts["files"]["recommendations.csv"]["rows"] == len(table) < 4 * len(CUSTOMERS)
    changed = publish.run(NIGHT, here)
    assert changed.n_made == 0
    here.store.retract("recommendations", NIGHT)
    assert publish.run(NIGHT, here).n_made == 1
    assert not (folder / "recommendations.csv").exists()


def test_an_export_without_lists_is_what_it_was(tmp_path: Path) -> None:
    here = context(tmp_path)
    put(here.store, "campaign_plan", NIGHT, [])
    plan = here.store.files("campaign_plan", [NIGHT])[0]
    export(plan, here.shop, NIGHT, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"email.csv", "push.csv", MANIFEST}
