"""What follows or accompanies the last item: popularity, association and sequential rules, item-kNN.

Each is one sparse matrix of scores from the last item to the next (Ludewig and Jannach 2018, "Evaluation of session-based
recommendation algorithms"; item-kNN: Linden, Smith and York 2003 in the form of Hidasi et al. 2016).
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, diags_array

from training.recommend.session_data import Sequences


@dataclass(frozen=True)
class Rules:
    """Scores of the next item given the last one alone."""

    matrix: csr_matrix  # (n_items, n_items)

    def scores(self, told: Sequences, asked: np.ndarray) -> np.ndarray:
        """(q, n_items) of what follows each asked event (q,)."""
        return self.matrix[told.item[asked]].toarray()


@dataclass(frozen=True)
class Popularity:
    """How often each item was touched, whatever came before."""

    counts: np.ndarray  # (n_items,)

    def scores(self, told: Sequences, asked: np.ndarray) -> np.ndarray:
        return np.tile(self.counts, (len(asked), 1))


def fit_popularity(told: Sequences) -> Popularity:
    return Popularity(np.bincount(told.item, minlength=told.n_items).astype(np.float64))


def fit_sequential(told: Sequences, steps: int = 20, keep: int = 100) -> Rules:
    """SR: what came 1, 2, ... `steps` later in the same session, each time worth 1 / distance^2; the `keep` best rules."""
    return Rules(best_of_rows(followers(told, steps, power=2.0), keep))


def fit_association(told: Sequences, keep: int = 20) -> Rules:
    """AR: how often two events of a session were of these two items, in either order."""
    longest = int(np.diff(told.start).max(initial=0))
    forward = followers(told, longest, power=0.0)
    return Rules(best_of_rows((forward + forward.T).tocsr(), keep))


def fit_item_knn(told: Sequences, damping: float = 50.0, alpha: float = 0.75, keep: int = 100) -> Rules:
    """Co-occurrence over (events of i + damping)^alpha times (events of j + damping)^(1 - alpha); never the item itself."""
    shape = (len(told), told.n_items)
    counts = csr_matrix((np.ones(len(told.item)), (told.session, told.item)), shape=shape)
    support = np.bincount(told.item, minlength=told.n_items) + damping
    both = (counts.T @ (counts > 0)).tocsr()
    both.setdiag(0)
    both.eliminate_zeros()
    scaled = diags_array(support**-alpha) @ both @ diags_array(support ** (alpha - 1))
    return Rules(best_of_rows(csr_matrix(scaled), keep))


def best_of_rows(matrix: csr_matrix, keep: int) -> csr_matrix:
    """The `keep` largest entries of each row; equal ones by column."""
    told = matrix.tocoo()
    order = np.lexsort((told.col, -told.data, told.row))
    row = told.row[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = order[rank < keep]
    return csr_matrix((told.data[kept], (told.row[kept], told.col[kept])), shape=matrix.shape)


def followers(told: Sequences, steps: int, power: float) -> csr_matrix:
    """(n_items, n_items): the sum over pairs of a session, earlier to later, of 1 / distance^power."""
    session, found = told.session, csr_matrix((told.n_items, told.n_items))
    for step in range(1, steps + 1):
        first = np.flatnonzero(session[step:] == session[:-step])
        if not len(first):
            break
        weight = np.full(len(first), float(step) ** -power)
        found = found + csr_matrix((weight, (told.item[first], told.item[first + step])), shape=found.shape)
    return found
