"""How a message is read for its intent: its characters by TF-IDF and, where there are weights, its vector by encoders.

Each view has two linear heads: logistic regression, whose logits are probabilities, and one against the rest for each
intent, whose scores tell a message that belongs nowhere: its best is low, or its second best is high.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from scipy.sparse import csr_matrix

WORDS: Final = "words"
_LONGEST: Final = 5  # of a run
_FLOOR: Final = 0.1  # of the mean deviation: a dimension that never varies must not explode
_LOGISTIC: Final = {True: 30.0, False: 0.1}  # inverse regularisation, of words or vectors

Rows: TypeAlias = np.ndarray | csr_matrix  # words or vectors


def plain(text: str) -> str:
    """One line in small letters, Unicode composed; long numbers are alike, because no number tells an intent."""
    return re.sub(r"\d{3,}", "000", re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text))).strip().lower()


@dataclass(frozen=True)
class Ngrams:
    """TF-IDF of runs of 2 to 5 characters within words; Chinese has no spaces, so there they span a whole phrase.

    Runs that were never met count in the length of a row: what is mostly unknown must not look like its known rest.
    """

    known: tuple[str, ...]  # sorted
    rarity: np.ndarray  # (known + 1,) float32, last that of runs never met

    @classmethod
    def fit(cls, texts: Sequence[str]) -> "Ngrams":
        counted = Counter(run for text in texts for run in set(runs(text)))
        known = tuple(sorted(counted))
        counts = np.array([*(counted[run] for run in known), 0], dtype=np.float64)
        return cls(known, (1 + np.log((1 + len(texts)) / (1 + counts))).astype(np.float32))

    def rows(self, texts: Sequence[str]) -> csr_matrix:
        """(n, known) float32: (1 + ln count) x rarity, of unit length with the unknown runs, which are then left out."""
        places, last = self._places, len(self.known)
        columns, values, ends = [], [], [0]
        for text in texts:
            counted = Counter(runs(text))
            at = np.fromiter((places.get(run, last) for run in counted), np.int64, len(counted))
            weight = (1 + np.log(np.fromiter(counted.values(), np.float64, len(counted)))) * self.rarity[at]
            is_known = at < last
            columns.append(at[is_known])
            values.append((weight / max(float(np.sqrt(weight @ weight)), 1e-12))[is_known])
            ends.append(ends[-1] + len(columns[-1]))
        told = np.concatenate([np.zeros(0), *values]).astype(np.float32)
        return csr_matrix(
            (told, np.concatenate([np.zeros(0, np.int64), *columns]), np.array(ends)), shape=(len(texts), last)
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {run: at for at, run in enumerate(self.known)}


def runs(text: str) -> list[str]:
    """Runs of 2 to 5 characters of each word between two spaces."""
    found = []
    for word in text.split():
        padded = f" {word} "
        for length in range(2, min(_LONGEST, len(padded)) + 1):
            found += [padded[at : at + length] for at in range(len(padded) - length + 1)]
    return found


@dataclass(frozen=True)
class Heads:
    """Linear heads of one view: rows are centred and scaled by `middle` and `scale` (width,), words by 0 and 1."""

    middle: np.ndarray
    scale: np.ndarray
    weight: np.ndarray  # (2, classes, width) float32: logistic regression, one against the rest
    bias: np.ndarray  # (2, classes)

    @classmethod
    def fit(cls, rows: Rows, codes: np.ndarray, seed: int) -> "Heads":
        """codes (k,) int of at least two classes, from 0 on without gaps. rows: the first k are clean, then noisy copies
        of them all, k at a time; support vectors, which noise makes far slower, learn from the clean. For vectors of
        encoders their place is taken by least squares, which are solved at once."""
        from sklearn.linear_model import LogisticRegression, RidgeClassifier
        from sklearn.svm import LinearSVC

        is_words = not isinstance(rows, np.ndarray)
        width = rows.shape[1]
        middle, scale = np.zeros(width, np.float32), np.ones(width, np.float32)
        if not is_words:
            deviation = rows.std(axis=0)
            middle, scale = rows.mean(axis=0), deviation + _FLOOR * max(float(deviation.mean()), 1e-6)
            rows = (rows - middle) / scale
        logistic = LogisticRegression(C=_LOGISTIC[is_words], max_iter=200, tol=1e-3)
        against = LinearSVC(C=3.0, random_state=seed, tol=1e-2) if is_words else RidgeClassifier(alpha=100.0)
        all_codes = np.tile(codes, rows.shape[0] // len(codes))
        two = logistic.fit(rows, all_codes), against.fit(rows[: len(codes)], codes)
        weights, biases = zip(*map(_of_classes, two), strict=True)
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


def _of_classes(head: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases by class; of two classes scikit-learn keeps those of the second only."""
    weight, bias = np.atleast_2d(head.coef_), np.atleast_1d(head.intercept_)
    if len(head.classes_) == 2:
        return np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    return weight, bias
