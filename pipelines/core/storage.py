"""The store: where partitions lie, how they are staged, published by one atomic rename, locked and found stale.

<root>/<shop>/<layer>/<table>/<partition>=YYYY-MM-DD/{part-*.parquet, _manifest.json}. The manifest is inside the folder,
so that one rename publishes both. Nothing here knows what a table means.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.core.errors import LockedError, StorageError
from pipelines.core.tables import ARTEFACTS, TABLES, Table

MANIFEST = "_manifest.json"
ABSENT = "absent"  # an input partition that was looked for and not there; its later arrival makes the reader stale
RETENTION = "retention.json"  # layer -> the first night that it keeps
ERASURE, JOURNAL = "erasure", "journal.json"  # folder and lock of erasures, and what one that runs has done so far
_WORKING = ("night-", "train-", "landing", "clean")  # locks of those who read what an erasure changes
_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Manifest:
    """What a partition is made of. Holds no time and no run id: same inputs, same bytes.

    `inputs` maps "table/YYYY-MM-DD" to the content hash that was read (or "absent"); `stale` names the inputs that have
    changed since.
    """

    table: str
    partition: str
    rows: int
    content_hash: str
    inputs: dict[str, str]
    code_version: str
    config_hash: str
    audit: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def default_root() -> Path:
    """Everything the program writes lies under NIGHTMARKET_ROOT, or var/ in the project."""
    return Path(os.environ.get("NIGHTMARKET_ROOT", _PROJECT / "var")).resolve()


@cache
def sources_digest(*folders: str) -> str:
    """Short hash of the Python sources below these folders of the project."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((_PROJECT / folder).rglob("*.py")):
            digest.update(path.relative_to(_PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def code_version() -> str:
    """Package version and a hash of the sources that make tables: a changed line makes tables out of date."""
    return f"0.1.0+{sources_digest('pipelines', 'spark_jobs')}"


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(folder: Path) -> str:
    """SHA-256 over names and bytes of a folder's files, the manifest left out."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST:
            digest.update(f"{path.name}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


class Store:
    """The tables of one shop under one root."""

    def __init__(self, root: Path, shop: str) -> None:
        self.root = root
        self.shop = shop
        self.folder = root / shop
        self._is_erasing = False

    # -- reading

    def partition(self, table: str, night: date) -> Path:
        declared = _declared(table)
        return self.folder / declared.layer / table / f"{declared.partition}={night.isoformat()}"

    def manifest(self, table: str, night: date) -> Manifest | None:
        """None where the partition is not published. Raises StorageError where its manifest cannot be read."""
        path = self.partition(table, night) / MANIFEST
        try:
            return Manifest(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{path}: damaged manifest ({error}); delete that folder and run the night again"
            ) from error

    def nights(self, table: str) -> list[date]:
        """Published partitions, sorted."""
        declared = _declared(table)
        found = (self.folder / declared.layer / table).glob(f"{declared.partition}=????-??-??")
        return sorted(date.fromisoformat(p.name.partition("=")[2]) for p in found if (p / MANIFEST).exists())

    def files(self, table: str, nights: Iterable[date]) -> list[Path]:
        """Parquet files of those partitions that exist, in order."""
        return [p for night in nights for p in sorted(self.partition(table, night).glob("part-*.parquet"))]

    def inputs(self, table: str, nights: Iterable[date]) -> dict[str, str]:
        """Lineage of reading these partitions: "table/YYYY-MM-DD" -> content hash, or "absent"."""
        found = {}
        for night in nights:
            manifest = self.manifest(table, night)
            found[f"{table}/{night.isoformat()}"] = manifest.content_hash if manifest else ABSENT
        return found

    def is_current(self, table: str, night: date, inputs: dict[str, str], config_hash: str) -> bool:
        """True if the published partition was made from these inputs by this code under this configuration."""
        manifest = self.manifest(table, night)
        return (
            manifest is not None
            and not manifest.stale
            and self._kept(manifest.inputs) == self._kept(inputs)
            and manifest.config_hash == config_hash
            and manifest.code_version == code_version()
        )

    def kept_from(self, layer: str) -> date:
        """The first night of which the layer still holds all; date.min where nothing was ever removed for its age."""
        return self._first_kept().get(layer, date.min)

    def _first_kept(self) -> dict[str, date]:
        try:
            told = json.loads((self.folder / RETENTION).read_text())
        except FileNotFoundError:
            return {}
        return {layer: date.fromisoformat(night) for layer, night in told.items()}

    def _kept(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """Inputs without those that are kept no longer: that they are gone changes nothing that was made of them."""
        first = self._first_kept()
        return {name: digest for name, digest in inputs.items() if not _is_expired(name, first)}

    # -- writing

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A private folder on the store's disk, gone afterwards. Folders that dead processes left are swept first.

        Waits for an erasure to end; raises LockedError where one was interrupted: what it left is neither old nor new.
        """
        with contextlib.nullcontext() if self._is_erasing else self.lock(ERASURE, wait=True, shared=True):
            if not self._is_erasing:
                self._refuse_interrupted()
            with self._staging() as folder:
                yield folder

    @contextlib.contextmanager
    def _staging(self) -> Iterator[Path]:
        base = self.folder / ".staging"
        with self.lock("staging", wait=True), _writing(base):
            base.mkdir(parents=True, exist_ok=True)
            _sweep(base)
            folder = base / f"{os.getpid()}-{time.monotonic_ns()}"
            folder.mkdir()
            alive = (folder / ".alive").open("w")
            fcntl.flock(alive, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            alive.close()

    def publish(
        self,
        table: str,
        night: date,
        staged: Path,
        *,
        rows: int,
        inputs: dict[str, str],
        config_hash: str,
        audit: dict[str, Any] | None = None,
        counts: dict[str, Any] | None = None,
    ) -> Manifest:
        """Writes the manifest into the staged folder and swaps it into place with one atomic rename.

        Who read what was there before is named by `mark_stale`, once for all that a night published.
        """
        published = self.partition(table, night)
        with _writing(published):
            manifest = Manifest(
                table=table,
                partition=night.isoformat(),
                rows=rows,
                content_hash=content_hash(staged),
                inputs=dict(sorted(inputs.items())),
                code_version=code_version(),
                config_hash=config_hash,
                audit=audit or {},
                counts=counts or {},
            )
            (staged / MANIFEST).write_text(manifest.to_json())
            with self.lock("publish", wait=True):
                replace_folder(staged, published)
        return manifest

    def replace(self, manifest: Manifest, staged: Path) -> None:
        """Swaps other rows into a published partition under this manifest: what it was made of stays as it was told."""
        published = self.partition(manifest.table, date.fromisoformat(manifest.partition))
        with _writing(published), self.lock("publish", wait=True):
            (staged / MANIFEST).write_text(manifest.to_json())
            replace_folder(staged, published)

    def amend(self, manifests: Iterable[Manifest]) -> None:
        """Writes these manifests over those of their published partitions, whose rows stay."""
        with self.staging() as staging, self.lock("publish", wait=True):
            for manifest in manifests:
                path = self.partition(manifest.table, date.fromisoformat(manifest.partition)) / MANIFEST
                with _writing(path):
                    write_atomic(path, manifest.to_json(), staging)

    def carry_over(self, changed: Mapping[str, tuple[str, str]]) -> None:
        """Tells who read these inputs ("table/YYYY-MM-DD" -> content hash before, after) that they read what is there now.

        So what was made of partitions that rows were erased from is not made, and not decided, anew.
        """
        found = []
        for manifest in self._all_manifests():
            inputs = {
                name: changed[name][1] if name in changed and digest == changed[name][0] else digest
                for name, digest in manifest.inputs.items()
            }
            if inputs != manifest.inputs:
                found.append(replace(manifest, inputs=inputs))
        self.amend(found)

    def retract(self, table: str, night: date) -> None:
        """Takes a published partition back with one rename; nothing where there is none."""
        published = self.partition(table, night)
        if published.exists():
            with self.staging() as aside, _writing(published), self.lock("publish", wait=True):
                published.rename(aside / table)

    def mark_stale(self) -> None:
        """Names, in every manifest that read something since changed, what has changed; transitively.

        Nothing depends on being marked to be made again; it tells people and `nightmarket backfill --stale`. Publishing
        waits meanwhile, so that no manifest is written over that of a partition just published.
        """
        with self.staging() as staging, self.lock("publish", wait=True):
            for manifest, inputs in self._changed_inputs():
                path = self.partition(manifest.table, date.fromisoformat(manifest.partition)) / MANIFEST
                with _writing(path):
                    write_atomic(path, replace(manifest, stale=inputs).to_json(), staging)

    def _changed_inputs(self) -> list[tuple[Manifest, list[str]]]:
        """Manifests whose `stale` is not what it should be, and what it should be."""
        manifests = {f"{m.table}/{m.partition}": m for m in self._all_manifests()}
        current = {key: m.content_hash for key, m in manifests.items()}
        stale: dict[str, list[str]] = {}
        kept = {key: self._kept(manifest.inputs) for key, manifest in manifests.items()}
        pending = True
        while pending:
            pending = False
            for key in manifests:
                changed = [
                    name
                    for name, digest in kept[key].items()
                    if name in stale or (name.partition("/")[0] in TABLES and current.get(name, ABSENT) != digest)
                ]
                if changed != stale.get(key, []):
                    stale[key] = changed
                    pending = True
        return [
            (manifest, stale.get(key, []))
            for key, manifest in manifests.items()
            if stale.get(key, []) != manifest.stale
        ]

    def _all_manifests(self) -> Iterator[Manifest]:
        for table in (*TABLES, *ARTEFACTS):
            for night in self.nights(table):
                manifest = self.manifest(table, night)
                if manifest:
                    yield manifest

    def stale_nights(self) -> list[date]:
        """Nights with a published partition whose inputs have changed since, sorted; tables made on demand left out."""
        stale = [m for m in self._all_manifests() if m.stale and not _declared(m.table).is_on_demand]
        return sorted({date.fromisoformat(m.partition) for m in stale})

    @contextlib.contextmanager
    def erasing(self) -> Iterator[None]:
        """Nobody else writes to the shop meanwhile. Raises LockedError where a night, a training or an erasure runs."""
        with contextlib.ExitStack() as held:
            taken = {path.name for path in (self.folder / ".locks").glob("*") if path.name.startswith(_WORKING)}
            for name in sorted(taken):
                held.enter_context(self.lock(name, wait=False))
            held.enter_context(self.lock(ERASURE, wait=False))
            self._is_erasing = True
            try:
                yield
            finally:
                self._is_erasing = False

    def _refuse_interrupted(self) -> None:
        """Raises LockedError where an erasure was begun and not ended."""
        try:
            request = json.loads((self.folder / ERASURE / JOURNAL).read_text())["request"]
        except FileNotFoundError:
            return
        raise LockedError(
            f"shop {self.shop}: an erasure was interrupted and has to be finished first: "
            f"nightmarket erase --shop {self.shop} --request {request}"
        )

    @contextlib.contextmanager
    def lock(self, name: str, *, wait: bool, shared: bool = False) -> Iterator[None]:
        """One process at a time per name (or many that share it); the kernel frees it when the process dies, however.

        Raises LockedError when taken and `wait` is False.
        """
        path = self.folder / ".locks" / name
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("a+")
        with handle:
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                handle.seek(0)
                raise LockedError(
                    f"shop {self.shop}, {name}: process {handle.read().strip() or '?'} is working on it; "
                    "wait for it to end, then run again"
                ) from None
            # Only for people to read: a full disk must not keep a lock from being held, nor a buffer be left for its end.
            with contextlib.suppress(OSError):
                os.ftruncate(handle.fileno(), 0)
                os.write(handle.fileno(), str(os.getpid()).encode())
            yield


def _is_expired(name: str, first: Mapping[str, date]) -> bool:
    """Whether an input is of a night before the first that its layer keeps."""
    table, _, night = name.partition("/")
    declared = TABLES.get(table)
    if declared is None or declared.is_kept or declared.layer not in first:
        return False
    return date.fromisoformat(night) < first[declared.layer]


def window(night: date, n_nights: int) -> list[date]:
    """The n nights that end with `night`, in order."""
    return [night - timedelta(days=back) for back in range(n_nights - 1, -1, -1)]


def write_atomic(path: Path, text: str, staging: Path) -> None:
    """Replaces a file so that readers see the old text or the new, never a part; `staging` is on the same disk."""
    aside = staging / path.name
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def replace_folder(staged: Path, published: Path) -> None:
    """Puts `staged` where `published` is: one rename, or one atomic exchange where a folder is there already.

    Both lie on one file system. What was there before is deleted after the exchange.
    """
    for path in (*staged.iterdir(), staged):
        _fsync(path)
    published.parent.mkdir(parents=True, exist_ok=True)
    if published.exists():
        _exchange(staged, published)
        shutil.rmtree(staged)
    else:
        staged.rename(published)
    _fsync(published.parent)


def _exchange(left: Path, right: Path) -> None:
    """renameat2(RENAME_EXCHANGE) on Linux, renamex_np(RENAME_SWAP) on macOS."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        failed = libc.renamex_np(os.fsencode(left), os.fsencode(right), 2)
    else:
        at_cwd = -100
        failed = libc.renameat2(at_cwd, os.fsencode(left), at_cwd, os.fsencode(right), 2)
    if failed:
        code = ctypes.get_errno()
        if code == errno.EINVAL:
            raise StorageError(f"{right.parent}: this file system cannot exchange folders atomically; use a local disk")
        raise OSError(code, os.strerror(code), str(right))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(base: Path) -> None:
    """Removes staging folders whose owner is dead: the lock on their .alive file is free. Called under the staging lock."""
    for folder in base.iterdir():
        try:
            with (folder / ".alive").open() as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        except FileNotFoundError:
            pass  # folders are made under the same lock as they are swept: who made this one died right then
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal into one clear line."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError) -> StorageError:
    """What a person should know and do about a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{path}: the disk is full; nothing was published; free some space and run again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{path}: no permission to write; check the owner of the folder or set NIGHTMARKET_ROOT")
    return StorageError(f"{path}: {error.strerror or error}; nothing was published; run again once that is mended")


def _declared(table: str) -> Table:
    found = TABLES.get(table) or ARTEFACTS.get(table)
    if found is None:
        raise StorageError(f"no table '{table}'; declared are {', '.join((*TABLES, *ARTEFACTS))}")
    return found
