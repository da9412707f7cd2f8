"""Is a text good or bad news? Words, an encoder's vectors and an encoder's tuned last layers, weighed together.

    model = fit_sentiment(Told(texts, targets), Told(later_texts, later_targets), settings, how)
    model.predict(texts)          # Opinions: positive (n,), is_positive (n,), is_read (n,)

Each part gives log odds; how much each counts is fitted on texts that no part was fitted on, by logistic regression, which
also makes the chance a calibrated one (Platt 1999). Where there are no weights on disk and no way to fetch them, words
alone answer, and a note says so.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit, logit

from pipelines.core.errors import TrainingError, WeightsError
from pipelines.core.settings import Settings
from training.language.sentiment_words import WordModel, fit_words
from training.language.tongue import tongue_of
from training.task import Fitting

if TYPE_CHECKING:
    from training.language.sentiment_encoder import Read, Reader, Top

_LOG = logging.getLogger(__name__)
_LEAST_SHARE: Final = 0.02  # of training texts in a language from which it is one that words were learnt in
_TUNING: Final = {"epochs": 2, "learning_rate": 1e-4, "batch_size": 32, "dropout": 0.0, "checkpoint_steps": 200}
_THRESHOLDS: Final = np.linspace(0.05, 0.95, 181)


class SentimentSettings(Settings):
    """Under models.settings.sentiment of a shop."""

    encoders: tuple[str, ...] | Literal["auto"] = Field("auto", description="addresses; auto: by language; none: words")
    tuned_layers: int = Field(0, ge=0, description="last layers that are tuned, 0: the encoder stays as it is")
    least_tuned_rows: int = Field(2_000, ge=10, description="with fewer training texts nothing is tuned")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 where the CPU computes in it")
    word_strength: float = Field(30.0, gt=0, description="inverse of the penalty on words' weights")
    vector_strength: float = Field(0.003, gt=0, description="the same on standardised vectors' weights")
    max_examples: int = Field(20_000, ge=100, description="the newest reviews, at most")
    loop: dict[str, Any] = Field({}, description="how the layers are tuned: see LoopSettings")


@dataclass(frozen=True)
class Told:
    """n texts and what came true: targets (n, k) from 0 to 1, the first one 0 or 1, grades behind it."""

    texts: Sequence[str]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def positive(self) -> np.ndarray:
        return self.targets[:, 0]

    def take(self, where: np.ndarray) -> "Told":
        """Those where a mask (n,) is true."""
        return Told([self.texts[at] for at in np.flatnonzero(where).tolist()], self.targets[where])


@dataclass(frozen=True)
class Opinions:
    """Of n texts."""

    positive: np.ndarray  # (n,) float64 probability
    is_positive: np.ndarray  # (n,) bool: above the threshold
    is_read: (
        np.ndarray
    )  # (n,) bool: False where the text says nothing to this model, then `positive` is the usual share


@dataclass(frozen=True)
class Blend:
    """Log odds linear in those of parts (n, f)."""

    weights: np.ndarray  # (f,)
    bias: float

    def __call__(self, odds: np.ndarray) -> np.ndarray:
        return np.asarray(odds @ self.weights + self.bias)


@dataclass(frozen=True)
class Linear:
    """Log odds linear in standardised vectors."""

    mean: np.ndarray  # (width,)
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(n, width) -> (n,) float64."""
        return np.asarray(((vectors - self.mean) / self.scale).astype(np.float64) @ self.weights + self.bias)


@dataclass(frozen=True)
class EncoderPart:
    """What one encoder says: linear in its standardised vectors, and by its tuned last layers where there are."""

    reader: "Reader"
    linear: Linear
    top: "Top | None" = None

    def outputs(self, read: "Read") -> np.ndarray:
        """(n, f) log odds of texts that were read as `below` says."""
        from training.language.sentiment_encoder import outputs_of

        return np.column_stack(
            [self.linear(read.vectors), *([outputs_of(self.top, self.reader, read)] if self.top else [])]
        )

    @property
    def below(self) -> int:
        return len(self.top.layers) if self.top else 0


@dataclass(frozen=True)
class SentimentModel:
    """Plain data but for the encoders; what it saves is in training/language/sentiment_files.py."""

    usual: float  # share of positive texts: said of a text that says nothing
    tongues: tuple[str, ...]  # that words were learnt in
    words: WordModel
    parts: tuple[EncoderPart, ...]
    blend: Blend
    far: Blend  # of the multilingual encoder's outputs alone, for languages that words were not learnt in
    threshold: float
    notes: tuple[str, ...] = field(default=())

    @property
    def kind(self) -> str:
        tuned = any(part.top for part in self.parts)
        return "words, tuned encoder" if tuned else "words, encoder" if self.parts else "words"

    def predict(self, texts: Sequence[str]) -> Opinions:
        """Texts of any length; an empty one, or one in a language that nothing here reads, gets the usual share."""
        tongues = np.array([tongue_of(text) for text in texts], dtype=object)
        says = np.array([bool(text.strip()) for text in texts], dtype=bool)
        near = says & (np.isin(tongues, self.tongues) | ~np.isin(tongues, ("en", "zh")) & _has_no_letter(texts))
        reads_all = any(part.reader.is_multilingual for part in self.parts)
        far = says & ~near & reads_all
        odds = np.full(len(texts), logit(np.clip(self.usual, 1e-3, 1 - 1e-3)))
        if near.any():
            odds[near] = self.blend(self.outputs([texts[at] for at in np.flatnonzero(near).tolist()]))
        if far.any():
            odds[far] = self.far(self._far_outputs([texts[at] for at in np.flatnonzero(far).tolist()]))
        positive = expit(odds)
        return Opinions(positive, positive > self.threshold, near | far)

    def outputs(self, texts: Sequence[str]) -> np.ndarray:
        """(n, f) log odds of n > 0 texts by each part: those of words first, of each encoder the frozen one's first."""
        told = [self.words.outputs(texts).astype(np.float64)]
        return np.column_stack(told + [part.outputs(part.reader.read(texts, part.below)) for part in self.parts])

    def _far_outputs(self, texts: Sequence[str]) -> np.ndarray:
        part = next(part for part in self.parts if part.reader.is_multilingual)
        return part.outputs(part.reader.read(texts, part.below))


def fit_sentiment(train: Told, valid: Told, settings: SentimentSettings, how: Fitting) -> SentimentModel:
    """Parts on `train`, their weights on `valid`; then words and vectors once more on both. Raises TrainingError."""
    refuse_one_class(train)
    if len(np.unique(valid.positive)) < 2:
        raise TrainingError(f"sentiment: all {len(valid)} validation reviews are of one class; wait for more nights")
    readers, notes = _readers(train.texts, settings, how)
    words = fit_words(train.texts, train.targets, settings.word_strength)
    outputs = [words.outputs(valid.texts).astype(np.float64)]
    parts, reads, far_outputs = [], [], None
    for number, reader in enumerate(readers):
        layers = settings.tuned_layers if len(train) >= settings.least_tuned_rows else 0
        read, valid_read = reader.read(train.texts, layers), reader.read(valid.texts, layers)
        part = EncoderPart(reader, linear_on(read.vectors, train.positive, settings.vector_strength))
        if layers:
            part = _tuned(part, read, train, valid_read, valid, layers, settings, how, number)
        found = part.outputs(valid_read)
        far_outputs = found if reader.is_multilingual and far_outputs is None else far_outputs
        outputs.append(found)
        parts.append(part)
        reads.append((read, valid_read))
    stacked = np.column_stack(outputs)
    blend = fit_blend(stacked, valid.positive)
    far = blend if far_outputs is None else fit_blend(far_outputs, valid.positive)
    both = Told([*train.texts, *valid.texts], np.concatenate([train.targets, valid.targets]))
    final = []
    for part, (read, valid_read) in zip(parts, reads, strict=True):
        vectors = np.concatenate([read.vectors, valid_read.vectors])
        final.append(replace(part, linear=linear_on(vectors, both.positive, settings.vector_strength)))
    return SentimentModel(
        usual=float(both.positive.mean()),
        tongues=tongues_of(both.texts),
        words=fit_words(both.texts, both.targets, settings.word_strength),
        parts=tuple(final),
        blend=blend,
        far=far,
        threshold=best_threshold(expit(blend(stacked))),
        notes=tuple(notes),
    )


def fit_words_alone(train: Told, settings: SentimentSettings) -> SentimentModel:
    """The baseline: one model of words, as it is. Raises TrainingError where all texts are of one class."""
    refuse_one_class(train)
    told = Told(train.texts, train.targets[:, :1])
    words, as_it_is = fit_words(told.texts, told.targets, settings.word_strength), Blend(np.ones(1), 0.0)
    return SentimentModel(float(told.positive.mean()), tongues_of(told.texts), words, (), as_it_is, as_it_is, 0.5)


def refuse_one_class(told: Told) -> None:
    """Raises TrainingError where there is nothing to tell apart."""
    if len(np.unique(told.positive)) < 2:
        which = (
            "no reviews" if not len(told) else f"all {len(told)} reviews {'' if told.positive[0] else 'not '}positive"
        )
        raise TrainingError(f"sentiment: {which}, so there is nothing to tell apart; wait for more nights")


def tongues_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The languages of at least a fiftieth of the texts."""
    found = [tongue_of(text) for text in texts]
    return tuple(name for name in sorted(set(found)) if found.count(name) >= _LEAST_SHARE * len(found))


def fit_blend(odds: np.ndarray, positive: np.ndarray) -> Blend:
    """Logistic regression on log odds (n, f) of 0/1 (n,), drawn to 0 a little where texts are few."""
    from sklearn.linear_model import LogisticRegression

    scale = odds.std(axis=0) + 1e-6
    fitted = LogisticRegression(C=0.3, max_iter=500).fit(odds / scale, positive)
    return Blend(fitted.coef_[0] / scale, float(fitted.intercept_[0]))


def best_threshold(chance: np.ndarray) -> float:
    """The threshold on calibrated chances (n,) of the most accuracy and macro-F1 to be expected of them, in equal parts.

    Expected, not counted: where the rarer class has few texts, counts of them would choose by luck.
    """
    yes = chance[None, :] > _THRESHOLDS[:, None]
    right_yes, right_no = (yes * chance).sum(1), (~yes * (1 - chance)).sum(1)
    n_yes, total = yes.sum(1), chance.sum()
    f1_yes = 2 * right_yes / np.maximum(n_yes + total, 1e-9)
    f1_no = 2 * right_no / np.maximum(2 * len(chance) - n_yes - total, 1e-9)
    return float(_THRESHOLDS[np.argmax((f1_yes + f1_no) / 2 + (right_yes + right_no) / len(chance))])


def _readers(texts: Sequence[str], settings: SentimentSettings, how: Fitting) -> tuple[list["Reader"], list[str]]:
    """Encoders, or none and a note why."""
    if not settings.encoders:
        return [], []
    from training.language.sentiment_encoder import Reader
    from training.recommend.texts import encoder_for
    from training.weights import resolve

    addresses = (encoder_for(texts),) if settings.encoders == "auto" else settings.encoders
    try:
        folders = [resolve(address, how.weights or Path("weights")) for address in addresses]
        return [Reader(folder, threads=how.threads, precision=settings.precision) for folder in folders], []
    except WeightsError as error:
        told = f"sentiment: no encoder, so words alone answer ({error})"
        _LOG.warning("%s", told)
        return [], [told]


def linear_on(vectors: np.ndarray, positive: np.ndarray, strength: float) -> Linear:
    """Logistic regression on vectors (n, width), standardised, of 0/1 (n,)."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = vectors.mean(axis=0), vectors.std(axis=0) + 1e-3 * vectors.std()
    fitted = LogisticRegression(C=strength, max_iter=300).fit((vectors - mean) / scale, positive)
    return Linear(mean, scale, fitted.coef_[0], float(fitted.intercept_[0]))


def _tuned(
    part: EncoderPart, read: "Read", train: Told, valid_read: "Read", valid: Told, layers: int,
    settings: SentimentSettings, how: Fitting, number: int,
) -> EncoderPart:  # fmt: skip
    import tempfile

    from training.language.sentiment_encoder import new_top, tune
    from training.loop import LoopSettings
    from training.task import settings_of

    loop = settings_of(LoopSettings, "sentiment.loop", {**_TUNING, "seed": how.seed, "precision": settings.precision}
                       | settings.loop)  # fmt: skip
    n_outputs = train.targets.shape[1]
    linear = part.linear
    head = np.repeat(linear.weights[None], n_outputs, axis=0), np.repeat(linear.bias, n_outputs)
    top = new_top(part.reader, layers, linear.mean, linear.scale, head)
    with tempfile.TemporaryDirectory() as folder:
        work = (how.work or Path(folder)) / f"sentiment_{number}"
        tune(top, part.reader, read, train.targets, valid_read, valid.targets, loop, work, how.log)
    return replace(part, top=top)


def _has_no_letter(texts: Sequence[str]) -> np.ndarray:
    """(n,) bool: only signs, such as stars and emoji, which are the same in all languages."""
    return np.array([not any(map(str.isalpha, text)) for text in texts], dtype=bool)
