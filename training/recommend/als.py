"""ALS: customers and items as points, found by alternating least squares on weighted touches (Hu, Koren and Volinsky 2008).

The library `implicit` fits the items' factors. A customer's factors are solved for from tonight's history, so customers and
events that came after the fit are served without another one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from training.recommend.history import Weights, weights_of
from training.recommend.interactions import Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_protocol import columns_of, read_parts, reordered, write_parts


@dataclass(frozen=True)
class Als:
    """Factors of items; alpha x is how sure a touch of weight x is, 1 that of no touch."""

    popularity: Popularity  # its items are those of the factors
    weights: Weights
    factors: np.ndarray  # (n_items, f) float32
    alpha: float
    regularization: float
    kind: ClassVar[str] = "als"

    @classmethod
    def fit(
        cls, told: Interactions, at_s: float, weights: Weights | None = None, n_factors: int = 128, alpha: float = 20.0,
        regularization: float = 0.1, iterations: int = 15, seed: int = 20260301,
    ) -> "Als":  # fmt: skip
        """Equal arguments give an equal model: one thread, seeded."""
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        weights = weights or Weights()
        touched = weights.matrix(told, np.arange(len(told.customers)), at_s)
        popularity = Popularity.fit(told, at_s)
        if not touched.nnz:
            return cls(popularity, weights, np.zeros((len(told.items), 1), np.float32), alpha, regularization)
        model = AlternatingLeastSquares(
            factors=n_factors, regularization=regularization, alpha=alpha, iterations=iterations, num_threads=1,
            random_state=seed,
        )  # fmt: skip
        with threadpool_limits(1, "blas"):  # implicit warns of more
            model.fit(touched.astype(np.float32), show_progress=False)
        return cls(popularity, weights, np.asarray(model.item_factors), alpha, regularization)

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        known = reordered(self.weights.matrix(told, customers, at_s), told.items, self.popularity.items)
        found = self._points(known) @ self.factors.T.astype(np.float64)
        return self.popularity.behind(columns_of(found, self.popularity.items, told.items), told.items)

    def _points(self, touched: csr_matrix) -> np.ndarray:
        """(n, f) the customers' factors: each solves its own least squares, 0 without history."""
        y = self.factors.astype(np.float64)
        everywhere = y.T @ y + self.regularization * np.eye(y.shape[1])
        points = np.zeros((touched.shape[0], y.shape[1]))
        for row in np.flatnonzero(np.diff(touched.indptr)):
            own = slice(touched.indptr[row], touched.indptr[row + 1])
            near, sure = y[touched.indices[own]], self.alpha * touched.data[own]
            points[row] = np.linalg.solve(everywhere + (near.T * (sure - 1)) @ near, sure @ near)
        return points

    def save(self, folder: Path) -> None:
        told = {"weights": vars(self.weights), "alpha": self.alpha, "regularization": self.regularization}
        write_parts(folder, self.kind, told, {**self.popularity.arrays(), "factors": self.factors})

    @classmethod
    def load(cls, folder: Path) -> "Als":
        told, arrays = read_parts(folder, cls.kind)
        weights = weights_of(told["weights"])
        return cls(Popularity.of(arrays), weights, arrays["factors"], told["alpha"], told["regularization"])
