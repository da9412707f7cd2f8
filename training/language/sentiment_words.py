"""Opinions from words and characters alone: TF-IDF and logistic regression, the model that any encoder has to beat.

    words = fit_words(texts, targets, strength=30.0)
    words.outputs(texts)                  # (n, k) log odds of a positive text, and what else was asked for
    fit_words(texts, targets, 30.0, ratio_strength=3.0)     # one output more: log odds learnt on what sets classes apart

English is counted in words and pairs of words, and in runs of two to five characters, which typos spoil less; Chinese in
runs of one to three characters, which need no dictionary.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix, diags, hstack

from pipelines.core.errors import TrainingError
from training.language.tongue import tongue_of

COUNTED: Final[dict[str, tuple[tuple[str, int, int], ...]]] = {  # analyzer, shortest and longest run
    "zh": (("char", 1, 3),),
    "en": (("word", 1, 2), ("char_wb", 2, 5)),
}
_LEAST_SHARE: Final = 0.02  # of texts in a language from which it is counted in its own way
_FEW_TEXTS: Final = 1_000  # below, what one text alone says is counted too
_MAX_TERMS: Final = 200_000  # of each way to count, the most frequent
_GRADE_PENALTY: Final = 1.0
_UNSEEN: Final = 0.5  # counted of each term beforehand, in each class


@dataclass(frozen=True)
class Counter:
    """One way to count, with its terms and their rarity."""

    analyzer: str
    shortest: int
    longest: int
    terms: tuple[str, ...]
    rarity: np.ndarray  # (terms,) float64

    @cached_property
    def _counter(self) -> Any:
        made = _vectorizer(self.analyzer, self.shortest, self.longest, vocabulary=list(self.terms))
        made.idf_ = self.rarity
        return made

    def rows(self, texts: Iterable[str]) -> csr_matrix:
        """n texts -> (n, terms), rows of unit length; zeros where no term is known."""
        return self._counter.transform(texts)


@dataclass(frozen=True)
class WordModel:
    """Outputs linear in the counts."""

    counters: tuple[Counter, ...]
    weights: np.ndarray  # (outputs, terms of all counters) float32
    bias: np.ndarray  # (outputs,) float32

    def outputs(self, texts: Sequence[str]) -> np.ndarray:
        """n texts -> (n, outputs) float32."""
        rows = hstack([counter.rows(texts) for counter in self.counters]).tocsr()
        return np.asarray(rows @ self.weights.T) + self.bias


def ways_of(texts: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """How texts of these languages are counted; as English where none of them is known."""
    tongues: list[str] = [tongue_of(text) for text in texts]
    found = [tongue for tongue in COUNTED if tongues.count(tongue) > _LEAST_SHARE * len(tongues)]
    return tuple(way for tongue in found or ["en"] for way in COUNTED[tongue])


def fit_words(
    texts: Sequence[str], targets: np.ndarray, strength: float, *, ways: tuple[tuple[str, int, int], ...] = (),
    is_balanced: bool = False, least: int | None = None, ratio_strength: float = 0.0,
) -> WordModel:  # fmt: skip
    """Targets (n, k): 0/1 first, learnt by logistic regression; grades from 0 to 1 behind, by ridge regression.

    `strength`: inverse of the penalty on weights. `ratio_strength` more than 0: last, log odds by the same regression on counts
    times the log ratio of each term's share in the two classes, so that terms of one class are penalised less (NB-SVM: Wang
    and Manning 2012). Raises TrainingError where there is no word to learn from.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    fewest = least or (1 if len(texts) < _FEW_TEXTS else 2)
    counters, rows = [], []
    for analyzer, shortest, longest in ways or ways_of(texts):
        made = _vectorizer(analyzer, shortest, longest, min_df=fewest, max_features=_MAX_TERMS)
        try:
            rows.append(made.fit_transform(texts))
        except ValueError as error:  # the vectorizer's own: no term is left
            raise TrainingError(f"{len(texts)} texts without a word to learn from ({error})") from None
        terms = sorted(made.vocabulary_, key=made.vocabulary_.__getitem__)
        counters.append(Counter(analyzer, shortest, longest, tuple(terms), made.idf_))
    x = hstack(rows).tocsr()
    weight = "balanced" if is_balanced else None
    linear = LogisticRegression(C=strength, max_iter=300, tol=1e-3, class_weight=weight).fit(x, targets[:, 0])
    weights, bias = [linear.coef_[0]], [float(linear.intercept_[0])]
    for grade in targets.T[1:]:
        ridge = Ridge(alpha=_GRADE_PENALTY, solver="sparse_cg", tol=1e-3).fit(x, grade)
        weights.append(ridge.coef_)
        bias.append(float(ridge.intercept_))
    if ratio_strength:
        ratio = _log_ratio(x, targets[:, 0] > 0)
        linear = LogisticRegression(C=ratio_strength, max_iter=300, tol=1e-3).fit(x @ diags(ratio), targets[:, 0])
        weights.append(linear.coef_[0] * ratio)
        bias.append(float(linear.intercept_[0]))
    return WordModel(tuple(counters), np.array(weights, np.float32), np.array(bias, np.float32))


def _log_ratio(x: csr_matrix, is_positive: np.ndarray) -> np.ndarray:
    """(terms,): log of a term's share of all that positive texts (n,) count, over its share in the others."""
    share = [np.asarray(x[where].sum(axis=0)).ravel() + _UNSEEN for where in (is_positive, ~is_positive)]
    return np.asarray(np.log(share[0] / share[0].sum()) - np.log(share[1] / share[1].sum()))


def _vectorizer(analyzer: str, shortest: int, longest: int, **more: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer=analyzer, ngram_range=(shortest, longest), sublinear_tf=True, **more)
