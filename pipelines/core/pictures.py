"""Pictures of items: which files a catalogue names, and whether they may be read. Nothing is ever fetched.

An item's attributes name its picture, `{"image": "pictures/17.jpg"}`: a path inside the landing folder.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from pipelines.core.storage import file_hash

ATTRIBUTE: Final = "image"
MAX_BYTES: Final = 20 << 20
_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Pictures:
    """Files by item, with what is in them, and how many were refused for which reason."""

    files: Mapping[str, tuple[Path, str]] = field(default_factory=dict)  # item_id -> file, SHA-256
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of what all pictures show and of whom; what a night's tables depend on."""
        told = sorted((item, content) for item, (_, content) in self.files.items())
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def find(landing: Path, told: Iterable[tuple[str, str | None]]) -> Pictures:
    """The pictures of items given as (item_id, attributes as JSON); without any, nothing is looked at."""
    files, refused, inside = {}, Counter[str](), landing.resolve()
    for item, attributes in told:
        name = named(attributes)
        if not name:
            continue
        path = landing / name
        fault = _fault(inside, path, name)
        if not fault:
            try:
                files[item] = (path, file_hash(path))
                continue
            except OSError:  # taken away, or not for us
                fault = "unreadable"
        refused[fault] += 1
    return Pictures(files, dict(sorted(refused.items())))


def named(attributes: str | None) -> str:
    """What an item's attributes call its picture, "" for none."""
    if not attributes or f'"{ATTRIBUTE}"' not in attributes:
        return ""
    try:
        told = json.loads(attributes)
    except ValueError:
        return ""
    name = told.get(ATTRIBUTE) if isinstance(told, dict) else None
    return name.strip() if isinstance(name, str) else ""


def _fault(inside: Path, path: Path, name: str) -> str:
    """Why a file is not read; "" for one that may be. Addresses and ways out of the folder, by links too, are refused."""
    told = PurePosixPath(name)
    if "://" in name or "\\" in name or "\0" in name or told.is_absolute() or ".." in told.parts:
        return "outside the landing folder"
    if told.suffix.lower() not in _ENDINGS:
        return "no picture's name"
    try:
        if not path.resolve().is_relative_to(inside):
            return "outside the landing folder"
        if not path.is_file():
            return "missing"
        return "" if path.stat().st_size <= MAX_BYTES else "too large"
    except OSError:  # a name too long for the disk, a loop of links
        return "unreadable"
