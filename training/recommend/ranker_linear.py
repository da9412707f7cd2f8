"""Log-odds that are linear in the logarithms of features: what few examples can carry, beside or instead of trees."""

from dataclasses import dataclass

import numpy as np

from pipelines.core.errors import TrainingError

_FLOOR = 1e-3  # of a feature before its logarithm: below it, counts and shares are nothing
_MOST_OTHERS = 60_000  # examples of what did not happen that are fitted on; the others say the same


@dataclass(frozen=True)
class LogLinear:
    """intercept + sum of coefficient x (log(feature) - mean) / deviation."""

    mean: np.ndarray  # (f,)
    deviation: np.ndarray  # (f,)
    coefficient: np.ndarray  # (f,)
    intercept: float

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, strength: float, seed: int) -> "LogLinear":
        """Logistic regression of y (n,) bool on x (n, f), both of nights together; `strength`: of the examples against
        the pull of the coefficients to 0 (scikit-learn's C). Raises TrainingError where nothing or everything happened."""
        from sklearn.linear_model import LogisticRegression

        happened = np.flatnonzero(y)
        others = np.flatnonzero(~y)
        if not len(happened) or not len(others):
            raise TrainingError(
                f"{len(happened)} of {len(y)} examples happened: nothing to tell apart; wait for more nights"
            )
        share = min(1.0, _MOST_OTHERS / len(others))
        drawn = others[np.random.default_rng(seed).random(len(others)) < share] if share < 1 else others
        rows = np.concatenate([happened, drawn])
        logs = _logs(x[rows])
        mean, deviation = logs.mean(axis=0), logs.std(axis=0)
        deviation = np.where(deviation > 1e-9, deviation, np.inf)  # a constant tells nothing
        weight = np.where(y[rows], 1.0, 1 / share)
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
        model.fit((logs - mean) / deviation, y[rows], sample_weight=weight)
        return cls(mean, deviation, model.coef_[0], float(model.intercept_[0]))

    def logit(self, x: np.ndarray) -> np.ndarray:
        """(n,) log-odds of x (n, f)."""
        return np.asarray((_logs(x) - self.mean) / self.deviation @ self.coefficient + self.intercept)

    def arrays(self) -> dict[str, np.ndarray]:
        """What `of` makes it from again."""
        return {name: np.asarray(told) for name, told in vars(self).items()}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "LogLinear":
        return cls(arrays["mean"], arrays["deviation"], arrays["coefficient"], float(arrays["intercept"]))


def _logs(x: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(x, 0.0) + _FLOOR, dtype=np.float64)
