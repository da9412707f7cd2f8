"""Sessions that resemble the current one vote for what comes next: SKNN, V-SKNN, STAN and VSTAN by one set of settings.

Jannach and Ludewig 2017 (SKNN); Ludewig and Jannach 2018 (V-SKNN); Garg et al. 2019, "Sequence and time aware neighborhood
for session-based recommendations" (STAN); VSTAN joins the two (Ludewig et al. 2021). A neighbour is worth its similarity;
an item of it that times how near it stands to what both have seen, how rare it is, and how new the shared click is.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from training.recommend.session_data import Pasts, Sequences, blocks, spans

DAY_S: Final = 86_400.0


@dataclass(frozen=True)
class Decay:
    """A weight that falls with the steps back from now: exp(-steps / scale), or 1 / log10(steps + 1.7), or 1 / (1 + steps)^2."""

    kind: Literal["same", "exp", "log", "quadratic"] = "same"
    scale: float = 1.0  # of exp, in steps

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        if self.kind == "exp":
            return np.exp(-steps / self.scale)
        if self.kind == "log":
            return 1 / np.log10(steps + 1.7)
        return (1.0 + steps) ** (-2.0 if self.kind == "quadratic" else 0.0)


@dataclass(frozen=True)
class Neighbours:
    """How neighbours are found and what they say."""

    k: int  # neighbours that vote
    sample: int  # newest sessions that share an item, from which they are taken
    similarity: Literal["dot", "cosine", "jaccard"] = "dot"
    click: Decay = Decay()  # weight of a click of the current session in the similarity
    match: Decay = Decay()  # weight of a neighbour by the newest click of the current session that it shares
    age_days: float | None = None  # a neighbour's weight falls by e in so many days
    near: float | None = None  # ... an item's, in so many steps from the neighbour's last shared item
    idf: float = 0.0  # how much more a rare item counts: 1 + idf * ln(sessions / clicks of it)


# As the peers tuned them on the validation day (V-SKNN, STAN and VSTAN for MRR@20), or published (SKNN).
SKNN: Final = Neighbours(k=500, sample=10_000, similarity="jaccard")
VSKNN: Final = Neighbours(k=500, sample=5_000, click=Decay("log"), match=Decay("quadratic"), idf=5.0)
STAN: Final = Neighbours(k=1_000, sample=1_000, similarity="cosine", click=Decay("exp", 0.5), age_days=5.0, near=8.0)
VSTAN: Final = Neighbours(
    k=2_000, sample=2_500, similarity="cosine", click=Decay("exp", 8.0), match=Decay("exp", 0.5), age_days=10.0, near=8.0,
    idf=2.0,
)  # fmt: skip


@dataclass(frozen=True)
class SessionKnn:
    """Past sessions, oldest first, by item and by session."""

    how: Neighbours
    n_items: int
    ends: np.ndarray  # (m,) seconds, ascending
    sizes: np.ndarray  # (m,) distinct items
    rarity: np.ndarray  # (n_items,) factor of an item's votes
    by_session: tuple[np.ndarray, np.ndarray, np.ndarray]  # start (m + 1,), item, place of its last click (from 0)
    by_item: tuple[np.ndarray, np.ndarray, np.ndarray]  # start (n_items + 1,), session (ascending), place

    @classmethod
    def fit(cls, told: Sequences, how: Neighbours) -> "SessionKnn":
        age = np.argsort(np.argsort(told.ends, kind="stable"), kind="stable")  # a session's place, oldest first
        session = age[told.session]
        place = np.arange(len(told.item)) - told.start[told.session]
        order = np.lexsort((place, told.item, session))
        last = order[np.append(np.diff(session[order] * told.n_items + told.item[order]) != 0, True)[: len(order)]]
        owner, item, place = session[last], told.item[last], place[last]
        turned = np.argsort(item, kind="stable")
        clicks = np.bincount(told.item, minlength=told.n_items)
        return cls(
            how, told.n_items, np.sort(told.ends, kind="stable"), np.bincount(owner, minlength=len(told)),
            1 + how.idf * np.log(max(1, len(told)) / np.maximum(clicks, 1)),
            (_starts(owner, len(told)), item, place), (_starts(item, told.n_items), owner[turned], place[turned]),
        )  # fmt: skip

    def scores(self, told: Sequences, asked: np.ndarray) -> np.ndarray:
        """(q, n_items) of what follows each asked event (q,)."""
        found = np.zeros((len(asked), self.n_items))
        for part in blocks(len(asked), max(len(self.ends), self.n_items)):
            found[part] = self._vote(told, asked[part])
        return found

    def _vote(self, told: Sequences, asked: np.ndarray) -> np.ndarray:
        query, session, weight, last = self._neighbours(told, asked)
        start, item, place = self.by_session
        pair, at = spans(start[session], start[session + 1])
        votes = weight[pair] * self.rarity[item[at]]
        if self.how.near is not None:
            votes = votes * np.exp(-np.abs(place[at] - last[pair]) / self.how.near)
        key = query[pair] * self.n_items + item[at]
        summed = np.bincount(key, weights=votes, minlength=len(asked) * self.n_items)
        return summed.reshape(len(asked), self.n_items)

    def _neighbours(self, told: Sequences, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of a query and a neighbour: query, session, weight of its votes, place of its last shared item."""
        past = Pasts.of(told, asked).last_of_each(told.item, self.n_items)
        start, owner, place = self.by_item
        item = told.item[past.event]
        shared, at = spans(start[item], start[item + 1])
        key = past.query[shared] * len(self.ends) + owner[at]
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.diff(key[order], prepend=-1))
        if not len(first):
            return (np.zeros(0, dtype=np.int64),) * 2 + (np.zeros(0),) * 2
        query, session = np.divmod(key[order][first], len(self.ends))
        click, back = self.how.click(past.back), past.back[shared]
        weight = np.add.reduceat(click[shared][order], first)
        newest, last = np.minimum.reduceat(back[order], first), np.maximum.reduceat(place[at][order], first)
        if self.how.similarity == "cosine":
            norm = np.bincount(past.query, weights=click**2, minlength=len(asked))
            weight = weight / np.sqrt(norm[query] * self.sizes[session])
        elif self.how.similarity == "jaccard":
            n_own = np.bincount(past.query, minlength=len(asked))
            weight = weight / (n_own[query] + self.sizes[session] - weight)
        recent = _from_end(query) < self.how.sample  # sessions are in the order of time within a query
        query, session, weight, newest, last = (one[recent] for one in (query, session, weight, newest, last))
        if self.how.age_days is not None:
            age = told.seconds[asked][query] - self.ends[session]
            weight = weight * np.exp(-age / (self.how.age_days * DAY_S))
        likest = np.lexsort((session, weight, query))
        likest = likest[_from_end(query[likest]) < self.how.k]
        return query[likest], session[likest], weight[likest] * self.how.match(newest[likest]), last[likest]


def _starts(code: np.ndarray, n: int) -> np.ndarray:
    """(n + 1,) where each of 0..n-1 begins among sorted or counted codes."""
    return np.append(0, np.cumsum(np.bincount(code, minlength=n)))


def _from_end(code: np.ndarray) -> np.ndarray:
    """(n,) how many of the same code stand behind each; codes are sorted."""
    return np.searchsorted(code, code, side="right") - 1 - np.arange(len(code))
