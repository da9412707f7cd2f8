"""Disks that only one process sees, too small or read-only: a tmpfs in a mount namespace of its own."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# As root, or as an ordinary user who is root in a namespace of users.
_UNSHARE = (("unshare", "--mount", "--propagation", "private"), ("unshare", "--map-root-user", "--mount"))


def mounted(folder: Path, options: str) -> tuple[str, ...]:
    """Goes before a command, which then sees a tmpfs of these mount options at `folder`. Skips where nobody may mount."""
    mount = ("sh", "-c", f'mount -t tmpfs -o {options} tmpfs "{folder}" && exec "$@"', "sh")
    why = ""
    for unshare in _UNSHARE:
        try:
            tried = subprocess.run([*unshare, *mount, "true"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no unshare here: a disk cannot be mounted for one process")
        if not tried.returncode:
            return *unshare, *mount
        why = tried.stderr.strip()
    pytest.skip(f"a disk cannot be mounted here, neither by root nor by a user: {why}")


@contextmanager
def small(shared: Any, folder: Path) -> Iterator[tuple[Any, Path]]:
    """A warm process like `shared` that alone sees a disk of 24 MB at `folder`, and the folder as the test sees it."""
    process = type(shared)(shared.cache, mounted(folder, "size=24m"))
    (shared.cache / "ready").mkdir(exist_ok=True)
    while "unshare" in Path(f"/proc/{process.process.pid}/comm").read_text() or not process.process.pid:
        time.sleep(0.02)
    yield process, Path(f"/proc/{process.process.pid}/root{folder}")
    process.close()


def fill(disk: Path, left_kb: int) -> None:
    """Writes the file `filler` until only so much is left."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * (1 << 16))
        except OSError:
            file.truncate(max(0, file.tell() - (left_kb << 10)))
