"""What is asked for in the coming nights: a forecast per series with an interval, by the method that was right before.

Every candidate, fitted on what came before the first of several earlier nights, forecasts from each of them on (a backtest
with a rolling origin, Tashman 2000) and is held against what came. Each series takes the method of the smallest mean
absolute error; because few nights tell, the errors of all series together have a say. The seasonal naive forecast, the same
weekday of last week, is a candidate, so none is taken that was worse. Intervals are conformal: as wide as the backtest's
errors were, all series together, in units of what is usual for each series and horizon (Vovk et al. 2005; Stankeviciute
et al. 2021 for series). They hold while the coming nights are like those.

Counts are forecast as square roots, whose chance is the same for large and small ones (Anscombe 1948).
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

LEVEL: Final = 0.95
NAIVE, MEAN = "seasonal_naive", "mean"
_SEASONS_NEEDED: Final = 2  # fewer: no backtest, the seasonal naive forecast or the mean
_MEAN_SEASONS: Final = 4
_ORIGINS: Final = 8
_OWN: Final = 30  # backtest errors of a series that weigh as much as those of all series
_FITTED: Final = 40  # the largest series; for the others fitting models takes longer than it is worth
_POISSON_SD: Final = 0.5  # of the square root of a count: no interval is narrower

Forecaster = Callable[[np.ndarray, int], np.ndarray]  # roots (n,), horizon -> (horizon,) roots
Method = Callable[[np.ndarray, int], Forecaster]  # fitted on roots (n,) of this season; forecasts longer series as well


@dataclass(frozen=True)
class Trends:
    """k series, h steps ahead."""

    forecast: np.ndarray  # (k, h) counts
    low: np.ndarray  # (k, h)
    high: np.ndarray  # (k, h)
    method: tuple[str, ...]
    error: np.ndarray  # (k,) mean absolute error of that method in the backtest; NaN without one
    naive_error: np.ndarray  # (k,) of the seasonal naive forecast on the same nights
    n_known: np.ndarray  # (k,) steps that are known


def forecast(counts: np.ndarray, horizon: int, season: int = 7) -> Trends:
    """Forecasts of counts (k, n) in order of time, NaN where not known. Raises ValueError for no step or a negative count.

    With fewer than two seasons there is no backtest: the last season is repeated, with less than one the mean; the method
    says so, and the interval is as wide as all known steps lie apart.
    """
    k, n = counts.shape
    if n < 1 or horizon < 1 or np.nanmin(counts, initial=0) < 0:
        raise ValueError(f"counts of one step at least and none below zero were expected, not {counts.shape}")
    known = np.isfinite(counts)
    roots = np.sqrt(_filled(counts, season) + 0.375)
    sizes = np.nan_to_num(counts).sum(axis=1)
    is_large = np.isin(np.arange(k), np.argsort(-sizes, kind="stable")[:_FITTED])
    enough = known.sum(axis=1) > _SEASONS_NEEDED * season
    tested = [
        _backtest(roots[at], horizon, season, _FITS if is_large[at] else _CHEAP) if enough[at] else None
        for at in range(k)
    ]
    chosen = _choose([one for one in tested if one is not None], roots)
    widths = _widths([one for one in tested if one is not None], chosen, horizon)
    middle, half = np.empty((k, horizon)), np.empty((k, horizon))
    method, error, naive_error = [], np.full(k, np.nan), np.full(k, np.nan)
    place = iter(range(len(chosen)))
    for at, one in enumerate(tested):
        if one is None:
            name = NAIVE if known[at].sum() >= season else MEAN
            middle[at] = _FALLBACK[name](roots[at], season)(roots[at][_first(known[at]) :], horizon)
            apart = roots[at][known[at]].std() if known[at].sum() > 1 else 0.0
            half[at] = 1.96 * np.maximum(np.sqrt(2) * apart, _POISSON_SD)
        else:
            found = next(place)
            name = chosen[found]
            middle[at] = _FITS[name](roots[at], season)(roots[at], horizon)
            half[at] = widths[found]
            error[at], naive_error[at] = (_mean_error(one, which) for which in (name, NAIVE))
        method.append(name)
    low, high = (np.maximum(np.maximum(middle + sign * half, 0) ** 2 - 0.375, 0) for sign in (-1, 1))
    return Trends(
        np.clip(np.maximum(middle, 0) ** 2 - 0.375, 0, None), low, high, tuple(method), error, naive_error,
        known.sum(axis=1),
    )  # fmt: skip


@dataclass(frozen=True)
class _Backtest:
    """Forecasts (origins, h) per method, and what came, NaN beyond what is known; roots."""

    told: Mapping[str, np.ndarray]
    came: np.ndarray  # (origins, h)


def _backtest(roots: np.ndarray, horizon: int, season: int, methods: Mapping[str, Method]) -> _Backtest:
    n = len(roots)
    first = max(_SEASONS_NEEDED * season, n - horizon - _ORIGINS + 1)
    origins = range(first, min(first + _ORIGINS, n))
    came = np.full((len(origins), horizon), np.nan)
    told = {name: np.empty_like(came) for name in methods}
    fitted = {name: method(roots[:first], season) for name, method in methods.items()}
    for row, origin in enumerate(origins):
        after = roots[origin : origin + horizon]
        came[row, : len(after)] = after
        for name, forecaster in fitted.items():
            told[name][row] = forecaster(roots[:origin], horizon)
    return _Backtest(told, came)


def _mean_error(one: _Backtest, name: str) -> float:
    """Mean absolute error in counts."""
    return float(np.nanmean(np.abs(np.maximum(one.told[name], 0) ** 2 - one.came**2)))


def _choose(tested: list[_Backtest], roots: np.ndarray) -> list[str]:
    """The method of each series."""
    names = list(_FITS)
    ratios = np.full((len(tested), len(names)), np.nan)
    for at, one in enumerate(tested):
        naive = max(_mean_error(one, NAIVE), 1e-9)
        ratios[at] = [_mean_error(one, name) / naive if name in one.told else np.nan for name in names]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a method that no series was tested with
        pooled = np.nanmedian(ratios, axis=0) if len(tested) else ratios
    chosen = []
    for one, own in zip(tested, ratios, strict=True):
        n = np.isfinite(one.came).sum()
        both = (n * own + _OWN * pooled) / (n + _OWN)
        # It must have been at least as good on the series itself, too: the naive forecast always is.
        chosen.append(names[int(np.nanargmin(np.where(own <= 1, both, np.nan)))])
    return chosen


def _widths(tested: list[_Backtest], chosen: list[str], horizon: int) -> np.ndarray:
    """(series, h) half widths of the intervals, as roots."""
    if not tested:
        return np.empty((0, horizon))
    away = [np.abs(one.told[name] - one.came) for one, name in zip(tested, chosen, strict=True)]
    square = np.concatenate(away) ** 2
    usual = max(float(np.nanmean(square)), _POISSON_SD**2 / 4)
    counted = np.isfinite(square).sum(axis=0)
    sums = np.nansum(square, axis=0)
    # Nearer nights are known better, never worse than farther ones; horizons that were hardly seen are like all.
    by_horizon = np.maximum.accumulate(np.sqrt((sums + _OWN * usual) / (counted + _OWN)))
    own = [np.sqrt((np.nansum((one / by_horizon) ** 2) + _OWN) / (np.isfinite(one).sum() + _OWN)) for one in away]
    scale = np.array(own)[:, None] * by_horizon
    scores = np.concatenate([(one / s)[np.isfinite(one)] for one, s in zip(away, scale, strict=True)])
    rank = min(1.0, LEVEL * (1 + 1 / len(scores)))
    return np.maximum(scale * np.quantile(scores, rank, method="higher"), 1.96 * _POISSON_SD * 0.5)


def _filled(counts: np.ndarray, season: int) -> np.ndarray:
    """Unknown steps as the same step of the season before, those before all others as the mean."""
    filled = counts.astype(np.float64).copy()
    for step in range(filled.shape[1]):
        gap = ~np.isfinite(filled[:, step])
        if step >= season:
            filled[gap, step] = filled[gap, step - season]
    means = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else 0.0 for row in counts])
    return np.where(np.isfinite(filled), filled, means[:, None])


def _first(known: np.ndarray) -> int:
    return int(known.argmax())


# -- methods


def _seasonal_naive(roots: np.ndarray, season: int) -> Forecaster:
    return lambda known, horizon: np.resize(known[-season:], horizon)


def _mean(roots: np.ndarray, season: int) -> Forecaster:
    return lambda known, horizon: np.full(horizon, known.mean())


def _seasonal_mean(roots: np.ndarray, season: int) -> Forecaster:
    """The mean of the same step in the last seasons."""

    def forecaster(known: np.ndarray, horizon: int) -> np.ndarray:
        n = min(len(known) // season, _MEAN_SEASONS)
        return np.resize(known[len(known) - n * season :].reshape(n, season).mean(axis=0), horizon)

    return forecaster


def _smoothing(roots: np.ndarray, season: int) -> Forecaster:
    """Exponential smoothing of level and season (Holt and Winters), begun with the first two seasons."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    first = roots[: 2 * season].reshape(2, season).mean(axis=0)
    begun = {"initial_level": first.mean(), "initial_seasonal": first - first.mean()}

    def model(known: np.ndarray) -> "ExponentialSmoothing":
        return ExponentialSmoothing(
            known, seasonal="add", seasonal_periods=season, initialization_method="known", **begun
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an optimum at the edge, such as a season that never changes, is no fault
        found = model(roots).fit().params
    rates = {name: found[name] for name in ("smoothing_level", "smoothing_seasonal")}

    def forecaster(known: np.ndarray, horizon: int) -> np.ndarray:
        with np.errstate(divide="ignore"):  # it takes the logarithm of an error, which may be zero
            return np.asarray(model(known).fit(**rates, optimized=False).forecast(horizon))

    return forecaster


def _components(roots: np.ndarray, season: int) -> Forecaster:
    """A level that walks and a season, by the Kalman filter (Harvey 1989)."""
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    harmonics = [{"period": season, "harmonics": min(season // 2, 4)}]  # a day's 24 hours need no 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = UnobservedComponents(roots, "llevel", freq_seasonal=harmonics).fit(disp=0, cov_type="none")
    return lambda known, horizon: np.asarray(fitted.apply(known).forecast(horizon))


def _combination(roots: np.ndarray, season: int) -> Forecaster:
    """The mean of two that err differently."""
    parts = [method(roots, season) for method in (_seasonal_mean, _smoothing)]
    return lambda known, horizon: np.mean([part(known, horizon) for part in parts], axis=0)


_FALLBACK: Final[Mapping[str, Method]] = {NAIVE: _seasonal_naive, MEAN: _mean}
_CHEAP: Final[Mapping[str, Method]] = {NAIVE: _seasonal_naive, "seasonal_mean": _seasonal_mean}
_FITS: Final[Mapping[str, Method]] = {
    **_CHEAP,
    "smoothing": _smoothing,
    "components": _components,
    "combination": _combination,
}
