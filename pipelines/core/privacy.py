"""Pseudonyms: user ids leave the raw layer only as HMAC-SHA256 under a key that never leaves this machine.

The key is NIGHTMARKET_KEY (64 hex digits) or the file <root>/key, made on first use with mode 0600.
"""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.core.errors import ConfigError, StorageError

_BLOCK_BYTES = 64  # of SHA-256


@dataclass(frozen=True)
class PseudonymKey:
    """The secret. Its repr is empty so that no log, traceback or exception can show it."""

    secret: bytes = field(repr=False)

    def pseudonym(self, user_id: str) -> str:
        """64 hex digits: HMAC-SHA256(key, user_id in UTF-8)."""
        return hmac.new(self.secret, user_id.encode(), hashlib.sha256).hexdigest()

    @property
    def pads(self) -> tuple[bytes, bytes]:
        """Inner and outer pad (RFC 2104): sha256(outer + sha256(inner + id)) is the pseudonym, for engines without HMAC."""
        block = self.secret.ljust(_BLOCK_BYTES, b"\0")
        return bytes(b ^ 0x36 for b in block), bytes(b ^ 0x5C for b in block)


def load_key(root: Path) -> PseudonymKey:
    """The key of this store. Raises ConfigError for a malformed key and StorageError for a file others may read."""
    text = os.environ.get("NIGHTMARKET_KEY")
    where = "NIGHTMARKET_KEY"
    if text is None:
        path = root / "key"
        where = str(path)
        if not path.exists():
            _create(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise StorageError(f"{path}: others may read the pseudonym key; run: chmod 600 {path}")
        text = path.read_text().strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ConfigError(f"{where}: not a key: expected 64 lower-case hex digits (the value is not shown)")
    return PseudonymKey(bytes.fromhex(text))


def _create(path: Path) -> None:
    """Written aside and renamed into place under a lock: two first runs agree on one key and none sees half of it.

    What a process killed in between left aside is deleted by the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(".key.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return  # another process was first; its key is the key
        aside = path.with_name(".key.new")
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
