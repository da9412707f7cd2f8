"""The Open Bandit data of one campaign as obp 0.5.7 reads it, its Thompson policy, and obp's usual reward model.

Two logs of the same days (ZOZOTOWN, Saito et al. 2021): `random` showed items uniformly, `bts` by Bernoulli Thompson
sampling. Rows are impressions of one item at one of three positions, by time; the reward is a click.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from pipelines.core.errors import NoDataError

CAMPAIGNS: Final = ("all", "men", "women")
N_POSITIONS: Final = 3
PRIOR_FILE: Final = "prior_bts.yaml"
SEED: Final = 12345  # of all that obp draws
N_SIMULATIONS: Final = 1_000_000
_SIMULATED_AT_A_TIME: Final = 20_000
_TOLERANCE: Final = (
    1e-7  # of the gradient of the mean loss: as exact as scikit-learn 1.1.3, which obp ran on, was by default
)
_COLUMNS: Final = ("timestamp", "item_id", "position", "click", "propensity_score")


@dataclass(frozen=True)
class Impressions:
    """n impressions of a log, by time, of k items."""

    row: np.ndarray  # (n,) which impression of the file it is: resamples repeat some
    item: np.ndarray  # (n,) 0 to k - 1
    position: np.ndarray  # (n,) 0 to 2
    click: np.ndarray  # (n,) 0 or 1
    propensity: np.ndarray  # (n,)
    user: np.ndarray  # (n, d) 0/1: hashed user features, first level left out
    affinity: np.ndarray  # (n, k) clicks of this user on each item before
    items: np.ndarray  # (k, 4): three hashed features as codes, one number

    def __len__(self) -> int:
        return len(self.item)

    def take(self, rows: np.ndarray) -> "Impressions":
        """The impressions at positions (m,)."""
        of_rows = ("row", "item", "position", "click", "propensity", "user", "affinity")
        return replace(self, **{name: getattr(self, name)[rows] for name in of_rows})

    def resampled(self, seed: int) -> "Impressions":
        """As many, drawn with replacement as obp does."""
        return self.take(np.random.RandomState(seed).choice(np.arange(len(self)), size=len(self), replace=True))


def read_impressions(data: Path, behaviour: str, campaign: str) -> Impressions:
    """One log. Raises NoDataError where a file is missing or lacks a column."""
    folder = data / behaviour / campaign
    rows, items = _read(folder / f"{campaign}.csv.gz", _COLUMNS), _read(folder / "item_context.csv", ("item_id",))
    _check(folder / f"{campaign}.csv.gz", rows, len(items))
    rows = rows.sort_values("timestamp")
    codes = [
        np.unique(items[f"item_feature_{k}"].to_numpy(dtype=str), return_inverse=True)[1].astype(float)
        for k in (1, 2, 3)
    ]
    user = pd.get_dummies(rows.filter(like="user_feature"), drop_first=True)
    return Impressions(
        row=np.arange(len(rows)),
        item=rows["item_id"].to_numpy(),
        position=rows["position"].to_numpy() - 1,
        click=rows["click"].to_numpy(dtype=float),
        propensity=rows["propensity_score"].to_numpy(),
        user=user.to_numpy(dtype=float),
        affinity=rows.filter(like="user-item_affinity").to_numpy(dtype=float),
        items=np.stack([*codes, items["item_feature_0"].to_numpy(dtype=float)], axis=1),
    )


def thompson(data: Path, campaign: str, n_simulations: int = N_SIMULATIONS) -> np.ndarray:
    """(k, 3) probability of each item at each position under Bernoulli Thompson sampling with the shop's prior, the
    numbers that obp's BernoulliTS.compute_batch_action_dist draws. Raises NoDataError."""
    path = data / PRIOR_FILE
    try:
        prior = yaml.safe_load(path.read_text())[campaign]
        alpha, beta = np.array(prior["alpha"], dtype=float), np.array(prior["beta"], dtype=float)
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise NoDataError(f"{path}: {error}; expected the Beta priors of campaign '{campaign}'") from None
    random = np.random.RandomState(SEED)
    counts = np.zeros((len(alpha), N_POSITIONS))
    for start in range(0, n_simulations, _SIMULATED_AT_A_TIME):
        size = min(_SIMULATED_AT_A_TIME, n_simulations - start)
        best = np.argsort(random.beta(alpha, beta, size=(size, len(alpha))), axis=1)[:, ::-1][:, :N_POSITIONS]
        for position in range(N_POSITIONS):
            counts[:, position] += np.bincount(best[:, position], minlength=len(alpha))
    return counts / n_simulations


def usual_model(log: Impressions, strength: float, n_folds: int = 3, seed: int = SEED) -> np.ndarray:
    """(n, k) clicks expected of each item where the impression was, by obp's RegressionModel: a logistic regression
    (C = strength) per position on user and item features, fitted on the other folds.

    Where no other row of a position was clicked it expects 0; obp ends there.
    """
    n, k = log.affinity.shape
    d = log.user.shape[1]
    found = np.zeros((n, k))
    for train, rest in KFold(n_folds, shuffle=True, random_state=seed).split(log.user):
        for position in range(N_POSITIONS):
            known, asked = train[log.position[train] == position], rest[log.position[rest] == position]
            if not log.click[known].any():
                continue
            told = np.concatenate([log.user[known], log.items[log.item[known]]], axis=1)
            model = LogisticRegression(C=strength, max_iter=10_000, tol=_TOLERANCE).fit(told, log.click[known])
            slopes = model.coef_[0]
            raw = (log.user[asked] @ slopes[:d])[:, None] + log.items @ slopes[d:] + model.intercept_[0]
            found[asked] = 1 / (1 + np.exp(-raw))
    return found


def _check(path: Path, rows: pd.DataFrame, k: int) -> None:
    """Raises NoDataError with the first value that no impression has."""
    expected = {
        "item_id": (range(k), f"an item from 0 to {k - 1}"),
        "position": (range(1, N_POSITIONS + 1), f"1 to {N_POSITIONS}"),
        "click": ((0, 1), "0 or 1"),
    }
    checks = {name: (rows[name].isin(allowed), words) for name, (allowed, words) in expected.items()}
    chance = pd.to_numeric(rows["propensity_score"], errors="coerce")
    checks["propensity_score"] = (chance.gt(0) & chance.le(1), "the chance of what was shown, above 0 and at most 1")
    for name, (is_good, words) in checks.items():
        if not is_good.all():
            at = int((~is_good).to_numpy().argmax())
            found = f"{name} of impression {rows.index[at]} is {rows[name].iloc[at]}"
            raise NoDataError(f"{path}: {found}; expected {words} ({int((~is_good).sum())} rows are so)")


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        found = pd.read_csv(path, index_col=0)
    except (OSError, ValueError, EOFError) as error:
        raise NoDataError(f"{path}: {error}; expected a file of the Open Bandit data, see its README") from None
    missing = [name for name in columns if name not in found.columns]
    if missing or not len(found):
        raise NoDataError(f"{path}: no column {', '.join(missing)} in {len(found)} rows; has {list(found.columns)[:8]}")
    return found
