"""Two linear models of sessions in closed form, what goes together (SLIS) and what follows (SLIT), and their sum SLIST.

Choi et al. 2021, "Session-aware linear item-item models for session-based recommendation" (WWW). Both are ridge
regressions from items to items: SLIS from a session to itself, with a bound on what an item may say of itself; SLIT
from what was done up to an event to what was done after it. Time and memory grow with the square of the items.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from training.recommend.session_data import Pasts, Sequences, spans

RIDGE: Final = 30.0  # this and the following were chosen on the validation day of YooChoose
SELF_BOUND: Final = 0.8  # what an item may say of itself
APART: Final = 0.5  # events in which pasts and futures fade by e while SLIT learns
PAST: Final = 1.0  # events in which the current session fades by e
TOGETHER: Final = 0.7  # share of SLIS in SLIST


@dataclass(frozen=True)
class SessionLinear:
    """Each item of the current session adds its row, the less the longer ago it was."""

    matrix: np.ndarray  # (n_items, n_items)

    def scores(self, told: Sequences, asked: np.ndarray) -> np.ndarray:
        """(q, n_items) of what follows each asked event (q,)."""
        found: np.ndarray = _faded_pasts(told, asked, PAST) @ self.matrix
        return found

    def __add__(self, other: "SessionLinear") -> "SessionLinear":
        """SLIST of SLIS and SLIT."""
        return SessionLinear(TOGETHER * self.matrix + (1 - TOGETHER) * other.matrix)


def fit_together(told: Sequences) -> SessionLinear:
    """SLIS: the diagonal is held at SELF_BOUND by each column's own Lagrange multiplier."""
    n = told.n_items
    keys = np.unique(told.session * n + told.item)
    rows = csr_matrix((np.ones(len(keys)), (keys // n, keys % n)), shape=(len(told), n))
    inverse = cho_solve(cho_factor((rows.T @ rows).toarray() + RIDGE * np.eye(n)), np.eye(n))
    diagonal = np.diag(inverse)
    return SessionLinear(np.eye(n) - inverse * np.maximum(RIDGE, (1 - SELF_BOUND) / diagonal))


def fit_following(told: Sequences) -> SessionLinear:
    """SLIT: from each event's past to its future, both fading with the distance."""
    asked, n = told.followed, told.n_items
    past = _faded_pasts(told, asked, APART)
    which, event = spans(asked + 1, told.start[told.session[asked] + 1])
    apart = event - asked[which] - 1
    key = which * n + told.item[event]
    order = np.lexsort((apart, key))
    first = order[np.flatnonzero(np.diff(key[order], prepend=-1))]  # of each item the nearest
    future = csr_matrix((np.exp(-apart[first] / APART), (which[first], told.item[event[first]])), shape=past.shape)
    gram = (past.T @ past).toarray() + RIDGE * np.eye(n)
    return SessionLinear(cho_solve(cho_factor(gram), (past.T @ future).toarray()))


def _faded_pasts(told: Sequences, asked: np.ndarray, steps: float) -> csr_matrix:
    """(q, n_items): each item of a query's past by its newest event."""
    past = Pasts.of(told, asked).last_of_each(told.item, told.n_items)
    weight = np.exp(-past.back / steps)
    return csr_matrix((weight, (past.query, told.item[past.event])), shape=(len(asked), told.n_items))
