"""The rules that every DAG keeps, over the whole DagBag; each message says the fix."""

import ast
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable

from pipelines.core.config import load_shop, shop_names
from pipelines.core.shop import Shop
from pipelines.dag_folder import check_dag_folder
from pipelines.run_record import STAGES
from pipelines.schedule import GPU_POOL, GPU_QUEUE, parts
from pipelines.schedule.failure import tell_failure
from pipelines.schedule.parts import NIGHTLY_AT, Owner, Tag
from tests.conftest import PROJECT, SHOP
from tests.permissions import obeying

DAGS = PROJECT / "dags"
FILES = sorted(DAGS.glob("*.py"))
ALWAYS = {"nightly_marketing", "campaign_readout", "user_erasure", "replay_quarantine"}
WITH_MODELS = {"model_training", "model_promotion"}
HEAVY = {"torch", "pyspark", "mlflow", "great_expectations", "pandas", "duckdb", "pyarrow"}
# A live shop, two models of which one waits for a person, a zone far from UTC.
LIVE = """\
shop: live
timezone: Pacific/Auckland
landing: {events: {connector: jsonl, pattern: "{night}/events*.jsonl*"}}
models: {tasks: [effect, value], needs_review: [effect]}
strategy: {nightly_budget_cents: 0, channels: [{id: email, cost_cents: 1, capacity_per_night: 1}]}
"""
BROKEN = {
    "misspelt": "shop: misspelt\nlandnig: {}\n",
    "torn": "shop: torn\nlanding: {events: [\n",
    "renamed": SHOP,
}


def load(folder: Path = DAGS) -> DagBag:
    return DagBag(folder)


def write_conf(folder: Path, shops: dict[str, str]) -> Path:
    (folder / "shops").mkdir(parents=True)
    for name, text in shops.items():
        (folder / "shops" / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def bag() -> Any:
    """Every DAG of the project's own shops."""
    return load()


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """DAGs of the shop LIVE alone."""
    monkeypatch.setenv("NIGHTMARKET_CONF", str(write_conf(tmp_path / "conf", {"live": LIVE})))
    return load()


def split(dag_id: str) -> tuple[str, Shop]:
    """Kind and shop."""
    kind, _, shop = dag_id.rpartition("_")
    return kind, load_shop(shop)


def tasks(bag: Any) -> Iterator[tuple[str, Any]]:
    for dag_id, dag in sorted(bag.dags.items()):
        for task in dag.tasks:
            yield f"{dag_id}.{task.task_id}", task


def refuse(wrong: Iterable[Any], fix: str) -> None:
    """Fails with what breaks a rule, and what to do about it."""
    found = list(wrong)
    assert not found, f"{found}: {fix}"


def test_every_file_can_be_imported(bag: Any) -> None:
    refuse(bag.import_errors.items(), "mend the DAG file; `python dags/FILE.py` shows the same error")


def test_each_shop_has_its_dags_and_those_of_models_only_where_it_has_models(bag: Any) -> None:
    expected = {
        f"{kind}_{name}"
        for name in shop_names()
        for kind in ALWAYS | (WITH_MODELS if load_shop(name).models.tasks else set())
    }
    assert set(bag.dags) == expected, (
        "a DAG file ends with globals().update(dag_per_shop(NAME)), its dag_id with the shop"
    )
    assert (
        {kind for kind, _ in map(split, bag.dags)}
        == ALWAYS | WITH_MODELS
        == {path.stem for path in FILES} - {"broken_shops"}
    )


def test_the_page_of_each_dag_shows_the_docstring_of_its_file_with_what_to_do_when_it_is_red(bag: Any) -> None:
    for dag_id, dag in bag.dags.items():
        path = DAGS / f"{split(dag_id)[0]}.py"
        assert dag.doc_md == ast.get_docstring(ast.parse(path.read_text()), clean=False), (
            f"{path.name}: give @dag doc_md=__doc__"
        )
        assert "**When it is red**" in dag.doc_md, f"{path.name}: say in its docstring what to do '**When it is red**'"


def test_owners_and_tags_are_those_of_the_enums(bag: Any) -> None:
    owners = {owner.value for owner in Owner}
    refuse(
        (name for name, task in tasks(bag) if task.owner not in owners),
        "give the DAG default_args=defaults(shop, Owner.X) of pipelines/schedule/parts.py",
    )
    refuse(
        (
            dag_id
            for dag_id, dag in bag.dags.items()
            if not dag.tags or not all(isinstance(tag, Tag) for tag in dag.tags)
        ),
        "give the DAG tags=[Tag.X] of pipelines/schedule/parts.py",
    )


def test_each_task_is_retried_with_backoff_ends_in_time_and_tells_its_failure(bag: Any) -> None:
    fix = "give the DAG default_args=defaults(shop, owner) and let no task overrule it"
    refuse((name for name, task in tasks(bag) if task.retries < 1), fix)
    refuse((name for name, task in tasks(bag) if not task.retry_exponential_backoff or not task.max_retry_delay), fix)
    refuse((name for name, task in tasks(bag) if not task.execution_timeout), fix)
    for name, task in tasks(bag):
        shop = task.dag_id.rpartition("_")[2]
        told = [(one.func, one.args) for one in task.on_failure_callback]
        assert told == [(tell_failure, (shop,))], f"{name}: {fix}"


def test_no_dag_catches_up_or_runs_twice_at_once_or_has_many_tasks(bag: Any) -> None:
    refuse(
        (name for name, dag in bag.dags.items() if dag.catchup), "give @dag catchup=False: past nights run by backfill"
    )
    refuse((name for name, dag in bag.dags.items() if dag.max_active_runs != 1), "give @dag max_active_runs=1")
    refuse(
        (name for name, dag in bag.dags.items() if len(dag.tasks) > 12),
        "at most 12 tasks, fat ones: move steps into one stage of pipelines/",
    )


def test_trainings_take_turns_and_what_runs_a_model_goes_to_workers_that_can(bag: Any) -> None:
    for name, task in tasks(bag):
        trains = task.task_id.startswith("train_")
        assert task.pool == (GPU_POOL if trains else "default_pool"), (
            f"{name}: pool=GPU_POOL is for tasks that train, named train_MODEL, and for no others"
        )
        on_gpu = task.task_id.startswith(("train_", "judge_", "promote_"))
        assert task.queue == (GPU_QUEUE if on_gpu else "default"), (
            f"{name}: queue=GPU_QUEUE is for tasks that run a model, named train_, judge_ or promote_MODEL"
        )


def test_each_dag_starts_at_midnight_of_its_shop_s_zone(bag: Any) -> None:
    for dag_id, dag in bag.dags.items():
        zone = split(dag_id)[1].zone
        assert str(dag.timezone) == str(zone), (
            f"{dag_id}: start_date in the shop's zone: **nights_of(shop) or by_hand(shop)"
        )
        assert dag.start_date.astimezone(zone).time() == time(0)


def nights_begin_and_end(bag: Any, shop: str) -> tuple[date, date | None]:
    dag = bag.dags[f"nightly_marketing_{shop}"]
    zone = ZoneInfo(str(dag.timezone))
    assert str(dag.timetable.timezone) == str(zone), "the time table runs in the shop's zone too"
    return dag.start_date.astimezone(zone).date(), dag.end_date and dag.end_date.astimezone(zone).date()


def test_an_archive_s_nights_end_with_its_last_and_a_simulated_shop_s_some_time_after_its_history(bag: Any) -> None:
    assert nights_begin_and_end(bag, "taobao") == (date(2017, 11, 25), date(2017, 12, 4))  # midnight after the last
    first, last = nights_begin_and_end(bag, "demo")
    assert first == date(2026, 3, 1)
    assert last is not None
    assert date(2026, 3, 14) < last < date(2026, 3, 14) + timedelta(days=100)
    for name in shop_names():
        assert nights_begin_and_end(bag, name)[1], f"{name}: no live shop, so nights_of(shop) must end"


def test_a_live_shop_s_nights_do_not_end_and_its_trainings_are_weekly_too(live: Any) -> None:
    assert not live.import_errors
    assert set(live.dags) == {f"{kind}_live" for kind in ALWAYS | WITH_MODELS}
    assert nights_begin_and_end(live, "live")[1] is None
    training = live.dags["model_training_live"].timetable
    assert training.timetable.expression == "0 4 * * 1"
    assert str(training.timetable.timezone) == "Pacific/Auckland"


@pytest.mark.parametrize(
    "zone", ["Europe/Amsterdam", "America/New_York", "America/Santiago", "Pacific/Auckland", "Asia/Kolkata"]
)
def test_the_time_table_makes_each_night_of_a_year_once_where_clocks_change_too(zone: str) -> None:
    """At 02:00 of one spring day there is no 02:00."""
    here = ZoneInfo(zone)
    table, ran = CronDataIntervalTimetable(NIGHTLY_AT, timezone=zone), []
    start = pendulum.instance(datetime(2026, 1, 1, tzinfo=here))
    last = None
    for _ in range(365):
        run = table.next_dagrun_info(
            last_automated_data_interval=last, restriction=TimeRestriction(earliest=start, latest=None, catchup=True)
        )
        assert run
        last = run.data_interval
        ran.append(last.start.astimezone(here).date())
        assert last.end.astimezone(here).date() == ran[-1] + timedelta(days=1)
    assert ran == [date(2026, 1, 1) + timedelta(days=day) for day in range(365)]


def uris(condition: Any) -> set[str]:
    """Of the assets that start a DAG."""
    return {condition.uri} if hasattr(condition, "uri") else set().union(*map(uris, condition.objects))


def outlets(bag: Any, dag_id: str, task: str) -> set[str]:
    return {asset.uri for asset in bag.dags[dag_id].get_task(task).outlets}


def test_a_night_starts_the_readout_drift_a_training_and_a_challenger_the_promotion(bag: Any) -> None:
    schedule = {
        dag_id: uris(dag.timetable.asset_condition)
        for dag_id, dag in bag.dags.items()
        if dag.timetable.asset_condition is not None
    }
    for name in shop_names():
        night = f"nightly_marketing_{name}"
        assert (
            outlets(bag, night, STAGES[-1]) == schedule[f"campaign_readout_{name}"] == {f"nightmarket://{name}/night"}
        )
        assert outlets(bag, night, "watch_drift") == {f"nightmarket://{name}/drift"}
        models = load_shop(name).models.tasks
        if models:
            assert schedule[f"model_training_{name}"] == outlets(bag, night, "watch_drift")
            made = [outlets(bag, f"model_training_{name}", f"train_{model}") for model in models]
            assert schedule[f"model_promotion_{name}"] == set().union(*made)
            assert len(set().union(*made)) == len(models), "each model has an asset of its own"
    by_hand = [dag for dag_id, dag in bag.dags.items() if split(dag_id)[0] in ("user_erasure", "replay_quarantine")]
    assert by_hand
    assert all(not dag.timetable.can_be_scheduled for dag in by_hand), "what only people start has schedule=None"


def test_a_live_shop_trains_on_drift_as_well_and_the_model_that_needs_a_person_waits_for_one(live: Any) -> None:
    assert uris(live.dags["model_training_live"].timetable.asset_condition) == {"nightmarket://live/drift"}
    promotion = live.dags["model_promotion_live"]
    chains = {task.task_id: task.downstream_task_ids for task in promotion.tasks}
    assert chains == {
        "judge_effect": {"review_effect"},
        "review_effect": {"promote_effect"},
        "promote_effect": set(),
        "judge_value": set(),
    }


def test_the_stages_of_a_night_run_in_the_order_of_the_command(bag: Any) -> None:
    dag = bag.dags["nightly_marketing_demo"]
    order, at = [], "land"
    while at:
        order.append(at)
        at = next(iter(dag.get_task(at).downstream_task_ids), "")
        assert len(dag.get_task(order[-1]).downstream_task_ids) <= 1, "one task at a time writes the run record"
    assert order == [*(name for name in STAGES if name != "learn"), "watch_drift"]


def check(bag: Any, dag_id: str, **given: Any) -> None:
    """What Airflow does with the parameters of a run that is started by hand."""
    params = copy.deepcopy(bag.dags[dag_id].params)
    params.update(given)
    params.validate()


@pytest.mark.parametrize("kind", ["nightly_marketing", "replay_quarantine"])
def test_a_night_named_by_hand_is_a_date(bag: Any, kind: str) -> None:
    check(bag, f"{kind}_demo", night="2026-03-14")
    for wrong in ("2026-02-30", "14-03-2026", "yesterday", "", "../../key", "2026-03-14; rm", 20260314):
        with pytest.raises(ParamValidationError):
            check(bag, f"{kind}_demo", night=wrong)


def test_a_night_may_be_left_to_the_schedule_but_a_replay_names_its_own(bag: Any) -> None:
    check(bag, "nightly_marketing_demo")
    check(bag, "nightly_marketing_demo", night=None)
    with pytest.raises(ParamValidationError):
        check(bag, "replay_quarantine_demo")


def test_an_erasure_is_started_by_the_name_of_a_request_and_never_by_a_customer_s_id(bag: Any) -> None:
    assert list(bag.dags["user_erasure_demo"].params) == ["request"], "Airflow keeps parameters: an id must not be one"
    check(bag, "user_erasure_demo", request="0123456789abcdef")
    for wrong in ("", "0123456789abcdeg", "0123456789abcdef0", "someone@example.org", "../0123456789abcde", None):
        with pytest.raises(ParamValidationError):
            check(bag, "user_erasure_demo", request=wrong)
    with pytest.raises(ParamValidationError):
        check(bag, "user_erasure_demo")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_dag_file_only_wires(path: Path) -> None:
    tree = ast.parse(path.read_text())
    head, *body = tree.body
    assert isinstance(head, ast.Expr), f"{path.name}: begins with a docstring"
    for node in body:
        wires = isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef) or ast.unparse(node) == "check_files()"
        assert wires or re.fullmatch(r"globals\(\)\.update\(dag_per_shop\(\w+\)\)", ast.unparse(node)), (
            f"{path.name}: line {node.lineno} works at import; move it into a task or pipelines/schedule/parts.py"
        )
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imported}
    known = {"airflow.sdk", "pipelines.core.shop", "pipelines.schedule"}
    refuse(
        (name for name in names if name not in known and not name.startswith("pipelines.schedule.")),
        f"{path.name} imports what it needs from airflow.sdk and pipelines.schedule only",
    )
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    refuse(
        (text for text in texts[1:] if "/" in text or re.search(r"(?i)\b(select|insert|update|delete) ", text)),
        f"{path.name}: no paths and no SQL in a DAG file; a stage of pipelines/ knows them",
    )


def bag_of_fresh_process(prefix: Sequence[str] = (), **environment: str) -> tuple[int, dict[str, str], list[str]]:
    """The number of DAGs, the import errors, and the libraries that parsing has loaded."""
    program = (
        "import sys, json\n"
        "from airflow.dag_processing.dagbag import DagBag\n"
        f"bag = DagBag({str(DAGS)!r})\n"
        "print(json.dumps([len(bag.dags), bag.import_errors, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    told = subprocess.run(
        [*prefix, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        check=True,
    )
    n_dags, errors, loaded = json.loads(told.stdout.splitlines()[-1])
    return n_dags, errors, loaded


def test_parsing_all_dags_in_a_fresh_process_imports_no_heavy_library() -> None:
    n_dags, errors, loaded = bag_of_fresh_process()
    assert (n_dags > 0, errors) == (True, {})
    refuse(HEAVY & set(loaded), "import it inside the function of pipelines/ that needs it")


def test_a_broken_shop_leaves_the_others_alone_and_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = write_conf(tmp_path / "conf", {"live": LIVE, **BROKEN})
    monkeypatch.setenv("NIGHTMARKET_CONF", str(conf))
    found = load()
    assert set(found.dags) == {f"{kind}_live" for kind in ALWAYS | WITH_MODELS}
    assert [Path(path).name for path in found.import_errors] == ["broken_shops.py"]
    told = next(iter(found.import_errors.values()))
    for line in (
        f"{conf}/shops/misspelt.yaml: line 2: landnig: unknown key; allowed keys: shop, title,",
        f"{conf}/shops/torn.yaml: line 3: not valid YAML:",
        f"{conf}/shops/renamed.yaml: shop is 'tiny' but the file is named 'renamed'; make them equal",
    ):
        assert told.count(line) == 1, told
    assert "live.yaml" not in told


@pytest.mark.parametrize("shops", ["missing", "empty", "a file"])
def test_without_any_shop_one_import_error_says_what_to_do(
    shops: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shops == "empty":
        (tmp_path / "shops").mkdir()
    elif shops == "a file":
        (tmp_path / "shops").touch()
    monkeypatch.setenv("NIGHTMARKET_CONF", str(tmp_path))
    found = load()
    assert not found.dags
    assert [Path(path).name for path in found.import_errors] == ["broken_shops.py"]
    assert "expected conf/shops/NAME.yaml; add one or mend NIGHTMARKET_CONF" in next(iter(found.import_errors.values()))


def test_a_dag_file_that_cannot_be_read_is_an_import_error_and_the_others_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow alone passes over it in silence."""
    dags = Path(shutil.copytree(DAGS, tmp_path / "dags"))
    (dags / "campaign_readout.py").unlink()
    (dags / "campaign_readout.py").symlink_to(tmp_path / "nowhere.py")
    monkeypatch.setattr(parts, "check_dag_folder", lambda: check_dag_folder(dags))
    found = load(dags)
    assert {split(dag_id)[0] for dag_id in found.dags} == (ALWAYS | WITH_MODELS) - {"campaign_readout"}
    assert [Path(path).name for path in found.import_errors] == ["broken_shops.py"]
    told = next(iter(found.import_errors.values()))
    assert f"DAG folder {dags}: cannot be read: campaign_readout.py (no such file or directory)" in told


@pytest.mark.parametrize(
    ("closed", "told"),
    [
        ("", "no shop in {shops} (permission denied): expected conf/shops/NAME.yaml; add one or mend NIGHTMARKET_CONF"),
        ("live.yaml", "{shops}/live.yaml: cannot be read: Permission denied"),
    ],
    ids=["folder", "file"],
)
def test_shops_that_nobody_may_read_are_one_import_error(closed: str, told: str, tmp_path: Path) -> None:
    shops = write_conf(tmp_path / "conf", {"live": LIVE}) / "shops"
    (shops / closed).chmod(0)
    n_dags, errors, _ = bag_of_fresh_process(obeying(), NIGHTMARKET_CONF=str(tmp_path / "conf"))
    (shops / closed).chmod(0o700)
    assert n_dags == 0
    assert [Path(path).name for path in errors] == ["broken_shops.py"]
    assert told.format(shops=shops) in next(iter(errors.values()))


def test_a_shop_s_file_that_is_none_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = write_conf(tmp_path / "conf", {"live": LIVE})
    (conf / "shops" / "gone.yaml").symlink_to("nowhere")
    (conf / "shops" / "folder.yaml").mkdir()
    monkeypatch.setenv("NIGHTMARKET_CONF", str(conf))
    found = load()
    assert len(found.dags) == len(ALWAYS | WITH_MODELS)
    told = next(iter(found.import_errors.values()))
    assert f"{conf}/shops/gone.yaml: cannot be read: No such file or directory" in told
    assert f"{conf}/shops/folder.yaml: cannot be read: Is a directory" in told


def test_a_mended_shop_has_its_dags_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = write_conf(tmp_path / "conf", {"live": "shop: live\nlandnig: {}\n"})
    monkeypatch.setenv("NIGHTMARKET_CONF", str(conf))
    assert not load().dags
    (conf / "shops" / "live.yaml").write_text(LIVE)
    found = load()
    assert len(found.dags) == len(ALWAYS | WITH_MODELS)
    assert not found.import_errors
