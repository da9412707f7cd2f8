"""Ranks items by how alike they are to what the customer touched: cosine over customers, a few neighbours per item.

Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms"; the damping of rare pairs is that of
Bell and Koren 2007. An item is its own nearest neighbour, so what was touched before ranks high.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from scipy.sparse import csr_matrix

from training.recommend.history import Weights, weights_of
from training.recommend.interactions import Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_protocol import read_parts, reordered, write_parts

_BLOCK: Final = 4_096  # rows of similarities held at a time


@dataclass(frozen=True)
class ItemKnn:
    """Similarities of items that customers touched both of."""

    popularity: Popularity  # its items are those of the similarities
    weights: Weights
    similar: csr_matrix  # (n_items, n_items), at most `neighbours` a row
    kind: ClassVar[str] = "item-knn"

    @classmethod
    def fit(
        cls,
        told: Interactions,
        at_s: float,
        weights: Weights | None = None,
        neighbours: int = 100,
        damping: float = 1.0,
    ) -> "ItemKnn":
        """damping: added to the product of the norms, so that pairs seen once are less alike than pairs seen often."""
        weights = weights or Weights()
        everybody = np.arange(len(told.customers))
        # The log keeps one busy customer from deciding what is alike.
        touched = weights.matrix(told, everybody, at_s).log1p()
        norm = np.sqrt(np.asarray(touched.multiply(touched).sum(axis=0)).ravel())
        by_item = touched.T.tocsr()
        rows = []
        for start in range(0, by_item.shape[0], _BLOCK):
            block = (by_item[start : start + _BLOCK] @ touched).tocoo()
            product = norm[start + block.row] * norm[block.col]
            cosine = block.data / (product + damping * (start + block.row != block.col))
            rows.append(_nearest(csr_matrix((cosine, (block.row, block.col)), shape=block.shape), neighbours))
        return cls(Popularity.fit(told, at_s), weights, _stacked(rows, by_item.shape[0]))

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        touched = self.weights.matrix(told, customers, at_s).log1p()
        known = reordered(touched, told.items, self.popularity.items)
        found = reordered((known @ self.similar).tocsr(), self.popularity.items, told.items)
        return self.popularity.behind(found.toarray(), told.items)

    def save(self, folder: Path) -> None:
        parts = {"data": self.similar.data, "indices": self.similar.indices, "indptr": self.similar.indptr}
        write_parts(folder, self.kind, {"weights": vars(self.weights)}, {**self.popularity.arrays(), **parts})

    @classmethod
    def load(cls, folder: Path) -> "ItemKnn":
        settings, arrays = read_parts(folder, cls.kind)
        popularity = Popularity.of(arrays)
        shape = (len(popularity.items),) * 2
        similar = csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
        return cls(popularity, weights_of(settings["weights"]), similar)


def _nearest(cosine: csr_matrix, neighbours: int) -> csr_matrix:
    """The largest of each row; of equal ones those that stand first."""
    row = np.repeat(np.arange(cosine.shape[0]), np.diff(cosine.indptr))
    order = np.lexsort((cosine.indices, -cosine.data, row))
    rank = np.arange(len(row)) - cosine.indptr[row[order]]
    kept = order[rank < neighbours]
    return csr_matrix((cosine.data[kept], (row[kept], cosine.indices[kept])), shape=cosine.shape)


def _stacked(rows: list[csr_matrix], n_items: int) -> csr_matrix:
    from scipy.sparse import vstack

    return vstack(rows, format="csr") if rows else csr_matrix((n_items, n_items))
