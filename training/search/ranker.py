"""Which candidate answers best, learnt from what was judged or clicked: trees over the features of a query and an item.

    ranker = Ranker.fit([x_of_a_query, ...], [gain_of_its_candidates, ...], Fitting())
    ranker.scores(features(goods, sight))           # (c,) the larger, the better

Gains between 0 and 1 are learnt as probabilities (cross-entropy). LambdaMART ranked the judged ESCI products a little worse
(NDCG@10 .725 against .741), as there are few queries and many candidates that nobody judged.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lightgbm
import numpy as np

from pipelines.core.errors import TrainingError
from training.boosting import Data, fit_boosted, load_booster, save_booster
from training.search.features import NAMES
from training.task import Fitting

ROUNDS: Final = 80
_FILE: Final = "ranker.txt"
_NOTES: Final = "ranker.json"


@dataclass(frozen=True)
class Ranker:
    booster: lightgbm.Booster
    views: tuple[str, ...]  # whose cosines it learnt from
    threads: int = 1

    @classmethod
    def fit(
        cls, x: Sequence[np.ndarray], gain: Sequence[np.ndarray], how: Fitting, *, views: Sequence[str] = (),
        rounds: int = ROUNDS,
        valid: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
    ) -> "Ranker":  # fmt: skip
        """x: (c, f) by query; gain: (c,) 0 to 1. With `valid` as many trees as serve it. Raises TrainingError for no rows."""
        booster = fit_boosted(
            _data(x, gain), _data(*valid) if valid else None, how, objective="cross_entropy", rounds=rounds, names=NAMES,
            learning_rate=0.05, num_leaves=7, min_data_in_leaf=30, lambda_l2=5, feature_fraction=0.4,
            bagging_fraction=0.7, bagging_freq=1,
        )  # fmt: skip
        return cls(booster, tuple(sorted(views)), how.threads)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """(c,) log odds of features (c, f)."""
        if not len(x):
            return np.zeros(0)
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=self.threads), np.float64)

    def save(self, folder: Path) -> None:
        save_booster(self.booster, folder / _FILE)
        (folder / _NOTES).write_text(json.dumps({"views": list(self.views), "features": list(NAMES)}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Ranker":
        """Raises TrainingError where there is none, or one of other features."""
        try:
            told = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
            views, names = tuple(told["views"]), tuple(told["features"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{folder}: no readable ranker ({type(error).__name__}: {error}); train it again"
            ) from None
        if names != NAMES:
            raise TrainingError(f"{folder}: a ranker of other features than these {len(NAMES)}; train it again")
        return cls(load_booster(folder / _FILE), views)

    @staticmethod
    def is_in(folder: Path) -> bool:
        return (folder / _NOTES).exists()


def _data(x: Sequence[np.ndarray], gain: Sequence[np.ndarray]) -> Data:
    width = (0, len(NAMES))
    return Data(np.concatenate([np.zeros(width, np.float32), *x]), np.concatenate([np.zeros(0), *gain]))
