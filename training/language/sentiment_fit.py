"""Fits a sentiment model: each part on training texts, how much it counts on texts that no part has seen.

    model = fit_sentiment(Told(texts, targets), Told(later_texts, later_targets), SentimentSettings(), Fitting())
    model = fit_words_alone(Told(texts, targets), SentimentSettings())      # the baseline

Each part gives log odds; they are weighed by logistic regression, which also makes the chance a calibrated one (Platt 1999).
Where there are no weights on disk and no way to fetch them, words alone answer, and a note says so.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from pipelines.core.errors import TrainingError, WeightsError
from training.language.sentiment import Blend, EncoderPart, Linear, SentimentModel, SentimentSettings, Told
from training.language.sentiment_words import fit_words
from training.language.tongue import tongue_of
from training.task import Fitting

if TYPE_CHECKING:
    from training.language.sentiment_encoder import Read, Reader

_LOG = logging.getLogger(__name__)
_LEAST_SHARE: Final = 0.02  # of training texts in a language from which it is one that words were learnt in
_TUNING: Final = {"epochs": 2, "learning_rate": 1e-4, "batch_size": 32, "dropout": 0.0, "checkpoint_steps": 200}
_THRESHOLDS: Final = np.linspace(0.05, 0.95, 181)
_BLEND_STRENGTH: Final = 0.3  # inverse of the penalty on moving away from parts that count the same


def fit_sentiment(
    train: Told, valid: Told, settings: SentimentSettings, how: Fitting, opened: "Callable[..., Reader] | None" = None
) -> SentimentModel:
    """Parts on `train`, their weights on `valid`; then words and vectors once more on both. `opened`: opens an encoder's
    folder, as `Reader` does. Raises TrainingError."""
    refuse_one_class(train)
    if len(np.unique(valid.positive)) < 2:
        raise TrainingError(f"sentiment: all {len(valid)} validation reviews are of one class; wait for more nights")
    readers, notes = _readers(train.texts, settings, how, opened)
    words = fit_words(train.texts, train.targets, settings.word_strength, ratio_strength=settings.ratio_strength)
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
        words=fit_words(both.texts, both.targets, settings.word_strength, ratio_strength=settings.ratio_strength),
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
    """Logistic regression on log odds (n, f) of 0/1 (n,), drawn to their mean, as it is, where texts are few."""
    scale = odds.std(axis=0) + 1e-6
    mean = odds.mean(axis=1)
    moved = np.column_stack([odds / scale, np.ones(len(odds))])  # by how much a solution moves away from that mean
    sign = 2 * positive - 1

    def cost(change: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (mean + moved @ change)
        wrong = -sign * expit(-margin)
        loss = np.logaddexp(0, -margin).sum() + change @ change / (2 * _BLEND_STRENGTH)
        return float(loss), moved.T @ wrong + change / _BLEND_STRENGTH

    change = minimize(cost, np.zeros(moved.shape[1]), jac=True, method="L-BFGS-B").x
    return Blend(1 / odds.shape[1] + change[:-1] / scale, float(change[-1]))


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


def _readers(
    texts: Sequence[str], settings: SentimentSettings, how: Fitting, opened: "Callable[..., Reader] | None"
) -> tuple[list["Reader"], list[str]]:
    """Encoders, or none and a note why."""
    if not settings.encoders:
        return [], []
    from training.language.sentiment_encoder import Reader
    from training.recommend.texts import encoder_for
    from training.weights import resolve

    addresses = (encoder_for(texts),) if settings.encoders == "auto" else settings.encoders
    try:
        folders = [resolve(address, how.weights or Path("weights")) for address in addresses]
        opened = opened or Reader
        return [opened(folder, threads=how.threads, precision=settings.precision) for folder in folders], []
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
