"""The Hillstrom e-mail trial as arrays: 64,000 customers, three arms of one third each, features as peers/DEFINITIONS.md."""

import gzip
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipelines.core.errors import NoDataError

FILE: Final = "Kevin_Hillstrom_MineThatData_E-MailAnalytics_DataMiningChallenge_2008.03.20.csv.gz"
PEERS: Final = "peers"
MASKS: Final = "hillstrom_test_masks.csv.gz"
ARMS: Final = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
ARM_NAMES: Final = ("never", "mens", "womens")
FEATURES: Final = (
    *("recency", "history", "log_history", "history_segment", "mens", "womens", "newbie"),
    *("zip_rural", "zip_suburban", "zip_urban", "by_multichannel", "by_phone", "by_web"),
)
_ZIPS: Final = ("Rural", "Surburban", "Urban")  # the file's own spelling
_CHANNELS: Final = ("Multichannel", "Phone", "Web")
_COLUMNS: Final = (
    *("recency", "history_segment", "history", "mens", "womens", "zip_code", "newbie", "channel"),
    *("segment", "visit", "conversion", "spend"),
)


@dataclass(frozen=True)
class Hillstrom:
    """In the order of the file."""

    x: np.ndarray  # (n, 13) FEATURES
    arm: np.ndarray  # (n,) 0 none, 1 men's, 2 women's e-mail
    visit: np.ndarray  # (n,) 0/1 within two weeks
    spend: np.ndarray  # (n,) dollars within two weeks


def read_hillstrom(folder: Path) -> Hillstrom:
    """Raises NoDataError, in one line, where the file is missing or is not this trial."""
    path = folder / FILE
    try:
        table = csv.read_csv(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise NoDataError(f"{path}: {error}; expected the Hillstrom e-mail trial that SOURCE.md describes") from None
    if missing := [name for name in _COLUMNS if name not in table.schema.names]:
        raise NoDataError(f"{path}: no column {', '.join(missing)}; found {', '.join(table.schema.names)}")
    text = {name: np.array(table[name].to_pylist()) for name in ("history_segment", "zip_code", "channel", "segment")}
    if unknown := sorted(set(text["segment"].tolist()) - set(ARMS)):
        raise NoDataError(f"{path}: arm {', '.join(map(str, unknown))} is unknown; expected {', '.join(ARMS)}")
    number = {name: _numbers(path, name, table[name]) for name in _COLUMNS if name not in text}
    history, visited = number["history"], number["visit"]
    band = _numbers(path, "history_segment", pa.array([str(name)[:1] for name in text["history_segment"].tolist()]))
    if (odd := np.flatnonzero(~np.isin(visited, (0, 1)))).size:
        raise NoDataError(f"{path}: visit of customer {odd[0] + 1} is {visited[odd[0]]:g}; expected 0 or 1")
    if back := int((number["spend"] < 0).sum()):
        print(f"{path}: {back} customers spent less than 0; they count as returns and lower the spend", file=sys.stderr)
    columns = [number["recency"], history, np.log1p(history), band, number["mens"], number["womens"], number["newbie"]]
    columns += [text["zip_code"] == name for name in _ZIPS] + [text["channel"] == name for name in _CHANNELS]
    arm = (text["segment"][:, None] == np.array(ARMS)).argmax(axis=1)
    return Hillstrom(np.stack(columns, axis=1).astype(np.float64), arm, number["visit"], number["spend"])


def _numbers(path: Path, name: str, column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """(n,) float64. Raises NoDataError with the first customer whose cell is none."""
    for at, cell in enumerate(column.to_pylist()):
        try:
            number = math.nan if cell is None else float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise NoDataError(
                f"{path}: {name} of customer {at + 1} is {'missing' if cell is None else repr(cell)}; expected a number: mend the file"
            )
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def read_masks(folder: Path, n: int) -> np.ndarray:
    """(n, 20) bool, true where a customer is in a split's test half. Raises NoDataError."""
    path = folder / PEERS / MASKS
    try:
        with gzip.open(path, "rt") as lines:
            found = np.loadtxt(lines, delimiter=",", skiprows=1, dtype=np.int8, ndmin=2)
    except (OSError, ValueError) as error:
        raise NoDataError(f"{path}: {error}; expected the test masks of the half splits, 0/1 per customer") from None
    if len(found) != n or not np.isin(found, (0, 1)).all():
        raise NoDataError(f"{path}: {found.shape} values; expected 0/1 for each of {n} customers")
    return found.astype(bool)
