import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit import AuditResult, audit, build_docs
from pipelines.audit_results import keep, kept_since_built
from pipelines.core.storage import Store

NIGHT = date(2026, 3, 2)
KEYS = [f"{i:064x}" for i in range(3)]


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    """A real audit of three rows."""
    folder = tmp_path_factory.mktemp("audited")
    rows = {"user_key": KEYS, "segment_id": [0, 1, 2], "segment_name": list("abc"), "distance": [0.5, 1.0, 0.0]}
    pq.write_table(pa.table(rows), folder / "part-00000.parquet")
    found = audit(
        "segments", [folder / "part-00000.parquet"], docs=folder / "docs", failures=folder / "bad", night=NIGHT
    )
    assert found.success
    return found


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    return tmp_path / "tiny" / "reports" / "audits" / NIGHT.isoformat()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


def test_what_is_kept_comes_back_as_it_was_found(passed: AuditResult, pages: Path, store: Store) -> None:
    keep([passed], pages, store)
    (found,) = kept_since_built(pages)
    assert (found.table, found.suite, found.night, found.success) == ("segments", passed.suite, NIGHT, True)
    assert (found.n_expectations, found.n_failed, found.failures) == (passed.n_expectations, 0, [])
    assert found.validation.to_json_dict() == passed.validation.to_json_dict()


def test_what_is_kept_holds_rules_and_counts_and_no_value(passed: AuditResult, pages: Path, store: Store) -> None:
    keep([passed], pages, store)
    text = (pages / "results" / "segments.json").read_text()
    assert json.loads(text)["validation"]["statistics"]["evaluated_expectations"] == passed.n_expectations
    assert not [key for key in KEYS if key in text]


def test_pages_are_built_from_what_another_process_kept_and_then_nothing_waits(
    passed: AuditResult, pages: Path, store: Store
) -> None:
    keep([passed], pages, store)
    build_docs(kept_since_built(pages), pages)
    assert "segments" in (pages / "index.html").read_text()
    assert kept_since_built(pages) == []


@pytest.mark.parametrize("seconds", [-86_400, 86_400])
def test_a_further_result_builds_the_pages_of_all_again_though_the_clock_was_set(
    seconds: int, passed: AuditResult, pages: Path, store: Store
) -> None:
    keep([passed], pages, store)
    build_docs(kept_since_built(pages), pages)
    built = (pages / "index.html").stat().st_mtime_ns + seconds * 1_000_000_000
    os.utime(pages / "index.html", ns=(built, built))
    keep([replace(passed, table="events")], pages, store)
    assert [found.table for found in kept_since_built(pages)] == ["events", "segments"]


def test_an_earlier_result_of_the_same_table_is_replaced(passed: AuditResult, pages: Path, store: Store) -> None:
    for _ in range(2):
        keep([passed], pages, store)
    assert [path.name for path in (pages / "results").iterdir()] == ["segments.json"]


def test_without_audits_there_is_nothing_to_keep_or_to_build(pages: Path, store: Store) -> None:
    keep([], pages, store)
    assert not pages.exists()
    assert kept_since_built(pages) == []
