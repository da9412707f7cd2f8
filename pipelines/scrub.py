"""Landing files without erased customers' lines: those that lie under the store's own root are rewritten, others are not ours.

A file is read as lines and written again in its own form (plain, gzip, members of a zip) with the lines that stay, byte
for byte. The demo shop's memory of lines that come late (pipelines/simulator/state.py) is such a file too.
"""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from pipelines.core.storage import Store
from pipelines.keep_out import Ledger

_BLOCK_BYTES = 8 << 20
_BOM = "\ufeff"


def is_own(landing: Path, store: Store) -> bool:
    """Whether the landing folder lies under the store's root: then what lies there is under our care."""
    return landing.resolve().is_relative_to(store.root.resolve())


def scrub(path: Path, aside: Path, ledger: Ledger, connector: str, is_read: Callable[[str], bool]) -> int:
    """Writes `aside`, `path` without the erased customers' lines; returns how many those were.

    `aside` has the suffix of `path`. `is_read`: whether a member of a zip is read by the landing; others are left as
    they are.
    """
    n_dropped = 0
    aside.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as packed, zipfile.ZipFile(aside, "w") as out:
            for info in packed.infolist():
                with packed.open(info) as stream, out.open(info, "w", force_zip64=True) as kept:
                    if info.is_dir() or not is_read(info.filename):
                        kept.write(stream.read())
                    else:
                        n_dropped += _copy(stream, kept, ledger, connector)
    elif path.suffix.lower() == ".gz":
        # No name and no time in the header: the same lines are the same bytes.
        with gzip.open(path) as stream, aside.open("wb") as file, gzip.GzipFile("", "wb", 6, file, 0) as kept:
            n_dropped = _copy(stream, kept, ledger, connector)
    else:
        with path.open("rb") as stream, aside.open("wb") as file:
            n_dropped = _copy(stream, file, ledger, connector)
    return n_dropped


def _copy(stream: "IO[bytes] | gzip.GzipFile", out: "IO[bytes] | gzip.GzipFile", ledger: Ledger, connector: str) -> int:
    n_dropped = 0
    while lines := stream.readlines(_BLOCK_BYTES):
        mine = _mine(lines, ledger, connector)
        n_dropped += int(mine.sum())
        out.write(b"".join(line for line, is_mine in zip(lines, mine.tolist(), strict=True) if not is_mine))
    return n_dropped


def _mine(lines: list[bytes], ledger: Ledger, connector: str) -> np.ndarray:
    """(n,) bool: which lines are of erased customers."""
    import pyarrow as pa

    texts = pa.array([line.decode(errors="replace").strip("\r\n" + _BOM) for line in lines], pa.string())
    return ledger.mine(texts, connector)


def scrub_state(path: Path, aside: Path, ledger: Ledger, connector: str) -> int:
    """`scrub` for the lines that the demo shop holds back for later nights."""
    aside.parent.mkdir(parents=True, exist_ok=True)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    ends, text = arrays["held_end"].tolist(), arrays["held_text"].tobytes()
    lines = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    mine = _mine(lines, ledger, connector)
    lines = [line for line, is_mine in zip(lines, mine.tolist(), strict=True) if not is_mine]
    arrays["held_due"] = arrays["held_due"][~mine]
    arrays["held_end"] = np.cumsum([len(line) for line in lines], dtype=np.int64)
    arrays["held_text"] = np.frombuffer(b"".join(lines), dtype=np.uint8)
    with aside.open("wb") as out:
        np.savez_compressed(out, **arrays)
    return int(mine.sum())


def scrub_states(landing: Path, staging: Path, ledger: Ledger, connector: str) -> dict[Path, tuple[Path, int]]:
    """States of the demo shop that hold erased customers' lines -> what takes their place, and how many lines go."""
    found = {}
    for path in sorted((landing / ".state").glob("*.npz")):
        aside = staging / "state" / path.name
        if n := scrub_state(path, aside, ledger, connector):
            found[path] = (aside, n)
    return found
