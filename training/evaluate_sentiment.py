"""Judges sentiment on Chinese or English shop reviews, beside TF-IDF and frozen encoders on the same split.

    python -m training.evaluate_sentiment SPEC.json     # {"data": folder, "out": folder, "threads": 2, "weights": folder}
    nightmarket evaluate sentiment --data ../shared/data/reviews-zh
    nightmarket evaluate sentiment --data ../shared/data/reviews-en

Of the split's training rows a tenth is held back: it says how much each part counts, where the threshold lies and which
epoch is kept. The judged rows are looked at once. Also told: reviews of kinds of products never seen, of the other
language, under noise, and of 10,000 characters.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.special import expit

from pipelines.strategy.judgement import SEED, Interval, Metric, accuracy, ece, log_loss, macro_f1, resampled, roc_auc
from training.evaluate_categories import intervals
from training.job import run_job
from training.language.noise import mixed, typos, with_emoji
from training.language.reviews import CHINESE, ENGLISH, Reviews, read_reviews
from training.language.sentiment import SentimentModel, SentimentSettings, Told
from training.language.sentiment_encoder import Read, Reader
from training.language.sentiment_fit import fit_sentiment, linear_on
from training.language.sentiment_words import fit_words
from training.task import Fitting
from training.weights import ENCODER_EN, ENCODER_MULTILINGUAL

OURS: Final = "words and tuned encoders"
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    CHINESE: {"encoders": (ENCODER_MULTILINGUAL,), "tuned_layers": 3},
    ENGLISH: {"encoders": (ENCODER_EN,), "tuned_layers": 3, "ratio_strength": 3.0, "vector_strength": 0.01},
}
NAMES: Final = {ENCODER_EN: "frozen MiniLM", ENCODER_MULTILINGUAL: "frozen e5"}
WORDS: Final = (("word", 1, 2),)
WORDS_AND_RUNS: Final = (*WORDS, ("char_wb", 2, 5))
RUNS: Final = (("char", 1, 3),)
PEERS: Final[
    dict[str, dict[str, tuple[tuple[tuple[str, int, int], ...], float, bool]]]
] = {  # ways to count, inverse penalty, whether classes weigh the same
    CHINESE: {"tf-idf, characters": (RUNS, 30.0, False)},
    ENGLISH: {
        "tf-idf, words": (WORDS, 100.0, False),
        "tf-idf, words, balanced": (WORDS, 10.0, True),
        "tf-idf, words and characters": (WORDS_AND_RUNS, 100.0, False),
        "tf-idf, words and characters, balanced": (WORDS_AND_RUNS, 10.0, True),
    },
}
DOCS: Final = {
    "accuracy": "share of judged reviews told right, at the threshold of macro_f1; higher is better",
    "macro_f1": "mean F1 of good and bad reviews; the threshold was chosen for it and accuracy; higher is better",
    "auc": "chance that a good review is told above a bad one; higher is better",
    "log_loss": "of the chance that a review is good; lower is better",
    "ece": "gap between the chance told and what came true, debiased; lower is better",
    "other_kinds_accuracy": "each kind of product judged by words and a frozen encoder (equal parts, nothing tuned) that saw "
    "the reviews of other kinds only; higher is better",
    "other_language_accuracy": "judged reviews of the set in the other language, nothing of it learnt; higher is better",
    "accuracy_of_600": "share told right of the first 600 judged reviews; the noisy ones below are the same reviews",
    "typos_accuracy": "the same with a tenth of all letters hit by typos; higher is better",
    "emoji_accuracy": "the same with three emoji of any mood; higher is better",
    "mixed_accuracy": "the same with three words of the other language; higher is better",
    "long_accuracy": "texts of some 10,000 characters, made of judged reviews of one class; higher is better",
}
_VALID: Final = 10  # every tenth training review, by lot
_NOISY: Final = 600
_LONG, _N_LONG = 10_000, 16


class Remembering(Reader):
    """Keeps the vectors of what it read, so that kinds of products are judged without reading all again."""

    def __init__(self, *folder: Any, **how: Any) -> None:
        super().__init__(*folder, **how)
        self.known: dict[str, np.ndarray] = {}

    def read(self, texts: Sequence[str], below: int = 0) -> Read:
        found = super().read(texts, below)
        self.known |= dict(zip(texts, found.vectors, strict=True))
        return found

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """(n, width) of texts that were read before."""
        return np.array([self.known[text] for text in texts])


def run(
    data: Path, threads: int, weights: Path, kept: Path | None = None, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it. `kept`: a folder that a killed run goes on from; `settings`: other than ours."""
    began = time.perf_counter()
    told = read_reviews(data)
    chosen = SentimentSettings.model_validate({**SETTINGS[told.tongue], **(settings or {})})
    how = Fitting(threads=threads, weights=weights, work=kept)
    held = np.zeros(len(told.train), dtype=bool)
    held[np.random.default_rng(SEED).permutation(len(held))[: len(held) // _VALID]] = True
    model = fit_sentiment(told.told(told.train[~held]), told.told(told.train[held]), chosen, how, Remembering)
    judged = told.told(told.judged)
    outputs = model.outputs(judged.texts)
    odds = {OURS: model.blend(outputs)} | _peers(told, model, outputs, chosen)
    thresholds = {OURS: model.threshold}
    draws = {who: _drawn(judged.positive, one, thresholds.get(who, 0.5)) for who, one in odds.items()}
    found = intervals(draws, OURS)
    usual = np.full(len(judged), float(model.usual > 0.5))
    found["baselines"]["the more frequent class"] = _told(_share_right(judged.positive, usual), "accuracy")
    more: dict[str, dict[str, Any]] = {}
    for part in (_noise(judged, model, outputs), _other_kinds(told, model, chosen), _other_language(data, told, model)):
        for who, metrics in part.items():
            more.setdefault(who, {}).update(metrics)
    found["metrics"] |= more.pop(OURS)
    for who, metrics in more.items():
        found["baselines"].setdefault(who, {}).update(metrics)
    return {
        "name": "sentiment",
        "data": told.source,
        **found,
        "docs": DOCS,
        "rows": {"train": int((~held).sum()), "valid": int(held.sum()), "judged": len(judged)},
        "threshold": model.threshold,
        "notes": list(model.notes),
        "seconds": time.perf_counter() - began,
    }


def _peers(
    told: Reviews, model: SentimentModel, outputs: np.ndarray, settings: SentimentSettings
) -> dict[str, np.ndarray]:
    """(n,) log odds by peer, all fitted on all training rows: as the model's own parts are, where they are the same."""
    judged, train = told.told(told.judged), told.told(told.train)
    one_target = train.targets[:, :1]
    found = {}
    for who, (ways, strength, is_balanced) in PEERS[told.tongue].items():
        words = fit_words(train.texts, one_target, strength, ways=ways, is_balanced=is_balanced, least=2)
        found[who] = words.outputs(judged.texts)[:, 0].astype(np.float64)
    first = next(iter(found.values()))
    at = len(model.words.bias)
    for address, part in zip(settings.encoders, model.parts, strict=False):
        name = NAMES.get(address, address)
        found[name] = outputs[:, at]
        found[f"{name} and tf-idf, averaged"] = outputs[:, at] + first
        if part.top:
            found[f"{name.replace('frozen', 'tuned')} alone"] = outputs[:, at + 1]
        at += 1 + (part.top.head.out_features if part.top else 0)
    return found


def _drawn(positive: np.ndarray, odds: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    """DOCS' first five on resamples of reviews."""
    chance = expit(odds)
    code, guess = positive.astype(np.int64), (chance > threshold).astype(np.int64)
    metrics: dict[str, Metric] = {
        "accuracy": lambda weight: accuracy(code, guess, weight),
        "macro_f1": lambda weight: macro_f1(code, guess, 2, weight),
        "auc": lambda weight: roc_auc(code, odds, weight),
        "log_loss": lambda weight: log_loss(code, chance, weight),
        "ece": lambda weight: ece(code, chance, weight),
    }
    return resampled(metrics, np.arange(len(code)))


def _share_right(positive: np.ndarray, guess: np.ndarray) -> Interval:
    is_right = (positive == guess).astype(np.float64)
    metrics: dict[str, Metric] = {"it": lambda weight: (weight @ is_right) / weight.sum(axis=-1)}
    return Interval.of(resampled(metrics, np.arange(len(is_right)))["it"])


def _told(interval: Interval, name: str) -> dict[str, Any]:
    return {name: interval.as_dict()}


def _noise(judged: Told, model: SentimentModel, outputs: np.ndarray) -> dict[str, dict[str, Any]]:
    """Ours and words alone on noisy texts; `outputs` (n, f) on the clean ones."""
    rng = np.random.default_rng(SEED)
    texts, positive = list(judged.texts[:_NOISY]), judged.positive[:_NOISY]
    ways: Mapping[str, Callable[[str], str]] = {
        "typos_accuracy": lambda text: typos(text, 0.1, rng),
        "emoji_accuracy": lambda text: with_emoji(text, rng, 3),
        "mixed_accuracy": lambda text: mixed(text, rng, 3),
    }
    asked: dict[str, tuple[list[str], np.ndarray]] = {
        name: ([way(text) for text in texts], positive) for name, way in ways.items()
    }
    asked["long_accuracy"] = _long(judged)
    found: dict[str, dict[str, Any]] = {OURS: {}, "words alone": {}}
    clean = outputs[:_NOISY]
    told = {"accuracy_of_600": (positive, expit(model.blend(clean)) > model.threshold, clean[:, 0] > 0)}
    for name, (changed, true) in asked.items():
        told[name] = true, model.predict(changed).is_positive, model.words.outputs(changed)[:, 0] > 0
    for name, (true, ours, words) in told.items():
        found[OURS] |= _told(_share_right(true, ours), name)
        found["words alone"] |= _told(_share_right(true, words), name)
    return found


def _long(judged: Told) -> tuple[list[str], np.ndarray]:
    """Texts of some 10,000 characters, every other one good."""
    made, true = [], []
    for number in range(_N_LONG):
        is_good = number % 2
        own = [judged.texts[at] for at in np.flatnonzero(judged.positive == is_good).tolist()][number // 2 :: _N_LONG]
        text = ""
        while len(text) < _LONG:
            text += " ".join(own) + " "
        made.append(text[:_LONG])
        true.append(is_good)
    return made, np.array(true)


def _other_kinds(told: Reviews, model: SentimentModel, settings: SentimentSettings) -> dict[str, dict[str, Any]]:
    """Judged reviews of each kind of product, by what was learnt from training reviews of the other kinds."""
    train, judged = told.told(told.train), told.told(told.judged)
    readers = [part.reader for part in model.parts if isinstance(part.reader, Remembering)]
    vectors = [(reader.vectors(train.texts), reader.vectors(judged.texts)) for reader in readers]
    by_words, by_vectors = np.zeros(len(judged)), np.zeros(len(judged))
    for kind in np.unique(told.kind[told.judged]):
        fit, asked = told.kind[told.train] != kind, told.kind[told.judged] == kind
        own = train.take(fit)
        words = fit_words(own.texts, own.targets[:, :1], settings.word_strength)
        by_words[asked] = words.outputs(judged.take(asked).texts)[:, 0]
        for of_train, of_judged in vectors:
            linear = linear_on(of_train[fit], own.positive, settings.vector_strength)
            by_vectors[asked] = linear(of_judged[asked])
    told_by = {OURS: by_words + by_vectors, "words alone": by_words}
    return {
        who: _told(_share_right(judged.positive, odds > 0), "other_kinds_accuracy") for who, odds in told_by.items()
    }


def _other_language(data: Path, told: Reviews, model: SentimentModel) -> dict[str, dict[str, Any]]:
    """Where the set in the other language lies beside this one."""
    beside = data.parent / ("reviews-en" if told.tongue == CHINESE else "reviews-zh")
    if not beside.is_dir() or not any(part.reader.is_multilingual for part in model.parts):
        return {}
    other = read_reviews(beside)
    judged = other.told(other.judged[:1_000])
    right = _share_right(judged.positive, model.predict(judged.texts).is_positive)
    usual = _share_right(judged.positive, np.full(len(judged), float(judged.positive.mean() > 0.5)))
    name = "other_language_accuracy"
    return {OURS: _told(right, name), "the more frequent class": _told(usual, name)}


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(Path(spec["data"]), int(spec["threads"]) or os.cpu_count() or 1, Path(spec["weights"]))


if __name__ == "__main__":
    run_job(_job)
