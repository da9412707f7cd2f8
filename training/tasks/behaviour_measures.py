"""How predictions of the next behaviour are measured; each takes tables of n rows and weights (n,) or (draws, n)."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.strategy import judgement
from training.task import Measure
from training.tasks.behaviour_events import KINDS, TARGET


def _probability(predicted: pa.Table) -> np.ndarray:
    return np.column_stack([predicted[f"p_{kind}"].to_numpy() for kind in KINDS])


def _truth(target: pa.Table) -> np.ndarray:
    return np.asarray(pc.index_in(target[TARGET], value_set=pa.array(KINDS)).to_numpy())


def _log_loss(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    return judgement.log_loss(_truth(target), _probability(predicted), weight)


def _ece(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    truth, chance = _truth(target), _probability(predicted)
    return np.mean([judgement.ece(truth == kind, chance[:, kind], weight) for kind in np.unique(truth)], axis=0)


def _accuracy(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    return judgement.accuracy(_truth(target), _truth(predicted), weight)


def _macro_f1(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    truth, guess = _truth(target), _truth(predicted)
    occurring = np.unique(truth)
    place = np.full(len(KINDS), len(occurring))  # a guess of a kind that never occurs is a miss of another
    place[occurring] = np.arange(len(occurring))
    return judgement.macro_f1(place[truth], place[guess], len(occurring), weight)


def _pr_auc_buy(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> Any:
    is_buy = pc.equal(target[TARGET], "purchase").to_numpy(zero_copy_only=False)
    return judgement.pr_auc(is_buy, predicted["p_purchase"].to_numpy(), weight)


MEASURES: Final[Mapping[str, Measure]] = {
    "log_loss": Measure(_log_loss, False, "mean of -ln p of what was done"),
    "accuracy": Measure(_accuracy, True, "share of events whose kind was guessed; rare kinds hardly count"),
    "macro_f1": Measure(_macro_f1, True, "mean F1 over the kinds that occur"),
    "pr_auc_buy": Measure(_pr_auc_buy, True, "average precision of p_purchase"),
    "ece": Measure(_ece, False, "calibration error, mean over the kinds that occur"),
}
