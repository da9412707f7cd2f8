"""Permission bits that count: root reads everything, unless it gives up the power to."""

import os
import subprocess

import pytest

_WITHOUT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def obeying() -> tuple[str, ...]:
    """Goes before a command, which then obeys permission bits also as root. Skips where root cannot give that up."""
    if os.geteuid():
        return ()
    try:
        tried = subprocess.run([*_WITHOUT, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no setpriv here: root cannot be kept from reading everything")
    if tried.returncode:
        pytest.skip(f"root cannot be kept from reading everything here: {tried.stderr.strip()}")
    return _WITHOUT
