"""Mirrors the objects under s3.landing that a shop's patterns name into a local landing folder, resumably.

Called by the land stage: `fetch(shop.s3, ["2026-03-01/events*.jsonl*"], folder)`. What is on disk stays of use after
a cut connection, a full disk or a SIGKILL: `.<name>.part` beside the file, `.nightmarket-s3.json` for what is complete.
"""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.core.errors import ConfigError, LandingError, StorageError
from pipelines.core.shop import S3
from pipelines.s3 import CHUNK, Progress, Remote, connect, look, matches, plain_errors, prove, split_url

OURS = ".nightmarket-s3"
STATE = f"{OURS}.json"
LOCK = f"{OURS}.lock"
RESERVE = 16 * 1024 * 1024  # bytes of disk left free beside an object
WHOLE_TRIES = 3  # downloads of one object that changes under us or arrives damaged
SAVE_EVERY = 100  # objects between two writes of the state; files after it are checked again, not fetched again


@dataclass(frozen=True)
class FetchResult:
    """What one call did; names are relative to the folder, sorted."""

    fetched: tuple[str, ...]
    unchanged: tuple[str, ...]  # known from an earlier call, or already there with the right content
    unverified: tuple[str, ...]  # of `fetched`: the store has no checksum for them, only the size was compared
    n_bytes: int  # received over the network


def fetch(settings: S3, patterns: list[str], folder: Path, progress: Progress | None = None) -> FetchResult:
    """Brings new and changed objects into `folder`, each renamed into place once its checksum holds.

    Files whose object is gone from the store stay. `progress(name, n_bytes)` is called per received chunk. A second
    call at the same time waits. Raises ConfigError without s3.landing, LandingError for what the store or the network
    refuses, an object that stays damaged or a key that would leave the folder, StorageError for a full disk.
    """
    if not settings.landing:
        raise ConfigError("s3.landing is not set; write s3://bucket/prefix into the shop's configuration")
    bucket, prefix = split_url(settings.landing)
    with plain_errors(settings, settings.landing), _only_one(folder):
        client = connect(settings)
        listed = list(_listing(client, bucket, prefix, patterns))
        names = {key[len(prefix) :] for key, _, _ in listed}
        for name in sorted(names):
            _refuse_unsafe(name, names, folder, f"s3://{bucket}/{prefix}{name}")
        fetching = _Fetching(settings, client, bucket, progress or (lambda name, n_bytes: None))
        state = _read_json(folder / STATE)["objects"] if (folder / STATE).is_file() else {}
        before = dict(state)
        fetched: list[str] = []
        unchanged: list[str] = []
        try:
            for key, etag, size in listed:
                name = key[len(prefix) :]
                target = folder / name
                known = state.get(key, {})
                is_known = (known.get("etag"), known.get("size")) == (etag, size)
                if is_known and target.is_file() and target.stat().st_size == size:
                    unchanged.append(name)
                    continue
                with plain_errors(settings, _shown(f"s3://{bucket}/{key}")):
                    state[key], is_new = fetching.one(key, name, target)
                (fetched if is_new else unchanged).append(name)
                if (len(fetched) + len(unchanged)) % SAVE_EVERY == 0:
                    _write_json(folder / STATE, {"objects": state})
        finally:
            if state != before:
                _write_json(folder / STATE, {"objects": state})
    unverified = tuple(sorted(name for name in fetched if not state[prefix + name]["verified_by"]))
    return FetchResult(tuple(sorted(fetched)), tuple(sorted(unchanged)), unverified, fetching.n_bytes)


def _listing(client: Any, bucket: str, prefix: str, patterns: list[str]) -> Iterator[tuple[str, str, int]]:
    """(key, etag, bytes) of the matching objects, in key order; lists no more than what all patterns begin with."""
    literal = [re.split(r"[*?\[]", str(PurePosixPath(pattern)), maxsplit=1)[0] for pattern in patterns]
    common = os.path.commonprefix(literal)  # noqa: RUF071 - by character is meant: an S3 prefix is any beginning
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + common):
        for item in page.get("Contents", []):
            name = item["Key"][len(prefix) :]
            if not name.endswith("/") and matches(name, patterns):  # a key that ends with '/' stands for a folder
                yield item["Key"], item["ETag"], item["Size"]


def _refuse_unsafe(name: str, names: set[str], folder: Path, url: str) -> None:
    """Raises LandingError for a key that would leave the folder, hit our own files or need a file to be a folder."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
        why = "it would leave the landing folder or be spelt otherwise there"
    elif not (folder / name).resolve().is_relative_to(folder.resolve()):
        why = "a link in the landing folder leads it elsewhere"
    elif parts[-1].startswith(OURS) or re.fullmatch(r"\..*\.part(\.json(\.tmp)?)?", parts[-1]):
        why = "this program keeps that name for itself"
    elif shared := names.intersection(str(above) for above in PurePosixPath(name).parents):
        why = f"{min(shared)!r} is an object as well, and cannot be a file and a folder"
    else:
        return
    raise LandingError(f"{_shown(url)}: the key is refused: {why}; rename the object")


def _shown(url: str) -> str:
    """A key for a message of one line."""
    return url if url.isprintable() else repr(url)


class _ChangedError(Exception):
    """The object is no longer the one whose bytes we hold."""


@dataclass
class _Fetching:
    """One call's client and counters."""

    settings: S3
    client: Any
    bucket: str
    progress: Progress
    n_bytes: int = 0

    def one(self, key: str, name: str, target: Path) -> tuple[dict[str, Any], bool]:
        """The state entry of one object that now stands at `target`, and whether it had to be fetched."""
        part = target.with_name(f".{target.name}.part")
        problem = ""
        for _ in range(WHOLE_TRIES):
            remote = look(self.client, self.bucket, key)
            if target.is_file():
                sha256, is_same = prove(target, remote)
                if is_same:
                    _discard(part)
                    return _entry(remote, sha256), False
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._download(remote, name, part)
            except _ChangedError:
                problem = "it changed while it was read"
                continue
            sha256, is_same = prove(part, remote)
            if is_same is not False:
                _replace(part, target)
                _discard(part)
                return _entry(remote, sha256), True
            _discard(part)
            problem = f"its bytes do not match the store's {remote.algorithm or 'size'}"
        url = _shown(f"s3://{self.bucket}/{key}")
        raise LandingError(f"{url}: {problem}, {WHOLE_TRIES} times; put it there again or wait until it is whole")

    def _download(self, remote: Remote, name: str, part: Path) -> None:
        """Completes `part`, from the bytes already there; each cut costs a pause, no progress costs a try."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError
        from urllib3.exceptions import HTTPError

        sidecar = part.with_name(f"{part.name}.json")
        claim = {"etag": remote.etag, "size": remote.size}
        if not part.is_file() or not sidecar.is_file() or _read_json(sidecar) != claim or _size(part) > remote.size:
            _discard(part)
            _write_json(sidecar, claim)
            part.touch()
        tries = 0
        while (offset := _size(part)) < remote.size:
            _need_disk(part.parent, remote.size - offset, name)
            try:
                self._receive(remote, name, part, offset)
            except (HTTPClientError, IncompleteReadError, HTTPError):
                tries = 0 if _size(part) - offset >= 16 * CHUNK else tries + 1
                if tries >= self.settings.max_attempts:
                    raise
                time.sleep(min(20.0, 0.05 * 2**tries))

    def _receive(self, remote: Remote, name: str, part: Path, offset: int) -> None:
        from botocore.exceptions import ClientError

        wanted = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=remote.key, IfMatch=remote.etag, **wanted)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (412, 416):
                raise _ChangedError from error
            raise
        # A store that ignores Range sends the whole object: then begin anew.
        is_resumed = answer.get("ContentRange", "").startswith(f"bytes {offset}-")
        with closing(answer["Body"]) as body, part.open("ab" if is_resumed else "wb") as stream:
            while chunk := body.read(CHUNK):
                stream.write(chunk)
                stream.flush()  # what a kill leaves behind can be resumed
                self.n_bytes += len(chunk)
                self.progress(name, len(chunk))


def _entry(remote: Remote, sha256: str) -> dict[str, Any]:
    return {"etag": remote.etag, "size": remote.size, "sha256": sha256, "verified_by": remote.algorithm}


def _size(path: Path) -> int:
    return path.stat().st_size


def _need_disk(folder: Path, n_bytes: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes + RESERVE:
        need = f"{name} needs {n_bytes:,} bytes and {RESERVE:,} must stay free, but {free:,} are"
        raise StorageError(f"{folder}: too little space: {need}; free some and run again: what was fetched is kept")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    """Rename that survives a power cut: the bytes reach the disk before the name does."""
    descriptor = os.open(source, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    source.replace(target)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    staged = path.with_name(f"{path.name}.tmp")
    staged.write_text(json.dumps(value, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    _replace(staged, path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LandingError(f"{path}: not JSON; delete it: files that are there are checked, not fetched") from error


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Two nights that land into one folder take turns; the kernel frees the lock of a dead process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
