"""Judges attributes found in products' own words on the ESCI sample: brand and colour, which its catalogue tells.

    python -m training.evaluate_attributes SPEC.json     # {"data": folder, "out": folder}
    nightmarket evaluate attributes --data ../shared/data/esci-us

Seven tenths of the products fit, the others judge, by a hash of their number; what a product tells of the attribute is hidden
from it, its title and description are read. A right answer is the told value, word for word, small letters, gray for grey.
Values that no product of the fit tells are counted apart. Many colours cannot be found: they stand nowhere in the words.
"""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.strategy.judgement import Interval, Metric, resampled
from training.esci import PRODUCTS, read_esci
from training.job import run_job
from training.language.attribute_words import COLOURS
from training.language.attributes import Finder, fit_finder, products_of
from training.language.spans import BRAND, Product, Words, is_han, normal

COLOUR: Final = "color"
PRECISION: Final = 0.9  # that a night asks for
JUDGED_TENTHS: Final = 3
ALL: Final = "every answer"  # ours without holding back
DOCS: Final = {
    "precision": "share of answers that are the told value; higher is better",
    "recall": "share of products whose told value was answered; higher is better",
    "f1": "harmonic mean of both; higher is better",
    "recall_unseen": "recall of products whose value no product of the fit tells; higher is better",
    "answered_share": "products answered, told or not at all in their words",
}
Answer = tuple[str, bool]  # normal value, "" where none; whether it was sure enough


def run(data: Path) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, and `rows` that were judged."""
    began = time.perf_counter()
    products = products_of(read_esci(data).catalog)
    found: dict[str, Any] = {"metrics": {}, "baselines": {}, "paired": {}}
    rows: dict[str, int] = {}
    for attribute in (BRAND, COLOUR):
        fit, judged = parted(products, attribute)
        rows |= {
            f"{attribute}_fit": sum(bool(one.told.get(attribute)) for one in fit),
            f"{attribute}_judged": len(judged),
        }
        told = _judged(attribute, fit, judged)
        for group, values in told.items():
            if group == "metrics":
                found[group] |= values
            else:
                for who, numbers in values.items():
                    found[group].setdefault(who, {}).update(numbers)
    docs = {f"{attribute}_{name}": text for attribute in (BRAND, COLOUR) for name, text in DOCS.items()}
    return {
        "name": "attributes",
        "data": PRODUCTS,
        **found,
        "docs": docs | {ALL: f"ours without holding back what is less sure than precision {PRECISION} asks"},
        "rows": rows,
        "seconds": time.perf_counter() - began,
    }


def parted(products: Sequence[Product], attribute: str) -> tuple[list[Product], list[Product]]:
    """Products that fit, and those that judge: of these only who tells the attribute."""
    judges = [zlib.crc32(one.item_id.encode()) % 10 < JUDGED_TENTHS for one in products]
    fit = [one for one, is_judge in zip(products, judges, strict=True) if not is_judge]
    return fit, [
        one for one, is_judge in zip(products, judges, strict=True) if is_judge and normal(one.told.get(attribute, ""))
    ]


def _judged(attribute: str, fit: Sequence[Product], judged: Sequence[Product]) -> dict[str, Any]:
    values = [normal(one.told.get(attribute, "")) for one in fit]
    known = {value for value in values if value}
    truth = [normal(one.told[attribute]) for one in judged]
    unseen = np.array([value not in known for value in truth])
    finder = fit_finder(attribute, fit, PRECISION)
    hidden = [Product(one.item_id, one.title, one.description, {}) for one in judged]
    sure, every = _answers(finder, hidden)
    first = {BRAND: "first word of the title", COLOUR: "first colour of the title"}[attribute]
    answers: dict[str, list[str]] = {
        "ours": sure,
        ALL: every,
        "longest known value": [_longest(one, known) for one in hidden],
        first: [_first(one, (lambda word: True) if attribute == BRAND else COLOURS.__contains__) for one in hidden],
    }
    customer = np.array([one.item_id for one in judged])
    drawn = {who: resampled(_measures(told, truth, unseen), customer) for who, told in answers.items()}
    return _compared(drawn, attribute)


def _compared(drawn: Mapping[str, Mapping[str, np.ndarray]], attribute: str) -> dict[str, Any]:
    """Ours as it answers at night beside the others; the paired differences are those of every answer, as theirs is."""

    def told(values: Mapping[str, np.ndarray], less: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
        return {
            f"{attribute}_{name}": Interval.of(one - less[name] if less else one).as_dict()
            for name, one in values.items()
        }

    others = [who for who in drawn if who not in ("ours", ALL)]
    return {
        "metrics": told(drawn["ours"]),
        "baselines": {who: told(drawn[who]) for who in (ALL, *others)},
        "paired": {who: told(drawn[ALL], drawn[who]) for who in others},
    }


def _answers(finder: Finder, products: Sequence[Product]) -> tuple[list[str], list[str]]:
    """Values where it is sure enough, and all that it would say; "" for none."""
    best = [finder.best(one) for one in products]
    every = [guess.span.value if guess else "" for guess in best]
    sure = [guess.span.value if guess and guess.confidence >= finder.threshold else "" for guess in best]
    return sure, every


def _longest(product: Product, known: set[str]) -> str:
    found = [value for _, _, value in Words.of(product.title).stretches() if value in known]
    return max(found, key=len, default="")


def _first(product: Product, is_one: Callable[[str], bool]) -> str:
    return next((word for word in Words.of(product.title).normal if is_one(word) and not is_han(word)), "")


def _measures(answers: Sequence[str], truth: Sequence[str], unseen: np.ndarray) -> dict[str, Metric]:
    answered = np.array([bool(one) for one in answers], dtype=float)
    right = np.array([one == value for one, value in zip(answers, truth, strict=True)], dtype=float)
    new = unseen.astype(float)
    return {
        "precision": lambda weight: _share(weight @ right, weight @ answered),
        "recall": lambda weight: _share(weight @ right, weight.sum(axis=-1)),
        "f1": lambda weight: _share(2 * (weight @ right), weight @ answered + weight.sum(axis=-1)),
        "recall_unseen": lambda weight: _share(weight @ (right * new), weight @ new),
        "answered_share": lambda weight: _share(weight @ answered, weight.sum(axis=-1)),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


if __name__ == "__main__":
    run_job(lambda spec: run(Path(spec["data"])))
