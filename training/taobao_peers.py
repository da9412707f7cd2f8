"""What peers reached on the same customers and day, customer by customer (the data folder's peers/DEFINITIONS.md)."""

import gzip
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipelines.core.errors import NoDataError

PEERS: Final = "peers"
FILES: Final = ("recommend_classic_per_user.csv.gz", "recommend_ranker_per_user.csv.gz")
MEASURES: Final = ("recall", "ndcg", "hit")
_LEVELS: Final = {"item": "item", "cat": "category"}
_TARGETS: Final = {"any": "any", "buy": "purchase"}

Key = tuple[str, str, str, str]  # level, target, seen, truth
Peers = dict[Key, dict[str, np.ndarray]]  # setting -> peer -> (n_customers, len(MEASURES)), NaN who is not in the mean


def read_peers(folder: Path, customers: np.ndarray) -> Peers:
    """Of these customers (sorted ids); nothing where the data folder has no peers.

    Raises NoDataError for a damaged file, and for customers that are not in the data.
    """
    found: Peers = {}
    for name in FILES:
        path = folder / PEERS / name
        if not path.is_file():
            continue
        told = _read(path)
        who = told["user"]
        place = np.minimum(np.searchsorted(customers, who), len(customers) - 1)
        if not (customers[place] == who).all():
            raise NoDataError(f"{path}: customers that the events do not know; expected results on the same file")
        values = np.stack([told[measure] for measure in MEASURES], axis=1).astype(np.float64)
        told_of = [told[column] for column in ("level", "target", "seen", "truth", "method")]
        for one in sorted({tuple(str(part) for part in row) for row in zip(*told_of, strict=True)}):
            level, target, seen, truth, method = one
            own = np.logical_and.reduce([column == part for column, part in zip(told_of, one, strict=True)])
            rows = np.full((len(customers), len(MEASURES)), np.nan)
            rows[place[own]] = values[own]
            found.setdefault((_LEVELS[level], _TARGETS[target], seen, truth), {})[method] = rows
    return found


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with gzip.open(path) as lines:
            table = csv.read_csv(lines, convert_options=csv.ConvertOptions(column_types={"user": pa.string()}))
        columns = ("level", "target", "seen", "truth", "method", "user")
        return {name: np.array(table[name].to_pylist()) for name in columns} | {
            name: table[name].to_numpy() for name in MEASURES
        }
    except (OSError, EOFError, KeyError, pa.ArrowInvalid) as error:
        raise NoDataError(f"{path}: {error}; expected the peers' results per customer") from None
