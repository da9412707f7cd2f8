"""Sentiment: whether what a customer wrote is good news, learnt from the shop's own reviews and their stars.

    nightmarket train sentiment --shop demo

Four and five stars are positive, one and two are not; three say neither and are left out. What a person said of a review
(`nightmarket label`) holds over its stars. The baseline is words alone;
the challenger weighs words and an encoder's vectors together, and the encoder's last layers tuned where the settings say
so and enough reviews are there (training/language/sentiment.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.labelling import NEGATIVE, NEUTRAL, labels_of
from pipelines.core.labelling import POSITIVE as SAID_POSITIVE
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy import judgement
from training.language import sentiment_files
from training.language.sentiment import SentimentModel, SentimentSettings, Told
from training.language.sentiment_fit import fit_sentiment, fit_words_alone
from training.task import Examples, Fitting, Measure, settings_of

POSITIVE: Final = "positive"  # true: 0 or 1; predicted: its probability
IS_POSITIVE: Final = "is_positive"
IS_READ: Final = "is_read"
_GOOD, _BAD = 4, 2  # stars
_STARS: Final = {SAID_POSITIVE: 5, NEGATIVE: 1, NEUTRAL: 3}  # that a person's opinion of a review stands for


@dataclass(frozen=True)
class SentimentScorer:
    """A sentiment model as rows see it."""

    model: SentimentModel

    @property
    def kind(self) -> str:
        return self.model.kind

    def predict(self, rows: pa.Table) -> pa.Table:
        """POSITIVE, IS_POSITIVE and IS_READ of n rows by their C.TEXT; a missing text says nothing."""
        texts = ["" if text is None else text for text in rows[C.TEXT].to_pylist()]
        found = self.model.predict(texts)
        return pa.table({POSITIVE: found.positive, IS_POSITIVE: found.is_positive, IS_READ: found.is_read})

    def save(self, folder: Path) -> None:
        sentiment_files.save(self.model, folder)


def _by_chance(metric: Callable[..., np.ndarray]) -> Callable[[pa.Table, pa.Table, np.ndarray], np.ndarray]:
    return lambda target, predicted, weight: metric(target[POSITIVE].to_numpy(), predicted[POSITIVE].to_numpy(), weight)


def _classes(target: pa.Table, predicted: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    return target[POSITIVE].to_numpy().astype(np.int64), predicted[IS_POSITIVE].to_numpy().astype(np.int64)


def _accuracy(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.accuracy(*_classes(target, predicted), weight)


def _macro_f1(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
    return judgement.macro_f1(*_classes(target, predicted), 2, weight)


class SentimentTask:
    """See training/task.py. An example is one review: its text, and whether its stars are good."""

    name: ClassVar[str] = "sentiment"
    metric = "log_loss"
    example_columns = (C.TEXT,)
    measures: Mapping[str, Measure] = {
        "log_loss": Measure(_by_chance(judgement.log_loss), False, "mean log loss of the chance that a review is good"),
        "accuracy": Measure(_accuracy, True, "share of reviews told right"),
        "macro_f1": Measure(_macro_f1, True, "mean F1 of good and bad reviews"),
        "roc_auc": Measure(_by_chance(judgement.roc_auc), True, "chance that a good review is told above a bad one"),
        "ece": Measure(_by_chance(judgement.ece), False, "calibration error of the chance, debiased"),
    }

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        settings = settings_of(SentimentSettings, self.name, shop.models.settings.get(self.name, {}))
        said = labels_of(store, self.name)
        parts = [(night, _reviews(store, night, said)) for night in sorted(nights) if store.files("reviews", [night])]
        parts = [(night, told) for night, told in parts if told.num_rows]
        if not parts:
            raise NoDataError(
                f"shop {shop.shop}: no review with a text and with stars other than three in {len(nights)} nights; land some"
            )
        told = pa.concat_tables([told for _, told in parts])
        night = np.concatenate([np.full(part.num_rows, np.datetime64(at, "D")) for at, part in parts])
        newest = slice(max(0, len(told) - settings.max_examples), None)
        told, night = told.slice(newest.start), night[newest]
        good = pc.greater_equal(told[C.RATING], _GOOD).to_numpy(zero_copy_only=False).astype(np.float64)
        keys = pc.fill_null(told[C.USER_KEY], "").to_numpy(zero_copy_only=False)
        rows = pa.table({C.TEXT: told[C.TEXT]})
        return Examples(rows, pa.table({POSITIVE: good}), keys, np.full(len(told), "", object), night)

    def baseline(self, train: Examples, how: Fitting) -> SentimentScorer:
        """Words alone."""
        return SentimentScorer(fit_words_alone(_told(train), settings_of(SentimentSettings, self.name, how.settings)))

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> SentimentScorer:
        settings = settings_of(SentimentSettings, self.name, how.settings)
        return SentimentScorer(fit_sentiment(_told(train), _told(valid), settings, how))

    def load(self, folder: Path) -> SentimentScorer:
        return SentimentScorer(sentiment_files.load(folder))


TASK = SentimentTask()


def _told(examples: Examples) -> Told:
    texts = ["" if text is None else text for text in examples.rows[C.TEXT].to_pylist()]
    return Told(texts, examples.target[POSITIVE].to_numpy()[:, None])


def _reviews(store: Store, night: date, said: Mapping[str, str]) -> pa.Table:
    """USER_KEY, RATING and TEXT of a night's reviews that have a text and an opinion, in a fixed order; `said`: opinions by
    review that hold over its stars."""
    columns = [C.REVIEW_ID, C.USER_KEY, C.RATING, C.TEXT]
    told = pa.concat_tables(
        [pq.read_table(file, columns=columns, partitioning=None) for file in store.files("reviews", [night])]
    )
    told = told.cast(pa.schema([(C.REVIEW_ID, pa.string()), (C.USER_KEY, pa.string()), (C.RATING, pa.int64()),
                                (C.TEXT, pa.string())])).sort_by(C.REVIEW_ID)  # fmt: skip
    if said:
        told = told.set_column(told.schema.get_field_index(C.RATING), C.RATING, _rated(told, said))
    has_text = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(told[C.TEXT], ""))), 0)
    rating = pc.fill_null(told[C.RATING], 3)
    opinion = pc.or_(pc.greater_equal(rating, _GOOD), pc.less_equal(rating, _BAD))
    return told.filter(pc.and_(has_text, opinion)).drop_columns([C.REVIEW_ID])


def _rated(told: pa.Table, said: Mapping[str, str]) -> pa.Array:
    """Stars of reviews; those that a person's opinion stands for where there is one."""
    pairs = zip(told[C.REVIEW_ID].to_pylist(), told[C.RATING].to_pylist(), strict=True)
    return pa.array([_STARS.get(said.get(review, ""), stars) for review, stars in pairs], pa.int64())
