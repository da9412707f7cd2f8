"""The simple models of intent that any other has to beat: one linear model over characters, or over a frozen encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.language.intent_model import Encode
from training.language.intent_views import plain


@dataclass(frozen=True)
class Guesses:
    """Of n messages: the intent, and how little it looks like one of them; any scale, higher is more out of scope."""

    label: np.ndarray  # (n,) str
    doubt: np.ndarray  # (n,)


Peer = Callable[[Sequence[str], np.ndarray, Sequence[str]], Guesses]  # texts and intents to learn, texts to judge


def over_characters(head: Any) -> Peer:
    """`head`: a classifier of scikit-learn, unfitted."""

    def peer(texts: Sequence[str], intents: np.ndarray, asked: Sequence[str]) -> Guesses:
        from sklearn.base import clone
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline

        words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32)
        return _guessed(make_pipeline(words, clone(head)).fit(texts, intents), asked)

    return peer


def over_encoder(encode: Encode, head: Any) -> Peer:
    """`head` over standardised vectors of a frozen encoder."""

    def peer(texts: Sequence[str], intents: np.ndarray, asked: Sequence[str]) -> Guesses:
        from sklearn.base import clone
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        rows, told = (encode([plain(text) for text in some]) for some in (texts, asked))
        return _guessed(make_pipeline(StandardScaler(), clone(head)).fit(rows, intents), told)

    return peer


def _guessed(model: Any, rows: Any) -> Guesses:
    """Doubt is the best class's probability, or its margin where there are no probabilities, with the sign turned."""
    if hasattr(model, "predict_proba"):
        sure = model.predict_proba(rows).max(axis=1)
    else:
        told = model.decision_function(rows)
        sure = np.abs(told) if told.ndim == 1 else told.max(axis=1)
    return Guesses(np.asarray(model.predict(rows)), -sure)
