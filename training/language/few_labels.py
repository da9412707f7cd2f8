"""Learning from few labels: a linear model over words and vectors, and the ways to make more of the same labels.

    model = fit(rows.take(labelled), codes[labelled], n_classes)
    model.chances(rows)                                            # (n, n_classes)
    learn("pseudo-labels", pool, labelled, rng).chances(judged)

What each way brings at 50, 200 and 1,000 labels is measured by `nightmarket evaluate few-labels`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from scipy.sparse import csr_matrix, diags, vstack

WORD_STRENGTH, VECTOR_STRENGTH = 30.0, 0.1  # inverse penalties; rows of words have length 1, vectors are standardised
SURE: Final = 0.9  # chance from which a model's own answer is taken for a label
_ROUNDS: Final = 2
_OWN_WEIGHT: Final = 0.3  # of a label that a model gave, beside a person's
_MIXES: Final = 2  # per label
_BETA: Final = 0.4
_HIDDEN, _STEPS, _RATE, _DECAY = 64, 200, 3e-3, 1e-2


@dataclass(frozen=True)
class Rows:
    """n texts as models read them."""

    words: csr_matrix  # (n, terms), of unit length
    vectors: np.ndarray  # (n, width) float32, standardised

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, where: np.ndarray) -> "Rows":
        return Rows(self.words[where], self.vectors[where])

    def beside(self, other: "Rows") -> "Rows":
        """These, then those."""
        return Rows(vstack([self.words, other.words]).tocsr(), np.concatenate([self.vectors, other.vectors]))


class Model(Protocol):
    def chances(self, rows: Rows) -> np.ndarray:
        """(n, n_classes) float64, rows add up to 1."""


@dataclass(frozen=True)
class Linear:
    """Logistic regression over words and over vectors, their log chances averaged."""

    heads: tuple[Any, Any]  # of scikit-learn
    seen: np.ndarray  # codes that were learnt
    n_classes: int

    def chances(self, rows: Rows) -> np.ndarray:
        logs = (self.heads[0].predict_log_proba(rows.words) + self.heads[1].predict_log_proba(rows.vectors)) / 2
        return _spread(logs, self.seen, self.n_classes)


@dataclass(frozen=True)
class Certain:
    """All labels were one class."""

    code: int
    n_classes: int

    def chances(self, rows: Rows) -> np.ndarray:
        return np.eye(self.n_classes)[np.full(len(rows), self.code)]


def fit(rows: Rows, codes: np.ndarray, n_classes: int, weight: np.ndarray | None = None) -> Model:
    """codes (n,) int below n_classes; weight (n,) of each row, 1 by default. Classes without a row get no chance."""
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(codes)
    if len(seen) == 1:
        return Certain(int(seen[0]), n_classes)
    by_words = LogisticRegression(C=WORD_STRENGTH, max_iter=100, tol=1e-2).fit(rows.words, codes, weight)
    by_vectors = LogisticRegression(C=VECTOR_STRENGTH, max_iter=100, tol=1e-2).fit(rows.vectors, codes, weight)
    return Linear((by_words, by_vectors), seen, n_classes)


@dataclass(frozen=True)
class Pool:
    """n texts of which some have a label, and what else a way to learn may use."""

    rows: Rows
    codes: np.ndarray  # (n,) int; only those of labelled rows are looked at
    n_classes: int
    copies: Mapping[str, Rows] = field(default_factory=dict)  # by way: a changed copy of each text
    other: tuple[np.ndarray, np.ndarray] | None = None  # vectors (m, width) and codes (m,) of another task


PSEUDO, MIXED, NETWORK, TASKS = "pseudo-labels", "mixed rows", "network", "network of two tasks"


def learn(way: str, pool: Pool, labelled: np.ndarray, rng: np.random.Generator) -> Model:
    """By one way, from labels of the rows `labelled` (k,): "" as they are, a name of `pool.copies`, or one of the above."""
    rows, codes = pool.rows.take(labelled), pool.codes[labelled]
    if way in pool.copies:
        return fit(rows.beside(pool.copies[way].take(labelled)), np.tile(codes, 2), pool.n_classes)
    if way == PSEUDO:
        return _taught_by_itself(pool, rows, codes, labelled)
    if way == MIXED:
        return _mixed(rows, codes, pool.n_classes, rng)
    if way in (NETWORK, TASKS):
        return _network(rows, codes, pool.n_classes, pool.other if way == TASKS else None, int(rng.integers(2**31)))
    return fit(rows, codes, pool.n_classes)


def _taught_by_itself(pool: Pool, rows: Rows, codes: np.ndarray, labelled: np.ndarray) -> Model:
    """Self-training (Yarowsky 1995): what the model is sure of becomes a label, of less weight, twice."""
    model = fit(rows, codes, pool.n_classes)
    rest = np.setdiff1d(np.arange(len(pool.rows)), labelled)
    for _ in range(_ROUNDS):
        chances = model.chances(pool.rows.take(rest))
        sure = chances.max(axis=1) >= SURE
        if not sure.any():
            break
        weight = np.concatenate([np.ones(len(codes)), np.full(sure.sum(), _OWN_WEIGHT)])
        own = chances[sure].argmax(axis=1)
        model = fit(
            rows.beside(pool.rows.take(rest[sure])), np.concatenate([codes, own]), pool.n_classes, weight=weight
        )
    return model


def _mixed(rows: Rows, codes: np.ndarray, n_classes: int, rng: np.random.Generator) -> Model:
    """Mixup (Zhang et al. 2018): a weighted mean of two rows has both labels, by the same weights."""
    n = len(rows) * _MIXES
    left, right, share = rng.integers(len(rows), size=n), rng.integers(len(rows), size=n), rng.beta(_BETA, _BETA, n)
    one, two = rows.take(left), rows.take(right)
    words = diags(share) @ one.words + diags(1 - share) @ two.words
    between = share[:, None] * one.vectors + (1 - share[:, None]) * two.vectors
    mixes = Rows(csr_matrix(words), between.astype(np.float32))
    weight = np.concatenate([np.ones(len(rows)), share, 1 - share])
    return fit(
        rows.beside(mixes).beside(mixes), np.concatenate([codes, codes[left], codes[right]]), n_classes, weight=weight
    )


@dataclass(frozen=True)
class _Network:
    """Words by logistic regression, vectors by a network; log chances averaged."""

    words: Any
    hidden: tuple[np.ndarray, np.ndarray]
    head: tuple[np.ndarray, np.ndarray]
    seen: np.ndarray
    n_classes: int

    def chances(self, rows: Rows) -> np.ndarray:
        inner = np.maximum(rows.vectors @ self.hidden[0].T + self.hidden[1], 0)
        logits = inner @ self.head[0].T + self.head[1]
        logits = logits - logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return _spread((logs + self.words.predict_log_proba(rows.words)) / 2, self.seen, self.n_classes)


def _network(
    rows: Rows, codes: np.ndarray, n_classes: int, other: tuple[np.ndarray, np.ndarray] | None, seed: int
) -> Model:
    """One hidden layer over vectors, shared with another task where one is given (Caruana 1997), a head for each."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from torch import nn

    seen, inner = np.unique(codes, return_inverse=True)
    if len(seen) == 1:
        return Certain(int(seen[0]), n_classes)
    torch.manual_seed(seed)
    hidden, drop = nn.Linear(rows.vectors.shape[1], _HIDDEN), nn.Dropout(0.3)
    tasks = [(torch.from_numpy(rows.vectors), torch.from_numpy(inner), nn.Linear(_HIDDEN, len(seen)))]
    if other is not None:
        vectors, labels = other
        tasks.append((torch.from_numpy(vectors), torch.from_numpy(labels), nn.Linear(_HIDDEN, int(labels.max()) + 1)))
    parts = [hidden, *(head for _, _, head in tasks)]
    steps = torch.optim.AdamW([value for part in parts for value in part.parameters()], lr=_RATE, weight_decay=_DECAY)
    for _ in range(_STEPS):
        losses = [
            nn.functional.cross_entropy(head(drop(torch.relu(hidden(drop(x))))), target) for x, target, head in tasks
        ]
        steps.zero_grad()
        torch.stack(losses).sum().backward()
        steps.step()
    of_layer = [(part.weight.detach().numpy(), part.bias.detach().numpy()) for part in (hidden, tasks[0][2])]
    words = LogisticRegression(C=WORD_STRENGTH, max_iter=100, tol=1e-2).fit(rows.words, codes)
    return _Network(words, of_layer[0], of_layer[1], seen, n_classes)


def _spread(logs: np.ndarray, seen: np.ndarray, n_classes: int) -> np.ndarray:
    """Chances of all classes from log chances (n, seen) that need not add up to 1."""
    told = np.exp(logs - logs.max(axis=1, keepdims=True))
    found = np.zeros((len(logs), n_classes))
    found[:, seen] = told / told.sum(axis=1, keepdims=True)
    return found
