"""How a message is read for its intent: its characters by TF-IDF and, where there are weights, its vector by encoders.

Each view has two linear heads over the same rows: logistic regression, whose logits are probabilities, and one-against-the-
rest support vectors, whose scores tell a message that belongs nowhere: its best is low, or its second best is high.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix

WORDS: Final = "words"
_FLOOR: Final = 0.1  # of the mean deviation: a dimension that never varies must not explode
_LOGISTIC, _VECTORS = {True: 30.0, False: 0.1}, {True: 3.0, False: 0.01}  # inverse regularisation, of words or vectors

Rows = np.ndarray | csr_matrix


def plain(text: str) -> str:
    """One line in small letters, Unicode composed; long numbers are alike, because no number tells an intent."""
    return re.sub(r"\d{3,}", "000", re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text))).strip().lower()


@dataclass(frozen=True)
class Ngrams:
    """TF-IDF of runs of 2 to 5 characters within words; Chinese has no spaces, so there they span a whole phrase."""

    known: tuple[str, ...]  # sorted
    rarity: np.ndarray  # (known,) float32

    @classmethod
    def fit(cls, texts: Sequence[str]) -> "Ngrams":
        made = _vectoriser()
        made.fit(texts)
        known = sorted(made.vocabulary_)
        return cls(tuple(known), made.idf_[[made.vocabulary_[one] for one in known]].astype(np.float32))

    def rows(self, texts: Sequence[str]) -> csr_matrix:
        """(n, known) float32 of unit length; nothing for a text of unknown runs."""
        made = _vectoriser({one: at for at, one in enumerate(self.known)})
        made.idf_ = self.rarity
        return made.transform(texts)


@dataclass(frozen=True)
class Heads:
    """Linear heads of one view: rows are centred and scaled by `middle` and `scale` (width,), words by 0 and 1."""

    middle: np.ndarray
    scale: np.ndarray
    weight: np.ndarray  # (2, classes, width) float32: logistic regression, support vectors
    bias: np.ndarray  # (2, classes)

    @classmethod
    def fit(cls, rows: Rows, codes: np.ndarray, seed: int) -> "Heads":
        """codes (n,) int of at least two classes, from 0 on without gaps."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        is_words = not isinstance(rows, np.ndarray)
        width = rows.shape[1]
        middle, scale = np.zeros(width, np.float32), np.ones(width, np.float32)
        if not is_words:
            deviation = rows.std(axis=0)
            middle, scale = rows.mean(axis=0), deviation + _FLOOR * max(float(deviation.mean()), 1e-6)
            rows = (rows - middle) / scale
        two = (
            LogisticRegression(C=_LOGISTIC[is_words], max_iter=200, tol=1e-3),
            LinearSVC(C=_VECTORS[is_words], random_state=seed, tol=1e-3),
        )
        weights, biases = zip(*(_of_classes(head.fit(rows, codes)) for head in two), strict=True)
        return cls(middle, scale, np.stack(weights).astype(np.float32), np.stack(biases).astype(np.float32))

    def scores(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """(n, classes) logits, their mean over classes 0, and (n, classes) margins against the rest."""
        if isinstance(rows, np.ndarray):
            rows = (rows - self.middle) / self.scale
        logits, margins = (np.asarray(rows @ w.T) + b for w, b in zip(self.weight, self.bias, strict=True))
        return logits - logits.mean(axis=1, keepdims=True), margins


@dataclass(frozen=True)
class Scored:
    """What the heads of all views say of n rows."""

    logits: np.ndarray  # (n, classes), mean over views
    signals: np.ndarray  # (n, 3 per view): the higher, the surer that a row belongs to some class


def score(heads: Mapping[str, Heads], rows: Mapping[str, Rows]) -> Scored:
    """By name of the view."""
    logits, signals = [], []
    for name, head in heads.items():
        told, margins = head.scores(rows[name])
        best = np.sort(margins, axis=1)
        logits.append(told)
        signals += [told.max(axis=1), best[:, -1], -best[:, -2]]
    return Scored(np.mean(logits, axis=0), np.stack(signals, axis=1))


def _vectoriser(vocabulary: Mapping[str, int] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32, vocabulary=vocabulary
    )


def _of_classes(head: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases by class; of two classes scikit-learn keeps those of the second only."""
    weight, bias = head.coef_, head.intercept_
    if len(head.classes_) == 2:
        return np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    return weight, bias
