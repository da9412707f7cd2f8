"""Fits profile_projection and segment_models on an anchor night: pure numpy, on a sample of users.

Projection: principal components of the standardised features. Segments: k-means (Lloyd; k-means++ starts, Arthur and
Vassilvitskii 2007), k by the best mean silhouette (Rousseeuw 1987) among those without a tiny cluster. Ids follow the
previous anchor's by the Hungarian method (Kuhn 1955).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.core.columns import Columns as C
from pipelines.core.shop import Features
from spark_jobs.segment_names import name_segments
from spark_jobs.segments import DIGITS, FEATURES, projection_weights

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Rows = list[dict[str, Any]]

EVERYONE: Final = "Everyone"
_SEED: Final = 20260301
_RESTARTS: Final = 10
_START_USERS: Final = (
    2_000  # restarts and silhouettes look at these; the best start is then refined on the whole sample
)
_MAX_ROUNDS: Final = 100


def fit_projection(values: Array, size: int) -> Rows:
    """profile_projection of a sample: `values` (users, features) -> one row per feature with `size` loadings.

    Signs: each component's largest loading is positive. A component without variance has loadings of 0.
    """
    mean = np.round(values.mean(axis=0), DIGITS + 3)
    scale = np.round(values.std(axis=0), DIGITS + 3)
    scale[scale == 0] = 1.0
    standard = (values - mean) / scale
    # einsum adds in one fixed order, where a threaded matrix product need not.
    covariance = np.round(np.einsum("ni,nj->ij", standard, standard) / len(values), DIGITS + 3)
    variances, components = np.linalg.eigh(covariance)
    order = np.argsort(-variances, kind="stable")[:size]
    loadings = components[:, order]
    largest = np.abs(np.round(loadings, DIGITS)).argmax(axis=0)
    loadings = loadings * np.where(loadings[largest, np.arange(size)] < 0, -1.0, 1.0)
    loadings[:, variances[order] < 1e-9] = 0.0
    loadings = np.round(loadings, DIGITS + 3) + 0.0  # no minus zero
    return [
        {
            C.FEATURE: feature.column,
            C.MEAN: float(mean[at]),
            C.SCALE: float(scale[at]),
            C.LOADINGS: loadings[at].tolist(),
        }
        for at, feature in enumerate(FEATURES)
    ]


def project(values: Array, projection: Rows) -> Array:
    """Vectors (users, size) of feature values, added up in the same order as the engines do."""
    weights, offsets = projection_weights(projection)
    vectors = np.zeros((len(values), len(weights)))
    for at in range(values.shape[1]):
        vectors += values[:, at : at + 1] * np.array([component[at] for component in weights])
    return np.round(vectors - np.array(offsets), DIGITS)


def fit_segments(
    values: Array, projection: Rows, config: Features, previous_projection: Rows, previous_models: Rows
) -> Rows:
    """segment_models of a sample: `values` (users, features) in the order of the users' hash.

    With fewer than 10 * min_segments users there is one segment. Otherwise k is the one with the best silhouette on at
    most 2,000 users (ties: the smaller k) among those whose smallest cluster holds min_segment_share; if none does,
    the k whose smallest cluster is largest. Previous rows may be empty.
    """
    vectors = project(values, projection)
    centres, labels = _choose(vectors, config)
    counts = np.bincount(labels, minlength=len(centres))
    centres = np.round(centres, DIGITS) + 0.0
    order = sorted(range(len(centres)), key=lambda at: (-counts[at], centres[at].tolist()))
    centres, counts = centres[order], counts[order]
    labels = np.argsort(order)[labels]
    ids = match_ids(centres, projection, previous_projection, previous_models)
    names = [EVERYONE]
    if len(centres) > 1:
        standard = (values - _column(projection, C.MEAN)) / _column(projection, C.SCALE)
        names = name_segments(ids, np.array([standard[labels == at].mean(axis=0) for at in range(len(centres))]))
    rows = [
        {C.SEGMENT_ID: ids[at], C.SEGMENT_NAME: names[at], C.N_USERS: int(counts[at]), C.CENTROID: centres[at].tolist()}
        for at in range(len(centres))
    ]
    return sorted(rows, key=lambda row: int(row[C.SEGMENT_ID]))


def match_ids(centres: Array, projection: Rows, previous_projection: Rows, previous_models: Rows) -> list[int]:
    """Segment ids for centres (k, size): those of the nearest previous centres, matched one to one at the least total
    distance in standardised feature space; a centre left over gets the next unused id. Without previous: 1, 2, ..."""
    from scipy.optimize import linear_sum_assignment

    if not previous_models:
        return list(range(1, len(centres) + 1))
    shared = [row[C.FEATURE] for row in projection if row[C.FEATURE] in {old[C.FEATURE] for old in previous_projection}]
    ours = [row for row in projection if row[C.FEATURE] in shared]
    theirs = {row[C.FEATURE]: row for row in previous_projection}
    old_centres = np.array([row[C.CENTROID] for row in previous_models])
    new = _standard(centres, ours, ours)
    old = _standard(old_centres, [theirs[feature] for feature in shared], ours)
    distances = np.sqrt(((new[:, None, :] - old[None, :, :]) ** 2).sum(axis=2))
    taken = {
        int(at): int(previous_models[was][C.SEGMENT_ID])
        for at, was in zip(*linear_sum_assignment(distances), strict=True)
    }
    unused = max(int(row[C.SEGMENT_ID]) for row in previous_models) + 1
    for at in range(len(centres)):
        if at not in taken:
            taken[at] = unused
            unused += 1
    return [taken[at] for at in range(len(centres))]


def _standard(centres: Array, projection: Rows, standard: Rows) -> Array:
    """Centres back through loadings, scale and mean of their projection, standardised by those of `standard`."""
    loadings = np.array([row[C.LOADINGS] for row in projection])
    plain = centres @ loadings.T * _column(projection, C.SCALE) + _column(projection, C.MEAN)
    return np.asarray((plain - _column(standard, C.MEAN)) / _column(standard, C.SCALE))


def _column(rows: Rows, name: str) -> Array:
    return np.array([row[name] for row in rows])


def _choose(vectors: Array, config: Features) -> tuple[Array, Labels]:
    """Centres and labels of the chosen k; one centre where there are too few users, or too few different ones."""
    n_users, start = len(vectors), vectors[:_START_USERS]
    n_different = len(np.unique(start, axis=0))
    largest = min(config.max_segments, n_different)
    if n_users < 10 * config.min_segments or largest < config.min_segments:
        return vectors.mean(axis=0, keepdims=True), np.zeros(n_users, dtype=np.int64)
    distances = _distances(start, start)
    tried = []
    for k in range(config.min_segments, largest + 1):
        centres, labels = _refine(vectors, _best_start(start, k))
        share = float(np.bincount(labels, minlength=k).min() / n_users)
        quality = round(_silhouette(distances, labels[:_START_USERS], k), DIGITS)
        tried.append((share >= config.min_segment_share, quality, share, k, centres, labels))
    fit = [one for one in tried if one[0]]
    best = max(fit, key=lambda one: (one[1], -one[3])) if fit else max(tried, key=lambda one: (one[2], -one[3]))
    return best[4], best[5]


def _best_start(points: Array, k: int) -> Array:
    random = np.random.default_rng([_SEED, k])
    best: tuple[float, Array] | None = None
    for _ in range(_RESTARTS):
        centres, labels = _refine(points, _spread(points, k, random))
        cost = round(float(((points - centres[labels]) ** 2).sum()), DIGITS)
        if best is None or cost < best[0]:
            best = cost, centres
    assert best is not None
    return best[1]


def _spread(points: Array, k: int, random: np.random.Generator) -> Array:
    """k-means++: each next start is drawn in proportion to its squared distance from the starts so far."""
    chosen = [int(random.integers(len(points)))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < k:
        edges = np.cumsum(nearest)
        chosen.append(min(int(np.searchsorted(edges, random.random() * edges[-1], side="right")), len(points) - 1))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]


def _refine(points: Array, centres: Array) -> tuple[Array, Labels]:
    """Lloyd's rounds until no label changes; a centre that loses all its points stays where it is."""
    labels = np.full(len(points), -1)
    for _ in range(_MAX_ROUNDS):
        nearest = _squares(points, centres).argmin(axis=1)
        if np.array_equal(nearest, labels):
            break
        labels = nearest
        counts = np.bincount(labels, minlength=len(centres))
        sums = np.stack([np.bincount(labels, weights=column, minlength=len(centres)) for column in points.T], axis=1)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres, labels.astype(np.int64)


def _squares(points: Array, centres: Array) -> Array:
    return np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)


def _distances(points: Array, others: Array) -> Array:
    return np.sqrt(_squares(points, others))


def _silhouette(distances: Array, labels: Labels, k: int) -> float:
    """Mean of (b - a) / max(a, b): a the mean distance to the own cluster's others, b to the nearest other cluster."""
    counts = np.bincount(labels, minlength=k)
    sums = np.stack([distances[:, labels == at].sum(axis=1) for at in range(k)], axis=1)
    rows = np.arange(len(labels))
    own = sums[rows, labels] / np.maximum(counts[labels] - 1, 1)
    others = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    others[rows, labels] = np.inf
    nearest = others.min(axis=1)
    widths = np.where(
        (counts[labels] > 1) & np.isfinite(nearest), (nearest - own) / np.maximum(np.maximum(own, nearest), 1e-12), 0.0
    )
    return float(widths.mean())
