"""The retain stage: removes what is older than the shop's configuration keeps (`retention`), layer by layer.

What was made of the removed nights stays, and is not stale: manifests' inputs of nights before `Store.kept_from` are not
looked at any more. Nights that cannot be made whole again are refused by name. Of events and outcomes the unsubscribes
stay: consent that was taken back must never lapse. A removal is one rename; killed, the next run goes on.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.errors import WrongUseError
from pipelines.core.shop import Retention, Shop
from pipelines.core.storage import RETENTION, Store, content_hash, write_atomic
from pipelines.core.tables import ARTEFACTS, TABLES
from pipelines.stage import Context, StageResult, docs_folder

if TYPE_CHECKING:
    import pyarrow as pa

_CONSENT = {"events": C.EVENT_TYPE, "outcomes": C.OUTCOME}  # table -> column that says "unsubscribe"
_UNSUBSCRIBE = "unsubscribe"


def run(night: date, context: Context) -> StageResult:
    """Removes what the configuration keeps no longer at the end of `night`. Counts: removed partitions or files per layer.

    An earlier night than the newest removes nothing more.
    """
    result = StageResult("retain")
    first = {layer: night - timedelta(days=n - 1) for layer, n in _kept_nights(context.shop.retention).items()}
    if not first:
        result.idle = "all is kept"
        return result
    store = context.store
    first = {layer: max(at, store.kept_from(layer)) for layer, at in first.items()}
    removed = dict.fromkeys(sorted(first), 0)
    with store.staging() as staging, store.lock("clean", wait=True):
        # Told first: whoever looks meanwhile misses nothing that is gone.
        told = {layer: at.isoformat() for layer, at in first.items()}
        if any(store.kept_from(layer) != at for layer, at in first.items()):
            write_atomic(store.folder / RETENTION, json.dumps(told, indent=1, sort_keys=True) + "\n", staging)
        for layer, at in first.items():
            for table, old in _old_partitions(store, layer, at):
                if table in _CONSENT:
                    removed[layer] += _keep_consent(store, table, old, staging)
                else:
                    store.retract(table, old)
                    removed[layer] += 1
        for layer, path in _old_files(first, context):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed[layer] += 1
    result.counts = {"removed": removed, "kept_from": told}
    result.n_made = sum(removed.values())
    return result


def refuse_expired(night: date, shop: Shop, store: Store) -> None:
    """Raises WrongUseError for a night that cannot be made whole any more: of its window something was removed."""
    first = shop.first_runnable(store.kept_from("clean"))
    if not shop.landing["events"].is_archive:
        first = max(first, store.kept_from("raw"))
    if night < first:
        raise WrongUseError(
            f"shop {shop.shop}, night {night}: it is kept no longer (retention in conf/shops/{shop.shop}.yaml), so it "
            f"would come out half empty; nights from {first} on can be run"
        )


def _kept_nights(retention: Retention) -> dict[str, int]:
    """Layer (or landing, logs) -> nights kept, of those that are limited."""
    told: dict[str, int | None] = retention.model_dump()
    return {name.removesuffix("_nights"): n for name, n in told.items() if n is not None}


def _old_partitions(store: Store, layer: str, first: date) -> Iterator[tuple[str, date]]:
    for table in (*TABLES.values(), *ARTEFACTS.values()):
        if table.layer == layer and not table.is_kept:
            yield from ((table.name, night) for night in store.nights(table.name) if night < first)


def _keep_consent(store: Store, table: str, night: date, staging: Path) -> int:
    """Leaves the unsubscribes alone of a partition; 1 if there was more in it."""
    from pipelines.erase_tables import cut_file

    manifest = store.manifest(table, night)
    if manifest is None or manifest.counts == {}:  # as this function leaves it
        return 0
    folder = staging / f"{table}-{night}"
    folder.mkdir()
    files = store.files(table, [night])
    n_left = sum(cut_file(path, folder / path.name, _not_consent(_CONSENT[table])) for path in files)
    store.replace(replace(manifest, rows=n_left, content_hash=content_hash(folder), counts={}), folder)
    return 1


def _not_consent(column: str) -> Any:
    def mine(rows: "pa.Table") -> np.ndarray:
        import pyarrow.compute as pc

        return np.asarray(pc.fill_null(pc.not_equal(rows[column], _UNSUBSCRIBE), True).to_numpy())

    return mine


def _old_files(first: dict[str, date], context: Context) -> Iterator[tuple[str, Path]]:
    """Files and folders beside the tables that are too old: (layer, path)."""
    store = context.store
    if "raw" in first:
        for path in sorted((store.folder / "raw" / "failing_rows").glob("*-????-??-??.csv")):
            if _night(path.stem[-10:]) < first["raw"]:
                yield "raw", path
    if "reports" in first:
        for path in sorted(docs_folder(store).glob("????-??-??")):
            if _night(path.name) < first["reports"]:
                yield "reports", path
    if "logs" in first:
        for path in sorted((store.folder / "runs").glob("*.json")):
            if _night(json.loads(path.read_text()).get("night", "")) < first["logs"]:
                yield "logs", path
        for path in sorted((store.folder / "logs").glob("*")):
            if datetime.fromtimestamp(path.stat().st_mtime, UTC).date() < first["logs"]:
                yield "logs", path
    own = (store.folder / "landing").resolve()
    if "landing" in first and context.landing == own:
        yield from (("landing", path) for path in _old_landing(own, context.shop, first["landing"]))


def _old_landing(landing: Path, shop: Shop, first: date) -> Iterator[Path]:
    """Files of old nights; the folder of a night stays, for the demo shop would simulate a night without one anew."""
    for source in shop.landing.values():
        if source.is_archive:
            continue
        before, _, behind = source.pattern.partition("{night}")
        for path in sorted(landing.glob(f"{before}????-??-??{behind}")):
            name = path.relative_to(landing).as_posix()
            if path.is_file() and _night(name[len(before) :][:10]) < first:
                yield path
    for path in sorted((landing / ".state").glob("????-??-??.npz")):
        if _night(path.stem) < first:
            yield path


def _night(text: str) -> date:
    """A night in a name; what is none is of no night, and never too old."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return date.max
