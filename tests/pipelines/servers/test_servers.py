"""What people do with Airflow and MLflow, done for real: servers started once, a real browser, real nights."""

import hashlib
import json
import os
import re
import socket
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.servers.running import Server
from tests.conftest import LAYERS, MACHINE, NIGHTS, PROJECT, SHOP
from tests.site import Site, find_browser, site

pytestmark = pytest.mark.slow
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test installs it")

DAG = "nightly_marketing_tiny"
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
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
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


def published(root: Path, shop: str = "tiny") -> dict[str, str]:
    """SHA-256 of every published file, manifests too, by its path."""
    return {
        path.relative_to(root / shop).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for layer in LAYERS
        for path in sorted((root / shop / layer).rglob("*"))
        if path.is_file() and "failing_rows" not in path.parts and "audits" not in path.parts
    }


def servers(here: Site) -> dict[str, Server]:
    told = json.loads((here.root / "airflow" / "servers.json").read_text())
    return {one["name"]: Server(**one) for one in told}


def until(found: Callable[[], Any], seconds: float = 120) -> Any:
    """Waits for something true."""
    deadline = time.monotonic() + seconds
    while not (it := found()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return it


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
    for at, (day, hour) in enumerate(((FIRST, "00:00"), (THIRD, "23:00"))):
        form.get_by_text("Select date and time").first.click()
        page.get_by_placeholder("YYYY/MM/DD").nth(at).fill(day.replace("-", "/"))
        page.get_by_placeholder("HH:mm").nth(at).fill(hour)
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
    done_by_hand = here.command("backfill", "--shop", "tiny", "--stale", root=by_hand)
    assert done_by_hand.returncode == 0
    assert published(here.root) == published(by_hand)


def test_the_page_of_a_night_leads_to_its_report(here: Site, page: Any) -> None:
    run = run_of(here, THIRD)
    page.goto(f"{here.airflow_url}/dags/{DAG}/runs/{run}/plugin/night")
    night = page.frame_locator("iframe")
    night.get_by_role("heading", name=f"tiny, night {THIRD}").wait_for()
    assert night.get_by_role("link", name="log").count() == 7
    shoot(page, "airflow-night")
    with page.context.expect_page() as opened:
        night.get_by_role("link", name="report", exact=True).click()
    report = opened.value
    report.wait_for_load_state()
    assert THIRD in report.content()
    assert report.get_by_role("heading").count() > 3
    shoot(report, "nightly-report")
    report.close()
