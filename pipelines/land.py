"""Lands files: every line of every new or changed file becomes one row of raw_<feed>, as it came.

`python -m pipelines.cli night --shop taobao --date 2017-12-03 --landing DIR` runs it as the first stage of a night.
Reading is by blocks of bytes and vectorised; a line that is no text (bad encoding, NUL, too long) keeps a bounded
excerpt and a fault, and nothing else is judged here.
"""

import contextlib
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pipelines.core.columns import Columns as C
from pipelines.core.errors import LandingError
from pipelines.core.machine import Machine
from pipelines.core.shop import Cleaning, Shop, Source
from pipelines.core.storage import Manifest, Store, file_hash, window
from pipelines.keep_out import Ledger, load_ledger
from pipelines.retain import refuse_expired
from pipelines.scrub import is_own, scrub, scrub_states
from pipelines.stage import Staged, StageResult, audit_and_publish, digest_of

if TYPE_CHECKING:
    import pyarrow as pa

_ONE_MACHINE = Machine()
_BLOCK_BYTES = 8 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Landed:
    """What landing a night found: per feed the arrivals with files, and how many of them were read anew."""

    arrivals: dict[str, list[date]]
    n_files: int
    n_lines_read: int


def run(
    night: date,
    shop: Shop,
    store: Store,
    folder: Path,
    *,
    machine: Machine = _ONE_MACHINE,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Landed:
    """Publishes raw_<feed> for every arrival up to `night` that has files in `folder`.

    Raises LandingError where the folder is missing, a file cannot be read, or no events file is there at all.
    """
    if not folder.is_dir():
        raise LandingError(
            f"landing folder {folder} is missing; "
            f"name one with --landing or landing_folder in conf/shops/{shop.shop}.yaml"
        )
    refuse_expired(night, shop, store)
    kept_from = store.kept_from("raw")
    ledger = load_ledger(store)
    if ledger and is_own(folder, store):
        _scrub_states(folder, store, ledger, shop)
    arrivals: dict[str, list[date]] = {}
    n_files = n_lines = 0
    for feed, source in shop.landing.items():
        for arrival in arrivals_of(shop, feed, night):
            if arrival < kept_from:
                continue  # it was removed for its age, and what was made of it stays as it is
            files = find(folder, source, arrival)
            table = f"raw_{feed}"
            if not files:
                if store.manifest(table, arrival) is not None:
                    arrivals.setdefault(feed, []).append(
                        arrival
                    )  # landed before; the files may have been archived since
                continue
            arrivals.setdefault(feed, []).append(arrival)
            stamps = _stamps(files)
            inputs = _hashes(folder, files)
            config_hash = digest_of(shop.cleaning.max_line_bytes, shop.cleaning.max_quarantine_chars)
            if not force and store.is_current(table, arrival, inputs, config_hash):
                continue
            if progress:
                progress(f"{feed} {arrival}")
            with store.staging() as staging:
                scrubbed = _scrub(files, folder, source, ledger, staging) if ledger and is_own(folder, store) else {}
                inputs |= _hashes(staging / "landing", [aside for aside, _ in scrubbed.values()])
                if scrubbed and not force and store.is_current(table, arrival, inputs, config_hash):
                    _replace(scrubbed)  # an old file that has come back
                    continue
                read = {path: aside for path, (aside, _) in scrubbed.items()}
                rows, n_erased = _write_lines(
                    staging / table, arrival, folder, files, shop.cleaning, read, ledger, source.connector
                )
                n_erased += sum(n for _, n in scrubbed.values())
                for path, before, after in zip(files, stamps, _stamps(files), strict=True):
                    if before != after:
                        raise LandingError(
                            f"{path}: changed while it was read; nothing of it was landed; "
                            "run again once it has arrived whole"
                        )
                counts = _erased_counts(store.manifest(table, arrival), inputs, n_erased)
                staged = Staged(table, arrival, staging / table, rows, inputs, config_hash, counts)
                audit_and_publish([staged], store, machine, StageResult("land"))
                _replace(scrubbed)  # what was published tells of these already
            n_files += len(files)
            n_lines += rows
    if "events" not in arrivals:
        source = shop.landing["events"]
        raise LandingError(
            f"no events file in {folder}: expected '{source.pattern}' for {night} "
            f"(conf/shops/{shop.shop}.yaml, landing.events)"
        )
    return Landed(arrivals, n_files, n_lines)


def find(folder: Path, source: Source, arrival: date) -> list[Path]:
    """The files that a feed's pattern names for one arrival, sorted. Links that lead out of the folder are refused."""
    found = folder.glob(source.pattern.replace("{night}", arrival.isoformat()))
    files = sorted(path for path in found if path.is_file() and not _is_hidden(path.relative_to(folder).parts))
    inside = folder.resolve()
    for path in files:
        if not path.resolve().is_relative_to(inside):
            raise LandingError(f"{path}: leads out of the landing folder; put the file itself there")
        if "\ufffd" in _name(path):
            raise LandingError(f"{_name(path)}: the file's name is not UTF-8; rename it")
    return files


def _is_hidden(parts: Sequence[str]) -> bool:
    """Still arriving, or what a file manager left beside the data."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _name(path: Path) -> str:
    return str(path).encode(errors="surrogateescape").decode(errors="replace")


def arrivals_of(shop: Shop, feed: str, night: date) -> list[date]:
    """Arrivals that a run of `night` looks for: an archive's one, or the daily drops of the window and the late nights
    before it."""
    if shop.landing[feed].is_archive:  # type: ignore[index]
        return [shop.arrival_of(feed, night)]
    return window(night, shop.features.window_nights + shop.cleaning.late_nights)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file is read or unpacked into one line."""
    try:
        yield
    except PermissionError as error:
        raise LandingError(
            f"{path}: cannot be read: {error.strerror}; check its permissions, then run again"
        ) from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LandingError(
            f"{path}: cannot be read to its end ({reason}); nothing of it was landed; have it sent again"
        ) from error


def _hashes(folder: Path, files: list[Path]) -> dict[str, str]:
    hashes = {}
    for path in files:
        with _reading(path):
            hashes[f"landing/{path.relative_to(folder).as_posix()}"] = file_hash(path)
    return hashes


def _stamps(files: list[Path]) -> list[tuple[int, int, int]]:
    """What tells that a file was written to or replaced since."""
    stamps = []
    for path in files:
        with _reading(path):
            found = path.stat()
        stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return stamps


def _scrub(
    files: list[Path], landing: Path, source: Source, ledger: Ledger, staging: Path
) -> dict[Path, tuple[Path, int]]:
    """Files that hold lines of erased customers -> what takes their place, and how many lines go."""
    found = {}
    for path in files:
        aside = staging / "landing" / path.relative_to(landing)
        with _reading(path):
            n = scrub(path, aside, ledger, source.connector, lambda member: not _is_hidden(member.split("/")))
        if n:
            found[path] = (aside, n)
    return found


def _scrub_states(landing: Path, store: Store, ledger: Ledger, shop: Shop) -> None:
    """The demo shop goes on holding back lines of customers whom it does not know to be erased."""
    with store.staging() as staging:
        _replace(scrub_states(landing, staging, ledger, shop.landing["events"].connector))


def _replace(scrubbed: dict[Path, tuple[Path, int]]) -> None:
    for path, (aside, _) in scrubbed.items():
        aside.replace(path)


def _erased_counts(before: Manifest | None, inputs: dict[str, str], n_erased: int) -> dict[str, int]:
    """How many lines of erased customers the files of this arrival held: also those that were taken out of them before."""
    if before and before.inputs == inputs:
        n_erased = max(n_erased, before.counts.get("erased", 0))
    return {"erased": n_erased} if n_erased else {}


def _write_lines(
    folder: Path,
    arrival: date,
    landing: Path,
    files: list[Path],
    cleaning: Cleaning,
    scrubbed: dict[Path, Path],
    ledger: Ledger | None,
    connector: str,
) -> tuple[int, int]:
    """One Parquet file of all lines but those of erased customers, in order of file and line; returns how many of each.

    `scrubbed`: what is read in place of a file.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            (C.ARRIVAL, pa.string()),
            (C.SOURCE_FILE, pa.string()),
            (C.LINE_NUMBER, pa.int64()),
            (C.RAW_TEXT, pa.string()),
            (C.FAULT, pa.string()),
        ]
    )
    folder.mkdir(parents=True)
    n_rows = n_erased = 0
    with pq.ParquetWriter(
        folder / "part-00000.parquet",
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[C.ARRIVAL, C.SOURCE_FILE, C.FAULT],
        write_statistics=[C.SOURCE_FILE, C.LINE_NUMBER, C.FAULT],
    ) as writer:
        for path in files:
            for name, stream in _streams(scrubbed.get(path, path), path.relative_to(landing).as_posix()):
                line_number = 1
                for texts, faults in _blocks(stream, path, cleaning):
                    numbers = pa.array(np.arange(line_number, line_number + len(texts), dtype=np.int64))
                    line_number += len(texts)
                    if ledger:
                        kept = pa.array(~ledger.mine(texts, connector))
                        n_erased += len(texts)
                        texts, faults, numbers = texts.filter(kept), faults.filter(kept), numbers.filter(kept)
                        n_erased -= len(texts)
                    n = len(texts)
                    writer.write_batch(
                        pa.record_batch(
                            [
                                pa.repeat(pa.scalar(arrival.isoformat()), n),
                                pa.repeat(pa.scalar(name), n),
                                numbers,
                                texts,
                                faults,
                            ],
                            schema=schema,
                        )
                    )
                    n_rows += n
    return n_rows, n_erased


def _streams(path: Path, name: str) -> Iterator[tuple[str, IO[bytes]]]:
    """The byte streams of a file: itself, unpacked, or each member of a zip by name. Nothing is unpacked to disk."""
    with contextlib.ExitStack() as opened:
        if path.suffix.lower() == ".zip":
            with _reading(path):
                archive = opened.enter_context(zipfile.ZipFile(path))
            members = sorted(info.filename for info in archive.infolist() if not info.is_dir())
            if len(set(members)) != len(members):
                raise LandingError(
                    f"{path}: two members have the same name; nothing of it was landed; have it packed again"
                )
            for member in members:
                if not _is_hidden(member.split("/")):
                    with _reading(path):
                        stream = opened.enter_context(archive.open(member))
                    yield f"{name}/{member}", stream
        elif path.suffix.lower() == ".gz":
            with _reading(path):
                packed = opened.enter_context(gzip.open(path))
            yield name, io.BufferedReader(packed, _BLOCK_BYTES)
        else:
            with _reading(path):
                plain = opened.enter_context(path.open("rb"))
            yield name, plain


def _read(stream: IO[bytes], n: int, path: Path) -> bytes:
    with _reading(path):
        return stream.read(n)


def _blocks(stream: IO[bytes], path: Path, cleaning: Cleaning) -> "Iterator[tuple[pa.Array, pa.Array]]":
    """Texts and faults of the lines, block by block; memory is bounded by the block whatever a line's length."""
    carry = _read(stream, len(_BOM), path).removeprefix(_BOM)
    too_long = b""  # the kept head of a line that passes the limit, while the rest of it goes by
    while block := _read(stream, _BLOCK_BYTES, path):
        if too_long:
            end = block.find(b"\n")
            if end < 0:
                continue
            yield _array([too_long], {0: "line_too_long"}, cleaning)
            too_long, block = b"", block[end + 1 :]
        data = carry + block
        cut = data.rfind(b"\n") + 1
        if cut:
            yield _lines(data[:cut], cleaning)
        carry = data[cut:]
        if len(carry) > cleaning.max_line_bytes:
            too_long, carry = carry[: cleaning.max_line_bytes], b""
    if too_long:
        yield _array([too_long], {0: "line_too_long"}, cleaning)
    elif carry:
        yield _lines(carry if carry.endswith(b"\n") else carry + b"\n", cleaning)


def _lines(data: bytes, cleaning: Cleaning) -> "tuple[pa.Array, pa.Array]":
    """Splits bytes that end with a line feed: in one pass, or one by one where there are lines that are no text."""
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


def _faults(lines: list[bytes], cleaning: Cleaning) -> dict[int, str]:
    """Position -> fault of the lines that are no text."""
    found = {}
    for at, line in enumerate(lines):
        if len(line) > cleaning.max_line_bytes:
            found[at] = "line_too_long"
        elif b"\0" in line:
            found[at] = "nul_byte"
        elif not _is_utf8(line):
            found[at] = "bad_encoding"
    return found


def _array(lines: list[bytes], faults: dict[int, str], cleaning: Cleaning) -> "tuple[pa.Array, pa.Array]":
    import pyarrow as pa

    texts = [_excerpt(line, cleaning) if at in faults else line.rstrip(b"\r").decode() for at, line in enumerate(lines)]
    return pa.array(texts, pa.string()), pa.array([faults.get(at) for at in range(len(lines))], pa.string())


def _excerpt(line: bytes, cleaning: Cleaning) -> str:
    """The start of a line that is no text, with what cannot be text replaced; the same wherever a block ended."""
    return (
        line[: cleaning.max_line_bytes]
        .decode(errors="replace")
        .replace("\0", "\ufffd")[: cleaning.max_quarantine_chars]
    )
