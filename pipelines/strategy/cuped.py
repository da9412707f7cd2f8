"""The difference between two arms of an experiment, with less noise: ratio metrics, clusters, CUPED.

A metric is a ratio of two sums over an arm, as profit per customer-night or revenue per order. Rows of one customer are
alike, so the customer is the unit: the ratio is linearised around its mean (delta method: Deng, Knoblich and Lu 2018,
"Applying the Delta Method in Metric Analytics") and each customer's part of that is one independent number. Rows that
were drawn with known, unequal probabilities count 1 / probability (Hajek 1971), in the same sums.

CUPED (Deng, Xu, Kohavi and Walker 2013) takes off what was known of the customers before: the arms differ in it by luck
alone, so subtracting theta times that difference moves no mean and, with theta chosen by least squares, only lowers the
variance. A covariate must have been measured before the arms could change it.
"""

from dataclasses import dataclass

import numpy as np

MIN_CUSTOMERS_PER_COVARIATE = 20  # with fewer, theta costs more than it brings


@dataclass(frozen=True)
class Arm:
    """Sums over the rows of one arm, per customer (n, in the same order in every arm); 0 for who is in none of its rows.

    A row is a customer and a night. Weights are 1, or 1 / probability where rows were drawn with unequal chances.
    """

    rows: np.ndarray  # (n,) sum of weights
    covariates: np.ndarray  # (n, c) sum of weight x covariate, each covariate known before the row was drawn

    @property
    def n_customers(self) -> int:
        return int((self.rows > 0).sum())


@dataclass(frozen=True)
class Difference:
    """Arm less control, in the metric's unit."""

    value: float  # the arm's ratio as it is
    control_value: float
    effect: float  # value - control_value, adjusted
    std_error: float
    plain_effect: float  # not adjusted
    plain_error: float

    @property
    def variance_cut(self) -> float:
        """Share of the variance that the covariates took away."""
        return 1 - (self.std_error / self.plain_error) ** 2 if self.plain_error > 0 else 0.0


def difference(
    arm: Arm,
    control: Arm,
    above: tuple[np.ndarray, np.ndarray],
    below: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    adjusted: bool = True,
) -> Difference:
    """Ratio of `above` to `below` in the arm less that in the control, both pairs (arm, control) of weighted sums (n,).

    `below` is the rows by default: a mean per row. Without covariates and with one row per customer it is Welch's t
    test, standard error included. NaN where an arm has nobody, or nothing to divide by.
    """
    n_arm, n_control = arm.n_customers, control.n_customers
    under = below or (arm.rows, control.rows)
    value, of_arm = _linearised(above[0], under[0], arm.rows)
    control_value, of_control = _linearised(above[1], under[1], control.rows)
    plain = of_arm - of_control
    effect, error = value - control_value, _norm(plain)
    n_covariates = arm.covariates.shape[1]
    n = n_arm + n_control
    if not adjusted or not np.isfinite(error) or n < MIN_CUSTOMERS_PER_COVARIATE * max(n_covariates, 1):
        return Difference(value, control_value, effect, error, effect, error)
    gap, parts = np.zeros(n_covariates), np.zeros((len(plain), n_covariates))
    for j in range(n_covariates):
        mean_arm, x_arm = _linearised(arm.covariates[:, j], arm.rows, arm.rows)
        mean_control, x_control = _linearised(control.covariates[:, j], control.rows, control.rows)
        gap[j], parts[:, j] = mean_arm - mean_control, x_arm - x_control
    theta = _least_squares(parts, plain)
    left = _norm(plain - parts @ theta) * np.sqrt((n - 2) / (n - 2 - n_covariates))
    if left >= error:  # they explain less than fitting them costs
        return Difference(value, control_value, effect, error, effect, error)
    return Difference(value, control_value, float(effect - gap @ theta), left, effect, error)


def _linearised(above: np.ndarray, below: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
    """The ratio of the sums, and each customer's part in its error (n,): their squares add up to its variance.

    Widened by n / (n - 1) of the customers in the arm, as a variance of a sample is.
    """
    n = int((rows > 0).sum())
    total = float(below.sum())
    if n < 2 or total == 0:
        return float("nan"), np.full(len(rows), np.nan)
    ratio = float(above.sum()) / total
    return ratio, (above - ratio * below) / total * np.sqrt(n / (n - 1))


def _norm(parts: np.ndarray) -> float:
    return float(np.sqrt((parts**2).sum()))


def _least_squares(parts: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(c,) coefficients; 0 for a covariate that is the same for everybody."""
    scale = np.sqrt((parts**2).sum(axis=0))
    used = scale > 1e-12 * max(float(scale.max(initial=0.0)), 1e-300)
    theta = np.zeros(parts.shape[1])
    if used.any():
        columns = parts[:, used] / scale[used]
        theta[used] = np.linalg.lstsq(columns.T @ columns, columns.T @ target, rcond=1e-10)[0] / scale[used]
    return theta
