"""The models of sessions joined: gradient boosting orders the items that the best two of them put first.

LambdaMART (Burges 2010) over what each model says of an item, how long ago the session touched it, and how often items
follow one another and themselves. It is fitted on the sessions of a day that the models have not seen; then the models
are fitted again with that day. Items that are no candidates stand behind, in the order of the two models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import lightgbm
import numpy as np
from scipy.sparse import csr_matrix

from training.boosting import Data, fit_boosted
from training.recommend.sequence import SequenceSettings, fit_sequence
from training.recommend.session_data import Pasts, Sequences, blocks
from training.recommend.session_knn import DAY_S, SKNN, VSKNN, VSTAN, SessionKnn
from training.recommend.session_linear import fit_following, fit_together
from training.recommend.session_rules import fit_association, fit_sequential, followers
from training.task import Fitting

CANDIDATES: Final = 40  # items of a list that are put in order; the next one is among them as often as among all 100
FIRST: Final = ("sequence", "VSTAN")  # whose joint order names the candidates
ROUNDS: Final = 300
_TINY: Final = 1e-4  # chance that an item has of which a model says nothing
_DAMPING: Final = 5.0  # events that a count of what followed is drawn towards 0 by
_LONG_AGO: Final = 99  # steps since an item that the session has not touched


class Scorer(Protocol):
    def scores(self, told: Sequences, asked: np.ndarray) -> np.ndarray:
        """(q, n_items), at least 0, higher is likelier to follow each asked event (q,)."""
        ...


@dataclass(frozen=True)
class Facts:
    """Counts of the training sessions."""

    followed: csr_matrix  # (n_items, n_items) how often the column came right after the row
    events: np.ndarray  # (n_items,) with a successor
    popularity: np.ndarray  # (n_items,) log of the share of all events
    trend: np.ndarray  # (n_items,) log of the share of the last day's over that

    @classmethod
    def of(cls, told: Sequences) -> "Facts":
        followed = followers(told, 1, power=0.0)
        counts = np.bincount(told.item, minlength=told.n_items) + 1.0
        newest = told.seconds > told.seconds.max() - DAY_S
        recent = np.bincount(told.item[newest], minlength=told.n_items) + 1.0
        popularity = np.log(counts / counts.sum())
        events = np.asarray(followed.sum(axis=1)).ravel()
        return cls(followed, events, popularity, np.log(recent / recent.sum()) - popularity)

    def features(self, told: Sequences, asked: np.ndarray, row: np.ndarray, item: np.ndarray) -> dict[str, np.ndarray]:
        """Each (r,): of a candidate item for a query (place in `asked`)."""
        last, past = told.item[asked], Pasts.of(told, asked)
        newest = past.last_of_each(told.item, told.n_items)
        width = told.n_items
        steps = _looked_up(newest.query * width + told.item[newest.event], newest.back, row * width + item, _LONG_AGO)
        size = np.bincount(past.query, minlength=len(asked))
        has_two = size > 1
        gap = np.where(has_two, told.seconds[asked] - told.seconds[np.maximum(asked - 1, 0)], 0.0)
        counts = csr_matrix((np.ones(len(past.query)), (past.query, told.item[past.event])), shape=(len(asked), width))
        again = (self.followed.diagonal() + 1) / (self.events + _DAMPING)
        return {
            "steps_back": steps,
            "n_touched": np.asarray(counts[row, item]).ravel(),
            "share_after_last": np.asarray(self.followed[last[row], item]).ravel()
            / (self.events[last[row]] + _DAMPING),
            "n_after_last": self.events[last[row]],
            "again": again[item],
            "last_again": again[last[row]],
            "popularity": self.popularity[item],
            "trend": self.trend[item],
            "n_events": size[row],
            "gap": np.log1p(np.maximum(gap, 0))[row],
        }


@dataclass(frozen=True)
class Members:
    """Fitted models by name, FIRST among them."""

    models: Mapping[str, Scorer]
    facts: Facts

    def scores(self, told: Sequences, asked: np.ndarray) -> dict[str, np.ndarray]:
        return {name: model.scores(told, asked) for name, model in self.models.items()}

    def candidates(
        self, told: Sequences, asked: np.ndarray, scores: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The joint score of FIRST (q, n_items), the places of the best (q, c), and their features (q * c, f)."""
        chance = {name: _log_chance(score) for name, score in scores.items()}
        joint = sum((chance[name] for name in FIRST), np.zeros((len(asked), told.n_items)))
        best = np.argsort(-joint, axis=1, kind="stable")[:, :CANDIDATES]
        row = np.repeat(np.arange(len(asked)), best.shape[1])
        told_of = {name: one[row, best.ravel()] for name, one in chance.items()}
        told_of |= self.facts.features(told, asked, row, best.ravel())
        return joint, best, np.stack([np.asarray(one, dtype=np.float64) for one in told_of.values()], axis=1)


@dataclass(frozen=True)
class Blend:
    """What joins the members."""

    members: Members
    ranker: lightgbm.Booster

    def scores(self, told: Sequences, asked: np.ndarray) -> np.ndarray:
        """(q, n_items) that order the items which may follow each asked event (q,)."""
        found = np.zeros((len(asked), told.n_items))
        for part in blocks(len(asked), told.n_items):
            found[part] = self.join(told, asked[part], self.members.scores(told, asked[part]))
        return found

    def join(self, told: Sequences, asked: np.ndarray, scores: Mapping[str, np.ndarray]) -> np.ndarray:
        """The same from the members' scores of these events."""
        if not len(asked):
            return np.zeros((0, told.n_items))
        joint, best, x = self.members.candidates(told, asked, scores)
        put = np.asarray(self.ranker.predict(x)).reshape(best.shape)
        behind = joint - joint.max(axis=1, keepdims=True) + put.min(axis=1, keepdims=True) - 1
        np.put_along_axis(behind, best, put, axis=1)
        return behind


def fit_members(told: Sequences, how: SequenceSettings, work: Path) -> Members:
    """Everything that can be learnt from the sessions alone. Raises TrainingError where no event follows another."""
    neighbours = {"SKNN": SKNN, "V-SKNN": VSKNN, "VSTAN": VSTAN}
    models: dict[str, Scorer] = {
        "sequence": fit_sequence(told, how, work),
        **{name: SessionKnn.fit(told, settings) for name, settings in neighbours.items()},
        "SLIS": fit_together(told),
        "SLIT": fit_following(told),
        "SR": fit_sequential(told),
        "AR": fit_association(told),
    }
    return Members(models, Facts.of(told))


def fit_blend(members: Members, later: Sequences, how: Fitting) -> lightgbm.Booster:
    """The ranker, from sessions that the members have not seen. Events whose next item is no candidate teach nothing."""
    asked = later.followed
    target = later.item[asked + 1]
    x, y, group = [], [], []
    for part in blocks(len(asked), later.n_items):
        scores = members.scores(later, asked[part])
        _, best, told = members.candidates(later, asked[part], scores)
        is_next = best == target[part][:, None]
        kept = is_next.any(axis=1)
        x.append(told.reshape(*best.shape, -1)[kept].reshape(-1, told.shape[1]).astype(np.float32))
        y.append(is_next[kept].ravel().astype(np.float64))
        group.append(np.full(kept.sum(), best.shape[1]))
    data = Data(np.concatenate(x), np.concatenate(y), group=np.concatenate(group))
    return fit_boosted(
        data, None, how, objective="lambdarank", rounds=ROUNDS, learning_rate=0.05, num_leaves=15, min_data_in_leaf=100,
        feature_fraction=0.5, lambda_l2=10.0, lambdarank_truncation_level=20,
    )  # fmt: skip


def _log_chance(score: np.ndarray) -> np.ndarray:
    """(q, n_items): log of each row's scores as shares, as if none was 0."""
    told = np.maximum(score, 0)
    return np.asarray(np.log(told / np.maximum(told.sum(axis=1, keepdims=True), 1e-12) + _TINY))


def _looked_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray, otherwise: int) -> np.ndarray:
    """The value of each asked key among sorted keys, or `otherwise`."""
    if not len(keys):
        return np.full(len(asked), otherwise)
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[place] == asked, values[place], otherwise)
