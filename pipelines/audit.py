"""Audit: hold staged partitions against their suites (great_expectations/) before anything is published.

Makes one AuditResult per partition; for a broken one also a file of its failing rows and a page that says what broke.
Not runnable by itself: every stage audits what it staged, `nightmarket night` reports the results. The library takes
seconds to import, so a night audits in one process and calls `warm_up()` while its first job runs.
"""

import csv
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pipelines.core.errors import AuditError, StorageError
from pipelines.core.tables import TABLES
from pipelines.suites import (
    DETAIL,
    Batch,
    PandasBatch,
    SparkBatch,
    columns_of,
    condition_of,
    gx_context,
    is_installed,
    load_suite,
    one_line,
)

_SHOWN_VALUES = 20  # per rule, on the page


@dataclass(frozen=True)
class AuditResult:
    """What one suite found; `failures` has a line per broken rule: 'column: rule: k of n rows, e.g. value'."""

    table: str
    suite: str
    success: bool
    n_expectations: int
    n_failed: int
    failures: list[str]
    failed_rows: Path | None
    docs_page: Path | None
    night: date | None = None
    validation: Any = field(default=None, repr=False, compare=False)  # the library's own result, for build_docs


_warming: list[threading.Thread] = []


def warm_up() -> None:
    """Start the library's import in the background. What is wrong with it shows in the first audit, not here."""
    if is_installed():
        thread = threading.Thread(target=import_module, args=["great_expectations"], daemon=True)
        thread.start()
        _warming.append(thread)


def await_library() -> None:
    """Waits for `warm_up`: two threads that import parts of the library at once can each see the other's half of it."""
    while _warming:
        _warming.pop().join()


def audit(
    table: str,
    files: list[Path],
    *,
    docs: Path,
    failures: Path,
    engine: str = "duckdb",
    spark: Any = None,
    night: date | None = None,
) -> AuditResult:
    """Judge the Parquet `files` of one partition of `table` by its suite; pandas reads only the columns it names.

    A passing partition writes nothing. A broken one writes its failing rows to `failures`/<table>[-night].csv (mode
    0600; those of raw tables hold raw text, so that folder belongs to the raw layer) and a page under `docs`.
    Raises AuditError where the suite or the library is at fault; bad data is told in the result.
    """
    if not files:
        raise AuditError(f"{table}: nothing to audit: expected at least one Parquet file in the staged partition")
    if engine == "spark" and spark is None:
        raise AuditError(f"{table}: an audit on Spark needs a session: pass spark=, or audit with engine='duckdb'")
    await_library()
    declared = TABLES[table]
    rules = load_suite(declared.suite).expectations
    batch: Batch = SparkBatch(files, spark) if engine == "spark" else PandasBatch(files, rules)
    results = batch.check(rules, {"result_format": "BOOLEAN_ONLY"})
    broken = [place for place, result in enumerate(results) if not result.success]
    if not broken:
        validation = _validation(declared.suite, results)
        return AuditResult(table, declared.suite, True, len(rules), 0, [], None, None, night, validation)

    # Raw text holds user ids: no value of the raw layer may reach a page or a log.
    detail = {**DETAIL, **batch.detail, "exclude_unexpected_values": declared.layer == "raw"}
    again = batch.check([rules[place] for place in broken], detail)
    for place, result in zip(broken, again, strict=True):
        results[place] = result
    lines = [_line(result) for result in again]
    rows = [(f"{_subject(result)}: {_rule(result)}", row) for result in again for row in batch.rows(result)]
    path = failures / (f"{table}-{night}.csv" if night else f"{table}.csv")
    outcome = AuditResult(
        table=table,
        suite=declared.suite,
        success=False,
        n_expectations=len(rules),
        n_failed=len(broken),
        failures=lines,
        failed_rows=_write_rows(rows, list(declared.columns), path) if rows else None,
        docs_page=None,
        night=night,
        validation=_validation(declared.suite, results),
    )
    return replace(outcome, docs_page=_build([outcome], docs)[0])


def audit_many(batches: Iterable[tuple[str, date | None, list[Path]]], **options: Any) -> list[AuditResult]:
    """`audit` each (table, night, files) with audit's options; the library and the suites are loaded once."""
    return [audit(table, files, night=night, **options) for table, night, files in batches]


def build_docs(results: list[AuditResult], docs: Path) -> Path:
    """Write the pages of all these results, passing ones too, and an index of them; returns <docs>/index.html."""
    _build(results, docs, index=True)
    return docs / "index.html"


def explain(results: Iterable[AuditResult]) -> str:
    """One line for an AuditError: which table broke which rule, where its failing rows are, which page shows it."""
    broken = [result for result in results if not result.success]
    if not broken:
        return "every audit passed"
    first = broken[0]
    night = f" of {first.night}" if first.night else ""
    rules = f" (and {first.n_failed - 1} more)" if first.n_failed > 1 else ""
    rows = f"; failing rows: {first.failed_rows}" if first.failed_rows else ""
    others = [f"{result.table} {result.night or ''}".strip() for result in broken[1:]]
    more = f"; broken too: {', '.join(others[:3])}{' and more' if len(others) > 3 else ''}" if others else ""
    return f"{first.table}{night} broke {first.failures[0]}{rules}{rows}; page: {first.docs_page}{more}; nothing was published"


def _subject(result: Any) -> str:
    return "+".join(columns_of(result.expectation_config.kwargs)) or "columns"


def _rule(result: Any) -> str:
    """The rule as the suite has it: 'values_to_be_between(max_value=1, min_value=0)'."""
    config = result.expectation_config
    shown = ("min_value", "max_value", "strict_min", "strict_max", "value_set", "regex", "or_equal")
    settings = [f"{name}={config.kwargs[name]}" for name in shown if name in config.kwargs]
    if condition := condition_of(config.kwargs):
        settings.append(f"where {condition['column']} {condition['operator']} {condition['parameter']}")
    name = config.type.removeprefix("expect_").removeprefix("column_")
    return f"{name}({', '.join(settings)})" if settings else name


def _line(result: Any) -> str:
    start = f"{_subject(result)}: {_rule(result)}: "
    info = result.exception_info or {}
    for fault in [info] if "raised_exception" in info else info.values():
        if fault["raised_exception"]:
            return f"{start}could not be checked: {one_line(fault['exception_message'])}"
    found = result.result
    if "unexpected_count" not in found:  # the rule about the schema
        mismatched = found["details"]["mismatched"]
        return start + "; ".join(f"{what} {', '.join(sorted(names))}" for what, names in sorted(mismatched.items()))
    values = [value for value in found.get("partial_unexpected_list", []) if value is not None and value == value]
    example = f", e.g. {one_line(values[0]):.80}" if values else ""
    return f"{start}{found['unexpected_count']} of {found['element_count']} rows{example}"


def _write_rows(rows: list[tuple[str, dict[str, Any]]], columns: list[str], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # an older file may be open to others
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rule", *columns])
        writer.writerows([rule, *(row.get(name) for name in columns)] for rule, row in rows)
    return path


def _validation(suite: str, results: list[Any]) -> Any:
    """The library's own result of a whole suite, cut to what a page shows."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

    for result in results:
        for name in ("partial_unexpected_index_list", "unexpected_rows"):
            result.result.pop(name, None)
        for name in ("partial_unexpected_list", "partial_unexpected_counts"):
            if name in result.result:
                result.result[name] = result.result[name][:_SHOWN_VALUES]
    passed = sum(bool(result.success) for result in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": passed,
        "unsuccessful_expectations": len(results) - passed,
        "success_percent": 100 * passed / len(results) if results else None,
    }
    return ExpectationSuiteValidationResult(
        success=passed == len(results), results=results, suite_name=suite, statistics=statistics, meta={}
    )


@contextmanager
def _told_by_log(name: str) -> Iterator[list[str]]:
    """What a library only logs and then goes on from, as a list; nothing of it reaches the terminal."""
    faults: list[str] = []
    logger = logging.getLogger(name)
    handler = logging.Handler(logging.ERROR)
    setattr(handler, "emit", lambda record: faults.append(record.getMessage()))  # noqa: B010 - mypy knows it as a method
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield faults
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def _build(results: list[AuditResult], docs: Path, index: bool = False) -> list[Path]:
    """Pages of `results` under `docs`, in their order; named by night and table: a re-run replaces them."""
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )
    from great_expectations.render.renderer.site_builder import SiteBuilder

    context = gx_context()
    site = SiteBuilder(
        data_context=context,
        site_name="Nightmarket",
        show_how_to_buttons=False,
        site_section_builders={"profiling": "None"},
        store_backend={"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.absolute())},
        runtime_environment={"data_context": context, "root_directory": context.root_directory},
    )
    keys: list[Any] = []
    for result in results:
        midnight = datetime.combine(result.night or date(1970, 1, 1), time(), UTC)
        run = RunIdentifier(run_name=str(result.night or "no-night"), run_time=midnight)
        result.validation.meta.update(run_id=run, batch_spec={"data_asset_name": result.table})
        keys.append(ValidationResultIdentifier(ExpectationSuiteIdentifier(result.suite), run, result.table))
        context.validation_results_store.set(keys[-1], result.validation)
    suites = [ExpectationSuiteIdentifier(name) for name in sorted({result.suite for result in results})]
    with _told_by_log("great_expectations.render.renderer.site_builder") as faults:
        site.build(resource_identifiers=[*keys, *suites], build_index=index)
    if any("No space left" in fault for fault in faults):
        raise StorageError(
            f"{docs}: the disk is full: the pages of the audits are incomplete; free some space and run again"
        )
    if faults:
        raise AuditError(f"{docs}: the pages of the audits could not be built: {faults[0].splitlines()[0][:300]}")
    for key in set(keys):
        context.validation_results_store.remove_key(key)
    return [Path(unquote(urlparse(site.get_resource_url(key)).path)) for key in keys]
