"""What each action would bring in each context, by models that have not seen the row: the q of off_policy.py.

Two kinds of candidates, tried crosswise: each is fitted on all folds but one and predicts that one, so that choosing by
the error on held-out rows and predicting without having seen them cost the same fits.

- A hierarchical generalised linear model: coefficients shared by all actions, and each action's own deviations from
  them, held back by ridge penalties (logistic for 0/1 rewards, least squares otherwise). With penalties it works on few
  clicks and on none: an action without a click falls back to what all actions do.
- LightGBM on context and action, for what is not linear.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

N_FOLDS: Final = 3
_STEPS: Final = 12  # of Newton's method, halved where a step overshoots
_RIDGE_STEPS, _LONGEST_STEP, _SMALL_STEP = 25, 2.0, 1e-6
_MIN_ROWS_OF_TREES: Final = 500
_MIN_EVENTS_OF_TREES: Final = 30  # of the rarer outcome


@dataclass(frozen=True)
class Precision:
    """Ridge penalties: of an action's own level, of its own slopes, and of the slopes that all actions share."""

    level: float
    slope: float
    shared: float = 1.0

    def __str__(self) -> str:
        return f"ridge {self.level:g}/{self.slope:g}/{self.shared:g}"


PRECISIONS: Final = (  # from actions that differ in all to hardly anything but one level, as rare rewards need
    Precision(1, 1), Precision(1, 10), Precision(10, 10), Precision(10, 1e6), Precision(10, 1e6, 100),
    Precision(100, 1e6, 1e4),
)  # fmt: skip
TREES: Final = "lightgbm"


@dataclass(frozen=True)
class Rewards:
    """What a reward model expects of each row that it has not seen."""

    q: np.ndarray  # (n, a)
    chosen: str
    losses: dict[str, float]  # mean loss on held-out rows per candidate: log-loss for 0/1 rewards, else squared error


def cross_fitted(
    context: np.ndarray | None,
    action: np.ndarray,
    reward: np.ndarray,
    n_actions: int,
    *,
    cluster: np.ndarray | None = None,
    seed: int = 0,
    trees: bool = True,
) -> Rewards:
    """The candidate with the least held-out loss. Rows of one cluster (n,) share a fold; equal arguments, equal result."""
    n = len(action)
    units, unit = (np.arange(n), np.arange(n)) if cluster is None else np.unique(cluster, return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(units)) % N_FOLDS)[unit]
    is_binary = bool(np.isin(reward, (0, 1)).all())
    x = design(context, n)
    scale = 1.0 if is_binary else float(reward.std()) or 1.0
    rows = np.arange(n)
    q: dict[str, np.ndarray] = {}
    for penalty in PRECISIONS:
        found = np.empty((n, n_actions))
        for held in range(N_FOLDS):
            out = fold == held
            model = fit_hierarchical(x[~out], action[~out], reward[~out] / scale, n_actions, penalty, is_binary)
            found[out] = model.predict(x[out]) * scale
        q[str(penalty)] = found
    if (
        trees
        and n >= _MIN_ROWS_OF_TREES
        and (not is_binary or min(reward.sum(), n - reward.sum()) >= _MIN_EVENTS_OF_TREES)
    ):
        q[TREES] = _boosted(x[:, 1:], action, reward, n_actions, fold, is_binary, seed)
    losses = {name: _loss(reward, found[rows, action], is_binary) for name, found in q.items()}
    chosen = min(losses, key=lambda name: losses[name])
    return Rewards(q[chosen], chosen, losses)


def _loss(reward: np.ndarray, expected: np.ndarray, is_binary: bool) -> float:
    if not is_binary:
        return float(((reward - expected) ** 2).mean())
    expected = np.clip(expected, 1e-9, 1 - 1e-9)
    return float(-np.where(reward > 0, np.log(expected), np.log1p(-expected)).mean())


def _boosted(
    context: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    n_actions: int,
    fold: np.ndarray,
    is_binary: bool,
    seed: int,
) -> np.ndarray:
    """(n, a) by LightGBM, each row by trees of the other folds."""
    import lightgbm

    settings = {
        "objective": "binary" if is_binary else "regression", "learning_rate": 0.1, "num_leaves": 8, "seed": seed,
        "min_data_in_leaf": 20, "lambda_l2": 10.0, "cat_smooth": 10.0, "num_threads": 1, "deterministic": True,
        "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    n, d = context.shape
    found = np.empty((n, n_actions))
    for held in range(N_FOLDS):
        out = fold == held
        told = np.column_stack([context[~out], action[~out]])
        data = lightgbm.Dataset(told, reward[~out], categorical_feature=[d], params=settings)
        booster = lightgbm.train(settings, data, num_boost_round=60)
        grid = np.column_stack([np.repeat(context[out], n_actions, axis=0), np.tile(np.arange(n_actions), out.sum())])
        found[out] = np.asarray(booster.predict(grid)).reshape(-1, n_actions)
    return found


@dataclass(frozen=True)
class Model:
    """Rewards expected: link(x~ (common + own[action])), x~ = (1, standardised context)."""

    common: np.ndarray  # (p,)
    own: np.ndarray  # (a, p)
    is_binary: bool

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(n, p) -> (n, a)."""
        raw = x @ (self.common + self.own).T
        return sigmoid(raw) if self.is_binary else raw


def design(context: np.ndarray | None, n: int) -> np.ndarray:
    """(n, 1 + d): a one and the context, standardised; columns that never change are left out."""
    if context is None:
        return np.ones((n, 1))
    spread = context.std(axis=0)
    kept = spread > 1e-12
    return np.concatenate([np.ones((n, 1)), (context[:, kept] - context[:, kept].mean(axis=0)) / spread[kept]], axis=1)


def fit_hierarchical(
    x: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    n_actions: int,
    penalty: Precision,
    is_binary: bool,
    start: Model | None = None,
) -> Model:
    """Newton's method on the penalised likelihood; x (n, p), action and reward (n,).

    Own coefficients touch only rows of their action, so the Hessian is an arrow: blocks (a, p, p) are eliminated first,
    and the cost is linear in the number of actions.
    """
    n, p = x.shape
    order = np.argsort(action, kind="stable")
    x, action, reward = x[order], action[order], reward[order]
    seen, starts = np.unique(action, return_index=True)
    held = np.full(p, penalty.slope)
    held[0] = penalty.level
    shared = np.full(p, penalty.shared)
    shared[0] = 1e-3  # the general level is free, but finite where no reward was seen
    common, own = (start.common, start.own) if start else (np.zeros(p), np.zeros((n_actions, p)))
    if is_binary and start is None:
        share = (reward.sum() + 0.5) / (n + 1)
        common[0] = np.log(share / (1 - share))

    def loss(common: np.ndarray, own: np.ndarray) -> tuple[float, np.ndarray]:
        raw = np.einsum("np,np->n", x, (common + own)[action])
        fit = np.logaddexp(0, raw) - reward * raw if is_binary else (reward - raw) ** 2 / 2
        return float(fit.sum() + (shared * common**2).sum() / 2 + (held * own**2).sum() / 2), raw

    value, raw = loss(common, own)
    for _ in range(_STEPS if is_binary else 1):
        mean = sigmoid(raw) if is_binary else raw
        curve = mean * (1 - mean) if is_binary else np.ones(n)
        gradient = np.zeros((n_actions, p))
        gradient[seen] = np.add.reduceat(x * (reward - mean)[:, None], starts)
        block = np.zeros((n_actions, p, p))
        weighted = x * curve[:, None]
        for at, (k, begin) in enumerate(zip(seen.tolist(), starts.tolist(), strict=True)):
            end = starts[at + 1] if at + 1 < len(starts) else n
            block[k] = weighted[begin:end].T @ x[begin:end]
        down_common = gradient.sum(axis=0) - shared * common
        down_own = gradient - held * own
        inner = np.linalg.solve(block + np.diag(held), np.concatenate([block, down_own[:, :, None]], axis=2))
        against, settled = inner[:, :, :p], inner[:, :, p]
        schur = np.diag(shared) + (block - block @ against).sum(axis=0)
        step = np.linalg.solve(schur, down_common - np.einsum("apq,aq->p", block, settled))
        own_step = settled - against @ step
        size = 1.0
        while True:
            new_value, new_raw = loss(common + size * step, own + size * own_step)
            if new_value <= value + 1e-9 or size < 1e-4:
                break
            size /= 2
        common, own, raw = common + size * step, own + size * own_step, new_raw
        if value - new_value < 1e-6 * n**0.5:
            break
        value = new_value
    return Model(common, own, is_binary)


def fit_ridge(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, prior: np.ndarray, precision: np.ndarray, is_binary: bool
) -> np.ndarray:
    """(p,) coefficients, held to `prior` by `precision` (p,): logistic or linear. x (n, p), y and weight (n,)."""
    found = prior.astype(float)
    for _ in range(_RIDGE_STEPS if is_binary else 1):
        mean = sigmoid(x @ found) if is_binary else x @ found
        curve = weight * (mean * (1 - mean) if is_binary else 1.0)
        gradient = x.T @ (weight * (y - mean)) - precision * (found - prior)
        step = np.linalg.solve((x * curve[:, None]).T @ x + np.diag(precision), gradient)
        longest = float(np.abs(step).max())
        found = found + (step * min(1.0, _LONGEST_STEP / longest) if is_binary and longest > 0 else step)
        if longest < _SMALL_STEP:
            break
    return found


def logit(share: np.ndarray) -> np.ndarray:
    """Log odds, of shares at least 1e-6 from 0 and 1."""
    share = np.clip(share, 1e-6, 1 - 1e-6)
    return np.log(share / (1 - share))


def sigmoid(raw: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-raw)."""
    return 1 / (1 + np.exp(-np.clip(raw, -500, 500)))
