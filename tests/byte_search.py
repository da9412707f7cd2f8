"""Finds texts in every file below a folder: in its bytes, its name, and whatever is packed, compressed or encoded in it."""

import gzip
import io
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def search(root: Path, *texts: str) -> dict[str, set[str]]:
    """Path below `root` -> which of the texts stand in that file."""
    found: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        parts = [name.encode(), *(contents(path) if path.is_file() and not path.is_symlink() else ())]
        if here := {text for text in texts if any(text.encode() in part for part in parts)}:
            found[name] = here
    return found


def contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what they say to who knows the format."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        yield repr(file.read().to_pydict()).encode()
        yield f"{file.metadata.metadata} {file.schema_arrow.metadata}".encode()
    elif path.suffix == ".arrow":
        yield repr(pa.ipc.open_file(path).read_all().to_pydict()).encode()
    elif data[:16] == b"SQLite format 3\0":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            yield "\n".join(connection.iterdump()).encode()
    else:
        yield from unpacked(data)


def unpacked(data: bytes) -> Iterator[bytes]:
    """Inside gzip, zip (also .npz) and anything zlib packed, whatever the file is called."""
    if data[:2] == b"\x1f\x8b":
        inner = gzip.decompress(data)
        yield inner
        yield from unpacked(inner)
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                inner = archive.read(name)
                yield name.encode()
                yield inner
                yield from unpacked(inner)
                if inner[:6] == b"\x93NUMPY":
                    yield repr(np.load(io.BytesIO(inner), allow_pickle=False).tolist()).encode()
    elif data[:1] == b"\x78":
        try:
            yield zlib.decompress(data)
        except zlib.error:
            return
