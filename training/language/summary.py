"""Sums up what reviews say, in sentences that customers wrote: for and against, each with who else says the same.

    for pick in summed_up(said, most=3): pick.side, pick.said.sentence, pick.n_said

Nothing is written anew, so nothing can be invented: a sentence is a stretch of one review. Aspects that most reviews praise
or blame come first, and of each the sentence that is nearest to all others about it (centrality as LexRank begins, Erkan and
Radev 2004), less what the summary says already (maximal marginal relevance, Carbonell and Goldstein 1998). The sides share the
places as the reviews do.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from training.language.clauses import words

PRO, CON = "pro", "con"
_AGAIN: Final = 0.5  # weight of what a sentence repeats of those before it
_TWICE: Final = 0.6  # cosine of sentences that say the same
_MOST_READ: Final = 200  # sentences of an aspect that are held against each other, the newest
_WORDS: Final = (4, 22)  # words of a sentence that reads well alone


@dataclass(frozen=True)
class Said:
    """A sentence of a review about one aspect."""

    review_id: str
    user_key: str
    aspect: str
    opinion: int  # -1 or 1
    sentence: str


@dataclass(frozen=True)
class Pick:
    """A sentence of a summary."""

    side: str
    rank: int  # from 1
    said: Said
    n_said: int  # reviews that say the same of its aspect


def summed_up(said: Sequence[Said], most: int) -> list[Pick]:
    """At most `most` sentences for and as many against; the side that fewer reviews take has fewer, one at least."""
    by_side = {PRO: [one for one in said if one.opinion > 0], CON: [one for one in said if one.opinion < 0]}
    reviews = {side: len({one.review_id for one in found}) for side, found in by_side.items()}
    largest = max(reviews.values(), default=0)
    picks: list[Pick] = []
    for side, found in by_side.items():
        if found:
            places = max(1, round(most * reviews[side] / largest))
            picks += _picked(found, side, places)
    return picks


def _picked(said: Sequence[Said], side: str, places: int) -> list[Pick]:
    by_aspect: dict[str, list[Said]] = defaultdict(list)
    for one in said:
        by_aspect[one.aspect].append(one)
    counted = {aspect: len({one.review_id for one in found}) for aspect, found in by_aspect.items()}
    order = sorted(counted, key=lambda aspect: (-counted[aspect], aspect))
    picks: list[Pick] = []
    chosen: list[dict[str, float]] = []
    for aspect in order:
        if len(picks) == places:
            break
        best = _central(by_aspect[aspect][-_MOST_READ:], chosen)
        if best is not None:
            chosen.append(_vector(best.sentence))
            picks.append(Pick(side, len(picks) + 1, best, counted[aspect]))
    return picks


def _central(said: Sequence[Said], chosen: Sequence[dict[str, float]]) -> Said | None:
    """The sentence that stands best for these, beside those that were chosen; None where each repeats one of them."""
    vectors = [_vector(one.sentence) for one in said]
    total: Counter[str] = Counter()
    for vector in vectors:
        total.update(vector)
    best, most = None, -math.inf
    for one, vector in zip(said, vectors, strict=True):
        again = max((cosine(vector, other) for other in chosen), default=0.0)
        if again >= _TWICE:
            continue
        central = sum(value * total[word] for word, value in vector.items()) / len(said)
        score = central * _reads_well(one.sentence) - _AGAIN * again
        if score > most:
            best, most = one, score
    return best


def _reads_well(sentence: str) -> float:
    n_words = len(sentence.split()) if " " in sentence else len(sentence) / 2
    low, high = _WORDS
    return min(1.0, n_words / low) * min(1.0, high / max(n_words, 1))


def _vector(sentence: str) -> dict[str, float]:
    """Words by weight, of length 1."""
    counted = Counter(words(sentence))
    norm = math.sqrt(sum(count**2 for count in counted.values())) or 1.0
    return {word: count / norm for word, count in counted.items()}


def cosine(one: dict[str, float], other: dict[str, float]) -> float:
    """Of two vectors of length 1."""
    return sum(value * other.get(word, 0.0) for word, value in one.items())


def merged(sentences: Iterable[str]) -> list[tuple[str, int]]:
    """Sentences without those that nearly repeat an earlier one, each with how many there were of it, most first."""
    kept: list[tuple[str, dict[str, float], int]] = []
    for sentence in sentences:
        vector = _vector(sentence)
        at = next((n for n, (_, other, _) in enumerate(kept) if cosine(vector, other) >= _TWICE), None)
        if at is None:
            kept.append((sentence, vector, 1))
        else:
            kept[at] = (*kept[at][:2], kept[at][2] + 1)
    return sorted(((sentence, n) for sentence, _, n in kept), key=lambda one: -one[1])
