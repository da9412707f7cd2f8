"""Judges what is heard in reviews, aspect by aspect, on two public sets: Chinese shopping and English clothing reviews.

    python -m training.evaluate_aspects SPEC.json     # {"data": folder, "out": folder}
    nightmarket evaluate aspects --data ../shared/data/reviews-zh

No set tells which aspect a review is about, so what can be checked is whether the opinions per aspect agree with what the
customer thought of the whole: the sum of a review's opinions against its label, where ears were fitted on other reviews (the
split of peers/) and are told neither label nor stars. A model that reads the whole review, TF-IDF with logistic regression, bounds
what can be reached: it need not say what it is about. Which set it is is found by the files in the folder.
"""

import csv
import gzip
import io
import json
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.core.errors import NoDataError
from pipelines.strategy.judgement import Interval, Metric, accuracy, resampled, roc_auc
from training.job import run_job
from training.language.aspects import OTHER, Ears, Mention

CHINESE: Final = ("online_shopping_10_cats.zip", "split_16k.json")
ENGLISH: Final = ("Womens-Clothing-E-Commerce-Reviews_10528rows.csv.gz", "split_recommended.json")
SEEDS, WHOLE = "seeds alone", "tf-idf of the whole review, no aspects"
DOCS: Final = {
    "opinion_auc": "chance that the opinions of a praising review add up to more than those of a blaming one; higher is better",
    "opinion_accuracy": "reviews whose opinions add up to the side of their label, 0 counts as blame; higher is better",
    "aspect_share": "reviews in which at least one aspect is heard; higher is better",
    "agreement_share": "opinions of one aspect on the side of their review's label, of those that take a side; higher is better",
}


@dataclass(frozen=True)
class Set:
    """Labelled reviews, and which of them fit and judge."""

    name: str
    texts: list[str]
    label: np.ndarray  # (n,) 1 praises, 0 blames
    fit: np.ndarray  # places
    judged: np.ndarray


def run(data: Path) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, how often each aspect was heard, and `rows`. Raises NoDataError."""
    began = time.perf_counter()
    told = read_set(data)
    label = told.label[told.judged]
    texts = [told.texts[at] for at in told.judged]
    fit_texts, fit_label = [told.texts[at] for at in told.fit], told.label[told.fit]
    ears = Ears.fit(fit_texts, fit_label.astype(float))
    nobody_told = np.full(len(texts), np.nan)
    heard = {"ours": ears.hear_all(texts, nobody_told), SEEDS: Ears.seeded().hear_all(texts, nobody_told)}
    everybody = np.arange(len(texts))
    drawn = {who: resampled(_measures(found, label), everybody) for who, found in heard.items()}
    drawn[WHOLE] = resampled(_whole(fit_texts, fit_label, texts, label), everybody)
    counted = Counter(mention.aspect for review in heard["ours"] for mention in review)
    return {
        "name": "aspects",
        "data": told.name,
        "metrics": _intervals(drawn["ours"]),
        "baselines": {who: _intervals(drawn[who]) for who in (SEEDS, WHOLE)},
        "paired": {
            who: _intervals({name: drawn["ours"][name] - values for name, values in drawn[who].items()})
            for who in (SEEDS, WHOLE)
        },
        "docs": DOCS,
        "mentions": dict(counted.most_common()),
        "rows": {"fit": len(told.fit), "judged": len(texts)},
        "seconds": time.perf_counter() - began,
    }


def read_set(folder: Path) -> Set:
    """Whichever of the two sets lies in the folder. Raises NoDataError where neither does, or is not as its peers split it."""
    try:
        if (folder / CHINESE[0]).exists():
            return _chinese(folder)
        if (folder / ENGLISH[0]).exists():
            return _english(folder)
    except (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile, EOFError) as error:
        raise NoDataError(
            f"{folder}: no readable set of reviews ({error}); expected what SOURCE.md and peers/ describe"
        ) from error
    raise NoDataError(f"{folder}: neither {CHINESE[0]} nor {ENGLISH[0]}; expected the folder of one of these sets")


def _chinese(folder: Path) -> Set:
    with zipfile.ZipFile(folder / CHINESE[0]) as archive:
        text = archive.read(archive.namelist()[0]).decode().replace("\ufeff", "")
    rows = [row for row in csv.DictReader(io.StringIO(text, newline="")) if row["review"].strip()]
    return _parted(folder, CHINESE, [row["review"].strip() for row in rows], [int(row["label"]) for row in rows])


def _english(folder: Path) -> Set:
    text = gzip.decompress((folder / ENGLISH[0]).read_bytes()).decode()
    rows = [row for row in csv.DictReader(io.StringIO(text, newline="")) if row["Title"] or row["Review Text"]]
    texts = [" ".join(". ".join(part for part in (row["Title"], row["Review Text"]) if part).split()) for row in rows]
    return _parted(folder, ENGLISH, texts, [int(row["Recommended IND"]) for row in rows])


def _parted(folder: Path, names: tuple[str, str], texts: list[str], label: Sequence[int]) -> Set:
    split = json.loads((folder / "peers" / names[1]).read_bytes())
    fit, judged = np.array(split["train"]), np.array(split["test"])
    if max(fit.max(), judged.max()) >= len(texts):
        raise ValueError(f"{names[1]} numbers row {max(fit.max(), judged.max())}, there are {len(texts)}")
    return Set(names[0], texts, np.array(label), fit, judged)


def _measures(heard: Sequence[Sequence[Mention]], label: np.ndarray) -> dict[str, Metric]:
    score = np.array([sum(mention.score for mention in review) for review in heard])
    has = np.array([any(mention.aspect != OTHER for mention in review) for review in heard])
    side = np.array([[_sides(review, sign) for sign in (-1, 1)] for review in heard], dtype=float)
    right, taken = side[np.arange(len(label)), label], side.sum(axis=1)
    return {
        "opinion_auc": lambda weight: roc_auc(label, score, weight),
        "opinion_accuracy": lambda weight: accuracy(label, (score > 0).astype(int), weight),
        "aspect_share": lambda weight: accuracy(has, np.ones(len(has), dtype=bool), weight),
        "agreement_share": lambda weight: (weight @ right) / np.maximum(weight @ taken, 1e-9),
    }


def _sides(review: Sequence[Mention], sign: int) -> int:
    """Aspects of a review with opinions of this sign."""
    return len({mention.aspect for mention in review if mention.aspect != OTHER and mention.opinion == sign})


def _whole(
    fit_texts: Sequence[str], fit_label: np.ndarray, texts: Sequence[str], label: np.ndarray
) -> dict[str, Metric]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), min_df=3, sublinear_tf=True)
    model = LogisticRegression(C=10.0, max_iter=200).fit(words.fit_transform(fit_texts), fit_label)
    score = model.decision_function(words.transform(texts))
    return {
        "opinion_auc": lambda weight: roc_auc(label, score, weight),
        "opinion_accuracy": lambda weight: accuracy(label, (score > 0).astype(int), weight),
    }


def _intervals(values: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: Interval.of(one).as_dict() for name, one in values.items()}


if __name__ == "__main__":
    run_job(lambda spec: run(Path(spec["data"])))
