"""How good predictions are and whether one model is better than another: weighted metrics, intervals, rules of promotion.

Every metric takes a weight per row, (n,) or (draws, n), how often the row counts, and gives a number or (draws,) numbers:
so a thousand resamples are a few matrix products. It is NaN where it is not defined, as the ROC of one class.

Intervals resample customers, not rows, with replacement (the cluster bootstrap of Davison and Hinkley 1997, section 3.8),
because a customer's rows are alike. Models are compared on the same draws, so what they share cancels out.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

Metric = Callable[[np.ndarray], np.ndarray]  # weight (draws, n) -> (draws,)

N_DRAWS: Final = 1_000
SEED: Final = 20260301
LEVEL: Final = 0.95
CALIBRATION_MARGIN: Final = 0.01  # what a calibration error may grow by
MIN_SEGMENT_CUSTOMERS: Final = 30  # fewer say nothing about a segment
MIN_POLICY_ROWS: Final = 20  # effective rows that tell two policies apart
_BLOCK_VALUES: Final = 4_000_000  # weights held at a time, 32 MB


# -- metrics


def accuracy(target: np.ndarray, guess: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of rows whose class (n,) was guessed (n,)."""
    return _mean(target == guess, weight)


def macro_f1(target: np.ndarray, guess: np.ndarray, n_classes: int, weight: np.ndarray) -> np.ndarray:
    """Mean over all classes of the F1 of class codes (n,), 0 for a class that neither is nor is guessed."""
    classes = np.arange(n_classes)
    is_target, is_guess = target[:, None] == classes, guess[:, None] == classes
    both = weight @ (is_target & is_guess).astype(np.float64)
    either = weight @ (is_target.astype(np.float64) + is_guess)
    return _ratio(2 * both, either, 0.0).mean(axis=-1)


def log_loss(target: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean of -ln p of what came true. Target: class codes (n,) for probabilities (n, classes), 0/1 for (n,)."""
    if probability.ndim == 1:
        happened = np.where(target.astype(bool), probability, 1 - probability)
    else:
        happened = np.take_along_axis(probability, target.astype(np.int64)[:, None], axis=1)[:, 0]
    tiny = np.finfo(np.float64).eps
    return _mean(-np.log(np.clip(happened.astype(np.float64), tiny, 1 - tiny)), weight)


def pr_auc(target: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Average precision of scores (n,) for 0/1 (n,): sum of precision times the step in recall. NaN without a 1."""
    hits, taken = _ranked(target, score, weight)
    precision = _ratio(hits, taken, 0.0)
    steps = np.diff(hits, axis=-1, prepend=0.0)
    return _ratio((steps * precision).sum(axis=-1), hits[..., -1])


def roc_auc(target: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Chance that a 1 scores above a 0, ties half: the area under the ROC curve. NaN without both."""
    hits, taken = _ranked(target, score, weight)
    misses = taken - hits
    before = np.concatenate([np.zeros_like(hits[..., :1]), hits[..., :-1]], axis=-1)
    area = (np.diff(misses, axis=-1, prepend=0.0) * (hits + before) / 2).sum(axis=-1)
    return _ratio(area, hits[..., -1] * misses[..., -1])


def brier(target: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean squared error of probabilities (n,) of 0/1 (n,)."""
    return _mean((probability - target) ** 2, weight)


def ece(target: np.ndarray, probability: np.ndarray, weight: np.ndarray, n_bins: int = 15) -> np.ndarray:
    """Expected calibration error: root of the mean squared gap between what was said and what came true, per bin.

    Target: 0/1 (n,) for probabilities (n,), or class codes (n,) for (n, classes), then the mean over classes. Bins hold
    equally many rows, because rare events lie in a narrow range. Chance alone opens gaps, the more the finer a model
    tells rows apart, and would punish it for that: products of a row with itself are left out of the squares, so they
    are right on average, on resamples too (Kumar, Liang and Ma 2019, the debiased estimator).
    """
    if probability.ndim == 2:
        classes = range(probability.shape[1])
        return np.mean([ece(target == k, probability[:, k], weight, n_bins) for k in classes], axis=0)
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, n_bins + 1)[1:-1]))
    bins = np.searchsorted(edges, probability, side="right")
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.diff(bins[order], prepend=-1))
    counts = weight[..., order]
    gaps = counts * (probability - target)[order]
    rows, own_rows = np.add.reduceat(counts, starts, axis=-1), np.add.reduceat(counts**2, starts, axis=-1)
    gap, own_gap = np.add.reduceat(gaps, starts, axis=-1), np.add.reduceat(gaps**2, starts, axis=-1)
    squares = _ratio(gap**2 - own_gap, rows**2 - own_rows, 0.0)
    return np.sqrt(np.maximum(_ratio((rows * squares).sum(axis=-1), rows.sum(axis=-1)), 0.0))


def rmse(target: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Root of the mean squared error, in the unit of the target (n,)."""
    return np.sqrt(_mean((predicted - target) ** 2, weight))


def bias(target: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Predicted total over true total, minus 1: 0.05 is 5% too much. NaN where the true total is 0."""
    return _ratio(weight @ (predicted - target).astype(np.float64), weight @ target.astype(np.float64))


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return _ratio(weight @ values.astype(np.float64), weight.sum(axis=-1))


def _ratio(above: np.ndarray, below: np.ndarray, where_zero: float = math.nan) -> np.ndarray:
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    return np.divide(above, below, out=np.full(above.shape, where_zero), where=below != 0)


def _ranked(target: np.ndarray, score: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of 1s and of all rows from the highest score down, at each distinct score: two of (..., distinct)."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # of rows with equal score
    sorted_weight = weight[..., order]
    hits = np.cumsum(sorted_weight * target[order], axis=-1)[..., last]
    return hits, np.cumsum(sorted_weight, axis=-1)[..., last]


# -- intervals


@dataclass(frozen=True)
class Interval:
    """A number and where it lies with probability LEVEL when customers are drawn anew."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray, level: float = LEVEL) -> "Interval":
        """From (1 + draws,) numbers of `resampled`; draws in which the metric is not defined are left out."""
        drawn = values[1:][~np.isnan(values[1:])]
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if drawn.size else (math.nan, math.nan)
        return cls(float(values[0]), float(low), float(high))

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, where what is not defined is null."""
        return {name: None if math.isnan(number) else number for name, number in vars(self).items()}

    @classmethod
    def from_dict(cls, told: Mapping[str, float | None]) -> "Interval":
        return cls(**{name: math.nan if number is None else number for name, number in told.items()})

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "not defined"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def resampled(
    metrics: Mapping[str, Metric], customer: np.ndarray, n_draws: int = N_DRAWS, seed: int = SEED
) -> dict[str, np.ndarray]:
    """Each metric on the rows as they are and on `n_draws` resamples of customers: (1 + n_draws,) per name.

    `customer` (n,): whose row it is. Draws depend on customer and seed alone, so values of two models on the same rows
    are paired: `Interval.of(one - other)` is the interval of their difference.
    """
    if not len(customer):
        return {name: np.full(1 + n_draws, math.nan) for name in metrics}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for weight in _weights(customer, n_draws, seed):
        for name, metric in metrics.items():
            parts[name].append(np.asarray(metric(weight), dtype=np.float64))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _weights(customer: np.ndarray, n_draws: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks (k, n): first each row once, then how often the row's customer was drawn."""
    keys, code = np.unique(customer, return_inverse=True)
    yield np.ones((1, len(code)))
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_VALUES // len(code))
    for start in range(0, n_draws, block):
        size = min(block, n_draws - start)
        drawn = rng.integers(len(keys), size=(size, len(keys))) + np.arange(size)[:, None] * len(keys)
        counts = np.bincount(drawn.ravel(), minlength=size * len(keys)).reshape(size, len(keys))
        yield counts.astype(np.float64)[:, code]


# -- rules of promotion


@dataclass(frozen=True)
class Finding:
    """One thing that was checked before a promotion, and what came out."""

    check: str
    passed: bool
    text: str


def outcome(difference: Interval, *, higher_is_better: bool) -> Literal["better", "worse", "tie"]:
    """What a paired difference (challenger minus champion) says; a tie unless the whole interval lies on one side of 0."""
    if difference.low > 0 or difference.high < 0:
        return "better" if (difference.low > 0) == higher_is_better else "worse"
    return "tie"


def judge_metric(name: str, difference: Interval, *, higher_is_better: bool, tie_is_enough: bool = False) -> Finding:
    """Passed only if the challenger is better; a tie keeps the champion, unless that one has to go: `tie_is_enough`."""
    found = outcome(difference, higher_is_better=higher_is_better)
    better = "higher" if higher_is_better else "lower"
    told = f"{name} {found}: challenger minus champion {difference}, {better} is better"
    if tie_is_enough:
        told += "; a tie is enough: the champion learnt from a customer who was erased since"
    return Finding("metric", found == "better" or (tie_is_enough and found == "tie"), told)


def judge_calibration(differences: Mapping[str, Interval]) -> Finding:
    """Refused if a calibration error grew by more than CALIBRATION_MARGIN and not by chance."""
    worse = {name: found for name, found in differences.items() if found.low > 0 and found.value > CALIBRATION_MARGIN}
    told = "; ".join(f"{name} {found}" for name, found in (worse or differences).items()) or "no probabilities"
    return Finding(
        "calibration", not worse, f"error {'grew' if worse else 'kept'} (margin {CALIBRATION_MARGIN}): {told}"
    )


def judge_segments(differences: Mapping[str, Interval], *, higher_is_better: bool) -> Finding:
    """Refused if a segment got clearly worse. Intervals at `segment_level`, because many are looked at."""
    if not differences:
        return Finding("segments", True, f"no segment has {MIN_SEGMENT_CUSTOMERS} judged customers")
    sign = 1 if higher_is_better else -1
    worst = min(differences, key=lambda name: sign * differences[name].value)
    worse = [
        name for name, found in differences.items() if outcome(found, higher_is_better=higher_is_better) == "worse"
    ]
    told = "; ".join(f"{name} {differences[name]}" for name in worse or [worst])
    return Finding("segments", not worse, f"{'clearly worse in' if worse else 'not clearly worse; lowest gain'} {told}")


def judge_policy(found: Mapping[str, Any]) -> Finding:
    """Refused if the lower bound of what the challenger's policy earns lies below the champion's by more than noise.

    `found`: rows, disagree, effective_rows, and Interval.as_dict of challenger, champion and their paired difference; their
    `unit` where it is not profit, a `refusal` where the log says that it cannot tell. The bounds share customers and days, so
    noise is that of the difference: half its interval. For bounds of equal width that is the whole difference below 0; a
    challenger whose value is less certain needs to promise more. Logs that tell the two apart by fewer than MIN_POLICY_ROWS
    effective rows cannot answer and block nothing: the metric decides.
    """
    if found["disagree"] == 0 and found["rows"]:
        return Finding("off_policy", True, f"both would have chosen alike in {found['rows']} logged choices")
    if found.get("refusal"):
        return Finding(
            "off_policy", True, f"cannot tell: {found['refusal']}; more exploration (explore_percent) makes more"
        )
    if found["effective_rows"] < MIN_POLICY_ROWS:
        return Finding(
            "off_policy",
            True,
            f"cannot tell: {found['rows']} logged choices tell the policies apart as {found['effective_rows']:.1f} would, "
            f"at least {MIN_POLICY_ROWS} are needed; more exploration (explore_percent) makes more",
        )
    new, old, gap = (Interval.from_dict(found[name]) for name in ("challenger", "champion", "difference"))
    passed = new.low >= old.low - (gap.high - gap.low) / 2
    unit = found.get("unit", "cents per customer and night")
    told = f"at least {new.low:.2f} {unit}, the champion at least {old.low:.2f}"
    return Finding("off_policy", passed, f"{'' if passed else 'clearly below: '}{told}; paired difference {gap}")


def segment_level(n_segments: int) -> float:
    """Level of each segment's interval so that all hold together with LEVEL (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(1, n_segments)
