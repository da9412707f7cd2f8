"""Copies of a text that should mean the same: other words, words left out, neighbours swapped. Pure, seeded by its `rng`.

    likes = Thesaurus.learn(texts)                        # no dictionary is on disk: from how the shop's own words are used
    with_likes("the parcel arrived late", likes, 0.3, rng)   # "the package arrived late"
    with_gaps("the parcel arrived late", 0.15, rng)          # "parcel arrived late"

Words that stand among the same words are alike in meaning or its very opposite (Harris 1954): whether such copies teach
anything is measured, not assumed (training/evaluate_few_labels.py).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import svds

_PIECES: Final = re.compile(r"[\u4e00-\u9fff]+|[^\W\d_\u4e00-\u9fff]+(?:['’][^\W\d_]+)?|.", re.DOTALL)
_COMMON: Final = 50  # the most frequent words carry grammar and are never replaced
_LEAST_COUNT: Final = 8  # of a word whose use is known
_MOST_WORDS: Final = 4_000
_WINDOW: Final = 2  # words to each side
_WIDTH: Final = 100
_ALIKE: Final = 0.6  # cosine; a word without one so near stays as it is
_NEAREST: Final = 3
_COHESION: Final = 3.0  # ln of how much oftener than by chance two Chinese characters stand together in a word


@dataclass(frozen=True)
class Thesaurus:
    """Words that are used alike, and the pairs of Chinese characters that are taken for words."""

    likes: dict[str, tuple[str, ...]]
    pairs: frozenset[str]

    @classmethod
    def learn(cls, texts: Sequence[str]) -> "Thesaurus":
        """From some hundred texts at least; fewer teach no likeness, and then nothing is replaced.

        Vectors are the positive pointwise mutual information of words within two words, by singular values (Levy and
        Goldberg 2014).
        """
        pairs = _pairs(texts)
        told = [[word.lower() for word in pieces(text, pairs) if word[0].isalpha()] for text in texts]
        counted = Counter(word for words in told for word in words)
        known = [word for word, count in counted.most_common(_MOST_WORDS) if count >= _LEAST_COUNT]
        if len(known) <= _COMMON + _NEAREST:
            return cls({}, pairs)
        vectors = _vectors(told, {word: at for at, word in enumerate(known)})
        alike = vectors @ vectors.T
        np.fill_diagonal(alike, -1)
        likes = {}
        for at in range(_COMMON, len(known)):
            near = np.argsort(-alike[at], kind="stable")[:_NEAREST]
            found = tuple(known[other] for other in near if alike[at, other] >= _ALIKE and other >= _COMMON)
            if found:
                likes[known[at]] = found
        return cls(likes, pairs)


def pieces(text: str, pairs: frozenset[str] = frozenset()) -> Iterator[str]:
    """A text cut into words and single signs, which joined are the text; Chinese into known pairs and characters."""
    for piece in _PIECES.findall(text):
        if not "\u4e00" <= piece[0] <= "\u9fff":
            yield piece
            continue
        at = 0
        while at < len(piece):
            length = 2 if piece[at : at + 2] in pairs else 1
            yield piece[at : at + length]
            at += length


def with_likes(text: str, thesaurus: Thesaurus, rate: float, rng: np.random.Generator) -> str:
    """Each word is replaced with probability `rate` by one that is used alike, where one is known."""
    made = []
    for word in pieces(text, thesaurus.pairs):
        likes = thesaurus.likes.get(word.lower())
        made.append(str(rng.choice(likes)) if likes and rng.random() < rate else word)
    return "".join(made)


def with_gaps(text: str, rate: float, rng: np.random.Generator, pairs: frozenset[str] = frozenset()) -> str:
    """Each word is left out with probability `rate`; a text of which nothing would be left stays as it is."""
    made = "".join(word for word in pieces(text, pairs) if not word[0].isalnum() or rng.random() >= rate)
    made = re.sub(r"\s+", " ", made).strip()
    return made if any(map(str.isalnum, made)) else text


def with_swaps(text: str, rate: float, rng: np.random.Generator, pairs: frozenset[str] = frozenset()) -> str:
    """Each word changes places with the next with probability `rate`."""
    made = list(pieces(text, pairs))
    words = [at for at, word in enumerate(made) if word[0].isalnum()]
    for left, right in pairwise(words):
        if rng.random() < rate:
            made[left], made[right] = made[right], made[left]
    return "".join(made)


def _pairs(texts: Sequence[str]) -> frozenset[str]:
    """Pairs of Chinese characters that stand together far oftener than their frequency says."""
    runs = [run for text in texts for run in re.findall(r"[\u4e00-\u9fff]+", text)]
    single = Counter(letter for run in runs for letter in run)
    double = Counter(run[at : at + 2] for run in runs for at in range(len(run) - 1))
    total = sum(single.values())
    return frozenset(
        pair
        for pair, count in double.items()
        if count >= _LEAST_COUNT and np.log(count * total / (single[pair[0]] * single[pair[1]])) >= _COHESION
    )


def _vectors(told: Sequence[Sequence[str]], places: dict[str, int]) -> np.ndarray:
    """(words, _WIDTH) of unit length."""
    left: list[int] = []
    right: list[int] = []
    for words in told:
        at = [places.get(word, -1) for word in words]
        for distance in range(1, _WINDOW + 1):
            near = [(one, other) for one, other in zip(at, at[distance:], strict=False) if one >= 0 and other >= 0]
            left += [one for one, _ in near] + [other for _, other in near]
            right += [other for _, other in near] + [one for one, _ in near]
    n = len(places)
    counts = coo_matrix((np.ones(len(left)), (left, right)), shape=(n, n)).tocsr().tocoo()
    total = np.asarray(counts.sum(axis=1)).ravel()
    chance = np.log(counts.data * counts.data.sum() / (total[counts.row] * total[counts.col]))
    mutual = coo_matrix((np.maximum(chance, 0), (counts.row, counts.col)), shape=(n, n)).tocsr()
    u, s, _ = svds(mutual, k=min(_WIDTH, n - 1), v0=np.ones(n))
    vectors = u * np.sqrt(np.maximum(s, 0))
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
