"""Sends a plan's export folder to s3.publish: every file proved to have arrived, and only then the manifest.

Called after the plan stage: `send(shop.s3, export_folder, "2026-03-01")`. A reader that starts from manifest.json sees
the old plan or the whole new one, never half of it.
"""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.core.errors import ConfigError, LandingError
from pipelines.core.shop import S3
from pipelines.s3 import Progress, connect, look, plain_errors, prove, split_url

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class SendResult:
    """What one call did; names are relative to the folder, sorted, the manifest among them."""

    sent: tuple[str, ...]
    unchanged: tuple[str, ...]  # already there with the same SHA-256
    n_bytes: int  # bytes of the sent files
    manifest: str  # s3:// address to hand to readers


def send(settings: S3, folder: Path, relative: str, progress: Progress | None = None) -> SendResult:
    """Uploads the files of `folder` under s3.publish/relative, manifest.json last.

    Each upload carries its SHA-256, which the store checks, and is proved again by HEAD. Hidden files stay here.
    `progress(name, n_bytes)` is called per file. Raises ConfigError without s3.publish, LandingError for a folder
    without manifest.json and for what the store or the network refuses; the earlier manifest then still stands.
    """
    if not settings.publish:
        raise ConfigError("s3.publish is not set; write s3://bucket/prefix into the shop's configuration")
    bucket, prefix = split_url(settings.publish)
    below = PurePosixPath(relative)
    if below.is_absolute() or ".." in below.parts or not below.parts:
        raise LandingError(f"'{relative}': expected a path below {settings.publish} without '..', such as 2026-03-01")
    base = f"{prefix}{below}/"
    with plain_errors(settings, f"s3://{bucket}/{base}"):
        client = connect(settings)
        sent, unchanged, n_bytes = [], [], 0
        for name in _names(folder):
            path, key = folder / name, f"{base}{name}"
            with plain_errors(settings, f"s3://{bucket}/{key}"):
                if _is_there(client, bucket, key, path):
                    unchanged.append(name)
                    continue
                _upload(client, bucket, key, path)
            sent.append(name)
            n_bytes += path.stat().st_size
            if progress:
                progress(name, path.stat().st_size)
    return SendResult(tuple(sorted(sent)), tuple(sorted(unchanged)), n_bytes, f"s3://{bucket}/{base}{MANIFEST}")


def _names(folder: Path) -> list[str]:
    """Paths below the folder in the order they are sent: sorted, manifest.json last."""
    if not (folder / MANIFEST).is_file():
        raise LandingError(f"{folder}: no {MANIFEST} there; send the folder that a finished plan stage exported")
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = {path.as_posix() for path in paths if not any(part.startswith((".", "_")) for part in path.parts)}
    return [*sorted(names - {MANIFEST}), MANIFEST]


def _is_there(client: Any, bucket: str, key: str, path: Path) -> bool:
    """Whether the store holds these very bytes, told by their SHA-256."""
    from botocore.exceptions import ClientError

    try:
        remote = look(client, bucket, key)
    except ClientError as error:
        # 403 is the answer for a missing key to those who may not list the bucket.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
            return False
        raise
    return remote.algorithm == "SHA256" and prove(path, remote)[1] is True


def _upload(client: Any, bucket: str, key: str, path: Path) -> None:
    """PUT with the file's SHA-256, then HEAD to see that the store holds just that."""
    with path.open("rb") as stream:
        digest = base64.b64encode(hashlib.file_digest(stream, "sha256").digest()).decode()
        stream.seek(0)
        client.put_object(Bucket=bucket, Key=key, Body=stream, ChecksumAlgorithm="SHA256", ChecksumSHA256=digest)
    if prove(path, look(client, bucket, key))[1] is not True:
        raise LandingError(f"s3://{bucket}/{key}: the store does not hold the bytes that were sent; send again")
