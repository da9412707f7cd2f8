"""What goes with items that nobody has touched yet: what the words of their titles say, until customers say more."""

from typing import Final

import numpy as np
from scipy.sparse import csr_matrix, vstack

from training.recommend.words import Words, split

_MOST: Final = 5_000  # newcomers of a night that are looked at; a longer tail is no news
_NEIGHBOURS: Final = 20
_LEAST: Final = 0.2  # cosine below which words are shared by chance
_BLOCK: Final = 256


def alike_by_words(names: list[str], titles: list[str], newcomers: np.ndarray, level: float) -> csr_matrix:
    """(t, i) how alike t names (titles of items, texts of searches) and the newcomers (k,) among i items are: cosine of
    TF-IDF, at most 20 names each, times `level`: what likeness by behaviour usually is."""
    shape = (len(names), len(titles))
    newcomers = newcomers[:_MOST]
    if not len(newcomers) or not names:
        return csr_matrix(shape)
    told = [split(title) for title in titles]
    words = Words.fit(told)
    by_name = words.rows([split(name) for name in names]).T.tocsc()
    new = words.rows([told[at] for at in newcomers])
    rows = []
    for start in range(0, len(newcomers), _BLOCK):
        cosine = (new[start : start + _BLOCK] @ by_name).tocoo()
        kept = cosine.data >= _LEAST
        row, column, value = cosine.row[kept], cosine.col[kept], cosine.data[kept].astype(np.float64)
        order = np.lexsort((column, -value, row))
        row, column, value = row[order], column[order], value[order]
        kept = np.arange(len(row)) - np.searchsorted(row, row) < _NEIGHBOURS
        rows.append(csr_matrix((level * value[kept], (row[kept], column[kept])), shape=cosine.shape))
    found = vstack(rows).tocoo()
    return csr_matrix((found.data, (found.col, newcomers[found.row])), shape=shape)
