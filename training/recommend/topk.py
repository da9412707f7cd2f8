"""The k best items of each row, exactly: of all inner products of two sets of vectors, or of any scores made in blocks.

Never more than a block of scores is held. Lists do not depend on block sizes, threads, the order of rows or the engine.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix
from threadpoolctl import ThreadpoolController

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError, WrongUseError
from training.recommend.best import Best
from training.recommend.interactions import NO_ITEM

# Places (n, k) int64, NO_ITEM where there are fewer; scores (n, k) float32, -inf there.
Lists = tuple[np.ndarray, np.ndarray]
# Rows to their scores (rows, m); what a sparse block does not hold is not listed.
Scores = Callable[[slice], np.ndarray | csr_matrix]

BLOCK_ROWS: Final = 256
BLOCK_ITEMS: Final = 8_192  # 8 MB of scores, in the cache; numpy compares rows shorter than this, its buffer, slower
BLOCK_BYTES: Final = 16 << 20  # of whole rows of scores, and of vectors that are looked at again


def top_k(
    queries: np.ndarray,
    items: np.ndarray,
    k: int,
    *,
    exclude: csr_matrix | None = None,
    allowed: np.ndarray | None = None,
    threads: int = 1,
) -> Lists:
    """The k items with the largest inner product for each query; ties: the lower place first.

    queries: (n, d), items: (m, d), taken as float32. exclude: (n, m), what it holds is not listed for that row.
    allowed: (m,) bool, the items that may be listed at all. For many calls with the same items: `Index`.

    Products of blocks in float32 leave the few candidates within rounding (d u |q| |i|, Higham 2002, section 3.1) of the
    k-th best; these are scored again in float64. Items come longest first, and a query is done when |q| |i| is below its
    k-th best (Teflioudi and Gemulla 2016, LEMP): less work than the whole product where lengths differ.
    Raises WrongUseError for shapes that do not fit, TrainingError for a number that is NaN, infinite or too large.
    """
    return Index(items, allowed).top_k(queries, k, exclude=exclude, threads=threads)


class Index:
    """Items (m, d) made ready for many calls of `top_k`."""

    def __init__(self, items: np.ndarray, allowed: np.ndarray | None = None) -> None:
        if items.ndim != 2:
            raise WrongUseError(f"top_k: items have shape {items.shape}, expected (m, d)")
        _check_allowed(allowed, len(items))
        length = _lengths(items, "item")
        order = np.argsort(-length, kind="stable")
        self._allowed, self._m = allowed, len(items)
        self._order = order if allowed is None else order[allowed[order]]
        self._length = length[self._order]
        self._vectors = np.asarray(items[self._order], np.float32)

    def top_k(self, queries: np.ndarray, k: int, *, exclude: csr_matrix | None = None, threads: int = 1) -> Lists:
        """See the function `top_k`."""
        n, m, d = len(queries), self._m, self._vectors.shape[1]
        if queries.ndim != 2 or queries.shape[1] != d:
            raise WrongUseError(f"top_k: queries {queries.shape} and items {(m, d)} must be (n, d) and (m, d)")
        _check(n, m, k, exclude)
        size = min(k, len(self._order))
        places, scores = _empty(n, k)
        blank = np.zeros(n, dtype=bool)

        def work(start: int) -> None:
            rows = slice(start, min(start + BLOCK_ROWS, n))
            q = np.ascontiguousarray(queries[rows], np.float32)
            reach = _lengths(q, "query")
            blank[rows] = reach == 0
            near = self._near(q, reach, size, _Hidden(exclude, rows, self._order, m))
            places[rows, :size], scores[rows, :size] = _exact(q, self._vectors, self._order, near, size)

        if size:
            _in_threads(work, range(0, n, BLOCK_ROWS), threads)
        if blank.any():  # every score is 0: nothing to prune by, ties all over
            shape, seen = (int(blank.sum()), m), None if exclude is None else exclude[blank]
            zeros = np.broadcast_to(np.zeros(m, np.float32), shape)
            places[blank], scores[blank] = top_k_of(
                lambda rows: zeros[rows], shape, k, exclude=seen, allowed=self._allowed
            )
        return places, scores

    def _near(self, q: np.ndarray, reach: np.ndarray, k: int, hidden: "_Hidden") -> np.ndarray:
        """Positions (r, w) in the order of length: the k best by float32, and whatever is within rounding of the k-th."""
        longest, limits = float(self._length[0]), np.finfo(np.float32)
        if reach.max() * longest > limits.max:
            raise TrainingError("top_k: inner products beyond what float32 holds: scale the vectors")
        rounding = 1.01 * float(limits.eps) * reach * longest + float(limits.tiny)  # 2 u |q| |i|: two scores compare
        best = Best(len(q), k, (q.shape[1] * rounding).astype(np.float32))
        memory = np.empty(len(q) * BLOCK_ITEMS, np.float32)  # of each block in turn: fresh pages cost time
        for first in range(0, len(self._order), BLOCK_ITEMS):
            alive = np.flatnonzero((reach > 0) & (1.01 * reach * self._length[first] >= best.floor))
            if not len(alive):
                break
            right = self._vectors[first : first + BLOCK_ITEMS].T
            out = memory[: len(alive) * right.shape[1]].reshape(len(alive), -1)
            block = np.matmul(q if len(alive) == len(q) else q[alive], right, out=out)
            hidden.hide(block, first, alive)
            best.add(block, first, alive)
        return best.lists()[0]


def top_k_of(
    score: Scores,
    shape: tuple[int, int],
    k: int,
    *,
    exclude: csr_matrix | None = None,
    allowed: np.ndarray | None = None,
    threads: int = 1,
) -> Lists:
    """As `top_k`, of any scores: `score(rows)` gives those of a slice of the n rows for all m items, dense or sparse.

    Scores are compared as float32; -inf is not listed. With threads > 1, `score` is called from several at once.
    """
    n, m = shape
    _check(n, m, k, exclude)
    _check_allowed(allowed, m)
    places, scores = _empty(n, k)
    step = min(BLOCK_ROWS, max(1, BLOCK_BYTES // (4 * max(m, 1))))
    order = np.arange(m) if allowed is None else np.flatnonzero(allowed)
    size = min(k, len(order))

    def work(start: int) -> None:
        rows = slice(start, min(start + step, n))
        block, wanted = score(rows), (rows.stop - start, m)
        if block.shape != wanted:
            raise WrongUseError(f"top_k_of: rows {start} to {rows.stop}: scores have shape {block.shape}, not {wanted}")
        hidden, best = _Hidden(exclude, rows, order, m), Best(wanted[0], size)
        if isinstance(block, np.ndarray):
            _add_dense(best, block if allowed is None else block[:, order], hidden)
        else:
            _add_sparse(best, block if allowed is None else block[:, order], hidden)
        found, values = best.lists()
        places[rows, :size] = np.where(found == NO_ITEM, NO_ITEM, order[found])
        scores[rows, :size] = values

    if size:
        _in_threads(work, range(0, n, step), threads)
    return places, scores


def ranked(
    batches: Iterable[pa.RecordBatch], rank: Callable[[pa.RecordBatch], Lists], items: pa.Array
) -> Iterator[pa.RecordBatch]:
    """Customers in, one row per customer and filled slot out: user_key, slot, item_id, score, in the order of both.

    `rank` gives the lists of a batch, `items` the id at each place. The same function runs in a loop on one machine and
    inside Spark's mapInArrow.
    """
    for batch in batches:
        places, scores = rank(batch)
        row, slot = np.nonzero(places != NO_ITEM)
        columns = {
            C.USER_KEY: batch.column(C.USER_KEY).take(pa.array(row)),
            C.SLOT: pa.array(slot + 1, pa.int32()),
            C.ITEM_ID: items.take(pa.array(places[row, slot])),
            C.SCORE: pa.array(scores[row, slot], pa.float64()),
        }
        yield pa.RecordBatch.from_pydict(columns)


class _Hidden:
    """What each of some rows may not list, by the position of the items in `order`."""

    def __init__(self, exclude: csr_matrix | None, rows: slice, order: np.ndarray, m: int) -> None:
        self.row = self.position = np.zeros(0, np.int64)
        if exclude is not None:
            pairs = exclude[rows].tocoo()
            of_item = np.full(m, NO_ITEM)
            of_item[order] = np.arange(len(order))
            position = of_item[pairs.col]
            by = np.argsort(position, kind="stable")
            self.row, self.position = pairs.row[by], position[by]

    def keys(self, width: int) -> np.ndarray:
        """row * width + position of each."""
        return (self.row * width + self.position)[self.position != NO_ITEM]

    def hide(self, scores: np.ndarray, first: int, rows: np.ndarray) -> None:
        """-inf in `scores` (a, c), of the ascending `rows` and the items from position `first` on."""
        if not len(self.row):
            return
        these = slice(*np.searchsorted(self.position, (first, first + scores.shape[1])))
        row, column = self.row[these], self.position[these] - first
        at = np.minimum(np.searchsorted(rows, row), len(rows) - 1)
        there = rows[at] == row
        scores[at[there], column[there]] = -np.inf


def _add_dense(best: Best, block: np.ndarray, hidden: _Hidden) -> None:
    rows = np.arange(len(block))
    for first in range(0, block.shape[1], BLOCK_ITEMS):
        part = np.array(block[:, first : first + BLOCK_ITEMS], np.float32)  # a copy: the caller's may be a view
        if np.isnan(part.max(axis=1)).any():
            raise TrainingError("top_k_of: a score is no number")
        hidden.hide(part, first, rows)
        best.add(part, first, rows)


def _add_sparse(best: Best, block: csr_matrix, hidden: _Hidden) -> None:
    block.sum_duplicates()
    if np.isnan(block.data).any():
        raise TrainingError("top_k_of: a score is no number")
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    listed = ~np.isneginf(block.data) & ~np.isin(row * block.shape[1] + block.indices, hidden.keys(block.shape[1]))
    best.add_some(row[listed], block.indices[listed].astype(np.int64), block.data[listed].astype(np.float32))


def _exact(
    q: np.ndarray, vectors: np.ndarray, order: np.ndarray, found: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the candidates (r, w), positions in `order`, by products in float64; ties by place."""
    left, scores = q[:, None].astype(np.float64), np.empty(found.shape)
    step = max(1, BLOCK_BYTES // (8 * q.size))
    for first in range(0, found.shape[1], step):
        part = slice(first, first + step)
        scores[:, part] = np.vecdot(left, vectors[found[:, part]].astype(np.float64))
    places = np.where(found == NO_ITEM, NO_ITEM, order[found])
    scores[found == NO_ITEM] = -np.inf
    by = np.lexsort((places, -scores), axis=1)[:, :k]
    return np.take_along_axis(places, by, axis=1), np.take_along_axis(scores, by, axis=1)


def _lengths(vectors: np.ndarray, what: str) -> np.ndarray:
    """(n,) Euclidean lengths, float64."""
    found = np.empty(len(vectors))
    for first in range(0, len(vectors), BLOCK_ITEMS):
        part = np.asarray(vectors[first : first + BLOCK_ITEMS], np.float32).astype(np.float64)
        found[first : first + BLOCK_ITEMS] = np.sqrt(np.vecdot(part, part))
    if not np.isfinite(found).all():
        raise TrainingError(f"top_k: the vector of {what} {int(np.argmin(np.isfinite(found)))} is not finite")
    return found


def _empty(n: int, k: int) -> Lists:
    return np.full((n, k), NO_ITEM, dtype=np.int64), np.full((n, k), -np.inf, dtype=np.float32)


def _check(n: int, m: int, k: int, exclude: csr_matrix | None) -> None:
    if k < 1:
        raise WrongUseError(f"top_k: k is {k}, expected at least 1")
    if exclude is not None and exclude.shape != (n, m):
        raise WrongUseError(f"top_k: exclude has shape {exclude.shape}, expected {(n, m)}")


def _check_allowed(allowed: np.ndarray | None, m: int) -> None:
    if allowed is not None and (allowed.shape != (m,) or allowed.dtype != bool):
        raise WrongUseError(f"top_k: allowed is {allowed.dtype} of shape {allowed.shape}, expected bool of {(m,)}")


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _in_threads(work: Callable[[int], None], starts: range, threads: int) -> None:
    """Each block by one thread: the product's own threads would wait while one selects."""
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(max(threads, 1)) as pool:
        for _ in pool.map(work, starts):
            pass
