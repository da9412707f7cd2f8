"""The one shape of all rankers: fitted on interactions, they score every item for a block of customers.

    popularity = Popularity.fit(told, at_s)                 # every ranker: fit(told, at_s, settings of its own)
    scores = popularity.score(told, customers, at_s)        # (n, n_items), higher is better
    lists = best(scores, k, seen)                           # (n, k) places of items
    popularity.save(folder); load_ranker(folder)            # training/recommend/rankers.py

What was learnt is kept by item id, what a customer did is read from the interactions at hand: so a model that was fitted
last week ranks tonight's catalogue for tonight's customers, and taking an event away shows what it did to a score.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self

import numpy as np
from scipy.sparse import csr_matrix

from pipelines.core.errors import TrainingError
from training.recommend.interactions import NO_ITEM, Interactions
from training.recommend.topk import top_k_of

DAY_S: Final = 86_400.0
_SETTINGS: Final = "model.json"
_ARRAYS: Final = "arrays.npz"


class Ranker(Protocol):
    """Scores items for customers. Saved as JSON and npz, never as pickle."""

    kind: ClassVar[str]  # what it is, such as "popularity": written into model.json, so that `load_ranker` knows

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        """(n, n_items) float64, higher is better, finite: how much each customer will want each item of `told.items`.

        customers: (n,) places in told.customers; at_s: the moment that the lists are for, seconds since 1970; later
        events are not looked at. Every item has a place in the order: for a customer without history, and behind what
        the model has an opinion on, items stand by popularity. Items that it was not fitted on are scored as unknown.
        """
        ...

    def save(self, folder: Path) -> None:
        """Writes model.json ({"kind", ...}) and what else it needs into an existing, empty folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote. Raises TrainingError for a folder that holds no such model."""
        ...


def best(scores: np.ndarray, k: int, seen: csr_matrix | None = None) -> np.ndarray:
    """(n, k) places of the items with the highest scores (n, n_items), best first, NO_ITEM where there are fewer.

    Items whose scores are equal as float32 stand in the order of the catalogue. `seen` (n, n_items): items that a row must
    not list.
    """
    return top_k_of(lambda rows: scores[rows], scores.shape, k, exclude=seen)[0]


def aligned(values: np.ndarray, known: np.ndarray, asked: np.ndarray, missing: float = 0.0) -> np.ndarray:
    """(n_asked,) the values (n_known,) of items, found by their ids (both sorted); `missing` for unknown ids."""
    place = places(known, asked)
    if not len(known):
        return np.full(len(asked), missing)
    return np.where(place == NO_ITEM, missing, values[place])


def places(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(n_asked,) where each asked id stands among the sorted known ids, NO_ITEM where it does not."""
    if not len(known):
        return np.full(len(asked), NO_ITEM, dtype=np.int64)
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.where(known[place] == asked, place, NO_ITEM)


def reordered(matrix: csr_matrix, have: np.ndarray, want: np.ndarray) -> csr_matrix:
    """(n, n_want) the columns of a matrix (n, n_have) under other items' ids (both sorted); unknown items are empty."""
    if have is want or np.array_equal(have, want):
        return matrix
    told = matrix.tocoo()
    place = places(want, have)[told.col]
    kept = place != NO_ITEM
    return csr_matrix((told.data[kept], (told.row[kept], place[kept])), shape=(matrix.shape[0], len(want)))


def columns_of(scores: np.ndarray, have: np.ndarray, want: np.ndarray) -> np.ndarray:
    """(n, n_want) the same for dense scores (n, n_have); 0 for unknown items."""
    if have is want or np.array_equal(have, want):
        return scores
    place = places(have, want)
    found = np.zeros((len(scores), len(want)))
    found[:, place != NO_ITEM] = scores[:, place[place != NO_ITEM]]
    return found


def write_parts(folder: Path, kind: str, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a ranker's settings as JSON and its arrays as npz into an existing folder."""
    (folder / _SETTINGS).write_text(json.dumps({"kind": kind, **settings}, sort_keys=True), encoding="utf-8")
    with (folder / _ARRAYS).open("wb") as out:
        np.savez_compressed(out, allow_pickle=False, **arrays)


def read_parts(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `write_parts` wrote. Raises TrainingError where it is missing, damaged or of another kind."""
    try:
        settings = read_settings(folder)
        with np.load(folder / _ARRAYS, allow_pickle=False) as told:
            arrays = {name: told[name] for name in told.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{folder}: no readable ranker ({error}); train again") from None
    if settings.get("kind") != kind:
        raise TrainingError(f"{folder}: a ranker of kind '{settings.get('kind')}', expected '{kind}'; train again")
    return settings, arrays


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a saved ranker, with its `kind`. Raises TrainingError where there are none."""
    try:
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        kind = settings["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder}: no readable ranker ({type(error).__name__}: {error}); train again") from None
    return {**settings, "kind": kind}
