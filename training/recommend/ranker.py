"""Ranks items by a blend: linear log-odds and gradient boosting over touches, category, trend and the customer's habits.

    blender = Blender.fit(told, at_s, "any")            # or "purchase": what tomorrow's lists are to be hit by

Items that a customer touched before and items that are new to the customer are different questions: the first are come
back to (repeat consumption), the second are found. Each has its own model; both tell the log-odds that the customer touches
the item within a day, so one list holds both. Learnt on several past nights, each as it was known then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import lightgbm
import numpy as np
from scipy.sparse import csr_matrix

from pipelines.core.errors import TrainingError
from training.boosting import Data, fit_boosted, load_booster, save_booster
from training.recommend.history import Weights
from training.recommend.interactions import BEHAVIOURS, NO_CATEGORY, NO_ITEM, Interactions
from training.recommend.popularity import Popularity
from training.recommend.ranker_features import features
from training.recommend.ranker_linear import LogLinear
from training.recommend.ranker_protocol import DAY_S, best, read_parts, write_parts
from training.task import Fitting

Target = Literal["any", "purchase"]
_UNRANKED: Final = -1_000.0  # log-odds of items that no model was asked about
_BLOCK: Final = 128  # customers whose scores of all items are held at a time
_AFFINITY: Final = Weights(tau_days=1.0)
_SHARE: Final = 0.5  # 0: the most popular items of liked categories, 1: their share of the category
_NO_PAIRS: Final = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
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
class Blender:
    """Log-odds of touched items: the mean of a linear part and boosters; of new items: a linear part."""

    popularity: Popularity
    touched: LogLinear
    boosters: tuple[lightgbm.Booster, ...]
    fresh: LogLinear | None  # None: no past night showed that new items are found
    n_fresh: int
    kind: ClassVar[str] = "blender"

    @classmethod
    def fit(cls, told: Interactions, at_s: float, target: Target = "any", how: Blending | None = None) -> "Blender":
        """Raises TrainingError where the past nights hold no example of what is to be foreseen."""
        how = how or Blending()
        nights = list(_past(told, at_s, how.nights))
        touched = [_examples(told, then_s, target, touched_pairs(told.before(then_s))) for then_s in nights]
        if not touched:
            raise TrainingError("no past night to learn from: a blender needs events of at least two days")
        x, y = (np.concatenate(parts) for parts in zip(*touched, strict=True))
        linear = LogLinear.fit(x, y, how.strength, how.seed)
        boosters = tuple(
            fit_boosted(
                Data(x, y.astype(np.float64)), None, Fitting(seed=how.seed + one, threads=how.threads),
                objective="binary", rounds=how.rounds, **_TREES,
            )
            for one in range(how.n_boosters)
        )  # fmt: skip
        del x, y, touched
        new = [
            _examples(told, then_s, target, fresh_pairs(told.before(then_s), then_s, how.n_fresh)) for then_s in nights
        ]
        x, y = (np.concatenate(parts) for parts in zip(*new, strict=True))
        fresh = LogLinear.fit(x, y, how.strength, how.seed) if y.any() else None
        return cls(Popularity.fit(told, at_s), linear, boosters, fresh, how.n_fresh)

    def score(self, told: Interactions, customers: np.ndarray, at_s: float) -> np.ndarray:
        known = told.before(at_s)
        asked, row = np.unique(customers, return_inverse=True)
        scores = np.tile(self.popularity.share(told.items) + _UNRANKED, (len(asked), 1))
        for pairs, logit in (
            (touched_pairs(known, asked), self._logit_touched),
            (fresh_pairs(known, at_s, self.n_fresh, asked) if self.fresh else _NO_PAIRS, self._logit_fresh),
        ):
            if len(pairs[0]):
                x = _matrix(features(known, pairs[0], pairs[1], at_s))
                scores[np.searchsorted(asked, pairs[0]), pairs[1]] = logit(x)
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
        arrays = {
            **self.popularity.arrays(),
            **{f"touched_{name}": told for name, told in self.touched.arrays().items()},
        }
        if self.fresh:
            arrays |= {f"fresh_{name}": told for name, told in self.fresh.arrays().items()}
        write_parts(folder, self.kind, {"n_boosters": len(self.boosters), "n_fresh": self.n_fresh}, arrays)
        for place, booster in enumerate(self.boosters):
            save_booster(booster, folder / f"booster-{place}.txt")

    @classmethod
    def load(cls, folder: Path) -> "Blender":
        told, arrays = read_parts(folder, cls.kind)
        boosters = tuple(load_booster(folder / f"booster-{place}.txt") for place in range(told["n_boosters"]))
        linear = {
            part: LogLinear.of(
                {name.removeprefix(f"{part}_"): arrays[name] for name in arrays if name.startswith(part)}
            )
            for part in ("touched", "fresh")
            if f"{part}_mean" in arrays
        }
        return cls(Popularity.of(arrays), linear["touched"], boosters, linear.get("fresh"), told["n_fresh"])


def touched_pairs(told: Interactions, customers: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Customers and items (n,) of all pairs among the events of these customers (sorted; None: all), by customer."""
    who = np.arange(len(told.customers)) if customers is None else customers
    touched = told.matrix()[who].tocoo()
    return who[touched.row], touched.col.astype(np.int64)


def fresh_pairs(
    told: Interactions, at_s: float, n: int, customers: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Up to n items for each of these customers (sorted; None: all) that are new to them and most looked at in the
    categories that they looked at lately."""
    who = np.arange(len(told.customers)) if customers is None else customers
    popular = Popularity.fit(told, at_s).customers
    category = np.where(told.category_of == NO_CATEGORY, told.category_of.max(initial=0) + 1, told.category_of)
    belongs = csr_matrix((np.ones(len(category)), (np.arange(len(category)), category)))
    popular_in = popular / np.maximum((belongs.T @ popular)[category], 1) ** _SHARE
    found = []
    for start in range(0, len(who), _BLOCK):
        block = who[start : start + _BLOCK]
        touched = _AFFINITY.matrix(told, block, at_s)
        scores = (touched @ belongs).toarray()[:, category] * popular_in
        lists = best(scores, n, touched)
        row, place = np.nonzero(np.take_along_axis(scores, np.maximum(lists, 0), axis=1) * (lists != NO_ITEM) > 0)
        found.append((block[row], lists[row, place]))
    return tuple(np.concatenate(parts) for parts in zip(_NO_PAIRS, *found, strict=True))  # type: ignore[return-value]


def _past(told: Interactions, at_s: float, nights: int) -> Iterator[float]:
    """Moments of past nights, the oldest first, that have events before them."""
    for day in range(nights, 0, -1):
        if (told.seconds < at_s - day * DAY_S).any():
            yield at_s - day * DAY_S


def _examples(
    told: Interactions, then_s: float, target: Target, pairs: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, f) as known at a past moment, and (n,) bool whether it came within a day."""
    wanted = (told.seconds >= then_s) & (told.seconds < then_s + DAY_S)
    if target == "purchase":
        wanted &= told.behaviour == BEHAVIOURS.index("purchase")
    width = len(told.items)
    came = told.customer[wanted] * width + told.item[wanted]
    who, what = pairs
    return _matrix(features(told.before(then_s), who, what, then_s)), np.isin(who * width + what, came)


def _matrix(found: dict[str, np.ndarray]) -> np.ndarray:
    """(n, f) float32."""
    return np.stack(list(found.values()), axis=1).astype(np.float32)
