"""Models that rank items for a customer's history: own history with popularity, and a blend of all sources by LightGBM."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import lightgbm
import numpy as np
import pyarrow as pa
import safetensors

from pipelines.core.errors import TrainingError
from training.boosting import load_booster, save_booster
from training.tasks.recommender_features import AGAIN, FEATURES, NAMES, SOURCES, TREND, Sight
from training.tasks.recommender_knowledge import Knowledge
from training.tasks.recommender_sight import Histories

LISTED, SCORES, FROM = "items", "scores", "sources"  # predicted: lists, best first
TASK_NAME: Final = "recommender"
GROUPS: Final = tuple(dict.fromkeys(FEATURES.values()))
_BLOCK: Final = 2_048  # rows scored at a time
_TREES: Final = "ranker.txt"


@dataclass(frozen=True)
class Ranked:
    """Candidates of n rows, best first."""

    row: np.ndarray  # (p,) rising
    item: np.ndarray  # (p,) places on the shelf
    score: np.ndarray  # (p,) falling within a row
    source: np.ndarray  # (p,) place in SOURCES of where it stands highest
    runner_up: np.ndarray  # (p,) of where it stands next, -1 where only one source has it

    def take(self, where: np.ndarray) -> "Ranked":
        """The candidates at places (k,) or where a mask is true."""
        return Ranked(*(getattr(self, name)[where] for name in self.__dataclass_fields__))

    @property
    def place(self) -> np.ndarray:
        """(p,) 0 for the best of a row."""
        return np.arange(len(self.row)) - np.searchsorted(self.row, self.row)


@dataclass(frozen=True)
class RecommenderModel:
    """Candidates of all sources, ranked by `ranker`; without one (the baseline) by own history, then popularity."""

    known: Knowledge
    length: int
    ranker: lightgbm.Booster | None = None
    threads: int = 0  # of the ranker, 0: all cores

    @property
    def kind(self) -> str:
        return "own_history" if self.ranker is None else "blend"

    def renewed(self, known: Knowledge) -> "RecommenderModel":
        """The same ranker with newer knowledge, such as tonight's catalogue."""
        return replace(self, known=known)

    def score(self, features: np.ndarray) -> np.ndarray:
        """(p,) of pairs' features (p, len(NAMES)): log-odds that the item is touched, or a weight of own history."""
        if self.ranker is None:
            return np.asarray(self.carried(features).sum(axis=1))
        return (
            np.asarray(self.ranker.predict(features, raw_score=True, num_threads=self.threads))
            if len(features)
            else np.zeros(0)
        )

    def carried(self, features: np.ndarray) -> np.ndarray:
        """(p, len(GROUPS)) what each group of features adds to the score, over that of the usual pair.

        Of the blend by TreeSHAP (Lundberg et al. 2020), whose contributions add up to the score.
        """
        found = np.zeros((len(features), len(GROUPS)))
        if self.ranker is None:
            rate = features[:, NAMES.index("rate")]
            found[:, GROUPS.index(AGAIN)] = features[:, NAMES.index("own_weight")]
            # Popularity orders what was not touched, and stays behind what was.
            found[:, GROUPS.index(TREND)] = 1e-6 * rate / (1 + rate)
        elif len(features):
            each = np.asarray(self.ranker.predict(features, pred_contrib=True, num_threads=self.threads))
            for place, group in enumerate(FEATURES.values()):
                found[:, GROUPS.index(group)] += each[:, place]
        return found

    def rank(self, sight: Sight) -> Ranked:
        """The candidates of all rows."""
        row, item, ranks = sight.candidates()
        return ordered(row, item, self.score(sight.features(row, item)), ranks)

    def predict(self, rows: pa.Table) -> pa.Table:
        """Per row LISTED, SCORES and FROM of the best `length` items, fewer where the shelf holds fewer."""
        lists: list[list[list]] = [[], [], []]
        sizes: list[np.ndarray] = []
        for seen in blocks(Histories.of(rows)):
            found = self.rank(Sight(seen, self.known))
            best = found.take(found.place < self.length)
            sizes.append(np.bincount(best.row, minlength=len(seen)))
            named = (self.known.shelf.items[best.item], best.score, np.array(SOURCES)[best.source])
            for parts, values in zip(lists, named, strict=True):
                parts.extend(values.tolist())
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]) if sizes else np.zeros(1)
        kinds = (pa.string(), pa.float64(), pa.string())
        columns = [
            pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values, kind))
            for values, kind in zip(lists, kinds, strict=True)
        ]
        return pa.table(dict(zip((LISTED, SCORES, FROM), columns, strict=True)))

    def save(self, folder: Path) -> None:
        told = {"task": TASK_NAME, "kind": self.kind, "length": self.length}
        (folder / "model.json").write_text(json.dumps(told, sort_keys=True), encoding="utf-8")
        self.known.save(folder)
        if self.ranker is not None:
            save_booster(self.ranker, folder / _TREES)

    @classmethod
    def load(cls, folder: Path) -> "RecommenderModel":
        """What `save` wrote. Raises TrainingError for a folder that holds none."""
        try:
            told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if told["task"] != TASK_NAME:
                raise ValueError("a model of another task")
            ranker = load_booster(folder / _TREES) if told["kind"] == "blend" else None
            return cls(Knowledge.load(folder), int(told["length"]), ranker)
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise TrainingError(
                f"{folder}: no readable recommender ({type(error).__name__}: {error}); train it again"
            ) from None


def blocks(seen: Histories) -> Iterator[Histories]:
    """The rows in blocks, so that the candidates of all are never held at once."""
    for start in range(0, len(seen), _BLOCK):
        yield seen.take(np.arange(start, min(start + _BLOCK, len(seen))))


def ordered(row: np.ndarray, item: np.ndarray, score: np.ndarray, ranks: np.ndarray) -> Ranked:
    """Candidates by row and falling score, then by item; `ranks` (p, SOURCES) as Sight.candidates gives them."""
    order = np.lexsort((item, -score, row))
    told = np.where(ranks[order] > 0, ranks[order], np.iinfo(np.int64).max)
    first = np.argsort(told, axis=1, kind="stable")[:, :2]
    n_sources = (ranks[order] > 0).sum(axis=1)
    return Ranked(row[order], item[order], score[order], first[:, 0], np.where(n_sources > 1, first[:, 1], -1))
