"""Intervals that stay right however often one looks: a confidence sequence by a normal mixture.

An estimate with standard error s carries information I = 1 / s^2. As data come in, estimate x I behaves like Brownian
motion with drift in the time I, whether new customers arrive or the same ones are seen on more nights (Scharfstein,
Tsiatis and Robins 1997). Mixing its likelihood ratio over a normal prior on the effect with variance 1 / rho gives a
supermartingale, and Ville's inequality bounds it at every night at once: with probability 1 - level, at all nights,

    |estimate - truth| <= s sqrt((1 + rho s^2) (ln(1 + 1 / (rho s^2)) - 2 ln level)).

Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021, equation 14; with an estimated s it is asymptotic, as in
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024. The p value is that of mSPRT (Johari, Koomen, Pekelis and Walsh
2017). `rho` is fixed at the first look: there the interval is 3.7 standard errors wide to each side, at best 3.0.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

LEVEL: Final = 0.05
_MOST_LOOKS: Final = 10_000


def rho_of(first_error: ArrayLike) -> np.ndarray:
    """The mixture's precision from the standard error at the first look: the prior is as wide as the error then."""
    return 1 / np.square(np.asarray(first_error, dtype=np.float64))


def half_width(std_error: ArrayLike, rho: ArrayLike, level: ArrayLike = LEVEL) -> np.ndarray:
    """Half the width of the interval that holds at all looks together with probability 1 - level; any shapes."""
    variance = np.square(np.asarray(std_error, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(rho) * variance  # rho over information
        return np.sqrt(variance * (1 + ratio) * (np.log1p(1 / ratio) - 2 * np.log(level)))


def p_value(estimate: ArrayLike, std_error: ArrayLike, rho: ArrayLike) -> np.ndarray:
    """The smallest level whose interval leaves out 0, at most 1: below `level` at any look with that chance at most."""
    variance = np.square(np.asarray(std_error, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.asarray(rho) * variance
        z2 = np.square(np.asarray(estimate, dtype=np.float64)) / variance
        return np.minimum(np.exp(0.5 * (np.log1p(1 / ratio) - z2 / (1 + ratio))), 1.0)


def looks_needed(estimate: float, std_error: float, rho: float, n_looks: int, level: float = LEVEL) -> int | None:
    """Looks in all until the interval leaves out 0, were the estimate the truth and every look worth the same.

    None: more than 10,000, or nothing is known yet.
    """
    if not np.isfinite(std_error) or std_error <= 0 or estimate == 0:
        return None
    low, high = n_looks, _MOST_LOOKS
    if half_width(std_error * np.sqrt(n_looks / high), rho, level) >= abs(estimate):
        return None
    while low < high:  # the width falls with every look
        middle = (low + high) // 2
        if half_width(std_error * np.sqrt(n_looks / middle), rho, level) < abs(estimate):
            high = middle
        else:
            low = middle + 1
    return low
