"""The hour inside its send window at which a message finds a customer: learnt from visits and clicks, with shrinkage.

1. Visits tell when a customer is around. A customer's share of visits per hour is shrunken towards the segment's, that
   towards the shop's: the posterior means of a Dirichlet-multinomial model, whose concentrations are those under which
   the visits are most likely (Minka 2000). An hour of a customer's own lends half its weight to its neighbours.
2. Messages tell how well being around is answered: P(click) grows with the presence in the hours after the message as a
   logistic regression on all messages says, over as many hours as make their clicks most likely; a customer's own clicks
   at an hour move it as far as they go (beta-binomial, concentration by the same rule).
3. The hour of the highest P(click) within the window and outside quiet hours is taken; ties go to the earliest.

Hours are those of the shop's clock. A customer of another zone, whose visits come at other hours of that clock, is met
at those hours all the same; quiet hours are the shop's.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.core.shop import QuietHours, SendWindow

HOURS: Final = 24
_ATTENTION_HOURS: Final = (
    3,
    1,
    2,
    4,
    5,
)  # within which a message is seen, its own included; without messages, the first
_CONCENTRATIONS: Final = 2.0 ** np.arange(0, 11)
_SAMPLE: Final = 20_000  # customers on whom concentrations are chosen
_RIDGE: Final = 10.0  # precision of the slope around 1: twice as often around, twice the odds of a click


@dataclass(frozen=True)
class HourCounts:
    """What n customers did at each hour of the day, and the segment (n,) of each, int64 from 0."""

    sessions: np.ndarray  # (n, 24)
    sent: np.ndarray  # (n, 24) messages delivered
    clicked: np.ndarray  # (n, 24) of these
    segment: np.ndarray  # (n,)


@dataclass(frozen=True)
class HourModel:
    """P(click) of a message at each hour, and how much of that is the customer's own."""

    p_click: np.ndarray  # (n, 24) float64
    own_share: np.ndarray  # (n,) float64, 0: the segment's hours, 1: the customer's own
    slope: float  # of the logit of a click on the log of presence
    segment_concentration: float  # visits that the shop's hours count as, in a segment's
    customer_concentration: float  # visits that the segment's hours count as, in a customer's

    def best_hour(self, row: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """(k,) int64: the best hour of customers `row` (k,) among those allowed (k, 24) bool; -1 where none is."""
        told = np.where(allowed, self.p_click[row], -np.inf)
        return np.where(allowed.any(axis=1), told.argmax(axis=1), -1)


def fit_hours(counts: HourCounts) -> HourModel:
    """The hours of all customers of the night. Customers without visits have their segment's hours."""
    n_segments = int(counts.segment.max(initial=-1)) + 1
    own = counts.sessions.astype(np.float64)
    per_segment = np.zeros((n_segments, HOURS))
    np.add.at(per_segment, counts.segment, own)
    shop = (per_segment.sum(axis=0) + 1) / (per_segment.sum() + HOURS)
    to_shop = _concentration(per_segment, np.broadcast_to(shop, per_segment.shape))
    of_segment = _posterior(per_segment, shop[None, :], to_shop)
    # By the counts as they are: what neighbours lend would make customers look more alike than they are.
    to_segment = _concentration(own[:_SAMPLE], of_segment[counts.segment[:_SAMPLE]])
    usual = _posterior(_lent(own), of_segment[counts.segment], to_segment)
    around = [sum(np.roll(usual, -later, axis=1) for later in range(hours)) for hours in _ATTENTION_HOURS]
    told = [_answers(np.log(one), counts) for one in around]
    best = int(np.argmin([loss for loss, _, _ in told]))
    _, slope, start = told[best]
    p_click = 1 / (1 + np.exp(-(start + slope * np.log(around[best]))))
    p_click = _own_answers(p_click, counts)
    visits = own.sum(axis=1)
    return HourModel(p_click, visits / (visits + to_segment), slope, to_shop, to_segment)


def open_hours(window: SendWindow, silent: QuietHours | None) -> np.ndarray:
    """(24,) bool: the hours of a send window in which a message may go out."""
    hours = np.arange(HOURS)
    inside = (hours >= window.from_hour) & (hours < window.to_hour)
    return inside & ~quiet(silent.from_hour, silent.to_hour) if silent else inside


def marginal_values(profit_cents: np.ndarray, frequency: np.ndarray) -> list[dict[str, float]]:
    """What one step more of messages per customer is worth, beside the best with fewer; one dict per step.

    profit_cents: (n, s) over sending nothing, not finite where not scored; frequency: (s,). `marginal_cents` is the mean
    over all n customers of the best profit with exactly so many messages less the best with fewer, nothing included;
    `worth_it_share` the share of customers for whom it is above 0. Limits and caps play no part.
    """
    scored = np.where(np.isfinite(profit_cents), profit_cents, -np.inf)
    told = []
    for step in sorted(set(frequency.tolist())):
        with_it = scored[:, frequency == step].max(axis=1, initial=-np.inf)
        fewer = scored[:, frequency < step].max(axis=1, initial=0.0)
        gain = (with_it - fewer)[np.isfinite(with_it)].astype(np.float64)
        if len(gain):
            told.append(
                {
                    "frequency": int(step),
                    "marginal_cents": round(float(gain.mean()), 4),
                    "worth_it_share": round(float((gain > 0).mean()), 4),
                }
            )
    return told


def quiet(from_hour: int, to_hour: int) -> np.ndarray:
    """(24,) bool: hours from `from_hour` until `to_hour`, over midnight where the first is later; equal: none."""
    hours = np.arange(HOURS)
    if from_hour <= to_hour:
        return (hours >= from_hour) & (hours < to_hour)
    return (hours >= from_hour) | (hours < to_hour)


def _lent(counts: np.ndarray) -> np.ndarray:
    """(n, 24): half of each hour's count is lent to its two neighbours; sums are kept."""
    return counts / 2 + (np.roll(counts, 1, axis=1) + np.roll(counts, -1, axis=1)) / 4


def _posterior(counts: np.ndarray, prior: np.ndarray, concentration: float) -> np.ndarray:
    """(n, 24): posterior means of shares, rows add up to 1."""
    return (counts + concentration * prior) / (counts.sum(axis=1, keepdims=True) + concentration)


def _concentration(counts: np.ndarray, prior: np.ndarray) -> float:
    """Of a grid, the one under which the counts (n, 24) are most likely, given prior means (n, 24)."""
    from scipy.special import gammaln

    total = counts.sum(axis=1)
    likely = [
        (gammaln(k) - gammaln(k + total)).sum() + (gammaln(k * prior + counts) - gammaln(k * prior)).sum()
        for k in _CONCENTRATIONS
    ]
    return float(_CONCENTRATIONS[int(np.argmax(likely))])


def _answers(log_around: np.ndarray, counts: HourCounts) -> tuple[float, float, float]:
    """Loss, slope and start of the logit of a click on log presence: the most likely, the slope held near 1, not negative."""
    from scipy.optimize import minimize

    at = np.nonzero(counts.sent)
    x, sent, clicked = log_around[at], counts.sent[at].astype(np.float64), counts.clicked[at].astype(np.float64)
    rate = (clicked.sum() + 0.5) / (sent.sum() + 1)
    centre = float(np.average(x, weights=sent)) if len(x) else float(log_around.mean()) if log_around.size else 0.0

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        raw = values[1] + values[0] * (x - centre)
        value = sent @ np.logaddexp(0, raw) - clicked @ raw + _RIDGE * (values[0] - 1) ** 2 / 2
        residual = sent / (1 + np.exp(-raw)) - clicked
        return float(value), np.array([residual @ (x - centre) + _RIDGE * (values[0] - 1), residual.sum()])

    begin = np.array([1.0, np.log(rate / (1 - rate))])
    if not len(x):
        return 0.0, 1.0, float(begin[1]) - centre
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)])
    slope, level = found.x
    return float(found.fun), float(slope), float(level - slope * centre)


def _own_answers(expected: np.ndarray, counts: HourCounts) -> np.ndarray:
    """(n, 24): P(click) moved by the customer's own clicks at and beside an hour."""
    from scipy.special import betaln

    sent, clicked = _lent(counts.sent.astype(np.float64)), _lent(counts.clicked.astype(np.float64))
    rows = np.flatnonzero(counts.sent[:_SAMPLE].any(axis=1))
    if not len(rows):
        return expected
    a, b, hits, misses = expected[rows], 1 - expected[rows], clicked[rows], (sent - clicked)[rows]
    likely = [(betaln(k * a + hits, k * b + misses) - betaln(k * a, k * b)).sum() for k in _CONCENTRATIONS]
    k = float(_CONCENTRATIONS[int(np.argmax(likely))])
    return (clicked + k * expected) / (sent + k)
