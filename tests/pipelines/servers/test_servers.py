"""What people do with Airflow and MLflow, done for real: servers started once, a real browser, real nights."""

import gzip
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.core.registry import Registry
from pipelines.core.tables import TABLES
from pipelines.schedule.names import record_id
from pipelines.servers.running import Server
from tests.conftest import LAYERS, MACHINE, NIGHTS, PROJECT, SHOP
from tests.site import DAG, Site, find_browser, published, site, until

pytestmark = pytest.mark.slow
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test installs it")

FIRST, SECOND, THIRD = NIGHTS
SHOTS = Path(os.environ["NIGHTMARKET_SHOTS"]) if "NIGHTMARKET_SHOTS" in os.environ else None
REVIEWED = (PROJECT / "conf" / "shops" / "demo.yaml").read_text()
REVIEWED = re.sub(r"^shop: demo", "shop: reviewed", REVIEWED, flags=re.M)
REVIEWED = re.sub(r"tasks: \[.*\]", "tasks: [effect]\n  needs_review: [effect]", REVIEWED)
BROKEN = "shop: broken\ntimezone: Europe/Amsterdam\nlandnig: {}\n"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    shops = {"tiny": SHOP, "reviewed": REVIEWED, "broken": BROKEN}
    with site(tmp_path_factory.mktemp("site"), shops, MACHINE) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = find_browser()
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page(here: Site, browser: Any) -> Any:
    """A tab that is logged in to Airflow with the password that `up` has made."""
    tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    tab.set_default_timeout(30_000)
    tab.goto(here.airflow_url)
    tab.get_by_label("Username").fill("admin")
    tab.locator("input[type=password]").fill(
        json.loads((here.root / "airflow" / "passwords.json").read_text())["admin"]
    )
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_url(f"{here.airflow_url}/")
    return tab


@pytest.fixture(scope="module")
def by_hand(here: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the same nights were run by hand, first to last, from the files that Airflow's runs find."""
    root = tmp_path_factory.mktemp("by-hand") / "root"
    done = here.command("simulate", "--shop", "tiny", "--through", THIRD)
    assert done.returncode == 0, done.stderr
    landing = str(here.root / "tiny" / "landing")
    done = here.command("backfill", "--shop", "tiny", "--from", FIRST, "--to", THIRD, "--landing", landing, root=root)
    assert done.returncode == 0, done.stderr
    return root


def shoot(page: Any, name: str) -> None:
    """Keeps a picture for docs/ where NIGHTMARKET_SHOTS names a folder."""
    if SHOTS:
        page.wait_for_timeout(500)
        page.screenshot(path=str(SHOTS / f"{name}.png"))


def servers(here: Site) -> dict[str, Server]:
    told = json.loads((here.root / "airflow" / "servers.json").read_text())
    return {one["name"]: Server(**one) for one in told}


def clear(here: Site, run: str, *tasks: str) -> None:
    """As *Clear* in the page does, for all tasks or for some and what comes after them."""
    body = {"dry_run": False, "dag_run_id": run, "only_failed": False, "include_downstream": True}
    here.client().post(f"/dags/{DAG}/clearTaskInstances", body | ({"task_ids": list(tasks)} if tasks else {}))


def late_lines(file: Path) -> list[str]:
    """Lines of a customer who was offline that night, as they arrive later."""
    lines = gzip.decompress(file.read_bytes()).decode(errors="replace").splitlines(keepends=True)
    good = [line for line in lines if '"event_type":"view"' in line][:5]
    assert len(good) == 5
    return [
        re.sub(
            r'"event_id":"[^"]*"', f'"event_id":"late{at}"', re.sub(r'"user_id":"[^"]*"', '"user_id":"c9999999"', line)
        )
        for at, line in enumerate(good)
    ]


def tables(root: Path) -> dict[str, str]:
    """Content hash of every published table's partitions."""
    return {
        f"{told['table']}/{told['partition']}": told["content_hash"]
        for layer in LAYERS
        for path in (root / "tiny" / layer).rglob("_manifest.json")
        if (told := json.loads(path.read_text()))["table"] in TABLES
    }


def stale_nights(root: Path) -> list[str]:
    return sorted(
        {
            told["partition"]
            for layer in LAYERS
            for path in (root / "tiny" / layer).rglob("_manifest.json")
            if (told := json.loads(path.read_text()))["stale"]
        }
    )


def processes(module: str, here: Site) -> list[psutil.Process]:
    """Processes of this site that run a job."""
    found = []
    for process in psutil.process_iter():
        try:
            if module in process.cmdline() and process.cwd() == str(here.project):
                found.append(process)
        except psutil.Error:
            continue
    return found


def open_mlflow(here: Site, browser: Any) -> Any:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(60_000)
    tab.goto(f"{here.mlflow_url}/#/models/reviewed-effect")
    tab.get_by_text("challenger").first.wait_for()
    if (assistant := tab.get_by_role("button", name="Close")).count():
        assistant.first.click()
    return tab


def compare_versions(tab: Any) -> None:
    """Ticks both versions and presses *Compare*."""
    for row in tab.locator("[role=row]").all()[1:]:
        row.hover()
        row.get_by_role("checkbox").first.click(force=True)
    tab.get_by_role("button", name="Compare", exact=True).click()
    tab.get_by_text("Comparing 2 Versions").first.wait_for()


def tag(here: Site, tab: Any, version: str, name: str, value: str) -> None:
    """Adds a tag to a version on its page."""
    tab.goto(f"{here.mlflow_url}/#/models/reviewed-effect/versions/{version}")
    tab.get_by_label("tag name").fill(name)
    tab.get_by_label("tag value").fill(value)
    tab.get_by_role("button", name="Add", exact=True).click()
    tab.get_by_text(value, exact=True).first.wait_for()


def version_of(here: Site, alias: str) -> str:
    found = Registry("reviewed", here.root, None).aliased("effect", alias)
    assert found
    return found.version


def run_of(here: Site, night: str) -> str:
    """Airflow's run of a night."""
    runs = here.client().get(f"/dags/{DAG}/dagRuns")["dag_runs"]
    return next(run["dag_run_id"] for run in runs if run["logical_date"] and run["logical_date"].startswith(night))


# -- up


def test_servers_listen_on_loopback_only_and_their_secrets_are_their_owners(here: Site) -> None:
    pids = set()
    for server in servers(here).values():
        process = psutil.Process(server.pid)
        pids |= {process.pid, *(child.pid for child in process.children(recursive=True))}
    listening = {c.laddr for c in psutil.net_connections("inet") if c.pid in pids and c.status == psutil.CONN_LISTEN}
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}
    assert {here.airflow_port, here.mlflow_port} <= {address.port for address in listening}
    home = here.root / "airflow"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in ("airflow.cfg", "secrets.json", "passwords.json"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("path", ["/api/v2/dags", "/nightmarket/tiny/reports/2026-03-01"])
def test_nothing_is_shown_to_who_is_not_logged_in(here: Site, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(here.airflow_url + path)
    assert refused.value.code == 401


def test_up_again_starts_nothing_and_tells_no_password(here: Site) -> None:
    before = servers(here)
    assert here.up()["started"] == []
    assert servers(here) == before


def test_a_port_that_another_program_has_is_told_in_one_line_and_nothing_is_started(here: Site, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = here.command("up", "--airflow-port", str(port), root=tmp_path / "root")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"nightmarket: port {port} of 127.0.0.1 is taken by another")
    assert not (tmp_path / "root" / "airflow" / "servers.json").exists()


def test_a_shop_whose_file_is_broken_is_told_and_the_others_load(here: Site) -> None:
    client = here.client()
    errors = until(lambda: client.get("/importErrors")["import_errors"])
    assert [error["filename"] for error in errors] == ["broken_shops.py"]
    assert "broken.yaml: line 3: landnig: unknown key; allowed keys: shop, title" in errors[0]["stack_trace"]
    dags = {dag["dag_id"] for dag in until(lambda: client.get("/dags", limit=100)["dags"])}
    assert {f"nightly_marketing_{shop}" for shop in ("tiny", "reviewed")} <= dags
    assert "nightly_marketing_broken" not in dags


# -- nights


def test_three_past_nights_are_backfilled_from_the_page_and_equal_those_run_by_hand(
    here: Site, by_hand: Path, page: Any
) -> None:
    page.goto(f"{here.airflow_url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.get_by_text("Backfill", exact=True).click()
    for name, day, hour in (("From", FIRST, "00:00"), ("To", THIRD, "23:00")):
        form.get_by_text("Select date and time").first.click()
        page.get_by_role("textbox", name=name, exact=True).fill(day.replace("-", "/"))
        page.get_by_placeholder("HH:mm").locator("visible=true").last.fill(hour)
    form.get_by_text("3 runs will be triggered").wait_for()
    form.get_by_text("Run Backwards").click()  # the last night first
    shoot(page, "airflow-backfill")
    form.get_by_role("button", name="Run Backfill").click()

    client = here.client()
    client.unpause(DAG)
    done = until(
        lambda: (
            [r for r in client.get(f"/dags/{DAG}/dagRuns")["dag_runs"] if r["state"] in ("success", "failed")][2:]
            and client.get(f"/dags/{DAG}/dagRuns")["dag_runs"]
        ),
        400,
    )
    assert {run["state"] for run in done} == {"success"}, {
        r["dag_run_id"]: client.states(DAG, r["dag_run_id"]) for r in done
    }
    assert {run["run_type"] for run in done} == {"backfill"}
    page.goto(f"{here.airflow_url}/dags/{DAG}")
    page.get_by_text("report", exact=True).first.wait_for()
    shoot(page, "airflow-nights")
    # All tables are those of the nights run in order; only what told of a neighbour that was not there yet is stale.
    assert tables(here.root) == tables(by_hand)
    stale = stale_nights(here.root)
    for night in stale:
        clear(here, run_of(here, night))
        assert client.wait(DAG, run_of(here, night))["state"] == "success"
    assert stale_nights(here.root) == []
    assert published(here.root) == published(by_hand)


def test_the_page_of_a_night_leads_to_its_report(here: Site, page: Any) -> None:
    run = run_of(here, THIRD)
    page.goto(f"{here.airflow_url}/dags/{DAG}/runs/{run}/plugin/night")
    night = page.frame_locator("iframe")
    night.get_by_role("heading", name=f"tiny, night {THIRD}").wait_for()
    assert night.get_by_role("link", name="log").count() == 11
    shoot(page, "airflow-night")
    with page.context.expect_page() as opened:
        night.get_by_role("link", name="report", exact=True).click()
    report = opened.value
    report.wait_for_load_state()
    assert THIRD in report.content()
    assert report.get_by_role("heading").count() > 3
    shoot(report, "nightly-report")
    report.close()


def test_late_lines_a_failed_audit_its_page_a_mended_rule_and_a_cleared_night(
    here: Site, by_hand: Path, page: Any
) -> None:
    late = here.root / "tiny" / "landing" / SECOND / "events-late.jsonl"
    late.write_text("".join(late_lines(here.root / "tiny" / "landing" / SECOND / "events.jsonl.gz")))
    suite = here.project / "great_expectations" / "expectations" / "campaign_plan.json"
    whole = suite.read_text()
    rules = json.loads(whole)
    rules["expectations"].append({"type": "expect_column_values_to_be_null", "kwargs": {"column": "strategy_id"}})
    suite.write_text(json.dumps(rules))
    client, run = here.client(), run_of(here, SECOND)
    before = published(here.root)
    clear(here, run)
    assert client.wait(DAG, run)["state"] == "failed"
    states = client.states(DAG, run)
    assert (states["features"], states["plan"], states["publish"]) == ("success", "failed", "upstream_failed")
    after = published(here.root)
    assert [path for path in after if path.startswith("decisions/") and not path.endswith("_manifest.json")] == [
        path for path in before if path.startswith("decisions/") and not path.endswith("_manifest.json")
    ]
    record = json.loads((here.root / "tiny" / "runs" / f"{record_id(run)}.json").read_text())
    assert "campaign_plan of 2026-03-02 broke strategy_id: values_to_be_null" in record["error"]

    page.goto(f"{here.airflow_url}/dags/{DAG}/runs/{run}/tasks/plan")
    link = page.locator(f'a[href="{here.airflow_url}/nightmarket/tiny/audits/{SECOND}/"]').first
    link.wait_for()
    shoot(page, "airflow-failed-audit")
    pages = page.context.new_page()  # the log opens its links in a new tab
    pages.goto(link.get_attribute("href"))
    pages.get_by_role("link", name="campaign_plan").first.click()
    pages.get_by_text("strategy_id").first.wait_for()
    shoot(pages, "audit-page")
    pages.close()

    suite.write_text(whole)
    clear(here, run, "plan")
    assert client.wait(DAG, run)["state"] == "success"
    assert stale_nights(here.root) == [THIRD]  # it reads the night that the late lines have changed
    landing = str(here.root / "tiny" / "landing")
    done = here.command("night", "--shop", "tiny", "--date", SECOND, "--landing", landing, root=by_hand)
    assert done.returncode == 0, done.stderr
    assert published(here.root) == published(by_hand)

    clear(here, run_of(here, THIRD))
    assert client.wait(DAG, run_of(here, THIRD))["state"] == "success"
    assert stale_nights(here.root) == []


def test_a_task_killed_in_the_middle_and_then_the_scheduler_lose_nothing(here: Site) -> None:
    """SIGKILL of the worker's child while it makes features, then of the scheduler in the attempt after it."""
    before = published(here.root)
    client, run = here.client(), run_of(here, FIRST)
    shutil.rmtree(here.root / "tiny" / "features")  # else there is nothing to do
    shutil.rmtree(here.root / "tiny" / "decisions")
    clear(here, run)
    job = until(lambda: processes("spark_jobs.features", here))[0]
    worker = psutil.Process(job.ppid())
    worker.kill()
    until(lambda: not job.is_running())  # the heavy process dies with its parent
    until(lambda: client.tasks(DAG, run)["features"]["state"] == "up_for_retry")

    until(lambda: processes("spark_jobs.features", here))
    scheduler = psutil.Process(servers(here)["scheduler"].pid)
    os.killpg(os.getsid(scheduler.pid), signal.SIGKILL)  # and its workers, as the kernel does when memory runs out
    scheduler.wait(30)
    until(lambda: servers(here)["scheduler"].is_alive)  # the keeper starts it again
    assert here.up()["started"] == []
    assert client.wait(DAG, run, 400)["state"] == "success", client.states(DAG, run)
    for night in (SECOND, THIRD):
        clear(here, run_of(here, night))
        assert client.wait(DAG, run_of(here, night))["state"] == "success"
    assert published(here.root) == before


# -- models


def test_a_challenger_waits_for_its_review_in_mlflow_and_then_becomes_champion(
    here: Site, browser: Any, page: Any
) -> None:
    client = here.client()
    for dag in ("nightly_marketing", "model_promotion", "model_training"):
        client.unpause(f"{dag}_reviewed")
    night = client.trigger("nightly_marketing_reviewed")
    ended = client.wait("nightly_marketing_reviewed", night, 600)
    assert ended["state"] == "success", client.states("nightly_marketing_reviewed", night)
    trained = client.trigger("model_training_reviewed")
    assert client.wait("model_training_reviewed", trained, 600)["state"] == "success"
    run = until(lambda: client.get("/dags/model_promotion_reviewed/dagRuns")["dag_runs"])[0]["dag_run_id"]
    until(lambda: client.states("model_promotion_reviewed", run).get("review_effect") == "awaiting_input", 300)
    page.goto(f"{here.airflow_url}/dags/model_promotion_reviewed/runs/{run}/tasks/review_effect/required_actions")
    page.get_by_text("Shall the new effect model of reviewed become champion?").first.wait_for()
    shoot(page, "airflow-review")

    tab = open_mlflow(here, browser)
    challenger, champion = version_of(here, "challenger"), version_of(here, "champion")
    assert challenger != champion
    compare_versions(tab)
    shoot(tab, "mlflow-compare")
    tag(here, tab, challenger, "review", "approved")
    shoot(tab, "mlflow-review")

    ended = client.wait("model_promotion_reviewed", run, 300)
    assert ended["state"] == "success", client.states("model_promotion_reviewed", run)
    assert version_of(here, "champion") == challenger
    tab.goto(f"{here.mlflow_url}/#/models/reviewed-effect/versions/{challenger}")
    tab.reload()
    tab.get_by_text("champion", exact=True).first.wait_for()
    shoot(tab, "mlflow-champion")
    tab.close()


# -- down


def test_down_stops_exactly_what_was_started_also_after_a_crash(here: Site) -> None:
    ours = {server.pid for server in servers(here).values()}
    ours |= {child.pid for pid in ours for child in psutil.Process(pid).children(recursive=True)}
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    for name in ("keeper", "api-server"):  # the workers of the api server live on
        os.kill(servers(here)[name].pid, signal.SIGKILL)
    try:
        done = here.command("down", "--json")
        assert sorted(json.loads(done.stdout)["stopped"]) == ["dag-processor", "mlflow", "scheduler", "triggerer"]
        alive = [pid for pid in ours if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        assert alive == []
        assert other.poll() is None
        assert here.command("down").stdout.strip() == "nothing was running"
    finally:
        other.kill()
        other.wait()
