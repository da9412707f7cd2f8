"""What reviews tell of, aspect by aspect, and whether they praise or blame it.

    ears = Ears.fit(texts, positive)                # positive: (n,) 1, 0, NaN where nobody told
    for mention in ears.hear("Lovely lamp, but it came late."): mention.aspect, mention.score

Aspects start from words that any shop's customers use and grow by words that stand in the same clauses far more often than
elsewhere; what many clauses tell of that is no known aspect becomes a topic, named by its words. Both are settled by log
odds with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008, equation 22), whose z says how sure they are. How a word
judges is learnt the same way from reviews with few and with many stars; the seeds are its prior.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from training.language.aspect_words import ASPECTS, BAD, GOOD, STOP, STOP_ZH, pair
from training.language.clauses import NOT, Clause, bare, clauses, is_latin, words
from training.recommend.words import split

OTHER: Final = "in general"  # what is said of no aspect, where a review says nothing else
_SURE: Final = 3.0  # z from which a word belongs
_LEAST: Final = 8  # clauses that hold it
_GROWN: Final = 12  # words that an aspect grows by at most
_LEAST_SHARE: Final = 0.01  # of the clauses without an aspect that a topic has at least
_TOPIC_WORDS: Final = 3
_PRIOR: Final = 4.0  # reviews that any word is thought to have been in, good and bad as all are
_SEED_ODDS: Final = 2.0  # log odds of a seed in what it is thought to have been in
_PRIOR_WORDS: Final = 500.0  # of the prior on how often words stand somewhere
_JUDGES: Final = 1.2  # log odds from which a word judges and names nothing
_PARTICLES: Final = "的了是我你他她很太也都就在和与着"  # no Chinese name of a thing holds one
_NEUTRAL: Final = 0.25  # a score nearer to 0 judges nothing
_STARS: Final = 0.35  # what a whole review's stars add to the score of its clauses
Judge = Callable[[Sequence[str]], np.ndarray]  # clauses -> (n,) probability that each praises


@dataclass(frozen=True)
class Mention:
    """One clause about one aspect."""

    aspect: str
    clause: Clause
    score: float  # below 0 blames, above praises

    @property
    def opinion(self) -> int:
        """-1, 0 or 1."""
        return 0 if abs(self.score) < _NEUTRAL else 1 if self.score > 0 else -1


@dataclass(frozen=True)
class Ears:
    """What a shop's reviews are heard with. Plain data."""

    aspects: dict[str, tuple[str, ...]]  # name -> words, as `words` makes them, without marks of denial
    weights: dict[str, float]  # word -> how much it praises, below 0 blames
    topics: tuple[str, ...] = ()  # those of the aspects that were found in the shop's own words
    judge: Judge | None = field(default=None, compare=False)  # in place of the weights

    @cached_property
    def _aspect_of(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = defaultdict(list)
        for aspect, told in self.aspects.items():
            for word in told:
                found[word].append(aspect)
        return {word: tuple(names) for word, names in found.items()}

    @classmethod
    def seeded(cls) -> "Ears":
        """Without any review: what the seeds alone hear."""
        weights = {word: float(sign) for sign, text in ((1, GOOD), (-1, BAD)) for word in _seeds(text)}
        return cls({name: _seeds(text) for name, text in ASPECTS.items()}, weights)

    @classmethod
    def fit(cls, texts: Sequence[str], positive: np.ndarray, n_topics: int = 4) -> "Ears":
        """From n texts. `positive` (n,): 1 where a review praises, 0 where it blames, NaN where that is not known."""
        told = [[words(clause.text) for clause in clauses(text)] for text in texts]
        seeded = cls.seeded()
        weights = _weights(told, positive, seeded.weights)
        grown = _grown([clause for review in told for clause in review], seeded, weights)
        heard = cls(grown, weights)
        silent = [clause for review in told for clause in review if not heard.aspects_of(clause)]
        topics = _topics(silent, [clause for review in told for clause in review], weights, n_topics)
        return cls({**grown, **topics}, weights, tuple(topics))

    def aspects_of(self, told: Iterable[str]) -> list[str]:
        """Of the words of one clause; the aspect with most of them first."""
        counted = Counter(name for word in told for name in self._names(bare(word)))
        return [name for name, _ in sorted(counted.items(), key=lambda one: (-one[1], one[0]))]

    def _names(self, word: str) -> tuple[str, ...]:
        return self._aspect_of.get(word, ())

    def score(self, told: Sequence[str]) -> float:
        """How much the words of one clause praise, below 0 blame: log odds, drawn together."""
        found = [self._weight(word) for word in told]
        return float(np.tanh(sum(found) / 2)) if found else 0.0

    def _weight(self, word: str) -> float:
        if word in self.weights:
            return self.weights[word]
        return -0.8 * self.weights.get(bare(word), 0.0) if word.startswith(NOT) else 0.0

    def hear(self, text: str, stars: float = float("nan")) -> list[Mention]:
        """What one review says; OTHER alone where it is of no aspect. `stars`: -1 worst to 1 best, NaN where none are told."""
        return self.hear_all([text], np.array([stars]))[0]

    def hear_all(self, texts: Sequence[str], stars: np.ndarray) -> list[list[Mention]]:
        """Of n reviews with stars (n,). The judge, where there is one, reads every different clause once."""
        parts = [clauses(text) for text in texts]
        told = {clause.text: words(clause.text) for review in parts for clause in review}
        if self.judge is None:
            score = {text: self.score(heard) for text, heard in told.items()}
        else:
            chance = self.judge(list(told)) if told else np.zeros(0)
            score = dict(zip(told, (2 * chance - 1).tolist(), strict=True))
        prior = _STARS * np.nan_to_num(stars)
        return [self._mentions(review, told, score, lift) for review, lift in zip(parts, prior.tolist(), strict=True)]

    def _mentions(
        self, review: Sequence[Clause], told: dict[str, list[str]], score: dict[str, float], lift: float
    ) -> list[Mention]:
        found = [
            Mention(aspect, clause, score[clause.text] + lift)
            for clause in review
            for aspect in self.aspects_of(told[clause.text])[:2]
        ]
        return found or [Mention(OTHER, clause, score[clause.text] + lift) for clause in review]


def _seeds(text: str) -> tuple[str, ...]:
    """English words without a plural's s; of Chinese words longer than three characters their runs of three."""
    english, chinese = pair(text)
    made = [part for word in english for part in split(word)]
    for word in chinese:
        made += [word] if len(word) <= 3 else [word[at : at + 3] for at in range(len(word) - 2)]
    return tuple(dict.fromkeys(made))


def log_odds(here: np.ndarray, there: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log odds ratio (w,) of words in one corpus over another and its z, from counts (w,) and prior counts (w,)
    (Monroe, Colaresi and Quinn 2008, equations 16 and 20)."""
    total = prior.sum()
    one, other = here + prior, there + prior
    ratio = np.log(one / (here.sum() + total - one)) - np.log(other / (there.sum() + total - other))
    return ratio, ratio / np.sqrt(1 / one + 1 / other)


def _weights(
    told: Sequence[Sequence[Sequence[str]]], positive: np.ndarray, seeds: dict[str, float]
) -> dict[str, float]:
    """Log odds of each word in reviews that praise over those that blame, drawn to 0 the more the rarer it is."""
    counts = {True: Counter[str](), False: Counter[str]()}
    sizes = Counter[bool]()
    for review, label in zip(told, positive.tolist(), strict=True):
        if label == label:
            found = {word for clause in review for word in clause}
            counts[label > 0.5].update(found)
            sizes[label > 0.5] += 1
    counted = counts[True] + counts[False]
    # One Chinese character is in the longer runs that hold it: it is weighed where a seed says that it judges.
    often = {word for word, n in counted.items() if n >= 5 and (len(bare(word)) > 1 or is_latin([word]))}
    kept = sorted({*seeds, *often})
    good, bad = (np.array([counts[label][word] for word in kept], float) for label in (True, False))
    seed = np.array([seeds.get(word, 0.0) for word in kept]) * _SEED_ODDS / 2
    n_good, n_bad = sizes[True] + 1.0, sizes[False] + 1.0
    all_told = n_good + n_bad
    ratio = np.log((good + _PRIOR * n_good / all_told * np.exp(seed)) / n_good)
    ratio -= np.log((bad + _PRIOR * n_bad / all_told * np.exp(-seed)) / n_bad)
    return {word: float(value) for word, value in zip(kept, ratio, strict=True) if abs(value) > 0.05}


def _grown(told: Sequence[Sequence[str]], seeded: Ears, weights: dict[str, float]) -> dict[str, tuple[str, ...]]:
    """The aspects and what stands beside their words: not where a word judges rather than names, nor in two of them."""
    everywhere = Counter(bare(word) for clause in told for word in set(clause))
    kept = sorted(word for word, count in everywhere.items() if count >= _LEAST and not _says_nothing(word))
    place = {word: at for at, word in enumerate(kept)}
    total = np.array([everywhere[word] for word in kept], float)
    beside: dict[str, np.ndarray] = {name: np.zeros(len(kept)) for name in seeded.aspects}
    for clause in told:
        for name in seeded.aspects_of(clause):
            for word in set(map(bare, clause)):
                if word in place:
                    beside[name][place[word]] += 1
    if not kept:
        return dict(seeded.aspects)
    z = np.stack(
        [log_odds(counts, total - counts, _PRIOR_WORDS * total / total.sum())[1] for counts in beside.values()]
    )
    share = np.stack(list(beside.values())) / total
    known = {word for names in seeded.aspects.values() for word in names}
    grown = dict(seeded.aspects)
    for at, name in enumerate(beside):
        sure = [
            kept[w] for w in np.argsort(-z[at], kind="stable")[:200]
            if z[at, w] > _SURE and share[at, w] > 0.5 and z[:, w].argmax() == at
            and kept[w] not in known and abs(weights.get(kept[w], 0.0)) < _JUDGES
        ]  # fmt: skip
        grown[name] = (*grown[name], *_whole(sure, grown[name], everywhere)[:_GROWN])
    return grown


def _whole(found: Sequence[str], known: Sequence[str], everywhere: Mapping[str, int]) -> list[str]:
    """Without runs of Chinese characters that hold or cut a word: those that nearly always stand in one longer run, and
    those that share a character with a word that is taken."""
    made: list[str] = []
    for word in found:
        if is_latin([word]):
            made.append(word)
        elif not any(set(word) & set(one) for one in (*known, *made)):
            longer = max((everywhere[one] for one in found if word in one and one != word), default=0)
            if longer < 0.7 * everywhere[word]:
                made.append(word)
    return made


def _says_nothing(word: str) -> bool:
    """Whether it can be no name of anything: a filler, a number, one Chinese character."""
    is_short = len(word) == 1 and not is_latin([word])
    return is_short or word in STOP or word in STOP_ZH or word.isdigit() or any(one in _PARTICLES for one in word)


def _topics(
    silent: Sequence[Sequence[str]], told: Sequence[Sequence[str]], weights: dict[str, float], most: int
) -> dict[str, tuple[str, ...]]:
    """Words of clauses without an aspect that stand there more often than in all, put together where they meet."""
    bags = [{bare(word) for word in clause if not _says_nothing(bare(word))} for clause in silent]
    here = Counter(word for bag in bags for word in bag)
    everywhere = Counter(bare(word) for clause in told for word in set(clause))
    least = max(_LEAST, round(_LEAST_SHARE * len(silent)))
    kept = sorted(word for word, count in everywhere.items() if count >= _LEAST and not _says_nothing(word))
    if not kept or not most:
        return {}
    counts = np.array([here[word] for word in kept], float)
    total = np.array([everywhere[word] for word in kept], float)
    z = log_odds(counts, total - counts, _PRIOR_WORDS * total / total.sum())[1]
    # A word that only judges names nothing: what is praised and blamed alike does.
    names = [
        kept[at] for at in np.argsort(-z * np.sqrt(counts), kind="stable")
        if z[at] > _SURE and abs(weights.get(kept[at], 0.0)) < _JUDGES
    ]  # fmt: skip
    names = _whole(names, (), everywhere)
    found: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    for first in (word for word in names if here[word] >= least):
        if len(found) == most:
            break
        if first in taken:
            continue
        beside = Counter(word for bag in bags if first in bag for word in bag)
        joined = [
            word for word in names
            if word not in taken and word != first and beside[word] >= 0.3 * min(here[word], here[first])
        ][: _TOPIC_WORDS - 1]  # fmt: skip
        group = (first, *joined)
        taken |= set(group)
        if joined:  # one word alone is no topic yet
            found[f"topic: {', '.join(group)}"] = group
    return found
