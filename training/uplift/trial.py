"""One randomised or logged trial as arrays, checked at the door: who was in which arm, with which chance, and what came out."""

from dataclasses import dataclass

import numpy as np

from pipelines.core.errors import TrainingError

MIN_ARM_ROWS = 2  # fewer cannot be fitted and judged on different rows


@dataclass(frozen=True)
class Trial:
    """n customers, f features, A arms of which 0 is the control; all arrays are checked by `Trial.of`."""

    x: np.ndarray  # (n, f) float64, finite
    arm: np.ndarray  # (n,) int64, 0..A-1
    y: np.ndarray  # (n,) float64, 0/1 or an amount
    propensity: np.ndarray  # (n, A) chance of each arm, in (0, 1)
    weight: np.ndarray  # (n,) how much a row counts

    @classmethod
    def of(
        cls,
        x: np.ndarray,
        arm: np.ndarray,
        y: np.ndarray,
        propensity: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> "Trial":
        """`propensity` (A,) where all rows have the same chances, else (n, A). Raises TrainingError in one line."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        arm, n = np.asarray(arm), len(y)
        given = np.asarray(propensity, dtype=np.float64)
        chance = np.broadcast_to(given, (n, len(given))) if given.ndim == 1 else given
        weight = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
        if not n:
            raise TrainingError("a trial without rows: nothing to fit; wait for outcomes")
        if x.ndim != 2 or len(x) != n or arm.shape != (n,) or chance.ndim != 2 or len(chance) != n or len(weight) != n:
            shapes = f"x {x.shape}, arm {arm.shape}, y {y.shape}, propensity {given.shape}, weight {weight.shape}"
            raise TrainingError(f"arrays of a trial that do not fit together: {shapes}; expected one row per customer")
        for name, values in (("x", x), ("y", y), ("propensity", chance), ("weight", weight)):
            if bad := int((~np.isfinite(values)).sum()):
                raise TrainingError(
                    f"{name} of a trial holds {bad} values that are missing or no numbers; mend the data"
                )
        if (chance <= 0).any() or (chance > 1).any():
            bad = int(((chance <= 0) | (chance > 1)).any(axis=1).sum())
            raise TrainingError(
                f"propensities of {bad} rows are not in (0, 1]: such an arm cannot be compared; drop it"
            )
        if np.abs(chance.sum(axis=1) - 1).max() > 1e-6:
            raise TrainingError("propensities of a row must sum to 1 over the arms, control included")
        if (weight < 0).any() or not weight.sum():
            raise TrainingError("weights of a trial must be 0 or more, and some above 0")
        n_arms = chance.shape[1]
        if n_arms < 2 or not np.issubdtype(arm.dtype, np.integer) or arm.min() < 0 or arm.max() >= n_arms:
            raise TrainingError(
                f"arms of a trial must be whole numbers from 0 (control) to {n_arms - 1}, at least two arms"
            )
        counts = np.bincount(arm, weights=weight > 0, minlength=n_arms)
        if empty := [str(at) for at in range(n_arms) if counts[at] < MIN_ARM_ROWS]:
            raise TrainingError(
                f"arm {', '.join(empty)} has fewer than {MIN_ARM_ROWS} rows: leave the arm out or wait for its outcomes"
            )
        if y.min() == y.max():
            raise TrainingError(f"all {n} outcomes are {y[0]:g}: nothing to tell apart; wait for more outcomes")
        return cls(x, arm.astype(np.int64), y, np.ascontiguousarray(chance), weight)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def n_arms(self) -> int:
        return self.propensity.shape[1]

    @property
    def treatments(self) -> range:
        """Arms other than the control."""
        return range(1, self.n_arms)

    @property
    def is_binary(self) -> bool:
        return bool(np.isin(self.y, (0.0, 1.0)).all())

    def take(self, rows: np.ndarray) -> "Trial":
        """Some rows, by mask or index."""
        return Trial(self.x[rows], self.arm[rows], self.y[rows], self.propensity[rows], self.weight[rows])

    def pair(self, treatment: int) -> tuple["Trial", np.ndarray, np.ndarray]:
        """Rows of one treatment and the control; 0/1 treated (m,), and the chance of it among the two (m,)."""
        rows = (self.arm == treatment) | (self.arm == 0)
        part = self.take(rows)
        chance = part.propensity[:, treatment] / (part.propensity[:, treatment] + part.propensity[:, 0])
        return part, (part.arm == treatment).astype(np.float64), chance


def doubly_robust(trial: Trial, mean: np.ndarray) -> np.ndarray:
    """(n, A-1) pseudo-outcomes whose mean given x is the effect of each treatment (Robins, Rotnitzky and Zhao 1994).

    `mean` (n, A): expected outcome under each arm from models that did not see the row.
    """
    residual = (trial.y - mean[np.arange(len(trial)), trial.arm])[:, None]
    own = (trial.arm[:, None] == np.arange(trial.n_arms)) * residual / trial.propensity
    whole = mean + own
    return whole[:, 1:] - whole[:, :1]


def folds_of(trial: Trial, n_folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each row; arms, and within an arm the outcomes above 0, are spread evenly over the folds."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(trial))
    order = order[np.lexsort((trial.y[order] > 0, trial.arm[order]))]
    fold = np.empty(len(trial), dtype=np.int64)
    fold[order] = np.arange(len(trial)) % n_folds
    return fold
