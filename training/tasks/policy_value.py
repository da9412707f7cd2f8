"""What a policy is worth on nights that it has not seen: fitted Q evaluation (Le, Voloshin, Yue 2019) with a linear Q.

Q(s, a) = x(s, a) theta, where theta solves x (x - discount x')' theta = x r summed over transitions, with x' the features of
what the policy would send next (Bradtke and Barto 1996). Being one small system, it is solved anew on each resample of
customers, so intervals hold the evaluation's own error (bootstrapped FQE, Hao et al. 2021). Only what the nights told
enters: states, what was sent, the profit that was made. Models say what they would send, and nothing about its worth.
"""

from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from training.tasks.policy_examples import MARGIN_CENTS, NIGHT, TIRED, USUAL_CENTS, followers
from training.tasks.policy_model import CHOSEN, numbers

DISCOUNT: Final = 0.9  # per night, of the evaluation: the same for all models
_PRECISION: Final = 1.0  # of the ridge, in rows
_USUAL_CENTS: Final = 100.0  # unit of what a customer usually brings a night


def policy_value(target: pa.Table, predicted: pa.Table, weight: np.ndarray, discount: float) -> np.ndarray:
    """Cents per customer and night that the policy earns over the nights to come: (1 - discount) mean of V.

    Weight: (n,) or (draws, n).

    A row counts in the mean as a state to start from; transitions are rows of one customer on nights in a row. NaN where
    no night follows on another.
    """
    after = followers(target[C.USER_KEY].to_numpy(zero_copy_only=False), target[NIGHT].to_numpy())
    place = np.flatnonzero(after >= 0)
    draws = np.atleast_2d(weight)
    if not len(place):
        return np.full(weight.shape[:-1], np.nan)
    sent = _features(target, target, "")
    chosen = _features(target, predicted, CHOSEN)
    moved = sent[place] - discount * chosen[after[place]]
    profit = target[MARGIN_CENTS].to_numpy()[place]
    ridge = _PRECISION * np.eye(sent.shape[1])
    found = np.empty(len(draws))
    for at, counts in enumerate(draws):
        weighted = sent[place] * counts[place, None] / max(counts.mean(), 1e-300)
        theta = np.linalg.solve(weighted.T @ moved + ridge, weighted.T @ profit)
        found[at] = (1 - discount) * float(counts @ (chosen @ theta)) / float(counts.sum())
    return found if weight.ndim == 2 else found[0]


def _features(states: pa.Table, actions: pa.Table, prefix: str) -> np.ndarray:
    """(n, d): a one, what the customer usually brings, how tired; and with a contact the same and its attributes."""
    usual = np.log1p(numbers(states, USUAL_CENTS) / _USUAL_CENTS)
    tired = numbers(states, TIRED)
    own = np.stack([np.ones_like(usual), usual, tired], axis=1)
    frequency = numbers(actions, f"{prefix}{C.FREQUENCY}")
    is_sent = (frequency > 0).astype(np.float64)[:, None]
    attributes = np.stack([numbers(actions, f"{prefix}{C.DISCOUNT_PERCENT}") / 10, frequency - 1], axis=1)
    return np.concatenate([own, own * is_sent, attributes * is_sent], axis=1)
