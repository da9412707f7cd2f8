"""The recommend stage on a store small enough to count by hand: what it publishes, finds up to date and takes back."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pipelines import champion, publish, recommend
from pipelines.core.columns import Columns as C
from pipelines.core.errors import RegistryError, WeightsError
from pipelines.core.machine import Machine
from pipelines.export import MANIFEST, export
from pipelines.stage import Context
from tests.fake_task import launch
from tests.pipelines.test_report import publish as put
from tests.training.small_shop import CUSTOMERS, ITEMS, NIGHT, fill, item, shop
from training import weights
from training.recommend.picture_net import PictureNet


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
    def run(
        module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path, submit: Any = None
    ) -> dict[str, Any]:
        made = launch(module, spec, machine, folder, logs)
        for table in recommend.TABLES:
            (folder / module / table).rename(folder / table)
        return made

    monkeypatch.setattr(recommend, "launch", run)
    monkeypatch.setattr(champion, "Registry", NoChampion)


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
    monkeypatch.setattr(champion, "Registry", Down)
    again = recommend.run(NIGHT, here)
    assert again.n_made == 0  # a registry that is down changes no list made before
    assert [here.store.manifest(table, NIGHT) for table in recommend.TABLES] == manifests


def test_a_registry_that_is_down_lets_own_history_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion, "Registry", Down)
    told = recommend.run(NIGHT, context(tmp_path)).counts
    assert told["why"] == "the model registry does not answer: own history and popularity rank"
    assert (told["kind"], told["model"]) == ("own_history", "small-recommender-baseline")


def test_pictures_of_the_landing_folder_are_read_where_the_catalogue_names_them_and_what_they_show_is_lineage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a net that has learnt nothing. One of three pictures lies outside."""
    torch.manual_seed(0)
    save_file(PictureNet().state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(weights, "resolve", lambda address, cache: tmp_path)
    shelf = [item(name) for name in ITEMS]
    for row, name in zip(shelf, ("a.png", "b.png", "../c.png"), strict=False):
        row[C.ATTRIBUTES] = json.dumps({"image": name})
    landing = tmp_path / "landing"
    landing.mkdir()
    for name, colour in {"a.png": "red", "b.png": "blue"}.items():
        Image.new("RGB", (20, 20), colour).save(landing / name)
    here = Context(shop(), Machine(), fill(tmp_path, catalog=shelf), landing)
    counts = recommend.run(NIGHT, here).counts
    assert counts["pictures"] == {"named": 2, "read": 2, "refused": {}}
    assert counts["pictures_not_read"] == {"outside the landing folder": 1}
    assert counts["items_together"]["alike_by"] in ("words", "words_and_pictures")
    assert recommend.run(NIGHT, here).n_made == 0
    Image.new("RGB", (20, 20), "green").save(landing / "a.png")
    assert recommend.run(NIGHT, here).n_made == 4
    manifest = here.store.manifest("item_relations", NIGHT)
    assert manifest
    assert "pictures/landing" in manifest.inputs

    def offline(address: str, cache: Path) -> Path:
        raise WeightsError("weights cannot be fetched")

    monkeypatch.setattr(weights, "resolve", offline)
    (landing / "a.png").unlink()
    told = recommend.run(NIGHT, here).counts["pictures"]
    assert told == {"named": 1, "read": 0, "why": "weights cannot be fetched"}


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
