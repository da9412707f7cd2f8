import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from pipelines.core.storage import Store
from pipelines.run_record import open_record
from pipelines.schedule.pages import app

NIGHT, RUN = date(2026, 3, 2), "airflow-scheduled__2026-03-02T01-00-00-00-00"
STAGE = {
    "seconds": 12.34,
    "made": 3,
    "idle": "",
    "counts": {},
    "tables": {"events": {"rows": 1234, "hash": "0123456789abcdef" * 4}},
    "audits": {"tables": 2, "expectations": 9, "failed": 0},
}
IDLE = {"seconds": 0.1, "made": 0, "idle": "no <b>model</b>", "counts": {}, "tables": {}, "audits": {"tables": 0}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the shops tiny and other: a night's record, report and audit pages, and what nobody may see."""
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("NIGHTMARKET_CONF", str(tmp_path / "conf"))
    monkeypatch.setenv("NIGHTMARKET_MLFLOW_PAGE", "http://127.0.0.1:5000")
    shops = tmp_path / "conf" / "shops"
    shops.mkdir(parents=True)
    for name in ("tiny", "other"):
        (shops / f"{name}.yaml").write_text(
            f'shop: {name}\nlanding: {{events: {{connector: jsonl, pattern: "{{night}}/events.jsonl"}}}}\n'
            "strategy: {nightly_budget_cents: 0, channels: [{id: email, cost_cents: 1, capacity_per_night: 1}]}\n"
        )
        store = Store(tmp_path / "root", name)
        record = open_record(store, NIGHT, "duckdb", RUN)
        record.stages = {"score": IDLE, "clean": STAGE}  # as they ended, not in their order
        record.links = {"log of clean": "http://127.0.0.1:8080/dags/log?a=1&b=2"}
        record.error = "clean: <script>alert(1)</script>"
        record.write(store, {})
        for path, text in {
            "reports/nightly_report/night=2026-03-02/report.html": f"<h1>report of {name}</h1>",
            "reports/audits/2026-03-02/index.html": "all audits",
            "reports/audits/2026-03-02/validations/events/a.html": f"page of {name}",
            "raw/secret.txt": "s3cret",
            "reports/secret.txt": "s3cret",
        }.items():
            (store.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (store.folder / path).write_text(text)
    (tmp_path / "root" / "key").write_text("s3cret")
    return tmp_path / "root" / "tiny"


@pytest.fixture
def page(folder: Path) -> Iterator[TestClient]:
    """A browser of somebody who is logged in."""
    app.dependency_overrides[get_user] = lambda: "somebody"
    yield TestClient(app, follow_redirects=False)
    app.dependency_overrides.clear()


@pytest.mark.parametrize(
    "path",
    [
        f"/tiny/runs/{RUN}",
        "/tiny/reports/2026-03-02",
        "/tiny/audits/2026-03-02/",
        "/tiny/audits/2026-03-02/index.html",
        f"/dag_run/nightly_marketing_tiny/{RUN}",
    ],
)
def test_who_is_not_logged_in_sees_nothing(path: str, folder: Path) -> None:
    found = TestClient(app, follow_redirects=False).get(path)
    assert found.status_code == 401
    assert "tiny" not in found.text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_is_no_page_about_the_pages(path: str, page: TestClient) -> None:
    assert page.get(path).status_code == 404


def test_the_tab_of_a_run_leads_to_the_page_of_its_record(page: TestClient) -> None:
    found = page.get("/dag_run/nightly_marketing_tiny/scheduled__2026-03-02T01:00:00+00:00")
    assert (found.status_code, found.headers["location"]) == (307, f"../../tiny/runs/{RUN}")
    assert page.get(f"/tiny/runs/{RUN}").status_code == 200


def test_a_run_s_page_shows_its_stages_in_their_order_and_links_log_audits_models_and_report(page: TestClient) -> None:
    text = page.get(f"/tiny/runs/{RUN}").text
    assert text.index("<td>clean</td>") < text.index("<td>score</td>")
    for shown in (
        "tiny, night 2026-03-02",
        "12.3",
        "1,234",
        "0123456789abcdef</code>",
        'href="http://127.0.0.1:8080/dags/log?a=1&amp;b=2"',
        'href="../reports/2026-03-02"',
        'href="../audits/2026-03-02/index.html"',
        'href="http://127.0.0.1:5000"',
    ):
        assert shown in text


def test_what_a_record_says_is_text_and_never_markup(page: TestClient) -> None:
    text = page.get(f"/tiny/runs/{RUN}").text
    assert "clean: &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "no &lt;b&gt;model&lt;/b&gt;" in text


def test_the_page_of_a_night_that_has_ended_names_the_nights_that_became_stale(page: TestClient, folder: Path) -> None:
    assert "--stale" not in page.get(f"/tiny/runs/{RUN}").text
    path = folder / "runs" / f"{RUN}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"summary": {"stale_nights": ["2026-03-03"]}}))
    text = page.get(f"/tiny/runs/{RUN}").text
    assert "2026-03-03" in text
    assert "nightmarket backfill --shop tiny --stale" in text


def test_links_to_what_is_not_there_are_not_shown(
    page: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "reports" / "audits" / "2026-03-02" / "index.html").unlink()
    (folder / "reports" / "nightly_report" / "night=2026-03-02" / "report.html").unlink()
    monkeypatch.delenv("NIGHTMARKET_MLFLOW_PAGE")
    text = page.get(f"/tiny/runs/{RUN}").text
    assert text.count("href=") == 1  # the log


def test_the_report_and_the_audits_of_a_night_are_served(page: TestClient) -> None:
    assert page.get("/tiny/reports/2026-03-02").text == "<h1>report of tiny</h1>"
    assert page.get("/tiny/audits/2026-03-02/index.html").text == "all audits"
    listed = page.get("/tiny/audits/2026-03-02/").text
    assert 'href="validations/events/a.html"' in listed
    assert 'href="index.html"' in listed
    assert page.get("/tiny/audits/2026-03-02/validations/events/a.html").text == "page of tiny"


def test_before_a_night_has_ended_its_failed_audits_are_listed_alone(page: TestClient, folder: Path) -> None:
    (folder / "reports" / "audits" / "2026-03-02" / "index.html").unlink()
    listed = page.get("/tiny/audits/2026-03-02/").text
    assert 'href="validations/events/a.html"' in listed
    assert "index.html" not in listed


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere/runs/x",
        "/tiny/runs/none",
        "/tiny/reports/2026-03-03",
        "/tiny/audits/2026-03-03/",
        "/tiny/audits/2026-03-02/none.html",
        "/tiny/audits/2026-03-02/validations",
    ],
)
def test_what_is_not_there_is_not_found(path: str, page: TestClient) -> None:
    assert page.get(path).status_code == 404


TRICKS = [
    "../../raw/secret.txt",
    "../secret.txt",
    "..%2f..%2fraw%2fsecret.txt",
    "%2e%2e/%2e%2e/raw/secret.txt",
    "%2e%2e%2f%2e%2e%2fraw%2fsecret.txt",
    "..%252f..%252fraw%252fsecret.txt",
    "..%5c..%5craw%5csecret.txt",
    "validations/../../../../raw/secret.txt",
    "validations%2f..%2f..%2f..%2f..%2fraw%2fsecret.txt",
    "%2e%2e%2f..%2f..%2f..%2fkey",
    "..%2f..%2f..%2f..%2fother%2fraw%2fsecret.txt",
    "{root}/key",
    "%2f{root}%2fkey",
    "index.html%00",
    "link.txt",
    "folder/secret.txt",
    "circle",
    "circle/index.html",
    "x" * 300,
]


@pytest.mark.parametrize("trick", TRICKS)
def test_no_path_leads_out_of_the_audits_of_the_shop(trick: str, page: TestClient, folder: Path) -> None:
    audits = folder / "reports" / "audits" / "2026-03-02"
    (audits / "link.txt").symlink_to(folder / "raw" / "secret.txt")
    (audits / "folder").symlink_to(folder / "raw")
    (audits / "circle").symlink_to("circle")
    found = page.get(f"/tiny/audits/2026-03-02/{trick.format(root=folder.parent)}", follow_redirects=True)
    assert found.status_code == 404
    assert "s3cret" not in found.text


@pytest.mark.parametrize(
    "path",
    [
        "/tiny/audits/..%2f..%2f..%2fother%2freports%2faudits%2f2026-03-02/index.html",
        "/tiny/audits/..%2f..%2fraw/secret.txt",
        "/tiny/audits/../secret.txt",
        "/tiny/audits/../../raw/secret.txt",
        "/tiny/audits/%2e%2e/secret.txt",
        "/tiny/audits/..%2f..%2f..%2fother%2freports%2faudits%2f2026-03-02/",
        "/tiny/reports/..",
        "/tiny/reports/..%2f..%2fother",
        "/tiny/reports/2026-03-02%2f..%2f..%2f..%2f..%2fraw",
        "/tiny/reports/2026-03-02%00",
        "/..%2fother/reports/2026-03-02",
        "/%2e%2e/reports/2026-03-02",
        "/tiny%2f..%2fother/reports/2026-03-02",
        "/tiny/runs/..%2f..%2fother%2fruns%2fx",
        "/tiny/runs/%2e%2e",
        "/tiny/runs/x%00",
    ],
)
def test_neither_night_nor_shop_nor_run_lead_out(path: str, page: TestClient, folder: Path) -> None:
    found = page.get(path, follow_redirects=True)
    assert found.status_code == 404
    assert "other" not in json.dumps(found.text.replace(path, ""))


def test_a_run_that_is_another_shop_s_is_not_found(page: TestClient, folder: Path) -> None:
    (folder / "runs" / f"{RUN}.json").unlink()
    assert page.get(f"/tiny/runs/{RUN}").status_code == 404
    assert page.get(f"/other/runs/{RUN}").status_code == 200
