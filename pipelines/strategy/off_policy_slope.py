"""SLOPE: the narrowest of several estimators that no wider one contradicts. It tunes the estimators that ours is compared with.

Our own rule (off_policy_choice.py) does without: on logs with a known truth the bias that it cannot see is what costs most.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

DELTA: Final = 0.1  # each interval that SLOPE compares fails with this probability at most, on one side


def tuned(terms: Sequence[np.ndarray]) -> np.ndarray:
    """The terms (n,) that SLOPE++ takes of one estimator at several settings, the widest first, as zr-obp does."""
    widest_first = sorted(terms, key=lambda one: -one.var())
    return widest_first[slope(widest_first)]


def slope(terms: Sequence[np.ndarray], delta: float = DELTA) -> int:
    """Position of the last estimator, in the order given, whose interval agrees with those of all before it.

    |V_i - V_j| <= c_i + (sqrt(6) - 1) c_j, c the half-width of an interval of level 1 - delta: SLOPE (Su, Srinath and
    Krishnamurthy 2020) with the constant and without the order by variance of SLOPE++ (Tucker and Lee 2021).
    """
    from scipy.stats import t as student

    values: list[float] = []
    widths: list[float] = []
    for of_rows in terms:
        n = len(of_rows)
        value = float(of_rows.mean())
        width = float(of_rows.std() / np.sqrt(max(n - 1, 1)) * student.ppf(1 - delta, max(n - 1, 1)))
        far = [abs(value - one) > width + (np.sqrt(6) - 1) * wide for one, wide in zip(values, widths, strict=True)]
        if any(far):
            break
        values.append(value)
        widths.append(width)
    return len(values) - 1
