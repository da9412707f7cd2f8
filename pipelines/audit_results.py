"""What audits found, kept beside the pages that show it: the stages of a night may audit in several processes, and one of
them builds the pages of all.

`keep` writes <pages>/results/<table>.json for each audit that passed; those hold rules and counts, never values. Where the
index of the pages is there, it shows all of them: times of files would tell it wrong after the clock was set.
"""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.audit import AuditResult, await_library
from pipelines.core.storage import Store, write_atomic

_FOLDER, _INDEX = "results", "index.html"


def keep(results: Sequence[AuditResult], pages: Path, store: Store) -> None:
    """Writes what each audit found in place of what an earlier run did, and takes the index back. Raises StorageError."""
    if not results:
        return
    folder = pages / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (pages / _INDEX).unlink(missing_ok=True)
    with store.staging() as staging:
        for result in results:
            _write(result, folder / f"{result.table}.json", staging)


def _write(result: AuditResult, path: Path, staging: Path) -> None:
    kept: dict[str, Any] = {
        "table": result.table,
        "suite": result.suite,
        "n_expectations": result.n_expectations,
        "night": result.night.isoformat() if result.night else None,
        "validation": result.validation.to_json_dict(),
    }
    write_atomic(path, json.dumps(kept, sort_keys=True), staging)


def kept_since_built(pages: Path) -> list[AuditResult]:
    """All kept results, by table, if the index of the pages does not show them yet; else none."""
    files = sorted((pages / _FOLDER).glob("*.json"))
    if not files or (pages / _INDEX).exists():
        return []
    await_library()
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema

    found = []
    for file in files:
        kept = json.loads(file.read_text())
        found.append(
            AuditResult(
                table=kept["table"],
                suite=kept["suite"],
                success=True,
                n_expectations=kept["n_expectations"],
                n_failed=0,
                failures=[],
                failed_rows=None,
                docs_page=None,
                night=date.fromisoformat(kept["night"]) if kept["night"] else None,
                validation=expectationSuiteValidationResultSchema.load(kept["validation"]),
            )
        )
    return found
