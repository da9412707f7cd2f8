"""Our pages inside Airflow's: the page of a night's run, its report, and the pages of its audits.

Served at /nightmarket (pipelines/schedule/plugin.py) to who is logged in to Airflow. Only reports and run
records are served; no table, nothing of the raw layer.
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.core.config import load_shop
from pipelines.core.errors import NightmarketError
from pipelines.core.storage import Store, default_root
from pipelines.run_record import STAGES, record_path
from pipelines.schedule.names import record_id, shop_of

app = FastAPI(title="Nightmarket", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@app.get("/dag_run/{dag_id}/{run_id}")
def page_of_run(dag_id: str, run_id: str) -> RedirectResponse:
    """The tab on Airflow's page of a run leads here."""
    return RedirectResponse(f"../../{quote(shop_of(dag_id))}/runs/{quote(record_id(run_id))}")


@app.get("/{shop}/runs/{run_id}", response_class=HTMLResponse)
def run_page(shop: str, run_id: str) -> str:
    """What a night's run did and how long each stage took, with links to its logs, audits, models and report."""
    store = _store(shop)
    try:
        record: dict[str, Any] = json.loads(record_path(store, run_id).read_text())
    except (NightmarketError, FileNotFoundError):
        raise HTTPException(404, f"no run {run_id} of shop {shop} yet: its first stage has not ended") from None
    night = record["night"]
    links = {
        "report": (store.folder / "reports" / "nightly_report" / f"night={night}" / "report.html").exists()
        and f"../reports/{night}",
        "audit pages": (store.folder / "reports" / "audits" / night / "index.html").exists()
        and f"../audits/{night}/index.html",
        "models in MLflow": os.environ.get("NIGHTMARKET_MLFLOW_PAGE", ""),
    }
    stages = sorted(record["stages"].items(), key=lambda pair: STAGES.index(pair[0]))
    tables = sorted({name: state for _, stage in stages for name, state in stage["tables"].items()}.items())
    return _templates.get_template("run_page.html.j2").render(record=record, links=links, stages=stages, tables=tables)


@app.get("/{shop}/reports/{night}")
def report(shop: str, night: str) -> FileResponse:
    return _file(_store(shop).folder / "reports" / "nightly_report", f"night={night}/report.html")


@app.get("/{shop}/audits/{night}/")
def audit_index(shop: str, night: str) -> HTMLResponse:
    """The pages of a night's audits: of all, once the night has ended; before that those of audits that failed."""
    folder = _inside(_store(shop).folder / "reports" / "audits", night)
    pages = sorted((folder / "validations").rglob("*.html"), key=lambda page: page.stat().st_mtime, reverse=True)
    if not pages:
        raise HTTPException(404, f"no audit pages of {shop}, night {night}")
    shown = [(page.stem, page.relative_to(folder).as_posix()) for page in pages]
    has_index = (folder / "index.html").exists()
    return HTMLResponse(
        _templates.get_template("audit_index.html.j2").render(shop=shop, night=night, pages=shown, has_index=has_index)
    )


@app.get("/{shop}/audits/{night}/{path:path}")
def audit_page(shop: str, night: str, path: str) -> FileResponse:
    return _file(_store(shop).folder / "reports" / "audits", f"{night}/{path}")


def _store(shop: str) -> Store:
    try:
        return Store(default_root(), load_shop(shop).shop)
    except NightmarketError:
        raise HTTPException(404, f"no shop {shop}") from None


def _inside(folder: Path, path: str) -> Path:
    """Raises 404 for what leads out of the folder, and for what is not there."""
    try:
        found = (folder / path).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # also a null byte, and links in a circle
        raise HTTPException(404, "no such page") from None
    if not found.is_relative_to(folder.resolve()):
        raise HTTPException(404, "no such page")
    return found


def _file(folder: Path, path: str) -> FileResponse:
    found = _inside(folder, path)
    if not found.is_file():
        raise HTTPException(404, "no such page")
    return FileResponse(found)
