"""Lands files: every line of every new or changed file becomes one row of raw_<feed>, as it came.

`python -m pipelines.cli night --shop taobao --date 2017-12-03 --landing DIR` runs it as the first stage of a night.
Reading is by blocks of bytes and vectorised; a line that is no text (bad encoding, NUL, too long) keeps a bounded
excerpt and a fault, and nothing else is judged here.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pipelines.core.columns import Columns as C
from pipelines.core.config import Cleaning, Shop, Source
from pipelines.core.errors import LandingError
from pipelines.core.storage import Store, file_hash, window

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 8 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Landed:
    """What landing a night found: per feed the arrivals with files, and how many of them were read anew."""

    arrivals: dict[str, list[date]]
    n_files: int
    n_lines_read: int


def run(
    night: date, shop: Shop, store: Store, folder: Path, *, force: bool = False, progress: Callable[[str], None] | None = None
) -> Landed:
    """Publishes raw_<feed> for every arrival up to `night` that has files in `folder`.

    Raises LandingError where the folder is missing, a file cannot be read, or no events file is there at all.
    """
    if not folder.is_dir():
        raise LandingError(f"landing folder {folder} is missing; name one with --landing or landing_folder in conf/shops/{shop.shop}.yaml")
    arrivals: dict[str, list[date]] = {}
    n_files = n_lines = 0
    for feed, source in shop.landing.items():
        for arrival in arrivals_of(shop, feed, night):
            files = find(folder, source, arrival)
            table = f"raw_{feed}"
            if not files:
                if store.manifest(table, arrival) is not None:
                    arrivals.setdefault(feed, []).append(arrival)  # landed before; the files may have been archived since
                continue
            arrivals.setdefault(feed, []).append(arrival)
            inputs = {f"landing/{path.relative_to(folder).as_posix()}": _hash(path) for path in files}
            config_hash = shop.cleaning.digest
            if not force and store.is_current(table, arrival, inputs, config_hash):
                continue
            if progress:
                progress(f"{feed} {arrival}")
            with store.staging() as staging:
                rows = _write_lines(staging / table, arrival, folder, files, shop.cleaning)
                store.publish(table, arrival, staging / table, rows=rows, inputs=inputs, config_hash=config_hash)
            n_files += len(files)
            n_lines += rows
    if "events" not in arrivals:
        source = shop.landing["events"]
        raise LandingError(f"no events file in {folder}: expected '{source.pattern}' for {night} (conf/shops/{shop.shop}.yaml, landing.events)")
    return Landed(arrivals, n_files, n_lines)


def find(folder: Path, source: Source, arrival: date) -> list[Path]:
    """The files that a feed's pattern names for one arrival, sorted. Links that lead out of the folder are refused."""
    found = folder.glob(source.pattern.replace("{night}", arrival.isoformat()))
    files = sorted(path for path in found if path.is_file() and not path.name.startswith("."))  # hidden: still arriving
    inside = folder.resolve()
    for path in files:
        if not path.resolve().is_relative_to(inside):
            raise LandingError(f"{path}: leads out of the landing folder; put the file itself there")
    return files


def arrivals_of(shop: Shop, feed: str, night: date) -> list[date]:
    """Arrivals that a run of `night` looks for: an archive's one, or the daily drops of the window and the late nights before it."""
    if shop.landing[feed].is_archive:  # type: ignore[index]
        return [shop.arrival_of(feed, night)]
    return window(night, shop.features.window_nights + shop.cleaning.late_nights)


def _hash(path: Path) -> str:
    try:
        return file_hash(path)
    except OSError as error:
        raise LandingError(f"{path}: cannot be read: {error.strerror}; check its permissions, then run again") from error


def _write_lines(folder: Path, arrival: date, landing: Path, files: list[Path], cleaning: Cleaning) -> int:
    """One Parquet file of all lines, in order of file and line; returns the number of lines."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [(C.ARRIVAL, pa.string()), (C.SOURCE_FILE, pa.string()), (C.LINE_NUMBER, pa.int64()), (C.RAW_TEXT, pa.string()), (C.FAULT, pa.string())]
    )
    folder.mkdir(parents=True)
    n_rows = 0
    with pq.ParquetWriter(
        folder / "part-00000.parquet",
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[C.ARRIVAL, C.SOURCE_FILE, C.FAULT],
        write_statistics=[C.SOURCE_FILE, C.LINE_NUMBER, C.FAULT],
    ) as writer:
        for path in files:
            for name, stream in _streams(path, path.relative_to(landing).as_posix()):
                line_number = 1
                for texts, faults in _blocks(stream, path, cleaning):
                    n = len(texts)
                    writer.write_batch(
                        pa.record_batch(
                            [
                                pa.repeat(pa.scalar(arrival.isoformat()), n),
                                pa.repeat(pa.scalar(name), n),
                                pa.array(np.arange(line_number, line_number + n, dtype=np.int64)),
                                texts,
                                faults,
                            ],
                            schema=schema,
                        )
                    )
                    line_number += n
                    n_rows += n
    return n_rows


def _streams(path: Path, name: str) -> Iterator[tuple[str, IO[bytes]]]:
    """The byte streams of a file: itself, unpacked, or each member of a zip. Nothing is unpacked to disk."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for member in sorted(archive.infolist(), key=lambda info: info.filename):
                    if not member.is_dir():
                        with archive.open(member) as stream:
                            yield f"{name}/{member.filename}", stream
        elif path.suffix == ".gz":
            with gzip.open(path) as packed:
                yield name, io.BufferedReader(packed, _BLOCK_BYTES)  # type: ignore[arg-type]
        else:
            with path.open("rb") as plain:
                yield name, plain
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LandingError(f"{path}: cannot be read to its end ({reason}); nothing of it was landed; have it sent again") from error


def _blocks(stream: IO[bytes], path: Path, cleaning: Cleaning) -> "Iterator[tuple[pa.Array, pa.Array]]":
    """Texts and faults of the lines, block by block; memory is bounded by the block whatever a line's length."""
    carry = b""
    too_long = b""  # the kept head of a line that passes the limit, while the rest of it goes by
    first = True
    while True:
        block = stream.read(_BLOCK_BYTES)
        if first and block.startswith(_BOM):
            block = block[len(_BOM) :]
        first = False
        if too_long:
            end = block.find(b"\n")
            if block and end < 0:
                continue
            yield _array([too_long], [(0, "line_too_long")], cleaning)
            too_long, block = b"", block[end + 1 :] if block else b""
            if not block and end < 0:
                return
        data = carry + block
        if not block:
            if data:
                yield _lines(data + b"\n", cleaning)
            return
        cut = data.rfind(b"\n") + 1
        if cut:
            yield _lines(data[:cut], cleaning)
        carry = data[cut:]
        if len(carry) > cleaning.max_line_bytes:
            too_long, carry = carry[: cleaning.max_line_bytes], b""


def _lines(data: bytes, cleaning: Cleaning) -> "tuple[pa.Array, pa.Array]":
    """Splits bytes that end with a line feed. The fast path is one pass; lines that are no text are mended one by one."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).astype(np.int32) + 1
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    if b"\0" in data or int(np.diff(offsets).max()) > cleaning.max_line_bytes or not _is_utf8(data):
        lines = data[:-1].split(b"\n")
        return _array(lines, _faults(lines, cleaning), cleaning)
    texts = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    return pc.ascii_rtrim(texts, characters="\r\n"), pa.nulls(len(ends), pa.string())


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _faults(lines: list[bytes], cleaning: Cleaning) -> list[tuple[int, str]]:
    """(position, fault) of the lines that are no text."""
    found = []
    for at, line in enumerate(lines):
        if len(line) > cleaning.max_line_bytes:
            found.append((at, "line_too_long"))
        elif b"\0" in line:
            found.append((at, "nul_byte"))
        elif not _is_utf8(line):
            found.append((at, "bad_encoding"))
    return found


def _array(lines: list[bytes], faults: list[tuple[int, str]], cleaning: Cleaning) -> "tuple[pa.Array, pa.Array]":
    import pyarrow as pa

    named = dict(faults)
    texts = [
        line.decode(errors="replace").replace("\0", "\ufffd")[: cleaning.max_quarantine_chars]
        if at in named
        else line.rstrip(b"\r").decode()
        for at, line in enumerate(lines)
    ]
    return pa.array(texts, pa.string()), pa.array([named.get(at) for at in range(len(lines))], pa.string())
