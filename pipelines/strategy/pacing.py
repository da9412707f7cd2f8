"""Tonight's share of a budget for several nights.

    tonight = what is left of the period's budget x worth of tonight / (worth of tonight + worth of the nights to come)

What a night did not spend so carries over to all that are left, and what it spent too much is taken from all of them. If
a night's profit is its worth w times the same concave function of budget over w, this is the division at which a cent
more earns the same on every night, which is what makes the whole period earn most.
"""

from collections.abc import Sequence

import numpy as np


def tonights_budget(budget_cents: int, spent_cents: int, worth: float, worth_to_come: Sequence[float]) -> int:
    """Cents for tonight, rounded down. `worth` of nights is above 0, in any unit; `worth_to_come` of those left."""
    left = max(budget_cents - spent_cents, 0)
    return int(left * (worth / (worth + sum(worth_to_come))) + 1e-9)


def worth_of_weekdays(sold: Sequence[float], weekday: Sequence[int]) -> np.ndarray:
    """(7,) mean of what was `sold` on past days of each `weekday` (0 to 6), drawn towards the mean of all days as if one
    more such day had been told; all 1 where nothing was sold. Only their ratios matter."""
    day, sales = np.asarray(weekday, dtype=np.int64), np.asarray(sold, dtype=np.float64)
    if not sales.sum():
        return np.ones(7)
    return (np.bincount(day, sales, 7) + sales.mean()) / (np.bincount(day, minlength=7) + 1)
