"""What peers reached on the same half splits, column by column: the best of each column and the best single one."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipelines.core.errors import NoDataError
from training.hillstrom import PEERS

RANKING: Final = "hillstrom_binary_per_seed.csv.gz"
POLICIES: Final = "hillstrom_policy_per_seed.csv.gz"
RANKING_COLUMNS: Final = {
    f"{arm}_{outcome}_{measure}": (f"{arm}-{outcome}", field)
    for arm in ("womens", "mens")
    for outcome, measures in (
        ("visit", {"uplift_at_10": "u10", "uplift_at_30": "u30", "qini": "qini", "auuc": "uauc"}),
        ("spend", {"uplift_at_10_dollars": "u10", "uplift_at_30_dollars": "u30"}),
    )
    for measure, field in measures.items()
}
POLICY_COLUMNS: Final = {
    "policy_visit": "visit",
    "policy_spend_dollars": "spend",
    "policy_spend_less_cost_dollars": "spend-cost",
}
COLUMNS: Final = (*RANKING_COLUMNS, *POLICY_COLUMNS)  # the 15 that are counted
# One peer under different names: its visit scores are used for spend, and times spend per visit for policies.
_ON_VISIT: Final = "(on visit)"
_TIMES_VALUE: Final = "(visit x $/visit)"
_NOT_LEARNT: Final = ("random", "history-rank", "always-", "best-arm-on-train")


@dataclass(frozen=True)
class Peers:
    """column -> peer -> (splits,) its values, seed by seed."""

    columns: dict[str, dict[str, np.ndarray]]

    def first(self, n: int) -> "Peers":
        """The same on the first n splits only."""
        return Peers({column: {who: told[:n] for who, told in found.items()} for column, found in self.columns.items()})

    def best(self, column: str) -> str:
        """The peer with the highest mean over the splits: chosen after the fact, so its figure is optimistic."""
        found = self.columns[column]
        return max(found, key=lambda name: float(found[name].mean()))

    def singles(self) -> dict[str, dict[str, np.ndarray]]:
        """Learners that have all columns: each as trained on the outcome, and as trained on visits for all of them."""
        visits = set(self.columns["womens_visit_qini"]) & set(self.columns["policy_visit"])
        found = {}
        for name in sorted(visits):
            if not name.startswith(_NOT_LEARNT):
                found[name] = dict.fromkeys(COLUMNS, name)
                found[f"{name} through visits"] = {column: _through_visits(name, column) for column in COLUMNS}
        complete = {
            who: names
            for who, names in found.items()
            if all(names[column] in self.columns[column] for column in COLUMNS)
        }
        return {
            who: {column: self.columns[column][name] for column, name in names.items()}
            for who, names in complete.items()
        }

    def best_single(self) -> tuple[str, dict[str, np.ndarray]]:
        """The learner whose mean rank over the columns is best, and its values."""
        singles = self.singles()
        if not singles:
            raise NoDataError(f"{RANKING} and {POLICIES}: no peer has all of the {len(COLUMNS)} columns")
        names = list(singles)
        means = np.array([[singles[name][column].mean() for column in COLUMNS] for name in names])
        ranks = (means[None] > means[:, None]).sum(axis=1) + 1  # 1 is best; equals share a rank
        best = names[int(ranks.mean(axis=1).argmin())]
        return best, singles[best]


def read_peers(folder: Path, n_splits: int) -> Peers:
    """Raises NoDataError where a file is missing, or has not every split of a peer."""
    ranking, policies = (_read(folder / PEERS / name) for name in (RANKING, POLICIES))
    columns = {
        column: _by_peer(ranking, "task", task, "learner", field, n_splits)
        for column, (task, field) in RANKING_COLUMNS.items()
    }
    columns |= {
        column: _by_peer(policies, "obj", objective, "policy", "dr", n_splits)
        for column, objective in POLICY_COLUMNS.items()
    }
    return Peers(columns)


def _through_visits(name: str, column: str) -> str:
    if "visit" in column:
        return name
    return name + (_TIMES_VALUE if column in POLICY_COLUMNS else _ON_VISIT)


def _read(path: Path) -> pa.Table:
    try:
        with gzip.open(path) as lines:
            return csv.read_csv(lines)
    except (OSError, pa.ArrowInvalid) as error:
        raise NoDataError(f"{path}: {error}; expected the peers' results per seed") from None


def _by_peer(table: pa.Table, by: str, task: str, who: str, field: str, n_splits: int) -> dict[str, np.ndarray]:
    rows = table.filter(pa.array([told == task for told in table[by].to_pylist()]))
    names, values = np.array(rows[who].to_pylist()), rows[field].to_numpy()
    seed = rows["seed"].to_numpy()
    found = {}
    for name in dict.fromkeys(names.tolist()):
        own = names == name
        if sorted(seed[own].tolist()) != list(range(n_splits)):
            raise NoDataError(f"peer {name} on {task}: expected one row for each of {n_splits} splits")
        found[name] = values[own][np.argsort(seed[own])].astype(np.float64)
    return {name: told for name, told in found.items() if np.isfinite(told).all()}
