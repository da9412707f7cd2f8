"""Is a text good or bad news? Words, an encoder's vectors and an encoder's tuned last layers, weighed together.

model = fit_sentiment(Told(texts, targets), Told(later_texts, later_targets), settings, how)    # sentiment_fit.py
model.predict(texts)          # Opinions: positive (n,), is_positive (n,), is_read (n,)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit, logit

from pipelines.core.settings import Settings
from training.language.sentiment_words import WordModel
from training.language.tongue import tongue_of

if TYPE_CHECKING:
    from training.language.sentiment_encoder import Read, Reader, Top


class SentimentSettings(Settings):
    """Under models.settings.sentiment of a shop."""

    encoders: tuple[str, ...] | Literal["auto"] = Field("auto", description="addresses; auto: by language; none: words")
    tuned_layers: int = Field(0, ge=0, description="last layers that are tuned, 0: the encoder stays as it is")
    least_tuned_rows: int = Field(2_000, ge=10, description="with fewer training texts nothing is tuned")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 where the CPU computes in it")
    word_strength: float = Field(30.0, gt=0, description="inverse of the penalty on words' weights")
    ratio_strength: float = Field(0.0, ge=0, description="the same on words by how they set classes apart, 0: not told")
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


def _has_no_letter(texts: Sequence[str]) -> np.ndarray:
    """(n,) bool: only signs, such as stars and emoji, which are the same in all languages."""
    return np.array([not any(map(str.isalpha, text)) for text in texts], dtype=bool)
