"""What each strategy changes in each segment, from little data: strategies borrow from those with similar attributes.

    effect of strategy s in segment g = attributes(s) . beta + deviation of s + deviation of (s, g)

A random-effects model (Efron and Morris 1975; Gelman and Hill 2007, chapter 12): deviations and the slopes beta are normal,
their variances are told by the data. A strategy never tried has the effect of its attributes (offer depth, channel, window are
numbers, not labels), and an interval as wide as strategies with the same attributes differ. Variances are not fixed at
their best guess, which makes intervals too narrow where strategies are few, but averaged over a grid by how likely they
make what was seen (Rubin 1981, section 4).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.core.errors import TrainingError

_PRIOR_SCALE: Final = 10.0  # of the mean effect, in spreads of the raw effects: wide, but proper
_SLOPES: Final = np.array([0.3, 1.0, 3.0])  # standard deviations of the attributes' effects tried, in spreads
_GRID: Final = np.array([0.0, 0.2, 0.5, 0.9, 1.5, 2.5])  # standard deviations tried, in spreads
_USUAL: Final = 5.0
_PART: Final = (
    0.15  # of the usual rate of events: what effects on rates differ by at most, times the standard deviations tried
)
_Z: Final = 1.959963984540054


@dataclass(frozen=True)
class Cells:
    """Raw effects of c cells of strategy and segment, with what is known of their noise."""

    strategy: np.ndarray  # (c,) 0..S-1
    segment: np.ndarray  # (c,) 0..G-1
    effect: np.ndarray  # (c,) treated minus control, in the unit of the outcome
    variance: np.ndarray  # (c,) of its own noise, above 0
    common: np.ndarray  # (c,) of the noise it shares with all cells of its segment: they have one control
    most_spread: float = np.inf  # that effects are thought to differ by, where noise hides by how much they do


@dataclass(frozen=True)
class Shrunken:
    """Posterior of the effect of each strategy in each segment: arrays (S, G)."""

    mean: np.ndarray
    sd: np.ndarray

    @property
    def low(self) -> np.ndarray:
        """2.5% quantile, by the normal."""
        return self.mean - _Z * self.sd

    @property
    def high(self) -> np.ndarray:
        return self.mean + _Z * self.sd


def rate_cells(treated: np.ndarray, n_treated: np.ndarray, control: np.ndarray, n_control: np.ndarray) -> Cells:
    """Cells from events among customers: (S, G) for each strategy, (G,) for the control of each segment.

    Cells without treated customers are left out. The noise of a cell is told from the events of all treated of its segment,
    together with _USUAL events at the rate of all: told from its own, it would be smallest just where chance gave no event,
    and such cells would count most.
    """
    treated, n_treated = np.asarray(treated, dtype=np.float64), np.asarray(n_treated, dtype=np.float64)
    control, n_control = np.asarray(control, dtype=np.float64), np.asarray(n_control, dtype=np.float64)
    if treated.shape != n_treated.shape or control.shape != n_control.shape or treated.shape[1:] != control.shape:
        raise TrainingError(f"events {treated.shape} and control {control.shape}: expected (S, G) and (G,)")
    if (treated > n_treated).any() or (control > n_control).any() or min(treated.min(), control.min()) < 0:
        raise TrainingError("more events than customers, or fewer than 0, in a cell; mend the counts")
    if not n_treated.sum() or (n_control <= 0).any():
        raise TrainingError("a segment without control customers, or no treated customers: nothing to compare; wait")
    usual = (treated.sum() + control.sum() + 0.5) / (n_treated.sum() + n_control.sum() + 1)
    told = n_treated > 0
    count = np.maximum(n_treated, 1)
    smooth = (treated.sum(axis=0) + _USUAL) / (n_treated.sum(axis=0) + _USUAL / usual)
    smooth_control = (control + _USUAL) / (n_control + _USUAL / usual)
    variance, of_control = smooth * (1 - smooth) / count, smooth_control * (1 - smooth_control) / n_control
    strategy, segment = np.nonzero(told)
    effect = (treated / count - control / n_control)[told]
    return Cells(strategy, segment, effect, variance[told], of_control[segment], _PART * usual)


def shrink(cells: Cells, attributes: np.ndarray, n_segments: int) -> Shrunken:
    """Posterior for all S strategies of `attributes` (S, a), tried or not, in all segments.

    Raises TrainingError for no cells, unknown strategies or segments, noise that is not above 0 and missing numbers.
    """
    attributes = np.asarray(attributes, dtype=np.float64)
    _check(cells, attributes, n_segments)
    n_strategies = len(attributes)
    design = _standardised(attributes)
    spread = _spread(cells)
    strategy, segment = (at.ravel() for at in np.indices((n_strategies, n_segments)))
    attribute = spread**2 * (design @ design.T)[np.ix_(strategy, strategy)]
    of_all = (_PRIOR_SCALE * spread) ** 2
    same = strategy[:, None] == strategy
    cell = same & (segment[:, None] == segment)
    told = cells.strategy * n_segments + cells.segment
    noise = np.diag(cells.variance) + cells.common * (cells.segment[:, None] == cells.segment)
    parts = [
        _posterior(of_all + slope**2 * attribute + between**2 * same + within**2 * cell, told, cells.effect, noise)
        for slope in _SLOPES
        for between in _GRID * spread
        for within in _GRID * spread
    ]
    likelihood = np.array([part[0] for part in parts])
    weight = np.exp(likelihood - likelihood.max())
    weight /= weight.sum()
    means, variances = np.stack([part[1] for part in parts]), np.stack([part[2] for part in parts])
    mean = weight @ means
    variance = weight @ (variances + (means - mean) ** 2)
    shape = (n_strategies, n_segments)
    return Shrunken(mean.reshape(shape), np.sqrt(variance).reshape(shape))


def _posterior(
    prior: np.ndarray, told: np.ndarray, effect: np.ndarray, noise: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log likelihood of what was seen; mean and variance (S G,) of every cell's effect."""
    root = np.linalg.cholesky(prior[np.ix_(told, told)] + noise)
    scaled = np.linalg.solve(root, effect)
    gain = np.linalg.solve(root, prior[told])
    likelihood = -0.5 * float(scaled @ scaled) - float(np.log(np.diag(root)).sum())
    return likelihood, gain.T @ scaled, np.maximum(np.diag(prior) - (gain**2).sum(axis=0), 0.0)


def _spread(cells: Cells) -> float:
    """What effects differ by beyond their noise, or, where noise is all there is, a part of the noise."""
    noise_of = cells.variance + cells.common
    share = (1 / noise_of) / (1 / noise_of).sum()
    noise = float(1 / (1 / noise_of).mean())
    beyond = float(share @ cells.effect**2) - noise
    return min(float(np.sqrt(max(beyond, 0.05 * noise))), cells.most_spread)


def _standardised(attributes: np.ndarray) -> np.ndarray:
    scale = attributes.std(axis=0)
    return (attributes - attributes.mean(axis=0)) / np.where(scale > 1e-12, scale, 1.0)


def _check(cells: Cells, attributes: np.ndarray, n_segments: int) -> None:
    if not len(cells.effect):
        raise TrainingError("no cell of strategy and segment has an effect: nothing to learn from; wait for outcomes")
    if attributes.ndim != 2 or not np.isfinite(attributes).all():
        raise TrainingError(
            f"attributes of strategies {attributes.shape}: expected finite numbers (strategies, attributes)"
        )
    numbers = np.concatenate([cells.effect, cells.variance, cells.common])
    if not np.isfinite(numbers).all() or (cells.variance <= 0).any() or (cells.common < 0).any():
        raise TrainingError("effects must be numbers and their variances above 0; leave out cells that were not tried")
    for name, codes, n in (("strategy", cells.strategy, len(attributes)), ("segment", cells.segment, n_segments)):
        if codes.min() < 0 or codes.max() >= n:
            raise TrainingError(f"a cell's {name} is outside 0 to {n - 1}; give the attributes of every strategy")
