"""Reads what the plan's export holds for the demo shop: the manifest, and each file against it.

The export is a folder with one CSV file per channel, the recommendations where the shop has some, and a manifest.json
{shop, night, files: {name: {rows, sha256}}}.
"""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from pipelines.core.errors import LandingError

REMEDY: Final = "publish the plan again"
Row = dict[str, str]


def files_of(folder: Path, shop: str, made_on: date) -> dict[str, tuple[int, str]]:
    """Rows and sha256 of each file that the manifest names. Raises LandingError for one of another shop or night."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): (int(told["rows"]), str(told["sha256"])) for name, told in manifest["files"].items()}
        names = (str(manifest["shop"]), str(manifest["night"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LandingError(f"{path}: no readable plan manifest ({type(error).__name__}: {error}); {REMEDY}") from error
    if names != (shop, made_on.isoformat()):
        raise LandingError(f"{path}: plan of {names[0]} {names[1]}, expected {shop} {made_on}; {REMEDY}")
    return files


def rows_of(folder: Path, name: str, told: tuple[int, str], needed: Sequence[str]) -> list[Row]:
    """The rows of one file, which must be as the manifest tells and have the columns `needed`. Raises LandingError."""
    path = folder / name
    n_rows, sha256 = told
    if path.suffix != ".csv" or Path(name).name != name:
        raise LandingError(f"{path}: not a CSV file of the plan; {REMEDY}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LandingError(f"{path}: named in the manifest but not readable ({error.strerror}); {REMEDY}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise LandingError(f"{path}: sha256 differs from the manifest: the file was changed or cut; {REMEDY}")
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LandingError(f"{path}: no readable CSV in UTF-8 ({error}); {REMEDY}") from error
    if len(rows) != n_rows:
        raise LandingError(f"{path}: {len(rows)} rows, the manifest tells {n_rows}; {REMEDY}")
    missing = [column for column in needed if rows and rows[0].get(column) is None]
    if missing:
        raise LandingError(f"{path}: columns {missing} are missing, found {list(rows[0])}; {REMEDY}")
    return rows
