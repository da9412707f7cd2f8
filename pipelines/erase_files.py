"""Takes erased customers out of what is no table: landing files, exports, failing rows, logs, pages, run records, leftovers."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from pipelines.core.storage import Store, content_hash, file_hash
from pipelines.erase_journal import Change, Journal
from pipelines.export import MANIFEST as EXPORT_MANIFEST
from pipelines.keep_out import Ledger
from pipelines.scrub import is_own, scrub, scrub_states
from pipelines.stage import Context, docs_folder

LANDING, STATE, EXPORTS, ROWS, LOGS, RUNS, PAGES, LEFTOVERS = (
    "landing_lines", "simulator_lines", "plan_export", "failing_rows", "log_lines", "run_records", "audit_pages",
    "leftovers",
)  # fmt: skip
_REDACTED: Final = "[erased]"
_OWN_SESSION: Final = 16  # digits of the pseudonym that a session id of ours begins with (spark_jobs/events.py)


class Names:
    """Where the erased customers' ids and pseudonyms stand in a text."""

    def __init__(self, ids: Iterable[str], pseudonyms: Iterable[str]) -> None:
        keys = [key[:_OWN_SESSION] + "[0-9a-f]*" for key in pseudonyms]
        told = [rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])" for name in ids]
        # An id of digits alone may be any number: in pages and records of ours numbers are counts.
        spoken = [pattern for name, pattern in zip(ids, told, strict=True) if not name.isdigit()]
        self.any = re.compile("|".join(keys + told))
        self.certain = re.compile("|".join(keys + spoken))


def erase_landing(context: Context, ledger: Ledger, journal: Journal, staging: Path) -> None:
    """Rewrites the shop's landing files that lie under the store's root, and the demo shop's held-back lines."""
    landing, shop, store = context.landing, context.shop, context.store
    if not landing.is_dir() or not is_own(landing, store):
        return
    for source in shop.landing.values():
        for path in sorted(landing.glob(source.pattern.replace("{night}", "????-??-??"))):
            name = path.relative_to(landing).as_posix()
            if not path.is_file() or any(part.startswith(".") for part in Path(name).parts):
                continue
            aside = staging / "landing" / name
            n = scrub(path, aside, ledger, source.connector, lambda member: True)
            if n:
                journal.note(f"landing/{name}", Change(LANDING, n, file_hash(path), file_hash(aside)))
                aside.replace(path)
    found = scrub_states(landing, staging, ledger, shop.landing["events"].connector)
    for path, (aside, n) in found.items():
        journal.note(path.relative_to(landing).as_posix(), Change(STATE, n))
        aside.replace(path)
    for pattern in (".*.partial", ".state/*.partial", "**/.*.part"):
        for path in sorted(landing.glob(pattern)):  # of a simulation or a download that was killed
            _delete(path, context.store, journal)


def erase_exports(store: Store, pseudonyms: list[str], journal: Journal, staging: Path) -> list[date]:
    """Cuts the exported plans and returns the nights whose export changed, also those of before a kill."""
    for night in store.nights(EXPORTS):
        folder, manifest = store.partition(EXPORTS, night), store.manifest(EXPORTS, night)
        if manifest is None:
            continue
        out = staging / EXPORTS / night.isoformat()
        n = _cut_export(folder, out, set(pseudonyms))
        if n:
            counts = json.loads((out / EXPORT_MANIFEST).read_text())
            cut = replace(manifest, rows=manifest.rows - n, content_hash=content_hash(out), counts=counts)
            change = Change(EXPORTS, n, manifest.content_hash, cut.content_hash, cut.rows, counts)
            journal.note(f"{EXPORTS}/{night}", change)
            store.replace(cut, out)
    return [date.fromisoformat(name.partition("/")[2]) for name in journal.changes if name.startswith(f"{EXPORTS}/")]


def _cut_export(folder: Path, out: Path, pseudonyms: set[str]) -> int:
    """Writes an export without these customers' rows; the first cell of a row is the pseudonym."""
    out.mkdir(parents=True)
    told = json.loads((folder / EXPORT_MANIFEST).read_text())
    n_erased = 0
    for name in sorted(told["files"]):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if line.partition(b",")[0].decode() not in pseudonyms]
        (out / name).write_bytes(b"".join(kept))
        n_erased += len(lines) - len(kept)
        told["files"][name] = {"rows": len(kept) - 1, "sha256": file_hash(out / name)}
    (out / EXPORT_MANIFEST).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return n_erased


def erase_texts(store: Store, names: Names, journal: Journal, staging: Path) -> None:
    """Failing rows, logs, run records and pages of audits; what a killed training left goes as a whole."""
    for path in _files(store.folder / "raw" / "failing_rows", "*.csv"):
        _rewrite(path, ROWS, lambda text: _without_rows(text, names.any), store, journal, staging)
    for folder in (store.folder / "logs", store.root / "airflow" / "logs"):
        for path in _files(folder, "**/*"):
            _rewrite(path, LOGS, lambda text: _without_lines(text, names.any), store, journal, staging)
    for path in _files(store.folder / "runs", "*.json"):
        _rewrite(path, RUNS, lambda text: _redacted(text, names), store, journal, staging)
    for path in _files(docs_folder(store), "**/*.html"):
        if names.certain.search(path.read_text(encoding="utf-8", errors="replace")):
            _delete(path, store, journal, PAGES)
    for path in sorted((store.folder / "checkpoints").glob("*/*")):
        _delete(path, store, journal)


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in sorted(folder.glob(pattern)) if path.is_file() and not path.is_symlink())


def _rewrite(
    path: Path, kind: str, without: Callable[[str], tuple[str, int]], store: Store, journal: Journal, staging: Path
) -> None:
    """`without`: the text that stays, and how many rows, lines or places go."""
    text, n = without(path.read_bytes().decode(errors="surrogateescape"))
    if n:
        journal.note(path.relative_to(store.root).as_posix(), Change(kind, n))
        aside = staging / "text"
        aside.write_bytes(text.encode(errors="surrogateescape"))
        aside.chmod(path.stat().st_mode & 0o777)
        aside.replace(path)


def _without_rows(text: str, names: re.Pattern[str]) -> tuple[str, int]:
    rows = list(csv.reader(text.splitlines(keepends=True)))
    kept = [row for row in rows if not any(names.search(cell) for cell in row)]
    if len(kept) == len(rows):
        return text, 0
    out = io.StringIO()
    csv.writer(out).writerows(kept)
    return out.getvalue(), len(rows) - len(kept)


def _without_lines(text: str, names: re.Pattern[str]) -> tuple[str, int]:
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not names.search(line)]
    return "".join(kept), len(lines) - len(kept)


def _redacted(text: str, names: Names) -> tuple[str, int]:
    """A run record with names struck out: of what went wrong also numbers that may be an id."""
    n_struck = 0

    def strike(value: Any, pattern: re.Pattern[str]) -> Any:
        nonlocal n_struck
        if isinstance(value, dict):
            return {key: strike(part, names.any if key == "error" else pattern) for key, part in value.items()}
        if isinstance(value, list):
            return [strike(part, pattern) for part in value]
        if isinstance(value, str):
            value, n = pattern.subn(_REDACTED, value)
            n_struck += n
        return value

    record = strike(json.loads(text), names.certain)
    return json.dumps(record, indent=1, sort_keys=True) + "\n", n_struck


def _delete(path: Path, store: Store, journal: Journal, kind: str = LEFTOVERS) -> None:
    journal.note(path.relative_to(store.root).as_posix(), Change(kind, 1))
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
