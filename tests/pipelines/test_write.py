"""Words for a plan small enough to count by hand: what it publishes, finds up to date, takes back and exports."""

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import champion, publish, write
from pipelines.core.columns import Columns as C
from pipelines.core.errors import RegistryError, StorageError
from pipelines.core.machine import Machine
from pipelines.export import export
from pipelines.review_ledger import record
from pipelines.stage import Context, StageResult
from tests.fake_task import launch
from tests.pipelines.test_report import publish as put
from tests.training.small_copy import NIGHT, OFFER, USERS, fill, shop


class Down:
    """A registry that does not answer."""

    def __init__(self, *given: Any) -> None:
        pass

    def champion(self, task: str, night: Any) -> None:
        raise RegistryError("no answer")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(module: str, spec: dict[str, Any], machine: Machine, folder: Path, logs: Path) -> dict[str, Any]:
        made = launch(module, spec, machine, folder, logs)
        for table in write.TABLES:
            (folder / module / table).rename(folder / table)
        return made

    monkeypatch.setattr(write, "launch", run)


def context(root: Path, **settings: Any) -> Context:
    return Context(shop(**settings), Machine(), fill(root), root)


def worded(here: Context) -> StageResult:
    return write.run(NIGHT, here, StageResult("plan"))


def exported(here: Context) -> dict[str, dict[str, str]]:
    folder = here.store.partition("plan_export", NIGHT)
    return {
        row[C.USER_KEY]: row
        for name in ("email", "sms")
        for row in csv.DictReader((folder / f"{name}.csv").open(encoding="utf-8"))
    }


def test_it_publishes_its_tables_and_a_second_run_finds_them_up_to_date(tmp_path: Path) -> None:
    here = context(tmp_path)
    done = worded(here)
    assert done.n_made == 2
    assert (done.counts["creatives"]["why"], done.counts["creatives"]["customers"]) == (
        "no champion: templates word",
        5,
    )
    assert all(
        found and found.audit["success"] for found in (here.store.manifest(table, NIGHT) for table in write.TABLES)
    )
    again = worded(here)
    assert (again.n_made, again.counts) == (0, done.counts)


def test_a_person_s_decision_makes_the_night_s_copy_anew(tmp_path: Path) -> None:
    here = context(tmp_path, variants=1)
    worded(here)
    (part,) = here.store.files("creatives", [NIGHT])
    (held,) = [row for row in pq.ParquetFile(part).read().to_pylist() if row[C.STATUS] == "held"]
    record(here.store, held[C.CREATIVE_ID], "approved", "reviewer")
    assert worded(here).counts["creatives"]["by_status"]["approved"] == 1
    assert worded(here).n_made == 0


def test_a_registry_that_is_down_lets_templates_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = context(tmp_path)
    with_task = here.shop.model_copy(update={"models": here.shop.models.model_copy(update={"tasks": ("copywriter",)})})
    monkeypatch.setattr(champion, "Registry", Down)
    told = worded(Context(with_task, here.machine, here.store, tmp_path)).counts["creatives"]
    assert told["why"] == "the model registry does not answer: templates word"


def test_without_settings_what_was_written_is_taken_back(tmp_path: Path) -> None:
    here = context(tmp_path)
    worded(here)
    off = Context(here.shop.model_copy(update={"write": None}), here.machine, here.store, tmp_path)
    assert worded(off).n_made == 0
    assert here.store.manifest("creatives", NIGHT) is None


def test_the_shop_receives_text_and_creative_beside_the_offer_s_own_words(tmp_path: Path) -> None:
    here = context(tmp_path, variants=1)
    publish.run(NIGHT, here)
    before = exported(here)
    assert {(row[C.CREATIVE_ID], row[C.TEXT], row["offer_text"]) for row in before.values()} == {("", "", OFFER)}
    worded(here)
    assert publish.run(NIGHT, here).n_made == 1
    after = exported(here)
    assert set(after) == set(USERS[:5])
    assert after[USERS[0]][C.TEXT] == f"Nordlys desk lamp, oak: 30 cm. {OFFER}."
    assert after[USERS[3]][C.TEXT] == "龙井茶 250 克。午夜前9折。"
    assert len(after[USERS[0]][C.CREATIVE_ID]) == 16
    assert publish.run(NIGHT, here).n_made == 0


def test_a_creative_that_nobody_wrote_is_not_exported(tmp_path: Path) -> None:
    here = context(tmp_path)
    row = {C.USER_KEY: USERS[0], C.STRATEGY_ID: "email.save10.any.x1.plain", C.CREATIVE_ID: "f" * 16, C.PROPENSITY: 1.0}
    put(here.store, "plan_copy", NIGHT, [row])
    put(here.store, "creatives", NIGHT, [])
    copy = {table: here.store.files(table, [NIGHT]) for table in ("creatives", "plan_copy")}
    with pytest.raises(StorageError, match=r"plan_copy names creative ffff.*write the night again"):
        export(here.store.files("campaign_plan", [NIGHT])[0], here.shop, NIGHT, tmp_path / "out", copy=copy)


def test_files_of_earlier_nights_are_offered_only_where_the_same_model_wrote_them(tmp_path: Path) -> None:
    here = context(tmp_path)
    eve = NIGHT.replace(day=13)
    put(here.store, "creatives", eve, [], {"generation": "same"})
    put(here.store, "creatives", NIGHT.replace(day=12), [], {"generation": "other"})
    assert write._reusable(NIGHT, here, "same") == [str(here.store.files("creatives", [eve])[0])]
