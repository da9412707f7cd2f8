"""How often customers buy and when they leave for good: BG/NBD, and its level and spread set right on known time.

BG/NBD (Fader, Hardie and Lee 2005, "Counting your customers the easy way"): a customer buys at random at a rate of their
own, gamma(r, alpha) over customers, and after each order leaves with a chance of their own, beta(a, b).

Two faults of it are known: it expects too little in the long run, and too much of its best customers. Both are measured
where the answer is known. Fitted on the first half of the known time it expects orders of the second half;
`level` is how many there were of each expected one, `spread` the power that brings customers nearer together (below 1).
A half, because what is then judged is as long as what was known, too: over shorter horizons the level is right by itself.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, hyp2f1

from pipelines.core.errors import TrainingError

_MOST = 8.0  # of a logarithm of a parameter, either sign
_DOUBT = 10.0  # orders as expected that the level starts from


@dataclass(frozen=True)
class Histories:
    """n customers as known at some time: orders after the clock began, age at the last of them, age now (any unit)."""

    n_orders: np.ndarray  # (n,) 0, 1, ...
    last_age: np.ndarray  # (n,) 0 without orders
    age: np.ndarray  # (n,)


@dataclass(frozen=True)
class Buying:
    """Parameters of BG/NBD, all positive; 1 / alpha has the unit of 1 / age."""

    r: float
    alpha: float
    a: float
    b: float

    def expected(self, known: Histories, horizon: np.ndarray | float) -> np.ndarray:
        """(n,) orders within `horizon` from now, (n,) or one number, in the unit of ages. Equation 10 of the paper."""
        x, tx, age = known.n_orders, known.last_age, known.age
        # The mean of a geometric mixture has a pole at a = 1 that cancels out; beside it nothing changes.
        a = self.a if abs(self.a - 1) > 1e-5 else 1 + 1e-5
        series = hyp2f1(self.r + x, self.b + x, a + self.b + x - 1, horizon / (self.alpha + age + horizon))
        stays = 1 - ((self.alpha + age) / (self.alpha + age + horizon)) ** (self.r + x) * series
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = a / (self.b + x - 1) * ((self.alpha + age) / (self.alpha + tx)) ** (self.r + x)
        return np.maximum((a + self.b + x - 1) / (a - 1) * stays / (1 + np.where(x > 0, odds, 0.0)), 0.0)


@dataclass(frozen=True)
class Correction:
    """Expected orders times level x (expected / mean)^(spread - 1) / norm, all as of one horizon, so for each alone."""

    level: float
    spread: float
    horizon: float
    mean: float
    norm: float

    def factor(self, buying: Buying, known: Histories) -> np.ndarray:
        """(n,) what to multiply expected orders with, over whatever horizon."""
        share = np.maximum(buying.expected(known, self.horizon) / self.mean, 1e-12)
        return self.level * share ** (self.spread - 1) / self.norm


def fit_buying(known: Histories) -> Buying:
    """Maximum likelihood (equation 6). Raises TrainingError where nobody bought or all is as one."""
    if not len(known.age) or not known.n_orders.any():
        raise TrainingError(f"value: none of {len(known.age)} customers bought anything; wait for more nights")
    rows = np.stack([known.n_orders, known.last_age, known.age], axis=1).astype(np.float64)
    distinct, times = np.unique(rows, axis=0, return_counts=True)
    share = times / times.sum()

    def loss(logarithms: np.ndarray) -> float:
        return -float(share @ _log_likelihood(np.exp(logarithms), *distinct.T))

    scale = float(np.log(np.maximum(known.age.mean(), 1e-9)))
    starts = (np.array([0.0, scale, 0.0, 0.0]), np.array([-1.5, scale - 2, 0.0, 1.0]))
    found = min(
        (
            minimize(loss, start, method="L-BFGS-B", bounds=[(-_MOST, _MOST)] * 4, options={"ftol": 1e-13})
            for start in starts
        ),
        key=lambda one: float(one.fun),
    )
    if not np.isfinite(found.fun):
        raise TrainingError(
            "value: the likelihood of the order histories is no number; look at ages and counts of orders"
        )
    return Buying(*(float(value) for value in np.exp(found.x)))


def fit_correction(early: Buying, known: Histories, happened: np.ndarray, horizon: float) -> tuple[float, float]:
    """Level and spread: n customers known at some time, and the orders (n,) that each made within `horizon` after it.

    The spread is a Poisson regression of orders on the logarithm of those expected, drawn a little towards 1.
    """
    expected = np.maximum(early.expected(known, horizon), 1e-12)
    level = (happened.sum() + _DOUBT) / (expected.sum() + _DOUBT)
    logs = np.log(expected / expected.mean())

    def loss(values: np.ndarray) -> float:
        raw = values[0] + values[1] * logs
        return float((expected.mean() * np.exp(raw) - happened * raw).sum() + (values[1] - 1) ** 2 / 2)

    found = minimize(loss, np.array([0.0, 1.0]), method="L-BFGS-B", bounds=[(None, None), (0.1, 2.0)])
    return float(level), float(found.x[1])


def correction_for(buying: Buying, known: Histories, horizon: float, level: float, spread: float) -> Correction:
    """The correction for a population as known now: all customers together get `level` times what was expected."""
    expected = np.maximum(buying.expected(known, horizon), 1e-12)
    mean = float(expected.mean())
    norm = float((expected * (expected / mean) ** (spread - 1)).sum() / expected.sum())
    return Correction(level, spread, horizon, mean, norm)


def _log_likelihood(parameters: np.ndarray, x: np.ndarray, last_age: np.ndarray, age: np.ndarray) -> np.ndarray:
    r, alpha, a, b = parameters
    both = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    both += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    here = -(r + x) * np.log(alpha + age)
    with np.errstate(divide="ignore", invalid="ignore"):
        gone = np.where(x > 0, np.log(a) - np.log(b + x - 1) - (r + x) * np.log(alpha + last_age), -np.inf)
    return both + np.logaddexp(here, gone)
