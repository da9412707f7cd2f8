"""Judges what few labels teach, and what each way to make more of them brings, on shop reviews or on messages with intents.

    python -m training.evaluate_few_labels SPEC.json     # {"data": folder, "out": folder, "threads": 2, "weights": folder}
    nightmarket evaluate few-labels --data ../shared/data/reviews-zh
    nightmarket evaluate few-labels --data ../shared/data/bitext-intents

Of the set's training rows some thousand are a pool without labels; 50, 200 or 1,000 of them are labelled, by lot or as the
queue of `nightmarket label` asks for them, in five draws. Each way learns from the same labels with the same linear models
over words and a frozen encoder's vectors (training/language/few_labels.py). Nothing is chosen on judged rows. `gains` are a
way's measures minus those of labels by lot and plain learning; intervals resample judged rows and draws of labels together.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.core.errors import NoDataError
from pipelines.strategy.judgement import SEED, Interval, Metric, accuracy, macro_f1, resampled
from training.evaluate_categories import intervals
from training.job import run_job
from training.language.augment import Thesaurus, with_gaps, with_likes, with_swaps
from training.language.few_labels import MIXED, NETWORK, PSEUDO, TASKS, Pool, Rows, fit, learn
from training.language.intent_sets import OUT, read_intents
from training.language.reviews import CHINESE_FILE, ENGLISH_FILE, read_reviews
from training.language.sentiment_words import ways_of
from training.language.worth import worth_asking

SIZES: Final = (50, 200, 1_000)
DRAWS: Final = 5
POOL, JUDGED, OTHER = 3_000, 2_000, 1_000  # rows at most, by lot
ASKED, LOT, LIKES, GAPS = "asked by the queue", "by lot", "words used alike", "words left out and swapped"
WAYS: Final = (PSEUDO, LIKES, GAPS, MIXED, NETWORK, TASKS)
LABELLED_AT: Final = (20, 50, 100, 200, 400, 700, 1_000)  # a person labels so many, then the queue is made anew
_REPLACED, _DROPPED, _SWAPPED = 0.3, 0.1, 0.1  # of words
_TOKENS: Final = 96
DOCS: Final = {
    **{f"accuracy_{n}": f"share of judged texts told right from {n} labels; higher is better" for n in SIZES},
    **{f"macro_f1_{n}": f"mean F1 over classes from {n} labels; higher is better" for n in SIZES},
}


@dataclass(frozen=True)
class Texts:
    """A pool to label from, and what is judged: texts and codes of classes."""

    source: str
    pool: Sequence[str]
    codes: np.ndarray
    judged: Sequence[str]
    true: np.ndarray
    n_classes: int


def read_texts(data: Path) -> Texts:
    """Reviews or messages, found by the files. Raises NoDataError where there are neither."""
    rng = np.random.default_rng(SEED)
    if (data / CHINESE_FILE).is_file() or (data / ENGLISH_FILE).is_file():
        told = read_reviews(data)
        fits, asked = rng.permutation(told.train)[:POOL], rng.permutation(told.judged)[:JUDGED]
        codes = told.targets[:, 0].astype(np.int64)
        pool, judged = ([told.texts[at] for at in where] for where in (fits, asked))
        return Texts(told.source, pool, codes[fits], judged, codes[asked], 2)
    if not list(data.glob("*.csv")):
        raise NoDataError(
            f"{data}: neither reviews ({CHINESE_FILE}, {ENGLISH_FILE}) nor CSV files of messages and intents"
        )
    intents = read_intents(data)
    train = intents.train.take(rng.permutation(len(intents.train))[:POOL])
    test = intents.test.take(intents.test.intents != OUT)
    test = test.take(rng.permutation(len(test))[:JUDGED])
    names = np.unique(intents.train.intents)
    codes, true = (np.searchsorted(names, one.intents) for one in (train, test))
    return Texts(intents.files, train.texts, codes, test.texts, true, len(names))


def run(data: Path, threads: int, weights: Path, sizes: Sequence[int] = SIZES, draws: int = DRAWS) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, with `gains`. Raises NoDataError, WeightsError without an encoder."""
    began = time.perf_counter()
    told = read_texts(data)
    pool, judged = read_rows(told, _other(data), _encoder(told, weights, threads))
    chances = judge(pool, judged, sizes, draws)
    drawn = {who: _drawn(one, told.true, told.n_classes) for who, one in chances.items()}
    gains = {
        who: {name: Interval.of(one - drawn[LOT][name]).as_dict() for name, one in values.items()}
        for who, values in drawn.items()
        if who != LOT
    }
    return {
        "name": "few-labels",
        "data": told.source,
        **intervals(drawn, ASKED),
        "gains": gains,
        "docs": {name: text for name, text in DOCS.items() if name in drawn[LOT]},
        "rows": {"pool": len(told.pool), "judged": len(told.judged), "classes": told.n_classes, "draws": draws},
        "seconds": time.perf_counter() - began,
    }


Encode = Callable[[Sequence[str]], np.ndarray]


def _encoder(told: Texts, weights: Path, threads: int) -> Encode:
    from training.encode import Encoder
    from training.recommend.texts import encoder_for
    from training.weights import resolve

    return Encoder(resolve(encoder_for(told.pool), weights), max_tokens=_TOKENS, threads=threads).encode


def _other(data: Path) -> Texts | None:
    """English reviews beside the set, or messages beside those; None where there are none."""
    beside = data.parent / ("bitext-intents" if (data / ENGLISH_FILE).is_file() else "reviews-en")
    return read_texts(beside) if beside.is_dir() else None


def read_rows(told: Texts, other: Texts | None, encode: Encode) -> tuple[Pool, Rows]:
    """The pool with its copies, and the judged rows. What is counted and how vectors are scaled comes from the pool."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    counters = [
        TfidfVectorizer(analyzer=analyzer, ngram_range=(shortest, longest), min_df=2, sublinear_tf=True).fit(told.pool)
        for analyzer, shortest, longest in ways_of(told.pool)
    ]
    vectors = encode(told.pool)
    middle, scale = vectors.mean(axis=0), vectors.std(axis=0) + 1e-3 * vectors.std()

    def rows(texts: Sequence[str], found: np.ndarray) -> Rows:
        words = hstack([counter.transform(texts) for counter in counters]).tocsr()
        return Rows(words, ((found - middle) / scale).astype(np.float32))

    rng, likes = np.random.default_rng(SEED), Thesaurus.learn(told.pool)
    changed = {
        LIKES: [with_likes(text, likes, _REPLACED, rng) for text in told.pool],
        GAPS: [
            with_swaps(with_gaps(text, _DROPPED, rng, likes.pairs), _SWAPPED, rng, likes.pairs) for text in told.pool
        ],
    }
    copies = {name: rows(texts, encode(texts)) for name, texts in changed.items()}
    beside = None
    if other:
        beside = ((encode(other.pool[:OTHER]) - middle) / scale).astype(np.float32), other.codes[:OTHER]
    pool = Pool(rows(told.pool, vectors), told.codes, told.n_classes, copies, beside)
    return pool, rows(told.judged, encode(told.judged))


def judge(pool: Pool, judged: Rows, sizes: Sequence[int], draws: int) -> dict[str, dict[int, np.ndarray]]:
    """Guesses (draws, judged) int by way and number of labels."""
    found: dict[str, dict[int, list[np.ndarray]]] = {who: {n: [] for n in sizes} for who in (ASKED, LOT, *WAYS)}
    for draw in range(draws):
        order = np.random.default_rng([SEED, draw]).permutation(len(pool.rows))
        asked = asked_for(pool, order[: len(order) * 2 // 3], max(sizes))  # other texts in each draw
        for n in sizes:
            for who in found:
                if who == TASKS and pool.other is None:
                    continue
                labelled = asked[:n] if who == ASKED else order[:n]
                model = learn(who, pool, labelled, np.random.default_rng([SEED, draw, n]))
                found[who][n].append(model.chances(judged).argmax(axis=1))
    return {who: {n: np.stack(one) for n, one in told.items()} for who, told in found.items() if told[sizes[0]]}


def asked_for(pool: Pool, order: np.ndarray, most: int) -> np.ndarray:
    """Of the rows `order`, `most` in the order in which the queue asks, in batches with a new model before each."""
    unit = pool.rows.vectors / np.maximum(np.linalg.norm(pool.rows.vectors, axis=1, keepdims=True), 1e-12)
    even = np.full((len(order), pool.n_classes), 1 / pool.n_classes)  # nothing is known before the first label
    labelled = order[:0]
    for until in LABELLED_AT:
        if len(labelled) >= most:
            break
        rest = order[~np.isin(order, labelled)]
        chances = (
            fit(pool.rows.take(labelled), pool.codes[labelled], pool.n_classes).chances(pool.rows.take(rest))
            if len(labelled)
            else even
        )
        places = worth_asking(chances, unit[rest], unit[labelled], min(until, most) - len(labelled))
        labelled = np.concatenate([labelled, rest[places]])
    return labelled


def _drawn(guesses: dict[int, np.ndarray], true: np.ndarray, n_classes: int) -> dict[str, np.ndarray]:
    """DOCS' measures, mean over draws of labels, on resamples of judged rows and of draws."""
    found = {}
    for n, by_draw in guesses.items():
        metrics: dict[str, Metric] = {}
        for draw, guess in enumerate(by_draw):
            metrics[f"accuracy_{draw}"] = partial(accuracy, true, guess)
            metrics[f"macro_f1_{draw}"] = partial(macro_f1, true, guess, n_classes)
        values = resampled(metrics, np.arange(len(true)))
        for name in ("accuracy", "macro_f1"):
            each = np.stack([values[f"{name}_{draw}"] for draw in range(len(by_draw))], axis=1)
            lots = np.random.default_rng(SEED).integers(len(by_draw), size=each.shape)
            lots[0] = np.arange(len(by_draw))  # the first is as they are
            found[f"{name}_{n}"] = np.take_along_axis(each, lots, axis=1).mean(axis=1)
    return found


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(Path(spec["data"]), int(spec["threads"]) or os.cpu_count() or 1, Path(spec["weights"]))


if __name__ == "__main__":
    run_job(_job)
