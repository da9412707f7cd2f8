"""Whether tonight more is blamed than usual: a scan of the newest nights per topic, with a budget of false alarms.

    found = surges(negative, reviews, weekday, budget=1 / 30, seed=7)      # counts by night and topic

Of every topic the newest 1, 2, 4 and 7 nights are asked how likely as many reviews would blame it by chance (a scan
statistic, Naus 1965), given those before. What is usual is known from few nights only and differs from night to night by
more than chance: counts are negative binomial, as in Noufaily et al. 2013 (Statistics in Medicine 32), of a variance that holds
both. The threshold is not taken from theory: nights without any
surge are drawn with the shop's own reviews a night, means and spread, are watched by this very rule, and the threshold is
the largest with which they bring no more new alerts than the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.core.listening import RECENT_NIGHTS

SPANS: Final = (1, 2, 4, RECENT_NIGHTS)  # newest nights that are looked at together
LEAST: Final = 3  # reviews that blame, from which there is an alert: one angry customer is none
_SHORTEST: Final = 7  # nights before the recent ones, from which it can be told what is usual
_HALF: Final = 0.5  # reviews that blame a topic nobody has blamed yet (Jeffreys' prior of a rate)
_WEEK_PRIOR: Final = 20.0  # reviews from which on a weekday's own share counts for half
_DRAWN_NIGHTS: Final = 3_000
_BLOCK_NIGHTS: Final = 100  # drawn with the same means
_MAX_SPREAD: Final = 10.0  # variance over mean
_SAFETY: Final = 0.75  # of the budget: what drawn nights do not know of real ones, by simulation (docs/LOG.md)
_SPREAD_NIGHTS: Final = 20  # nights from which on a topic's own spread counts for half


@dataclass(frozen=True)
class Surge:
    """A topic that is blamed more than usual."""

    topic: int
    nights: int  # newest ones, in which it is least likely by chance
    n_negative: int  # reviews that blame it in these
    n_expected: float
    n_reviews: int  # in these nights, of all topics
    p_value: float  # that as many would by chance, of this topic in these nights alone


@dataclass(frozen=True)
class Watch:
    """All that a night's alarm is made of."""

    surges: tuple[Surge, ...]
    threshold: float  # of p values
    why: str = ""  # why nothing can be told yet, where that is so


def surges(
    negative: np.ndarray,
    reviews: np.ndarray,
    weekday: np.ndarray,
    *,
    budget: float,
    seed: int,
    nights: int | None = None,
) -> Watch:
    """Topics that surge at the end of the last night.

    `negative` (n, topics): reviews that blame a topic by night, the newest last; `reviews` (n,): all of that night;
    `weekday` (n,): 0 to 6; `budget`: new alerts a night, over all topics, that may come without any surge.
    """
    had = np.flatnonzero(np.asarray(reviews) > 0)
    first = int(had[0]) if len(had) else len(reviews)
    negative, reviews, weekday = (np.asarray(part)[first:] for part in (negative, reviews, weekday))
    if len(reviews) < _SHORTEST + RECENT_NIGHTS:
        told = f"{len(reviews)} nights of reviews: {_SHORTEST + RECENT_NIGHTS} are needed to know what is usual"
        return Watch((), 0.0, told)
    threshold = _threshold(negative, reviews, weekday, budget, seed, nights or _DRAWN_NIGHTS)
    p, expected = _p_values(negative[:, None], reviews[:, None], weekday[:, None])
    found = []
    for topic in range(negative.shape[1]):
        at = int(p[:, 0, topic].argmin())
        span = SPANS[at]
        count = int(negative[-span:, topic].sum())
        if p[at, 0, topic] <= threshold and count >= LEAST:
            mean = float(expected[at, 0, topic])
            found.append(Surge(topic, span, count, mean, int(reviews[-span:].sum()), float(p[at, 0, topic])))
    return Watch(tuple(sorted(found, key=lambda one: one.p_value)), threshold)


def _shares(negative: np.ndarray, reviews: np.ndarray, weekday: np.ndarray) -> np.ndarray:
    """(7, draws, topics) from (n, draws, topics), (n, draws), (n, draws): the whole share, times what a weekday adds to it,
    drawn to nothing where a topic was hardly blamed."""
    whole = (negative.sum(axis=0) + _HALF) / (reviews.sum(axis=0) + 2 * _HALF)[:, None]
    made = np.empty((7, *whole.shape))
    for day in range(7):
        on = (weekday == day)[:, :, None]
        counted = (negative * on).sum(axis=0)
        usual = (reviews[:, :, None] * on).sum(axis=0) * whole
        made[day] = whole * (counted + _WEEK_PRIOR) / (usual + _WEEK_PRIOR)
    return made


def _spreads(negative: np.ndarray, reviews: np.ndarray, weekday: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Variance over mean (draws, topics), at least 1. A topic's own is drawn to that of all: few nights tell little of it.

    Means fitted to these very nights lie too near to them: what the fit took of their freedom is given back.
    """
    mean = share[weekday, np.arange(reviews.shape[1])] * reviews[:, :, None]
    usual = np.maximum(mean.sum(axis=0), 1e-9)
    own = usual / 7 / (usual / 7 + _WEEK_PRIOR)  # what a weekday's mean is drawn to its own counts
    nights = len(reviews)
    freedom = np.maximum(nights - 1 - 6 * (2 * own - own**2), nights / 2)
    excess = ((negative - mean) ** 2).sum(axis=0) * nights / freedom
    weight = (nights - 1) / (nights - 1 + _SPREAD_NIGHTS)
    pooled = excess.sum(axis=1, keepdims=True) / usual.sum(axis=1, keepdims=True)
    return np.clip(weight * excess / usual + (1 - weight) * pooled, 1.0, _MAX_SPREAD)


def _p_values(negative: np.ndarray, reviews: np.ndarray, weekday: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the newest nights of each draw: (spans, draws, topics) p values and expected counts, from (n, draws, topics),
    (n, draws), (n, draws)."""
    usual = slice(0, len(reviews) - RECENT_NIGHTS)
    share = _shares(negative[usual], reviews[usual], weekday[usual])
    spread = _spreads(negative[usual], reviews[usual], weekday[usual], share)
    told_by = negative[usual].sum(axis=0) + _HALF  # what the mean is known from
    p, expected = [], []
    draws = np.arange(reviews.shape[1])
    for span in SPANS:
        mean = np.sum([share[weekday[-at], draws] * reviews[-at][:, None] for at in range(1, span + 1)], axis=0)
        p.append(tail(negative[-span:].sum(axis=0), mean, spread, told_by))
        expected.append(mean)
    return np.stack(p), np.stack(expected)


def tail(count: np.ndarray, mean: np.ndarray, spread: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Chance of `count` or more. A negative binomial of this mean and of the variance mean x spread + mean^2 / told: the
    nights differ, and the mean itself is known from `told` counts only."""
    from scipy.special import betainc

    mean = np.maximum(mean, 1e-9)
    variance = mean * spread + mean**2 / np.maximum(told, _HALF) * spread
    size = mean**2 / np.maximum(variance - mean, 1e-9)
    found = betainc(np.maximum(count, 1e-9), size, mean / (mean + size))
    return np.where(count > 0, found, 1.0)


def draw(rate: np.ndarray, spread: np.ndarray, reviews: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts of nights without a surge: mean rate x reviews, variance spread x mean, never more than reviews."""
    mean = np.maximum(rate * reviews[..., None], 1e-12)
    more = np.maximum(spread - 1, 1e-6)
    counts = rng.poisson(rng.gamma(mean / more, more))
    return np.minimum(counts, reviews[..., None])


def _threshold(
    negative: np.ndarray, reviews: np.ndarray, weekday: np.ndarray, budget: float, seed: int, nights: int
) -> float:
    """The largest p value with which drawn nights, like those before the recent ones, bring at most `budget` new alerts a
    night. They are watched as these are, and their means are drawn as far as they are unknown."""
    rng, length = np.random.default_rng(seed), len(reviews)
    usual = slice(0, length - RECENT_NIGHTS)
    known = negative[usual, None], reviews[usual, None], weekday[usual, None]
    share = _shares(*known)
    spread = _spreads(*known, share)[0]
    told_by = (negative[usual].sum(axis=0) + _HALF) / spread  # counts that differ by no more than chance
    by_day = [reviews[weekday == day] for day in range(7)]
    days = (int(weekday[0]) + np.arange(_BLOCK_NIGHTS + length - 1)) % 7
    windows = np.arange(length)[:, None] + np.arange(_BLOCK_NIGHTS)[None, :]
    least = []
    for _ in range(max(1, nights // _BLOCK_NIGHTS)):
        rate = share[days, 0] * rng.gamma(told_by) / told_by  # the means themselves are not known better
        drawn = np.array([rng.choice(by_day[day]) for day in days])
        counts = draw(np.minimum(rate, 1.0), spread, drawn, rng)
        p, _ = _p_values(counts[windows], drawn[windows], days[windows])
        enough = np.stack([_rolling(counts, span)[windows[-1]] >= LEAST for span in SPANS])
        least.append(np.where(enough, p, 1.0).min(axis=0))
    return _largest(np.stack(least), budget)


def _rolling(counts: np.ndarray, span: int) -> np.ndarray:
    """(n, topics) sums of each night and those before it, `span` in all."""
    total = np.cumsum(counts, axis=0)
    return total - np.concatenate([np.zeros((span, counts.shape[1]), total.dtype), total[:-span]])


def _largest(least: np.ndarray, budget: float) -> float:
    """By bisection over the p values (blocks, nights, topics) that came."""
    values = np.unique(least[least < 0.5])
    allowed = _SAFETY * budget * least.shape[0] * least.shape[1]
    low, high = 0, len(values)  # so many of the values may be at or below the threshold
    while low < high:
        middle = (low + high + 1) // 2
        if sum(begun(block).sum() for block in least <= values[middle - 1]) <= allowed:
            low = middle
        else:
            high = middle - 1
    return float(values[low - 1]) if low else 0.0


def begun(alarm: np.ndarray) -> np.ndarray:
    """(nights, topics) bool: an alarm after RECENT_NIGHTS without one of the same topic is a new alert."""
    made = alarm.copy()
    for back in range(1, min(RECENT_NIGHTS, len(alarm) - 1) + 1):
        made[back:] &= ~alarm[:-back]
    return made


def told(surge: Surge, topic: str, items: Sequence[str], *, first_night: str) -> str:
    """One sentence in English."""
    times = surge.n_negative / max(surge.n_expected, 1e-9)
    about = f"; most about {', '.join(items)}" if items else ""
    return (
        f"{topic}: {surge.n_negative} of {surge.n_reviews} reviews since {first_night} blame it, {surge.n_expected:.1f} "
        f"would be usual ({times:.1f} times){about}"
    )
