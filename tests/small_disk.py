"""Disks that only one process sees, too small or read-only: a tmpfs in a mount namespace of its own."""

import subprocess
from pathlib import Path

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
