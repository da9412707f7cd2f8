"""What groups of customers get, how far apart they are, and whether a gap is wider than a bound beyond chance.

Means per group are held against each other two by two. A gap breaks a bound only where the lower end of its interval is
above it, and the intervals of all pairs hold together (Bonferroni): where no two groups truly differ by more than the
bound, a false alarm is rarer than 1 - LEVEL however many groups there are. Shares are compared by Newcombe's hybrid
score interval (1998, method 10), which is honest at 0% and 100%, other means by Welch's t (1947).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import nan, sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from pipelines.strategy.judgement import LEVEL, MIN_SEGMENT_CUSTOMERS, Finding, Interval, Metric, resampled

UNKNOWN, OTHER = "unknown", "other"
_MAX_GROUPS: Final = 12


@dataclass(frozen=True)
class Group:
    """n customers of one group: `means` per measure, with an interval of LEVEL; NaN ends where they are too few."""

    name: str
    customers: int
    means: Mapping[str, Interval]

    @property
    def is_judged(self) -> bool:
        return self.customers >= MIN_SEGMENT_CUSTOMERS


@dataclass(frozen=True)
class Gap:
    """The widest gap of one measure: mean of `highest` less mean of `lowest`, with the interval that holds for all pairs."""

    measure: str
    highest: str
    lowest: str
    difference: Interval
    ratio: float  # lowest over highest; 0.8 is the four-fifths rule of the US EEOC (1978); NaN: not of one sign

    def breaks(self, bound: float) -> bool:
        """True where the gap is wider than the bound, and not by chance."""
        return self.difference.low > bound


def groups_by(name: str, values: Any) -> np.ndarray:
    """(n,) names of groups of a pyarrow Array: numbers up to their median and above it; of texts the most frequent
    each, all rarer ones together. What is missing is a group of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return _groups_of_numbers(name, pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False))
    return _groups_of_texts(pc.fill_null(values, UNKNOWN).to_numpy(zero_copy_only=False))


def _groups_of_texts(texts: np.ndarray) -> np.ndarray:
    names, place, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    told = names != UNKNOWN
    kept = names[told][np.argsort(-counts[told], kind="stable")[:_MAX_GROUPS]]
    return np.where(np.isin(names, [*kept, UNKNOWN]), names, OTHER)[place].astype(object)


def _groups_of_numbers(name: str, values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)]
    middle = float(np.median(known)) if len(known) else nan
    found = np.where(values <= middle, f"{name} up to {middle:g}", f"{name} above {middle:g}").astype(object)
    found[np.isnan(values)] = UNKNOWN
    return found


def group_means(group: np.ndarray, measures: Mapping[str, np.ndarray]) -> list[Group]:
    """Each group of `group` (n,) with the means of `measures`, (n,) each, shares of booleans; the largest first, equals
    by name."""
    found = []
    for name in sorted(set(group.tolist())):
        mine = group == name
        n = int(mine.sum())
        means = {measure: _mean(values[mine], LEVEL) for measure, values in measures.items()}
        if n < MIN_SEGMENT_CUSTOMERS:
            means = {measure: Interval(one.value, nan, nan) for measure, one in means.items()}
        found.append(Group(name, n, means))
    return sorted(found, key=lambda one: (-one.customers, one.name))


def widest_gap(measure: str, group: np.ndarray, values: np.ndarray) -> Gap | None:
    """The pair of groups that differs most beyond chance, by the lower end of its interval, of `values` (n,).

    Groups of fewer than MIN_SEGMENT_CUSTOMERS are left out; None where fewer than two are left.
    """
    parts = {str(name): values[group == name] for name in sorted(set(group.tolist()))}
    parts = {name: mine for name, mine in parts.items() if len(mine) >= MIN_SEGMENT_CUSTOMERS}
    level = 1 - (1 - LEVEL) / max(len(parts) * (len(parts) - 1) // 2, 1)
    found = []
    for one, other in combinations(parts, 2):
        high, low = (one, other) if parts[one].mean() >= parts[other].mean() else (other, one)
        above, below = parts[high].mean(), parts[low].mean()
        ratio = float(below / above) if below >= 0 < above else nan
        found.append(Gap(measure, high, low, difference_of_means(parts[high], parts[low], level), ratio))
    return max(found, key=lambda gap: (gap.difference.low, gap.difference.value)) if found else None


def difference_of_means(one: np.ndarray, other: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of `one` (n,) less mean of `other` (m,): Newcombe's interval of booleans, Welch's of numbers.

    NaN ends where either has fewer than two values.
    """
    if not len(one) or not len(other):
        return Interval(nan, nan, nan)
    value = float(one.mean() - other.mean())
    if min(len(one), len(other)) < 2:
        return Interval(value, nan, nan)
    if one.dtype == bool:
        first, second = _wilson(one, level), _wilson(other, level)
        low = value - sqrt((first.value - first.low) ** 2 + (second.high - second.value) ** 2)
        high = value + sqrt((first.high - first.value) ** 2 + (second.value - second.low) ** 2)
        return Interval(value, low, high)
    errors = [part.var(ddof=1) / len(part) for part in (one, other)]
    total = sum(errors)
    if total == 0:
        return Interval(value, value, value)
    freedom = total**2 / sum(error**2 / (len(part) - 1) for error, part in zip(errors, (one, other), strict=True))
    half = _t(level, freedom) * sqrt(total)
    return Interval(value, value - half, value + half)


def preferred(lift: np.ndarray) -> np.ndarray:
    """(n,) bool: the half of the largest lifts (n,), whom a plan with room for half of them would choose."""
    return np.asarray(lift > np.median(lift))


def judge_preferences(
    column: str, group: np.ndarray, customer: np.ndarray, challenger: np.ndarray, champion: np.ndarray, bound: float
) -> Finding:
    """Refused if a model prefers one group to another by more than the bound and by more than the champion does, both
    beyond chance.

    group, customer (n,): whose rows they are; challenger, champion (n,) bool: whom each prefers. Customers are drawn
    anew, intervals hold for all pairs of groups together.
    """
    names = [name for name in sorted(set(group.tolist())) if len(set(customer[group == name])) >= MIN_SEGMENT_CUSTOMERS]
    metrics = {
        f"{who} {name}": _share_of(group == name, chosen)
        for who, chosen in (("challenger", challenger), ("champion", champion))
        for name in names
    }
    drawn = resampled(metrics, customer)
    pairs = list(combinations(names, 2))
    level = 1 - (1 - LEVEL) / max(len(pairs), 1)
    told, worse = [], []
    for one, other in pairs:
        gap, before = (drawn[f"{who} {one}"] - drawn[f"{who} {other}"] for who in ("challenger", "champion"))
        first, second, sign = (one, other, 1) if gap[0] >= 0 else (other, one, -1)
        wide, wider = Interval.of(sign * gap, level), Interval.of(sign * (gap - before), level)
        text = f"'{first}' above '{second}' by {wide}, by {wider} more than the champion"
        told.append((wide.value, text))
        if wide.low > bound and wider.low > 0:
            worse.append(text)
    rest = max(told)[1] if told else f"fewer than two groups have {MIN_SEGMENT_CUSTOMERS} judged customers"
    verdict = "prefers" if worse else "no clearly wider preference; widest"
    return Finding("fairness", not worse, f"{verdict} by {column}, at most {bound:g}: {'; '.join(worse) or rest}")


def _share_of(mine: np.ndarray, chosen: np.ndarray) -> Metric:
    def share(weight: np.ndarray) -> np.ndarray:
        counted = weight[..., mine]
        return np.asarray((counted @ chosen[mine].astype(np.float64)) / np.maximum(counted.sum(axis=-1), 1e-12))

    return share


def _mean(values: np.ndarray, level: float) -> Interval:
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else nan, nan, nan)
    if values.dtype == bool:
        return _wilson(values, level)
    half = _t(level, len(values) - 1) * float(values.std(ddof=1)) / sqrt(len(values))
    return Interval(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)


def _wilson(values: np.ndarray, level: float) -> Interval:
    """A share with its score interval (Wilson 1927)."""
    n, p = len(values), float(values.mean())
    z = NormalDist().inv_cdf((1 + level) / 2)
    spread = z**2 / n
    half = z / (1 + spread) * sqrt(p * (1 - p) / n + spread / (4 * n))
    middle = (p + spread / 2) / (1 + spread)
    return Interval(p, min(max(0.0, middle - half), p), max(min(1.0, middle + half), p))


def _t(level: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
