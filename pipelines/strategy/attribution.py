"""Shares of what a function of several factors says: what each factor adds to it, and together exactly all of it.

The shares are Shapley values (1953) of the game in which a factor that joins brings its own value in place of a stated
reference value (the baseline Shapley value of Sundararajan and Najmi 2020): the only shares that add up, treat equals
alike and give nothing to a factor that changes nothing. A factor may be several columns that only make sense together.

Averaged are marginal contributions along permutations, each taken forwards and backwards (Strumbelj and Kononenko 2014;
Mitchell, Cooper, Frank and Holmes 2022): exact where factors act alone or in pairs, and adding up always. What three
factors do only together goes to the first and the last of them, so permutations are chosen that let each of three be in
the middle about equally often, which makes the error a quarter smaller than of random ones. All rows share the
permutations: a row's shares do not depend on which others are asked about, and a coalition costs one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

Value = Callable[[np.ndarray], np.ndarray]  # which factors are the row's own, (f,) bool -> what is said of n rows, (n,)

N_PAIRS: Final = 8  # permutations, each with its reverse
SEED: Final = 20260301
_TRIED: Final = 50  # permutations that one is chosen of


@dataclass(frozen=True)
class Shares:
    """`base` (n,) + the sum over `shares` (n, f) is what the function says of the rows, to rounding."""

    base: np.ndarray  # (n,) what it says of the reference
    shares: np.ndarray  # (n, f)

    @property
    def total(self) -> np.ndarray:
        """(n,) what the function says of the rows."""
        return self.base + self.shares.sum(axis=1)


def shapley(value: Value, n_factors: int, n_pairs: int = N_PAIRS, seed: int = SEED) -> Shares:
    """The shares of f factors; `value` is asked at most 2 x n_pairs x (f - 1) + 2 times."""
    known: dict[bytes, np.ndarray] = {}

    def told(coalition: np.ndarray) -> np.ndarray:
        key = coalition.tobytes()
        if key not in known:
            known[key] = np.asarray(value(coalition), dtype=np.float64)
        return known[key]

    base = told(np.zeros(n_factors, dtype=bool))
    shares = np.zeros((len(base), n_factors))
    for order in _balanced(n_factors, n_pairs, seed):
        for path in (order, order[::-1]):
            joined, before = np.zeros(n_factors, dtype=bool), base
            for factor in path.tolist():
                joined[factor] = True
                after = told(joined)
                shares[:, factor] += after - before
                before = after
    return Shares(base, shares / (2 * n_pairs))


def _balanced(n_factors: int, n_pairs: int, seed: int) -> np.ndarray:
    """(n_pairs, f) permutations, each the one of some random ones that best evens out which of three is in the middle."""
    rng = np.random.default_rng(seed)
    triples = np.array(list(combinations(range(n_factors), 3)), dtype=np.int64).reshape(-1, 3)
    counts = np.zeros((len(triples), 3))
    chosen = []
    for _ in range(n_pairs):
        drawn = rng.permuted(np.tile(np.arange(n_factors), (_TRIED, 1)), axis=1)
        middle = np.argsort(np.argsort(drawn, axis=1)[:, triples], axis=2)[:, :, 1]
        after = counts + (middle[:, :, None] == np.arange(3))
        best = int((after**2).sum(axis=(1, 2)).argmin())
        counts = after[best]
        chosen.append(drawn[best])
    return np.array(chosen)


def largest(shares: np.ndarray, n_shown: int) -> np.ndarray:
    """(n, n_shown) positions of the largest shares by size, either sign, of (n, f); equals in the order of factors."""
    return np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :n_shown]
