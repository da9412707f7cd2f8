"""What fetching from and sending to an S3-compatible store share: the client, plain errors, glob, proof of content.

The two verbs are pipelines/s3_fetch.py (landing <- S3) and pipelines/s3_send.py (plan -> S3). Credentials come from
boto3's usual chain (environment, shared files, the machine's role) and are neither read nor printed here.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

from pipelines.core.errors import LandingError, StorageError
from pipelines.core.shop import S3

CHUNK = 64 * 1024  # bytes per read: what a cut connection can cost at most
CHECKSUMS = ("SHA256", "CRC64NVME", "CRC32C", "CRC32", "SHA1")  # the first that is stored and computable here is used
Progress = Callable[[str, int], None]  # name relative to the folder, bytes moved since the last call

_PERMISSION = "no permission; allow s3:ListBucket and s3:GetObject (to publish also s3:PutObject) to these credentials"
_REFUSED = "the credentials were refused; renew them (environment, ~/.aws or the machine's role) and check the clock"
_REGION = "the bucket lies in another region, or the session has expired; set s3.region or renew the credentials"
_BUSY = "the store keeps failing; try again later or raise s3.max_attempts"
_GONE = "the object vanished while it was read; run again"
_ADVICE = {
    "NoSuchBucket": "no such bucket; create it or correct the address under s3 in the shop's configuration",
    "InvalidObjectState": "the object lies in archive storage; restore it first",
    "BadDigest": "the store received other bytes than were sent; run again",
    "EntityTooLarge": "the file is larger than the store takes in one piece (5 GiB); send smaller files",
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "Forbidden", "403"), _PERMISSION),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"), _REFUSED),
    **dict.fromkeys(("RequestTimeTooSkewed", "TokenRefreshRequired"), _REFUSED),
    **dict.fromkeys(("PermanentRedirect", "AuthorizationHeaderMalformed", "301", "400"), _REGION),
    **dict.fromkeys(("SlowDown", "ServiceUnavailable", "InternalError", "500", "502", "503", "504"), _BUSY),
    **dict.fromkeys(("NoSuchKey", "404"), _GONE),
}


class Hasher(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True)
class Remote:
    """One object as the store tells it; `expected` is the digest that its bytes must have under `algorithm`."""

    key: str
    etag: str
    size: int  # bytes
    algorithm: str | None  # None: the store tells nothing that can be checked here
    expected: bytes
    part_sizes: tuple[int, ...]  # bytes; given: `expected` is the digest of the parts' digests


def split_url(url: str) -> tuple[str, str]:
    """('bucket', 'prefix/') of s3://bucket/prefix; the prefix is '' or ends with '/'."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not bucket:
        raise LandingError(f"{url}: names no bucket; expected s3://bucket/prefix")
    return bucket, f"{prefix}/" if prefix else ""


def matches(relative: str, patterns: list[str]) -> bool:
    """Whether a key relative to the prefix matches a glob as pathlib means it.

    '*', '?' and '[...]' stay within one path part and respect case; '**' as a whole part stands for any number of
    folders, none included, and as the last part for every file below (pathlib's meaning since Python 3.13).
    """
    parts = tuple(relative.split("/"))
    return any(_part_match(parts, PurePosixPath(pattern).parts) for pattern in patterns)


def _part_match(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return len(pattern) == 1 or any(_part_match(parts[n:], pattern[1:]) for n in range(len(parts)))
    return fnmatchcase(parts[0], pattern[0]) and _part_match(parts[1:], pattern[1:])


def connect(settings: S3) -> Any:
    """A boto3 S3 client: standard retries with backoff, `max_attempts` tries per request in all."""
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
        connect_timeout=10,
        read_timeout=60,
        # Checksums are proved over the whole file here (`prove`): boto3 does not check ranged reads.
        response_checksum_validation="when_required",
    )
    try:
        # A session of its own: boto3's shared one is not safe among threads and remembers old credentials.
        return Session(region_name=settings.region).client("s3", endpoint_url=settings.endpoint_url, config=config)
    except ValueError as error:
        raise LandingError("s3.endpoint_url: not a web address; expected one such as http://127.0.0.1:9000") from error


@contextmanager
def plain_errors(settings: S3, where: str) -> Iterator[None]:
    """Turns what boto3 and the disk raise into one line: LandingError for the store, StorageError for this machine."""
    from botocore import exceptions as boto

    credentials = (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.ProfileNotFound,
        boto.TokenRetrievalError,
        boto.NoAuthTokenError,
        boto.SSOError,
    )
    try:
        yield
    except boto.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        advice = _ADVICE.get(code, "the store refused")
        raise LandingError(f"{where}: {advice} ({error.operation_name}: {code})") from error
    except credentials as error:
        advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role for this machine"
        raise LandingError(f"{where}: no usable credentials ({type(error).__name__}); {advice}") from error
    except (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError) as error:
        found = f"{_endpoint(settings)} cannot be reached or cuts off ({type(error).__name__})"
        raise LandingError(f"{where}: {found}; check the network, s3.endpoint_url and s3.region") from error
    except boto.BotoCoreError as error:
        line = " ".join(str(error).split())
        raise LandingError(f"{where}: {line}; check the address under s3 in the shop's configuration") from error
    except OSError as error:  # after boto3's: some of those are OSErrors as well
        advice = "free space or permit writing there, then run again: what was fetched is kept"
        raise StorageError(f"{where}: {error.strerror or error} at {error.filename or 'the disk'}; {advice}") from error


def _endpoint(settings: S3) -> str:
    """The endpoint without user or password, should someone have written them into the address."""
    if not settings.endpoint_url:
        return f"S3 in {settings.region}"
    parts = urlsplit(settings.endpoint_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def look(client: Any, bucket: str, key: str) -> Remote:
    """HEAD of one object, with the best proof of its content that the store has and this machine can compute.

    S3's own checksum where one is stored, else the ETag where that is an MD5 (not so under KMS or customer keys). An
    object sent in parts may carry a digest of its parts' digests; then the parts' sizes are asked for, one HEAD each.
    """
    head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    etag, size = head["ETag"], head["ContentLength"]
    md5 = re.fullmatch(r'"?([0-9a-f]{32})(?:-(\d+))?"?', etag)
    n_parts = int(md5[2] or 0) if md5 else 0
    algorithm, expected, is_composite = None, b"", False
    for name in CHECKSUMS:
        if (value := head.get(f"Checksum{name}")) and hasher(name):
            algorithm, expected = name, base64.b64decode(value.partition("-")[0])
            is_composite = head.get("ChecksumType", "COMPOSITE" if n_parts else "") == "COMPOSITE"
            break
    else:
        is_opaque = head.get("ServerSideEncryption", "").startswith("aws:kms") or "SSECustomerAlgorithm" in head
        if md5 and not is_opaque:
            algorithm, expected, is_composite = "MD5", bytes.fromhex(md5[1]), n_parts > 0
    if not is_composite:
        return Remote(key, etag, size, algorithm, expected, ())
    numbers = range(1, n_parts + 1)
    sizes = tuple(client.head_object(Bucket=bucket, Key=key, PartNumber=n)["ContentLength"] for n in numbers)
    if sum(sizes) != size:  # the store does not tell parts apart
        return Remote(key, etag, size, None, b"", ())
    return Remote(key, etag, size, algorithm, expected, sizes)


def prove(path: Path, remote: Remote) -> tuple[str, bool | None]:
    """SHA-256 of the file (hex), and whether its bytes are the object's; None where only the size could be compared."""
    if path.stat().st_size != remote.size:
        return "", False
    sha256 = hashlib.sha256()
    proof = hasher(remote.algorithm) if remote.algorithm else None
    with path.open("rb") as stream:
        for size in remote.part_sizes or (remote.size,):
            part = hasher(remote.algorithm) if remote.algorithm and remote.part_sizes else proof
            while chunk := stream.read(min(size, 1024 * 1024)):
                size -= len(chunk)
                sha256.update(chunk)
                if part:
                    part.update(chunk)
            if proof and part and remote.part_sizes:
                proof.update(part.digest())
    return sha256.hexdigest(), proof.digest() == remote.expected if proof else None


def hasher(name: str) -> Hasher | None:
    """A running checksum by S3's name for it; None where this machine lacks it (CRC32C, CRC64NVME need awscrt)."""
    if name in ("SHA256", "SHA1", "MD5"):
        return hashlib.new(name, usedforsecurity=False)
    if name == "CRC32":
        return _Crc(binascii.crc32, 4)
    try:
        from awscrt import checksums
    except ImportError:  # an optional part of boto3; `look` then takes the next proof
        return None
    return _Crc(checksums.crc32c, 4) if name == "CRC32C" else _Crc(checksums.crc64nvme, 8)


class _Crc:
    """A CRC function with hashlib's manners: big-endian digest of `width` bytes."""

    def __init__(self, step: Callable[[bytes, int], int], width: int) -> None:
        self._step, self._width, self._value = step, width, 0

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")
