"""Which items belong together: by the sessions they met in, by their vectors, and by both.

    lift(a, b) = (met + alpha prior(cos(a, b))) / (expected + alpha)

`met` are the sessions with both, newer ones counting more; `expected` what chance alone would bring; the prior is the lift
that pairs of such a cosine have on average. It is the posterior mean of a Poisson rate under a gamma prior worth `alpha`
expected sessions (DuMouchel 1999, "Bayesian data mining in large frequency tables", with the prior's mean told by the
vectors): sessions speak where there are many, vectors where there are few. Lists are by lift(a, b) share(b)^beta: at
beta 1 the chance to see b in a session with a, at 0 the lift alone. Both are chosen on later sessions (`choose`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.sparse import csr_matrix, diags_array, eye_array, triu

from pipelines.core.errors import TrainingError
from training.recommend.interactions import NO_ITEM
from training.recommend.topk import Lists, top_k, top_k_of

KINDS: Final = ("substitute", "complement", "related")
SUBSTITUTE, COMPLEMENT, RELATED = range(len(KINDS))
_BINS: Final = 40  # of the cosine
_CHANCE: Final = 200_000  # pairs drawn to learn how often a cosine comes by chance
_BLOCK: Final = 50_000  # pairs looked at together
_NEAR: Final = 100  # nearest items by vector that are candidates, beside those that met


@dataclass(frozen=True)
class Meetings:
    """m items in sessions, each session worth 0.5 ** (nights ago / half life)."""

    together: csr_matrix  # (m, m) symmetric, diagonal empty: worth of the sessions with both
    sessions: csr_matrix  # (m, m) likewise: how many they are
    single: np.ndarray  # (m,) worth of the sessions with the item
    total: float  # worth of all sessions


@dataclass(frozen=True)
class Weighting:
    alpha: float  # expected sessions that the prior is worth; 0: sessions alone
    beta: float  # 0: by lift, 1: by chance


@dataclass(frozen=True)
class Relations:
    """r related pairs, item by item, best first."""

    item: np.ndarray  # (r,) places
    other: np.ndarray  # (r,)
    lift: np.ndarray  # (r,) how much likelier than by chance they meet, shrunk
    kind: np.ndarray  # (r,) int8, place in KINDS
    support: np.ndarray  # (r,) int64 sessions with both; of complements those in which both were carted or bought


def meetings(
    session: np.ndarray, item: np.ndarray, n_items: int, nights_ago: np.ndarray, half_life_nights: float
) -> Meetings:
    """Counts of n touches: session (n,) places in `nights_ago` (sessions,), item (n,) places.

    A session's pairs grow with the square of its items: the caller cuts sessions of bots.
    """
    if not len(session):
        raise TrainingError("relations: there is no session to learn from")
    held = csr_matrix((np.ones(len(item)), (session, item)), shape=(len(nights_ago), n_items))
    held.data[:] = 1  # an item counts once per session
    worth = 0.5 ** (np.asarray(nights_ago) / half_life_nights)

    def pairs(counted: csr_matrix) -> csr_matrix:
        above = triu(held.T @ counted, 1)
        return csr_matrix(above + above.T)

    together = pairs(csr_matrix(diags_array(worth) @ held))
    return Meetings(together, pairs(held), np.asarray(held.T @ worth), float(worth.sum()))


def lift_by_cosine(met: Meetings, unit: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines, ascending, and the mean lift of pairs of about that cosine, never falling: (bins,) each.

    Sessions with both over those that chance would bring, of all pairs in a bin; the latter by drawing pairs as often as
    they would meet. unit: (m, d) of length 1, or zero where an item has no vector: such are left out.
    """
    known = np.vecdot(unit, unit) > 0
    single = met.single * known
    above = triu(met.together, 1).tocoo()
    both = known[above.row] & known[above.col]
    if not both.any():
        return np.zeros(1), np.ones(1)
    a, b = np.random.default_rng(seed).choice(len(unit), (2, _CHANCE), p=single / single.sum())
    drawn = np.sort(_cosines(unit, a, b)[a != b])
    cosine = _cosines(unit, above.row[both], above.col[both])
    edges = np.unique(np.quantile(drawn, 1 - np.geomspace(1, 1e-4, _BINS)[1:]))  # finer where items are alike
    count = np.bincount(np.searchsorted(edges, drawn), minlength=len(edges) + 1)
    seen = np.bincount(np.searchsorted(edges, cosine), above.data[both], len(edges) + 1)
    centre = np.bincount(np.searchsorted(edges, drawn), drawn, len(edges) + 1)
    there = count > 0
    chance = count / len(drawn) * (single.sum() ** 2 - (single**2).sum()) / (2 * met.total)
    lift = isotonic_regression(seen[there] / chance[there], weights=chance[there]).x
    return centre[there] / count[there], lift


def related(
    met: Meetings,
    vectors: np.ndarray | None,
    weighting: Weighting,
    k: int,
    *,
    allowed: np.ndarray | None = None,
    seed: int = 0,
    threads: int = 1,
) -> Lists:
    """Lists (m, k) of related items, best first, and their shrunk lift (m, k); NO_ITEM and -inf where there are fewer.

    vectors: (m, d), zero for an item without; None: by sessions alone, shrunk towards chance. Candidates of an item are
    those it met and its nearest by cosine. allowed: (m,) bool, what may be listed at all.
    """
    m = len(met.single)
    pairs = met.together.tocoo()
    row, column, prior = pairs.row, pairs.col, np.ones(pairs.nnz)
    count = pairs.data
    if vectors is not None:
        length = np.linalg.norm(vectors, axis=1)
        unit = vectors / np.where(length > 0, length, 1)[:, None]
        near, _ = top_k(unit, unit, _NEAR, exclude=eye_array(m, format="csr"), allowed=length > 0, threads=threads)
        near[length == 0] = NO_ITEM
        own = np.repeat(np.arange(m), _NEAR).reshape(near.shape)[near != NO_ITEM]
        union = csr_matrix(
            (np.append(count, np.zeros(len(own))), (np.append(row, own), np.append(column, near[near != NO_ITEM]))),
            shape=(m, m),
        ).tocoo()
        row, column, count = union.row, union.col, union.data
        both = (length[row] > 0) & (length[column] > 0)
        prior = np.where(both, np.interp(_cosines(unit, row, column), *lift_by_cosine(met, unit, seed)), 1.0)
    expected = met.single[row] * met.single[column] / met.total
    with np.errstate(invalid="ignore"):
        lift = (count + weighting.alpha * prior) / (expected + weighting.alpha)
    weight = (met.single / met.total) ** weighting.beta
    listed = (lift > 0) & (weight[column] > 0)
    score = csr_matrix(((lift * weight[column])[listed], (row[listed], column[listed])), shape=(m, m))
    places, scores = top_k_of(lambda rows: score[rows], (m, m), k, allowed=allowed, threads=threads)
    with np.errstate(divide="ignore"):
        return places, np.where(places == NO_ITEM, -np.inf, scores / weight[places])


def shares_found(lists: np.ndarray, session: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Of each later session with two items or more: the share of its ordered pairs (a, b) with b in the list of a.

    lists: (m, k); session, item: (n,) distinct touches.
    """
    order = np.argsort(session, kind="stable")
    session, item = session[order], item[order]
    _, first, size = np.unique(session, return_index=True, return_counts=True)
    per_touch = np.repeat(size, size)
    left = np.repeat(np.arange(len(item)), per_touch)
    right = np.arange(len(left)) - np.repeat(np.cumsum(per_touch) - per_touch - np.repeat(first, size), per_touch)
    left, right = left[left != right], right[left != right]
    held = (lists[item[left]] == item[right][:, None]).any(axis=1)
    of_session = np.repeat(np.arange(len(size)), size)[left]
    pairs = size * (size - 1)
    found = np.bincount(of_session, held, len(size))
    return found[pairs > 0] / pairs[pairs > 0]


def choose(
    met: Meetings,
    vectors: np.ndarray | None,
    later: tuple[np.ndarray, np.ndarray],
    weightings: Iterable[Weighting],
    k: int,
    *,
    threads: int = 1,
) -> tuple[Weighting, dict[Weighting, float]]:
    """The weighting whose lists hold the most of the `later` (session, item) touches' pairs, and what each one held."""
    told = {
        one: float(shares_found(related(met, vectors, one, k, threads=threads)[0], *later).mean()) for one in weightings
    }
    return max(told, key=lambda one: told[one]), told


def relations(lists: Lists, met: Meetings, baskets: Meetings, category: np.ndarray, min_together: int = 2) -> Relations:
    """What kind of relation each listed pair is.

    substitute: of one category. complement: of two, and carted or bought together in `min_together` sessions of `baskets`
    at least. related: of two, together in sessions or by their vectors only. category: (m,) codes, negative: none.
    """
    places, lifts = lists
    item, slot = np.nonzero(places != NO_ITEM)
    other = places[item, slot]
    alike = (category[item] == category[other]) & (category[item] >= 0)
    bought, seen = (_at(counted, item, other) for counted in (baskets.sessions, met.sessions))
    kind = np.where(alike, SUBSTITUTE, np.where(bought >= min_together, COMPLEMENT, RELATED))
    support = np.where(kind == COMPLEMENT, bought, seen)
    return Relations(item, other, lifts[item, slot], kind.astype(np.int8), support.astype(np.int64))


def _at(matrix: csr_matrix, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """(n,) cells of a sparse matrix."""
    return np.asarray(matrix[row, column]).ravel() if len(row) else np.zeros(0)


def _cosines(unit: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(p,) of pairs of rows, block by block: there are many more pairs than rows."""
    found = np.empty(len(a))
    for first in range(0, len(a), _BLOCK):
        part = slice(first, first + _BLOCK)
        found[part] = np.vecdot(unit[a[part]], unit[b[part]])
    return found
