"""How well the category of a product is told from its words: beside TF-IDF and untuned encoders. Part of evaluate similar.

Five folds of products, near duplicates of a title in one fold: three fit, one settles weights and threshold, one judges.
A category is the first two levels of a product's path ("Home & Kitchen > Bedding"): the third is too rare in 6,764 products.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix, triu
from scipy.sparse.csgraph import connected_components

from pipelines.strategy.judgement import Interval, Metric, accuracy, ece, macro_f1, resampled
from training.recommend.categories import Guess, fit_categories, fit_linear, learnt, settled, words_of
from training.recommend.texts import Items
from training.recommend.words import Words, split

FOLDS: Final = 5
PRECISION: Final = 0.95
DOCS: Final = {
    "category_accuracy": "share of products whose category was told right, of categories that were learnt; higher is better",
    "category_macro_f1": "mean F1 over those categories; higher is better",
    "category_ece": "gap between confidence and being right, over all products, debiased; lower is better",
    "category_coverage": "share of all products that were answered at a threshold for 95% precision; higher is better",
    "category_precision": "share of answers that were right, 0.95 was asked for; products of rare categories count",
}
_ALIKE: Final = 0.8  # cosine of two titles' words from which they stay in one fold


@dataclass(frozen=True)
class Judged:
    """One model's guesses for n products, each by the folds it is not in."""

    likeliest: np.ndarray  # (n,) str
    labels: np.ndarray  # (n,) str, "" where it abstained
    confidence: np.ndarray  # (n,)


def folds_of(items: Items, n_folds: int = FOLDS) -> np.ndarray:
    """(n,) int from a hash of the id; products with nearly the same title share that of the first."""
    told = [split(title) for title in items.titles]
    rows = Words.fit(told).rows(told)
    alike = triu((rows @ rows.T).tocsr() > _ALIKE)
    _, group = connected_components(alike, directed=False)
    _, first, place = np.unique(group, return_index=True, return_inverse=True)
    return np.array([fold_of(str(items.ids[at]), n_folds) for at in first])[place]


def fold_of(key: str, n_folds: int = FOLDS) -> int:
    """The fold of a key, always the same."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % n_folds


def judge_categories(items: Items, vectors: Mapping[str, np.ndarray], ours: str) -> dict[str, Any]:
    """`metrics`, `baselines`, `paired` as DESIGN.md shapes them. `vectors`: (n, width) by name of the encoder and text."""
    labels = np.array([" > ".join(path[:2]) for path in items.paths])
    fold = folds_of(items)
    titles = [split(title) for title in items.titles]
    dense = np.hstack(list(vectors.values()))
    peers: dict[str, Any] = {"tf-idf, title": titles, "tf-idf, all text": words_of(items)} | dict(vectors)
    parts: dict[str, list[tuple[np.ndarray, Guess]]] = {}
    is_known = np.zeros(len(items), dtype=bool)
    for number in range(FOLDS):
        judged, valid = fold == number, fold == (number + 1) % FOLDS
        train = ~judged & ~valid
        classes, _ = learnt(labels, train)
        is_known[judged] = np.isin(labels[judged], classes) & (labels[judged] != "")
        model = fit_categories(items, dense, labels, train, valid, PRECISION)
        found = {ours: model.predict(items.take(judged), dense[judged])}
        for name, told in peers.items():
            found[name] = _peer(told, labels, train, valid, judged)
        for name, guess in found.items():
            parts.setdefault(name, []).append((judged, guess))
    joined = {name: _joined(told, len(items)) for name, told in parts.items()}
    return _compared(joined, labels, is_known, ours)


def _peer(told: Any, labels: np.ndarray, train: np.ndarray, valid: np.ndarray, judged: np.ndarray) -> Guess:
    """One linear model alone, over words or vectors, calibrated and with a threshold like ours."""
    classes, codes = learnt(labels, train)
    is_words = isinstance(told, list)
    x: csr_matrix | np.ndarray = (
        Words.fit([told[at] for at in np.flatnonzero(train)], least=2).rows(told) if is_words else told
    )
    part = fit_linear(x, codes, train, 10.0)
    asked = valid & (codes >= 0)
    return settled([part(x[asked])], classes, codes[asked], PRECISION)([part(x[judged])])


def _joined(parts: list[tuple[np.ndarray, Guess]], n: int) -> Judged:
    labels, likeliest, confidence = np.full(n, "", object), np.full(n, "", object), np.zeros(n)
    for where, guess in parts:
        labels[where], likeliest[where], confidence[where] = guess.labels, guess.likeliest, guess.confidence
    return Judged(likeliest.astype(str), labels.astype(str), confidence)


def _compared(found: Mapping[str, Judged], labels: np.ndarray, is_known: np.ndarray, ours: str) -> dict[str, Any]:
    """Intervals over products, all models on the same draws. Products without a category judge nothing."""
    has = labels != ""
    names = np.unique(labels[has & is_known])
    drawn = {
        name: resampled(_metrics(guess, labels, is_known, has, names), np.arange(has.sum()))
        for name, guess in found.items()
    }
    rows = {"products": int(has.sum()), "of_learnt_categories": int((has & is_known).sum()), "categories": len(names)}
    return intervals(drawn, ours) | {"docs": DOCS, "rows": rows}


def _metrics(
    guess: Judged, labels: np.ndarray, is_known: np.ndarray, has: np.ndarray, names: np.ndarray
) -> dict[str, Metric]:
    """DOCS' measures of weights (draws, products that have a category)."""
    last = len(names) - 1
    target, code = (np.searchsorted(names, told[has]).clip(max=last) for told in (labels, guess.likeliest))
    is_right, sure, known = guess.likeliest[has] == labels[has], guess.confidence[has], is_known[has]
    answered = (guess.labels[has] != "").astype(np.float64)
    return {
        "category_accuracy": lambda weight: accuracy(is_right, np.ones(len(is_right), bool), weight * known),
        "category_macro_f1": lambda weight: macro_f1(target, code, len(names), weight * known),
        "category_ece": lambda weight: ece(is_right, sure, weight),
        "category_coverage": lambda weight: (weight @ answered) / weight.sum(axis=-1),
        "category_precision": lambda weight: (weight @ (answered * is_right)) / np.maximum(weight @ answered, 1e-12),
    }


def intervals(drawn: Mapping[str, Mapping[str, np.ndarray]], ours: str) -> dict[str, Any]:
    """`metrics`, `baselines` and `paired` (ours minus each other) from values of `resampled` by model and measure."""
    told = {who: {name: Interval.of(one).as_dict() for name, one in values.items()} for who, values in drawn.items()}
    paired = {
        who: {name: Interval.of(drawn[ours][name] - one).as_dict() for name, one in values.items()}
        for who, values in drawn.items()
        if who != ours
    }
    return {"metrics": told.pop(ours), "baselines": told, "paired": paired}
