"""EASE: a linear autoencoder in closed form that never explains an item by itself (Steck 2019, "Embarrassingly shallow
autoencoders for sparse data").

With X (customers x items) and P = (X'X + lambda I)^-1 the weights are B_ij = -P_ij / P_jj, B_jj = 0. Where items are many and
customers few, P is reached from the customers' side: P = (I - X' (X X' + lambda I)^-1 X) / lambda (Woodbury), so what has to
be inverted is as large as the smaller side, and the items x items matrix is never made.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from pipelines.core.errors import TrainingError
from training.recommend.history import Weights, weights_of
from training.recommend.interactions import Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_protocol import columns_of, read_parts, reordered, write_parts

MAX_SIDE = 20_000  # of the matrix that is inverted: 3.2 GB


@dataclass(frozen=True)
class Ease:
    """scores of a customer with history x: x B = x - (x P) / diag P, with P in one of its two forms."""

    popularity: Popularity  # its items are those of the matrices
    weights: Weights
    penalty: float
    inverse: np.ndarray  # (m, m): P itself over items, or (X X' + lambda I)^-1 over customers
    customers: csr_matrix | None  # X (m, n_items) of the customers' form
    kind: ClassVar[str] = "ease"

    @classmethod
    def fit(cls, told: Interactions, at_s: float, weights: Weights | None = None, penalty: float = 10.0) -> "Ease":
        """penalty: lambda. Raises TrainingError where both customers and items are more than MAX_SIDE."""
        weights = weights or Weights()
        touched = weights.matrix(told, np.arange(len(told.customers)), at_s).log1p()
        touched = touched[np.diff(touched.indptr) > 0]
        popularity = Popularity.fit(told, at_s)
        side = min(touched.shape)
        if side > MAX_SIDE:
            raise TrainingError(
                f"EASE: {touched.shape[0]} customers and {touched.shape[1]} items, one of them must be at most {MAX_SIDE}"
            )
        if touched.shape[0] < touched.shape[1]:
            inverse = _inverse((touched @ touched.T).toarray(), penalty)
            return cls(popularity, weights, penalty, inverse, touched)
        return cls(popularity, weights, penalty, _inverse((touched.T @ touched).toarray(), penalty), None)

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        touched = self.weights.matrix(told, customers, at_s).log1p()
        known = reordered(touched, told.items, self.popularity.items)
        found = np.asarray(known.toarray() - self._times_inverse(known) / self._diagonal())
        return self.popularity.behind(columns_of(found, self.popularity.items, told.items), told.items)

    def _times_inverse(self, x: csr_matrix) -> np.ndarray:
        """(n, n_items) x P."""
        if self.customers is None:
            return np.asarray(x @ self.inverse)
        alike = (x @ self.customers.T).toarray() @ self.inverse
        return np.asarray((x.toarray() - (self.customers.T @ alike.T).T) / self.penalty)

    def _diagonal(self) -> np.ndarray:
        """(n_items,) diag P."""
        if self.customers is None:
            return np.diag(self.inverse)
        inner = np.asarray(self.customers.multiply((self.customers.T @ self.inverse).T).sum(axis=0)).ravel()
        return (1 - inner) / self.penalty

    def save(self, folder: Path) -> None:
        arrays = {**self.popularity.arrays(), "inverse": self.inverse}
        if self.customers is not None:
            x = self.customers
            arrays |= {"data": x.data, "indices": x.indices, "indptr": x.indptr}
        write_parts(folder, self.kind, {"weights": vars(self.weights), "penalty": self.penalty}, arrays)

    @classmethod
    def load(cls, folder: Path) -> "Ease":
        settings, arrays = read_parts(folder, cls.kind)
        popularity, inverse, customers = Popularity.of(arrays), arrays["inverse"], None
        if "indptr" in arrays:
            shape = (len(inverse), len(popularity.items))
            customers = csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
        return cls(popularity, weights_of(settings["weights"]), settings["penalty"], inverse, customers)


def _inverse(gram: np.ndarray, penalty: float) -> np.ndarray:
    return np.linalg.inv(gram + penalty * np.eye(len(gram)))
