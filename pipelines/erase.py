"""Erases customers from everything that a shop's store holds, and keeps them out; leaves a certificate with counts.

    nightmarket erase --shop demo --user - < ids.txt

An erasure is a request (a file with the ids, readable by its owner alone) that is carried out and then deleted. Killed
anywhere, the same command goes on; until then nothing else may write to the shop. The certificate,
<root>/<shop>/erasure/certificates/<request>.json, and the ledger hold neither an id nor a pseudonym.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.core.errors import StorageError, WrongUseError
from pipelines.core.machine import Machine
from pipelines.core.privacy import load_key
from pipelines.core.shop import Shop
from pipelines.core.storage import ERASURE, Store, default_root, storage_error, write_atomic
from pipelines.core.tables import TABLES
from pipelines.erase_files import EXPORTS, Names, erase_exports, erase_landing, erase_texts
from pipelines.erase_journal import Journal, interrupted
from pipelines.erase_labels import erase_labels
from pipelines.erase_models import mark_models
from pipelines.erase_tables import Cutting
from pipelines.keep_out import add_to_ledger, erasure_folder
from pipelines.scrub import is_own
from pipelines.stage import Context

_NAME = re.compile(r"[0-9a-f]{16}")
_ID = re.compile(r"[^\s\x00-\x1f]{1,256}")


def open_erasure(shop: Shop, machine: Machine, note: Callable[[str], None] = lambda text: None) -> Context:
    """What an erasure works on. Not `night.open_context`: that one refuses a store whose erasure was interrupted."""
    store = Store(default_root(), shop.shop)
    folder = Path(shop.landing_folder) if shop.landing_folder else store.folder / "landing"
    return Context(shop, machine, store, folder.resolve(), False, note)


def request(ids: Iterable[str], store: Store) -> str:
    """Writes a request and returns its name, 16 hex digits; the same customers asked for again are the same request.

    Raises WrongUseError for what can be no id (which is not shown), StorageError.
    """
    wanted = sorted({one.strip() for one in ids} - {""})
    if not wanted:
        raise WrongUseError("no customer named: give --user ID, or --user - and one id a line on standard input")
    if any(not _ID.fullmatch(one) for one in wanted):
        raise WrongUseError(
            "--user: a value is no id: expected 1 to 256 characters without white space (not shown here)"
        )
    text = "".join(f"{one}\n" for one in wanted)
    folder = erasure_folder(store) / "requests"
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
        with store.lock("erasure-requests", wait=True):
            for left in folder.glob(".*"):  # of a process that died here
                left.unlink()
            for path in folder.iterdir():
                if path.read_text() == text:
                    return path.name
            name = secrets.token_hex(8)
            aside = folder / f".{name}"
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(folder / name)
    except OSError as error:
        raise storage_error(folder, error) from error
    return name


def run_request(name: str, context: Context) -> dict[str, Any]:
    """Carries out a request, after one that was interrupted, and returns its certificate; a second time just that.

    Raises WrongUseError for a name that no request has, LockedError where a night, a training or another erasure runs.
    """
    if not _NAME.fullmatch(name):
        raise WrongUseError(
            f"--request: expected the 16 hex digits that `nightmarket erase --later` printed, found {name!r:.40}"
        )
    store = context.store
    with store.erasing():
        before = interrupted(store)
        if before and before != name:
            context.progress(f"finishing the interrupted erasure {before}")
            _run(before, context)
        return _run(name, context)


def certificate_file(name: str, store: Store) -> Path:
    """Where the certificate of a request lies."""
    return store.folder / ERASURE / "certificates" / f"{name}.json"


def _run(name: str, context: Context) -> dict[str, Any]:
    store = context.store
    folder = erasure_folder(store)
    asked, done = folder / "requests" / name, certificate_file(name, store)
    with store.staging() as staging:
        if not done.exists():
            try:
                ids = asked.read_text().split()
            except FileNotFoundError:
                raise WrongUseError(
                    f"shop {store.shop}: no request {name} waits, and none of that name was carried out"
                ) from None
            done.parent.mkdir(exist_ok=True, mode=0o700)
            certificate = _erase(name, ids, context, staging)
            write_atomic(done, json.dumps(certificate, indent=1, sort_keys=True) + "\n", staging)
            done.chmod(0o600)
        if interrupted(store) == name:
            Journal(store, name, staging).close()
        asked.unlink(missing_ok=True)
    try:
        found: dict[str, Any] = json.loads(done.read_text())
    except ValueError as error:
        raise StorageError(f"{done}: damaged certificate ({error}); restore it") from error
    return found


def _erase(name: str, ids: list[str], context: Context, staging: Path) -> dict[str, Any]:
    """All of it, each step such that it can be done again; what tells the steps what to do goes last."""
    store, tell = context.store, context.progress
    journal = Journal(store, name, staging)
    ledger = add_to_ledger(store, ids, staging)
    key = load_key(store.root)
    pseudonyms = [key.pseudonym(one) for one in ids]
    tell("labels")  # while the tables still tell whose texts they are of
    erase_labels(store, pseudonyms, journal, staging)
    tell("tables")
    Cutting(context, ledger, pseudonyms, journal, staging).run()
    tell("files")
    nights = erase_exports(store, pseudonyms, journal, staging)
    erase_landing(context, ledger, journal, staging)
    erase_texts(store, Names(ids, pseudonyms), journal, staging)
    store.carry_over(journal.hashes)
    tell("models")
    models = mark_models(context, name, journal, staging)
    sent = _send_again(nights, context)
    totals = journal.totals()
    return {
        "certificate": name,
        "shop": store.shop,
        "erased_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "customers_asked": len(ids),
        "rows": {kind: n for kind, n in totals.items() if kind in TABLES or kind == EXPORTS},
        "files": {kind: n for kind, n in totals.items() if kind not in TABLES and kind != EXPORTS},
        "exports_sent_again": sent,
        "models": models,
        "left_to_the_shop": _left_to_the_shop(context),
    }


def _send_again(nights: list[Any], context: Context) -> int:
    """Sends the cut exports over those that the shop has on S3; returns how many nights that were."""
    settings = context.shop.s3
    if not settings or not settings.publish:
        return 0
    from pipelines.s3_send import send

    for night in nights:
        send(settings, context.store.partition(EXPORTS, night), f"{context.shop.shop}/{night.isoformat()}")
    return len(nights)


def _left_to_the_shop(context: Context) -> list[str]:
    """What lies outside the store, in words: nobody else can erase it."""
    found = ["files in landing folders outside the store: lines of the customer in them stay out"]
    if not is_own(context.landing, context.store):
        found = [f"the files in {context.landing} and other landing folders: lines of the customer in them stay out"]
    s3 = context.shop.s3
    if s3 and s3.landing:
        found.append(f"the objects below {s3.landing}: their lines of the customer stay out")
    if s3 and s3.publish:
        found.append(f"earlier versions of the objects below {s3.publish}, if the bucket keeps versions")
    found.append("backups of the store's disk, and what the sending tools have received")
    return found
