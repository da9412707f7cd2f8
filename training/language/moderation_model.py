"""A classifier beside the rules: characters of a text, whatever the product. TF-IDF and logistic regression.

It learns from texts alone, so it can know tone but no false claim. `nightmarket evaluate moderation` tells what it adds to
the rules; where that is nothing that an interval can see, nobody waits for it (Moderator has none by default).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipelines.core.errors import TrainingError
from training.language.moderation_views import normal

FALSE_ALARMS: Final = 0.01  # of good texts, at most, where the threshold is chosen
_FOLDS: Final = 5
_SEED: Final = 20260301


@dataclass(frozen=True)
class BadTexts:
    """Fitted; `threshold`: probability from which a text is held."""

    pipeline: Any
    threshold: float

    @classmethod
    def fit(cls, texts: Sequence[str], is_bad: np.ndarray) -> "BadTexts":
        """Texts and labels (n,) bool. The threshold is that of cross-validation at which FALSE_ALARMS of good ones are held;
        probabilities of held-out rows, so it is not that of texts learnt by heart. Raises TrainingError for one class."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline

        if min(is_bad.sum(), (~is_bad).sum()) < _FOLDS:
            raise TrainingError(f"moderation: at least {_FOLDS} bad and {_FOLDS} good texts are needed to fit")
        pipeline = make_pipeline(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True),
            LogisticRegression(C=10, class_weight="balanced", max_iter=500),
        )
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=_SEED)
        told = [normal(text) for text in texts]
        held_out = cross_val_predict(pipeline, told, is_bad, cv=folds, method="predict_proba")[:, 1]
        threshold = float(np.quantile(held_out[~is_bad], 1 - FALSE_ALARMS))
        return cls(pipeline.fit(told, is_bad), threshold)

    def holds(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) bool."""
        return np.asarray(self.pipeline.predict_proba([normal(text) for text in texts])[:, 1] > self.threshold)
