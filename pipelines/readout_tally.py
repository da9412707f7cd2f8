"""What a comparison adds up, night by night: per arm and customer the outcomes, and when a sequence of looks begins."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from pipelines.core.experiments import Readout
from pipelines.readout_nights import (
    BOUGHT,
    CLICKS,
    COMPLAINED,
    N_VALUES,
    NIGHTS,
    PROFIT,
    PURCHASES,
    RETURNED,
    REVENUE,
    UNSUBSCRIBED,
    VISITED,
)  # fmt: skip
from pipelines.strategy.cuped import Arm, Difference, difference
from pipelines.strategy.experiments import MIN_BUYERS
from pipelines.strategy.multiple import planned_error
from pipelines.strategy.sample_ratio import SampleRatio, of_counts, of_weights
from pipelines.strategy.sequential import rho_of

Role = Literal["primary", "secondary", "guardrail"]


@dataclass(frozen=True)
class Metric:
    """A ratio of two sums over customer-nights."""

    name: str
    unit: str
    above: int
    below: int = NIGHTS
    scale: float = 1
    margin: str = ""  # of a guardrail: the setting of Readout that limits it

    @property
    def role(self) -> Role:
        return "guardrail" if self.margin else "secondary"


PROFIT_METRIC: Final = Metric("profit_cents", "cents of profit per customer and night", PROFIT)
BOUGHT_METRIC: Final = Metric("bought", "buyers per 1,000 customer-nights", BOUGHT, scale=1_000)
METRICS: Final = (
    PROFIT_METRIC,
    Metric("revenue_cents", "cents of revenue per customer and night", REVENUE),
    BOUGHT_METRIC,
    Metric("order_cents", "cents per purchase", REVENUE, PURCHASES),
    Metric("complaints", "per 1,000 customer-nights", COMPLAINED, scale=1_000, margin="max_more_complaints"),
    Metric("unsubscribes", "per 1,000 customer-nights", UNSUBSCRIBED, scale=1_000, margin="max_more_unsubscribes"),
    Metric("returns", "per 1,000 customer-nights", RETURNED, scale=1_000, margin="max_more_returns"),
)
# Of what the shop's pages recommend: whether more come, and click on anything at all.
PAGE_METRICS: Final = (
    *METRICS,
    Metric("visited", "visitors per 1,000 customer-nights", VISITED, scale=1_000),
    Metric("clicks", "clicks per 1,000 customer-nights", CLICKS, scale=1_000),
)


@dataclass
class Tally:
    """One comparison: sums per arm and customer; the first arm is the control."""

    name: str
    question: str
    arms: tuple[str, ...]
    shares: tuple[float, ...] | None  # designed; None: by lot, each row with a probability of its own
    n_customers: int
    n_covariates: int
    limits: Readout
    segments: Sequence[str] = ()
    metrics: Sequence[Metric] = METRICS
    n_nights: int = 0
    n_drawn: int = 0  # rows that a lot was drawn for
    rho: dict[tuple[int, str], float] = field(default_factory=dict)
    is_added_to: bool = False  # since the last look

    def __post_init__(self) -> None:
        k, n = len(self.arms), self.n_customers
        self.rows = np.zeros((k, n))
        self.values = np.zeros((k, n, N_VALUES))
        self.covariates = np.zeros((k, n, self.n_covariates))
        self.weights = np.zeros((k, 3))  # sums of weight, weight (weight - 1), weight squared
        self.lots_per_row = np.ones(k)  # of an arm of several strategies: each of them is drawn for the row

    def add(self, user: np.ndarray, arm: np.ndarray, weight: np.ndarray, values: np.ndarray, known: np.ndarray) -> None:
        """Rows (r,) of a night: places of customers and arms, weights; `values` (n, N_VALUES) and `known` (n, c) of all."""
        for k in range(len(self.arms)):
            mine, by = user[arm == k], weight[arm == k]
            np.add.at(self.rows[k], mine, by)
            np.add.at(self.values[k], mine, by[:, None] * values[mine])
            np.add.at(self.covariates[k], mine, by[:, None] * known[mine])
            self.weights[k] += by.sum(), (by * (by - 1)).sum(), (by**2).sum()
        self.n_drawn += len(user)
        self.is_added_to = True

    def look(self) -> None:
        """Ends a night: what has enough data for the first time starts its sequence of looks."""
        if not self.is_added_to:
            return
        self.n_nights += 1
        self.is_added_to = False
        for k in range(1, len(self.arms)):
            for metric in self.metrics:
                if (k, metric.name) not in self.rho and self._is_ready(k, metric):
                    error = self.difference_of(k, metric).std_error
                    if error > 0:  # not NaN
                        self.rho[k, metric.name] = float(rho_of(error))

    def n_buyers(self, k: int) -> int:
        """Customers of an arm who bought anything."""
        return self._n_with(k, BOUGHT)

    def _n_with(self, k: int, column: int) -> int:
        return int((self.values[k, :, column] > 0).sum())

    def ratio(self) -> SampleRatio:
        """Customers per arm against the design; by lot: weights against the rows that a lot was drawn for."""
        if self.shares:
            return of_counts((self.rows > 0).sum(axis=1), np.array(self.shares))
        sums, spreads = self.weights[:, 0] / self.lots_per_row, self.weights[:, 1] / self.lots_per_row**2
        return of_weights(sums, spreads, self.n_drawn)

    def _is_ready(self, k: int, metric: Metric) -> bool:
        if metric.role == "guardrail":  # rare by their nature: their error has a floor instead
            return bool(self.rows[k].any() and self.rows[0].any())
        column = metric.above if metric.above in (VISITED, CLICKS) else BOUGHT
        return min(self._n_with(k, column), self._n_with(0, column)) >= MIN_BUYERS

    def _sums(self, k: int, column: int) -> np.ndarray:
        return self.rows[k] if column == NIGHTS else self.values[k, :, column]

    def difference_of(self, k: int, metric: Metric, mask: np.ndarray | None = None) -> Difference:
        """Arm k less the control, in the metric's unit; of the customers in `mask` (n,) alone, if given."""
        only = np.ones(self.n_customers) if mask is None else mask
        arm, control = (Arm(self.rows[i] * only, self.covariates[i] * only[:, None]) for i in (k, 0))
        above = (self._sums(k, metric.above) * only, self._sums(0, metric.above) * only)
        below = (self._sums(k, metric.below) * only, self._sums(0, metric.below) * only)
        found = difference(arm, control, above, below)
        floor = math.hypot(*(self._floor(i, metric) for i in (k, 0))) if metric.role == "guardrail" else 0.0
        told = (
            found.value, found.control_value, found.effect, max(found.std_error, floor), found.plain_effect,
            max(found.plain_error, floor),
        )  # fmt: skip
        return Difference(*(metric.scale * number for number in told))

    def planned_error_of(self, k: int, metric: Metric, explained: float) -> float:
        """The standard error that the customers of arm k and control allow, from the spread of both together: for as long
        as one of them has too few buyers to tell its own. NaN by lot, where chances differ."""
        rows = self.rows[k] + self.rows[0]
        n, n_arm = int((rows > 0).sum()), int((self.rows[k] > 0).sum())
        if not self.shares or not 0 < n_arm < n:
            return math.nan
        above, below = (self._sums(k, column) + self._sums(0, column) for column in (metric.above, metric.below))
        if not above.any() or not below.any():
            return math.nan
        parts = (above - above.sum() / below.sum() * below) / (below.sum() / n)
        return metric.scale * planned_error(n, n_arm / n, float((parts**2).sum() / (n - 1)), explained)

    def _floor(self, k: int, metric: Metric) -> float:
        """The least standard error of a rare share: as if one more had done it and one more not (Agresti, Caffo 2000)."""
        total, _, squares = self.weights[k]
        if not squares:
            return math.nan
        n = total**2 / squares
        share = (self._sums(k, metric.above).sum() / total * n + 1) / (n + 2)
        return float(np.sqrt(share * (1 - share) / n))
