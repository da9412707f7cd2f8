"""The category of an item from its title and what else it says: how sure, and nothing where it is not sure enough.

    model = fit_categories(items, vectors, labels, train, valid, precision=0.95)
    guess = model.predict(items, vectors)             # guess.labels "" where the model abstains

Two linear models, one over words and one over an encoder's vectors, are blended by a weight each; the weights, which are
also the temperature, are those of the least log loss on validation items (Guo et al. 2017, arXiv:1706.04599). Categories
with few items are learnt together, as what is none of the others: their chance is taken from the confidence. That is set
right on validation items, too (Platt 1999), and the model abstains below the confidence from which its answers there were
right as often as is wanted.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, logit, logsumexp

from pipelines.core.errors import TrainingError
from training.recommend.texts import Items
from training.recommend.words import Words, split

LEAST_ITEMS: Final = 15  # of a category that is learnt
STRENGTH: Final = {"words": 10.0, "vectors": 3.0}  # inverse of the penalty on weights, for rows of unit length
OTHER: Final = ""  # the category of items of rare categories; sorts before all
NO_ANSWER: Final = 2.0  # a confidence that nothing reaches
_TINY: Final = 1e-9
_FILE: Final = "categories.json"
_ARRAYS: Final = "categories.safetensors"


@dataclass(frozen=True)
class Guess:
    """Of n items."""

    labels: np.ndarray  # (n,) str, "" where the model abstains
    likeliest: np.ndarray  # (n,) str, what it would have said
    confidence: np.ndarray  # (n,) probability of the likeliest


@dataclass(frozen=True)
class Linear:
    """Log probabilities of classes, linear in f features before they are made to sum to 1."""

    weights: np.ndarray  # (classes, f) float32
    bias: np.ndarray  # (classes,) float32

    def __call__(self, x: csr_matrix | np.ndarray) -> np.ndarray:
        score = np.asarray(x @ self.weights.T) + self.bias
        return np.asarray(score - logsumexp(score, axis=1, keepdims=True))


@dataclass(frozen=True)
class Rule:
    """From log probabilities of p models to an answer; settled on validation items."""

    classes: np.ndarray  # (classes,) str, sorted; OTHER first, where rare categories were learnt
    blend: np.ndarray  # (p,) weights of the models, none below 0
    trust: np.ndarray  # (2,) slope and shift of the confidence's log odds
    threshold: float  # least confidence of an answer

    def __call__(self, scores: Sequence[np.ndarray]) -> Guess:
        """p of (n, classes); the likeliest category that is not OTHER."""
        first = int(self.classes[0] == OTHER)
        named = blended(self.blend, scores)[:, first:]
        odds = logit(np.clip(named.max(axis=1), _TINY, 1 - _TINY))
        likeliest, confidence = self.classes[first:][named.argmax(axis=1)], expit(self.trust[0] * odds + self.trust[1])
        return Guess(np.where(confidence >= self.threshold, likeliest, ""), likeliest, confidence)


@dataclass(frozen=True)
class Categories:
    """Plain data: what tells categories apart."""

    words: Words
    by_words: Linear
    by_vectors: Linear
    rule: Rule

    def predict(self, items: Items, vectors: np.ndarray) -> Guess:
        """`vectors`: (n, f) of the encoders that it was fitted with. An item without a word is judged by the categories'
        shares, so hardly ever answered."""
        return self.rule([self.by_words(self.words.rows(words_of(items))), self.by_vectors(vectors)])

    def save(self, folder: Path) -> None:
        """Writes two files into an existing folder."""
        arrays = {"rarity": self.words.rarity, "blend": self.rule.blend, "trust": self.rule.trust}
        for name, part in (("words", self.by_words), ("vectors", self.by_vectors)):
            arrays |= {f"{name}.weights": part.weights, f"{name}.bias": part.bias}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / _ARRAYS)
        told = {
            "classes": self.rule.classes.tolist(),
            "words": list(self.words.places),
            "threshold": self.rule.threshold,
        }
        (folder / _FILE).write_text(json.dumps(told, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "Categories":
        """What `save` wrote. Raises TrainingError where a file is missing or damaged."""
        try:
            told, arrays = json.loads((folder / _FILE).read_text()), load_file(folder / _ARRAYS)
            by_words, by_vectors = (
                Linear(arrays[f"{of}.weights"], arrays[f"{of}.bias"]) for of in ("words", "vectors")
            )
            words = Words({word: at for at, word in enumerate(told["words"])}, arrays["rarity"])
            rule = Rule(np.array(told["classes"]), arrays["blend"], arrays["trust"], float(told["threshold"]))
            return cls(words, by_words, by_vectors, rule)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise TrainingError(f"{folder}: no readable model of categories ({error}); train again") from error


def words_of(items: Items) -> list[list[str]]:
    """Words of the text, and the brand as one word more."""
    rows = zip(items.texts, items.brands.tolist(), strict=True)
    return [[*split(text), *([f"brand {brand}"] if brand else [])] for text, brand in rows]


def fit_categories(
    items: Items, vectors: np.ndarray, labels: np.ndarray, train: np.ndarray, valid: np.ndarray, precision: float = 0.95
) -> Categories:
    """labels: (n,) str, "" where unknown; train, valid: masks (n,); `precision`: how often an answer is to be right.

    Raises TrainingError where fewer than two categories have LEAST_ITEMS items.
    """
    classes, codes = learnt(labels, train)
    told = words_of(items)
    words = Words.fit([told[at] for at in np.flatnonzero(train)], least=2)
    x = words.rows(told)
    by_words = fit_linear(x, codes, train, STRENGTH["words"])
    by_vectors = fit_linear(vectors, codes, train, STRENGTH["vectors"])
    asked = valid & (codes >= 0)
    rule = settled([by_words(x[asked]), by_vectors(vectors[asked])], classes, codes[asked], precision)
    return Categories(words, by_words, by_vectors, rule)


def learnt(labels: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted categories with LEAST_ITEMS training items, and each item's place among them (n,), -1 where it has none.

    OTHER is one of them where enough training items are in rare categories. Raises TrainingError where fewer than two are
    left.
    """
    counted = Counter(labels[train & (labels != "")].tolist())
    kept = sorted(label for label, count in counted.items() if count >= LEAST_ITEMS)
    if len(kept) < 2:
        raise TrainingError(
            f"{len(counted)} categories, of which {len(kept)} have {LEAST_ITEMS} items: two at least are needed"
        )
    has_other = sum(counted.values()) - sum(counted[label] for label in kept) >= LEAST_ITEMS
    classes = np.array([OTHER, *kept] if has_other else kept)
    found = np.where(np.isin(labels, kept), np.searchsorted(classes, labels), 0 if has_other else -1)
    return classes, np.where(labels == "", -1, found)


def fit_linear(x: csr_matrix | np.ndarray, codes: np.ndarray, train: np.ndarray, strength: float) -> Linear:
    """Multinomial logistic regression on the rows of `train` whose code is not -1; each code from 0 on is among them."""
    from sklearn.linear_model import LogisticRegression

    rows = train & (codes >= 0)
    fitted = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(x[rows], codes[rows])
    weights, bias = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # of two classes: told as the odds of the second
        weights, bias = np.vstack([-weights / 2, weights / 2]), np.append(-bias / 2, bias / 2)
    return Linear(weights.astype(np.float32), bias.astype(np.float32))


def blended(blend: np.ndarray, scores: Sequence[np.ndarray]) -> np.ndarray:
    """(n, classes) probabilities from log probabilities of several models."""
    score = np.tensordot(blend, np.stack(scores), axes=1)
    return np.asarray(np.exp(score - logsumexp(score, axis=1, keepdims=True)))


def settled(scores: Sequence[np.ndarray], classes: np.ndarray, target: np.ndarray, precision: float) -> Rule:
    """The rule of the least log loss on n targets (codes), from log probabilities (n, classes) of p models, that answers
    from where `precision` of its answers were right. Equal parts and no answer where there are no targets."""
    start = np.full(len(scores), 1 / len(scores))
    as_it_is = np.array([1.0, 0.0])
    if not len(target):
        return Rule(classes, start, as_it_is, NO_ANSWER)
    stacked = np.stack(scores)

    def loss(logs: np.ndarray) -> float:
        score = np.tensordot(np.exp(logs), stacked, axes=1)
        log_loss = (logsumexp(score, axis=1) - score[np.arange(len(target)), target]).mean()
        return float(log_loss + 1e-4 * (logs**2).sum())  # keeps weights in reach where all is told apart

    found = minimize(loss, np.log(start), method="Nelder-Mead", options={"maxiter": 200, "xatol": 1e-3, "fatol": 1e-6})
    bare = Rule(classes, np.exp(found.x), as_it_is, 0.0)
    guess = bare(scores)
    is_right = guess.likeliest == classes[target]
    trust = _trust(logit(np.clip(guess.confidence, _TINY, 1 - _TINY)), is_right)
    sure = replace(bare, trust=trust)
    return replace(sure, threshold=least_confidence(sure(scores).confidence, is_right, precision))


def _trust(odds: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """(2,) slope, not below 0, and shift of log odds (n,) that tell best what was right; a little drawn to (1, 0)."""

    def loss(at: np.ndarray) -> float:
        odd = np.exp(at[0]) * odds + at[1]
        return float((np.logaddexp(0, odd) - is_right * odd).mean() + 1e-3 * (at**2).sum())

    found = minimize(loss, np.zeros(2), method="BFGS").x
    return np.array([np.exp(found[0]), found[1]])


def least_confidence(confidence: np.ndarray, is_right: np.ndarray, precision: float) -> float:
    """The least confidence from which at least `precision` of n answers were right, one error more counted than there was:
    the next answer may be wrong (as in conformal risk control, Angelopoulos et al. 2022, arXiv:2208.02814). NO_ANSWER
    where there is none.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    n_answers = np.arange(1, len(order) + 1)
    right = 1 - (np.cumsum(~is_right[order]) + 1) / (n_answers + 1)
    is_last = np.append(np.diff(ranked) != 0, True)[: len(order)]  # of answers with equal confidence
    enough = np.flatnonzero((right >= precision) & is_last)
    return float(ranked[enough[-1]]) if len(enough) else NO_ANSWER
