"""Attributes that a catalogue does not tell, from the words of its items: brand, colour, material, size and whatever it tells
of others; and the category of an item that has none.

    finder = fit_finder("brand", products, precision=0.9)
    guess = finder.find(product)                       # None where it is not sure enough

What may be a value, and what speaks for it, is training/language/spans.py; a logistic regression weighs it. It is sure enough
from the confidence on from which its answers were right as often as wanted, on products that its weights were not fitted on.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from training.language.spans import BRAND, TITLE, Gazetteer, Product, Read, Span, candidates, features, normal
from training.recommend.categories import fit_categories, least_confidence
from training.recommend.texts import clean, items_of

CATEGORY: Final = "category"
LEAST_TOLD: Final = 30  # items that tell an attribute, from which it can be guessed of others
_FOLDS: Final = 5
_PENALTY: Final = 1.0
_MAX_VALUE: Final = 40  # characters of what may be a value
_NOT_SAID: Final = frozenset({"list_price", "withdrawn"})
_SYNONYMS: Final = {"colour": "color"}
_STEPS: Final = 30


@dataclass(frozen=True)
class Guess:
    """A value that a product's own words tell."""

    span: Span
    text: str
    confidence: float


@dataclass(frozen=True)
class Finder:
    """Finds one attribute. Plain data."""

    known: Gazetteer
    weights: np.ndarray  # (1 + features,) the first is the intercept
    mean: np.ndarray  # (features,)
    scale: np.ndarray  # (features,)
    threshold: float  # least confidence of an answer

    def best(self, product: Product) -> Guess | None:
        """The likeliest stretch, however unsure."""
        read = Read.of(product)
        spans = candidates(read, self.known, None)
        if not spans:
            return None
        x = np.array([features(read, span, self.known, None) for span in spans])
        chance = _chance((x - self.mean) / self.scale, self.weights)
        at = int(chance.argmax())
        text = product.title if spans[at].source == TITLE else product.description
        return Guess(spans[at], text[spans[at].start : spans[at].end], float(chance[at]))

    def find(self, product: Product) -> Guess | None:
        """None where it is not sure enough."""
        guess = self.best(product)
        return guess if guess and guess.confidence >= self.threshold else None


def products_of(catalog: pa.Table) -> list[Product]:
    """Rows of a catalogue; what is missing in it is told of no item."""
    items = items_of(catalog)
    columns = {name: catalog[name].to_pylist() if name in catalog.schema.names else [None] * len(items)
               for name in (C.ATTRIBUTES, C.BRAND, C.DESCRIPTION)}  # fmt: skip
    made = []
    for at, item in enumerate(items.ids.tolist()):
        told = _told(columns[C.ATTRIBUTES][at])
        brand = clean(columns[C.BRAND][at] or "")
        made.append(
            Product(
                item,
                items.titles[at],
                clean(columns[C.DESCRIPTION][at] or ""),
                told | ({BRAND: brand} if brand else {}),
            )
        )
    return made


def _told(text: str | None) -> dict[str, str]:
    """Attributes whose value is a short text; what is no JSON object tells none."""
    try:
        told: Any = json.loads(text) if text else {}
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    pairs = {_SYNONYMS.get(str(name).lower(), str(name).lower()): value for name, value in told.items()}
    return {
        name: clean(value) for name, value in pairs.items()
        if name not in _NOT_SAID and isinstance(value, str) and 0 < len(clean(value)) <= _MAX_VALUE
    }  # fmt: skip


def fit_finder(attribute: str, products: Sequence[Product], precision: float) -> Finder:
    """From the products that tell the attribute. Raises TrainingError where fewer than LEAST_TOLD do."""
    reads = [Read.of(one) for one in products]
    at = [place for place, one in enumerate(products) if normal(one.told.get(attribute, ""))]
    if len(at) < LEAST_TOLD:
        raise TrainingError(f"attribute {attribute}: {len(at)} items tell it, {LEAST_TOLD} are needed to guess others")
    train = [products[place] for place in at]
    known = Gazetteer.of(attribute, products, reads)
    x, is_right, owner = _table(train, [reads[place] for place in at], known)
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    x = (x - mean) / scale
    fold = np.array([sum(map(ord, one.item_id)) % _FOLDS for one in train])[owner]
    chance = np.zeros(len(x))
    for number in range(_FOLDS):
        fit, judged = fold != number, fold == number
        if judged.any():
            chance[judged] = _chance(x[judged], fit_logistic(x[fit], is_right[fit]))
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    best = np.array(
        [start + int(chance[start:stop].argmax()) for start, stop in zip(first, [*first[1:], len(owner)], strict=True)]
    )
    threshold = least_confidence(chance[best], is_right[best], precision)
    return Finder(known, fit_logistic(x, is_right), mean, scale, threshold)


def _table(
    train: Sequence[Product], reads: Sequence[Read], known: Gazetteer
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, f) of all stretches, whether each is what the product tells (n,), and whose it is (n,)."""
    rows, is_right, owner = [], [], []
    for at, (product, read) in enumerate(zip(train, reads, strict=True)):
        own = normal(product.told[known.attribute])
        for span in candidates(read, known, own):
            rows.append(features(read, span, known, own))
            is_right.append(span.value == own)
            owner.append(at)
    if not any(is_right):
        raise TrainingError(f"attribute {known.attribute}: no item says it in its own words")
    return np.array(rows), np.array(is_right), np.array(owner)


def fit_logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(1 + f,) weights of rows (n, f) and 0/1 (n,), penalised, by Newton's method; the intercept is free."""
    one = np.column_stack([np.ones(len(x)), x])
    penalty = np.full(one.shape[1], _PENALTY)
    penalty[0] = 1e-6
    weights = np.zeros(one.shape[1])
    for _ in range(_STEPS):
        chance = _chance(x, weights)
        slope = one.T @ (chance - y) + penalty * weights
        curve = (one * (chance * (1 - chance) + 1e-9)[:, None]).T @ one + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights = weights - step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _chance(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(weights[0] + x @ weights[1:], -40, 40))))


def guessed(catalog: pa.Table, precision: float) -> list[dict[str, Any]]:
    """Rows of item_attributes: what the catalogue tells of many items and not of this one, where its words are sure enough."""
    products = products_of(catalog)
    counted = Counter(name for one in products for name in one.told)
    made = []
    for attribute, told in sorted(counted.items()):
        without = [one for one in products if not one.told.get(attribute) and one.title]
        if told < LEAST_TOLD or not without:
            continue
        try:
            finder = fit_finder(attribute, products, precision)
        except TrainingError:  # no item says it in its words: then none of the others will
            continue
        for product in without:
            guess = finder.find(product)
            if guess:
                made.append(
                    {
                        C.ITEM_ID: product.item_id, C.ATTRIBUTE: attribute, C.VALUE: guess.text,
                        C.SOURCE: guess.span.source, C.FIRST_CHARACTER: guess.span.start,
                        C.END_CHARACTER: guess.span.end, C.CONFIDENCE: round(guess.confidence, 6),
                    }
                )  # fmt: skip
    return made + categories_of(catalog, precision)


def categories_of(catalog: pa.Table, precision: float) -> list[dict[str, Any]]:
    """The category of items that have none, from their words alone, where it is sure enough.

    Every fifth item that has one settles how sure is sure enough. Encoders bring little here for what they cost a night
    (`nightmarket evaluate similar`).
    """
    items = items_of(catalog)
    paths = [path or "" for path in catalog[C.CATEGORY_PATH].to_pylist()]
    ids = catalog[C.CATEGORY_ID].to_pylist()
    labels = np.array([path or name or "" for path, name in zip(paths, ids, strict=True)], dtype=str)
    says = np.array([bool(text) for text in items.texts], dtype=bool)
    asked = (labels == "") & says
    if not asked.any():
        return []
    fold = np.array([sum(map(ord, item)) % _FOLDS for item in items.ids.tolist()], dtype=np.int64)
    nothing = np.zeros((len(items), 1), np.float32)
    try:
        model = fit_categories(
            items, nothing, labels, (labels != "") & (fold > 0), (labels != "") & (fold == 0), precision
        )
    except TrainingError:  # fewer than two categories are known well enough
        return []
    guess = model.predict(items.take(asked), nothing[asked])
    lone = items.ids[asked].tolist()
    return [
        {C.ITEM_ID: item, C.ATTRIBUTE: CATEGORY, C.VALUE: label, C.SOURCE: "text", C.CONFIDENCE: round(sure, 6)}
        for item, label, sure in zip(lone, guess.labels.tolist(), guess.confidence.tolist(), strict=True) if label
    ]  # fmt: skip
