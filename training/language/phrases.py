"""What a customer wants, learnt from the example phrases of a shop's knowledge alone: characters of words, no weights needed.

    reader = PhraseReader.fit(*knowledge.examples)      # a few hundred phrases, under a second
    reader.predict(["where is my parcel"]).label        # ["order_status"]

TF-IDF of character n-grams with ridge regression on the intents, in closed form. Two numbers are learnt from the phrases
themselves, by folds in which a fifth of the intents is unknown and of the others a fifth of the phrases: the temperature that
makes confidence a probability (Guo et al. 2017, "On calibration of modern neural networks"), and the confidence below which a
message is none of ours: as high as it can be while most known phrases, never seen, are still above it. Same phrases, same reader.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipelines.core.errors import TrainingError

_FOLDS: Final = 5
_PENALTY: Final = 0.3  # of the regression, on rows of length one
_TEMPERATURES: Final = np.exp(np.linspace(np.log(0.01), np.log(1.0), 60))
_KEPT: Final = (
    0.7  # of known phrases left out, that stay in scope; asking again costs a turn, a wrong answer a customer
)
_GRAMS: Final = (1, 4)  # characters, within words: of Chinese, single ones and runs between marks


@dataclass(frozen=True)
class Wishes:
    """What n texts ask for."""

    label: np.ndarray  # (n,) object: ids of intents
    confidence: np.ndarray  # (n,) float64, 0 to 1, as often right as it says among known intents
    is_out_of_scope: np.ndarray  # (n,) bool


@dataclass(frozen=True)
class PhraseReader:
    """Fitted words and weights."""

    labels: np.ndarray  # (k,) object, sorted
    temperature: float
    threshold: float  # of the confidence, below which a text is out of scope
    _ridge: "_Ridge"

    @classmethod
    def fit(cls, texts: Sequence[str], labels: Sequence[str]) -> "PhraseReader":
        """n phrases and their intents. Raises TrainingError for fewer than two intents."""
        names = sorted(set(labels))
        if len(names) < 2:
            raise TrainingError(f"intents: {names} is all there is; expected examples of two at least")
        place, given = np.array([names.index(label) for label in labels]), np.array(texts, dtype=object)
        scores, right, is_known = _out_of_fold(given, place, len(names))
        known = np.flatnonzero(is_known)
        temperature = float(min(_TEMPERATURES, key=lambda t: _loss(scores[known] / t, right[known])))
        confidence = _softmax(scores / temperature).max(axis=1)
        cut = float(np.quantile(confidence[known], 1 - _KEPT)) if len(known) > 1 else 0.0
        return cls(np.array(names, dtype=object), temperature, cut, _Ridge.fit(given, place, len(names)))

    def predict(self, texts: Sequence[str]) -> Wishes:
        """n texts -> n wishes; a text without a letter of theirs is out of scope."""
        if not len(texts):
            return Wishes(np.zeros(0, dtype=object), np.zeros(0), np.zeros(0, dtype=bool))
        rows = self._ridge.words.transform(texts)
        chance = _softmax(self._ridge.scores(rows) / self.temperature)
        confidence = chance.max(axis=1)
        known = self._ridge.words.vocabulary_
        is_silent = np.array([not any(one.isalpha() and one in known for one in text.lower()) for text in texts])
        return Wishes(self.labels[chance.argmax(axis=1)], confidence, (confidence < self.threshold) | is_silent)


@dataclass(frozen=True)
class _Ridge:
    """One score per intent: `rows` (n, w) of the phrases, weights (n, k) of their likeness to a text."""

    words: Any
    rows: Any
    weights: np.ndarray

    @classmethod
    def fit(cls, texts: np.ndarray, place: np.ndarray, n_labels: int) -> "_Ridge":
        """Of a label without a phrase the score is minus infinity."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from threadpoolctl import threadpool_limits

        words = TfidfVectorizer(analyzer="char_wb", ngram_range=_GRAMS, sublinear_tf=True)
        rows = words.fit_transform(texts)
        target = np.eye(n_labels)[place]
        with threadpool_limits(1):  # small: threads cost more than they save
            weights = np.linalg.solve(
                (rows @ rows.T).toarray() + _PENALTY * np.eye(len(texts)), target - target.mean(axis=0)
            )
        weights[:, target.sum(axis=0) == 0] = np.nan
        return cls(words, rows, weights)

    def scores(self, rows: Any) -> np.ndarray:
        """(m, k) of m texts' rows."""
        return np.nan_to_num(np.asarray((rows @ self.rows.T) @ self.weights), nan=-np.inf)


def _out_of_fold(texts: np.ndarray, place: np.ndarray, n_labels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (m, k) by models that saw neither the phrases nor, of some, the intent; the right column (m,), -1 for those of
    an unknown intent; and which are known (m,) bool."""
    nth = np.array([int((place[:at] == place[at]).sum()) for at in range(len(place))])  # of its intent
    scores, right = [], []
    for fold in range(_FOLDS if n_labels > 2 else 0):
        unknown = place % _FOLDS == fold
        asked = (nth % _FOLDS == fold) & ~unknown
        if len(set(place[~unknown & ~asked])) < 2:
            continue
        model = _Ridge.fit(texts[~unknown & ~asked], place[~unknown & ~asked], n_labels)
        scores.append(model.scores(model.words.transform(texts[unknown | asked])))
        right.append(np.where(unknown, -1, place)[unknown | asked])
    if not scores:  # two intents: nothing can be left out; believed as they are
        return np.zeros((1, n_labels)), np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool)
    truth = np.concatenate(right)
    return np.concatenate(scores), truth, truth >= 0


def _softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _loss(scores: np.ndarray, right: np.ndarray) -> float:
    """Mean negative log-likelihood."""
    chance = _softmax(scores)[np.arange(len(right)), right]
    return float(-np.log(np.maximum(chance, 1e-12)).mean())
