"""How good rankings of items are, one number per list; and whether they reach beyond what is popular.

Lists are (n, k) places of items, best first, NO_ITEM where a list is shorter. A truth is a boolean or count matrix in
CSR form, (n, n_items): what each row's customer touched later.
"""

import numpy as np
from scipy.sparse import csr_matrix

from training.recommend.interactions import NO_ITEM


def hits(lists: np.ndarray, truth: csr_matrix) -> np.ndarray:
    """(n, k) bool: whether the item at each place of a list is in the row's truth."""
    wanted = truth.astype(bool).tocsr()
    wanted.sort_indices()
    n, width = lists.shape[0], truth.shape[1]
    keys = np.repeat(np.arange(n, dtype=np.int64), np.diff(wanted.indptr)) * width + wanted.indices
    asked = np.arange(n, dtype=np.int64)[:, None] * width + lists
    if not len(keys):
        return np.zeros(lists.shape, dtype=bool)
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return (keys[place] == asked) & (lists != NO_ITEM)


def recall(lists: np.ndarray, truth: csr_matrix, misses: np.ndarray | int = 0) -> np.ndarray:
    """(n,) share of the truth that is in the list; `misses`: how much of it no list could hold. NaN without a truth."""
    size = np.diff(truth.astype(bool).tocsr().indptr) + misses
    found: np.ndarray = hits(lists, truth).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return found / size


def ndcg(lists: np.ndarray, truth: csr_matrix, misses: np.ndarray | int = 0) -> np.ndarray:
    """(n,) gain 1 for each item of the truth, discounted by log2(1 + rank), over the best that a list of this length
    could have (Jarvelin and Kekalainen 2002). NaN without a truth."""
    discount = 1 / np.log2(np.arange(2, lists.shape[1] + 2))
    size = np.diff(truth.astype(bool).tocsr().indptr) + misses
    best: np.ndarray = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(size, lists.shape[1])]
    gains: np.ndarray = (hits(lists, truth) * discount).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return gains / best


def hit(lists: np.ndarray, truth: csr_matrix) -> np.ndarray:
    """(n,) 1.0 where at least one item of the list is in the truth, else 0.0."""
    return np.asarray(hits(lists, truth).any(axis=1), dtype=np.float64)


def next_item(scores: np.ndarray, target: np.ndarray, lengths: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Hit rate and reciprocal rank of one wanted item per row among all items, as expected under random order of ties.

    scores: (n, n_items), higher is better; target: (n,) places, or NO_ITEM for an item that nobody can rank.
    Returns two of (n, len(lengths)): the chance that the target is among the first k, and the mean of 1 / rank up to k.
    """
    own = scores[np.arange(len(target)), np.maximum(target, 0)][:, None]
    above = (scores > own).sum(axis=1)
    ties = np.maximum((scores == own).sum(axis=1), 1)
    most = max(lengths)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])
    known = target != NO_ITEM
    found, reciprocal = np.zeros((2, len(target), len(lengths)))
    for place, k in enumerate(lengths):
        last = np.minimum(above + ties, k)
        first = np.minimum(above, k)
        found[:, place] = known * (last - first) / ties
        reciprocal[:, place] = known * (harmonic[last] - harmonic[first]) / ties
    return found, reciprocal


def coverage(lists: np.ndarray, n_items: int) -> float:
    """Share of all items that stand in at least one list."""
    return len(np.unique(lists[lists != NO_ITEM])) / n_items


def popularity_lift(lists: np.ndarray, touched: csr_matrix) -> float:
    """How much more popular listed items are than those that the same customers touched themselves, 0.5: by half.

    touched: (n, n_items) counts of each row's customer before. An item's popularity is the customers who touched it
    (Abdollahpouri et al. 2019, "The unfairness of popularity bias in recommendation").
    """
    own = touched.astype(bool).tocsr()
    popularity = np.asarray(own.sum(axis=0), dtype=np.float64).ravel()
    listed = lists != NO_ITEM
    counts = np.maximum(listed.sum(axis=1), 1)
    theirs = np.where(listed, popularity[np.maximum(lists, 0)], 0.0).sum(axis=1) / counts
    sizes = np.diff(own.indptr)
    mine = np.asarray(own @ popularity).ravel() / np.maximum(sizes, 1)
    both = listed.any(axis=1) & (sizes > 0)
    return float(theirs[both].mean() / mine[both].mean() - 1) if both.any() else float("nan")
