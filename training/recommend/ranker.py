"""Ranks items by a blend: linear log-odds and gradient boosting over touches, category, trend and the customer's habits.

    blender = Blender.fit(told, at_s, "any")            # or "purchase": what tomorrow's lists are to be hit by

Items that a customer touched before and items that are new to the customer are different questions: the first are come
back to (repeat consumption), the second are found. Each has its own model; both tell the log-odds that the customer touches
the item within a day, so one list holds both. Learnt on several past nights, each as it was known then.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import lightgbm
import numpy as np

from pipelines.core.errors import TrainingError
from training.boosting import Data, fit_boosted, load_booster, save_booster
from training.recommend.interactions import Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_examples import NO_PAIRS, Past, Target, fresh_pairs, matrix, touched_pairs
from training.recommend.ranker_linear import LogLinear
from training.recommend.ranker_protocol import aligned, read_parts, write_parts
from training.task import Fitting

_UNRANKED: Final = -1_000.0  # log-odds of items that no model was asked about
_TREES: Final[dict[str, Any]] = {
    "num_leaves": 8, "learning_rate": 0.05, "min_data_in_leaf": 50, "lambda_l2": 5.0, "max_bin": 63,
    "feature_fraction": 0.3, "bagging_fraction": 0.7, "bagging_freq": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Blending:
    """How a blender is fitted."""

    nights: int = 6  # past days that are learnt from
    n_fresh: int = 250  # new items that are looked at per customer
    rounds: int = 100
    n_boosters: int = 2  # averaged, each with its own seed; 0: the linear part alone
    strength: float = 0.003  # of examples in the linear parts
    threads: int = 1
    seed: int = 20260301


@dataclass(frozen=True)
class Learnt:
    """What blenders of all targets learn from: made once, used for each."""

    popularity: Popularity
    crowd: Popularity | None
    touched: Past
    fresh: Past

    @classmethod
    def of(cls, told: Interactions, at_s: float, how: Blending, crowd: Popularity | None = None) -> "Learnt":
        """Raises TrainingError where there is no past night."""
        counts = _counts(crowd, told)
        touched = Past.touched(told, at_s, how.nights, counts)
        fresh = Past.fresh(told, at_s, how.nights, how.n_fresh, counts)
        if touched is None or fresh is None:
            raise TrainingError("no past night to learn from: a blender needs events of at least two days")
        return cls(Popularity.fit(told, at_s), crowd, touched, fresh)


@dataclass(frozen=True)
class Blender:
    """Log-odds of touched items: the mean of a linear part and boosters; of new items: a linear part."""

    popularity: Popularity
    crowd: Popularity | None  # customers per item among people who are not ranked for, such as anonymous visitors
    touched: LogLinear
    boosters: tuple[lightgbm.Booster, ...]
    fresh: LogLinear | None  # None: on no past night was a new item found
    n_fresh: int
    kind: ClassVar[str] = "blender"

    @classmethod
    def fit(
        cls, told: Interactions, at_s: float, target: Target = "any", how: Blending | None = None,
        crowd: Popularity | None = None,
    ) -> "Blender":  # fmt: skip
        """crowd: fitted on events before the first of the past nights, or what they show leaks into what is learnt.

        Raises TrainingError where the past nights hold no example of what is to be foreseen.
        """
        how = how or Blending()
        return cls.learn(Learnt.of(told, at_s, how, crowd), target, how)

    @classmethod
    def learn(cls, past: Learnt, target: Target, how: Blending) -> "Blender":
        """The same from what was made before, for another target."""
        x, y = past.touched.x, past.touched.came[target]
        linear = LogLinear.fit(x, y, how.strength, how.seed)
        boosters = tuple(
            fit_boosted(
                Data(x, y.astype(np.float64)), None, Fitting(seed=how.seed + one, threads=how.threads),
                objective="binary", rounds=how.rounds, **_TREES,
            )
            for one in range(how.n_boosters)
        )  # fmt: skip
        return cls(past.popularity, past.crowd, linear, boosters, _fresh(past.fresh, target, how), how.n_fresh)

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        known, crowd = told.before(at_s), _counts(self.crowd, told)
        asked, row = np.unique(customers, return_inverse=True)
        scores = np.tile(self.popularity.share(told.items) + _UNRANKED, (len(asked), 1))
        fresh = fresh_pairs(known, asked, at_s, self.n_fresh, crowd) if self.fresh else NO_PAIRS
        for pairs, logit in ((touched_pairs(known, asked), self._logit_touched), (fresh, self._logit_fresh)):
            if len(pairs[0]):
                scores[np.searchsorted(asked, pairs[0]), pairs[1]] = logit(matrix(known, pairs, at_s, crowd))
        return scores[row]

    def _logit_touched(self, x: np.ndarray) -> np.ndarray:
        linear = self.touched.logit(x)
        if not self.boosters:
            return linear
        trees = np.mean([one.predict(x, raw_score=True) for one in self.boosters], axis=0)
        return np.asarray((linear + trees) / 2)

    def _logit_fresh(self, x: np.ndarray) -> np.ndarray:
        return self.fresh.logit(x) if self.fresh else np.zeros(len(x))

    def save(self, folder: Path) -> None:
        parts = {"popularity": self.popularity, "crowd": self.crowd, "touched": self.touched, "fresh": self.fresh}
        arrays = {
            f"{part}_{name}": told
            for part, model in parts.items()
            if model is not None
            for name, told in model.arrays().items()
        }
        write_parts(folder, self.kind, {"n_boosters": len(self.boosters), "n_fresh": self.n_fresh}, arrays)
        for place, booster in enumerate(self.boosters):
            save_booster(booster, folder / f"booster-{place}.txt")

    @classmethod
    def load(cls, folder: Path) -> "Blender":
        told, arrays = read_parts(folder, cls.kind)
        boosters = tuple(load_booster(folder / f"booster-{place}.txt") for place in range(told["n_boosters"]))
        parts: dict[str, dict[str, np.ndarray]] = {}
        for name, values in arrays.items():
            part, _, rest = name.partition("_")
            parts.setdefault(part, {})[rest] = values
        return cls(
            Popularity.of(parts["popularity"]),
            Popularity.of(parts["crowd"]) if "crowd" in parts else None,
            LogLinear.of(parts["touched"]),
            boosters,
            LogLinear.of(parts["fresh"]) if "fresh" in parts else None,
            told["n_fresh"],
        )


def _fresh(past: Past, target: Target, how: Blending) -> LogLinear | None:
    """Learnt from touches of any kind: new items are bought so seldom that a fit on purchases alone is sure of what it
    cannot know, and would push out of a list what the customer came back to. Purchases are their share of these."""
    found = past.came["any"]
    if not found.any() or found.all():
        return None
    fresh = LogLinear.fit(past.x, found, how.strength, how.seed)
    share = (past.came[target].sum() + 0.5) / (found.sum() + 0.5)
    return replace(fresh, intercept=fresh.intercept + float(np.log(share)))


def _counts(crowd: Popularity | None, told: Interactions) -> np.ndarray | None:
    """(n_items,) customers of the crowd."""
    return None if crowd is None else aligned(crowd.customers, crowd.items, told.items)
