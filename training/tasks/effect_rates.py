"""The baseline of the effect task: how often each segment answered each strategy, shrunken where little was seen.

A segment's rate for a strategy starts from the strategy's rate, moved by how the segment buys unasked; the strategy's
rate starts from the rate of all messages. Each start weighs as much as ten events.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.strategy.candidates import NOTHING, Candidate
from training.task import Examples
from training.tasks.effect_examples import BOUGHT, CLICKED, COMPLAINED, WEIGHT, strategy_table

_EVENTS: Final = 10.0
_OUTCOMES: Final = {C.P_CLICK: CLICKED, C.P_CONVERSION: BOUGHT, C.P_COMPLAINT: COMPLAINED}


@dataclass(frozen=True)
class RatesModel:
    """Rates (segments + 1, strategies + 2): the last segment stands for unknown ones; the last two strategies are any
    other one and nothing."""

    segments: tuple[str, ...]
    strategies: tuple[str, ...]
    rates: Mapping[str, np.ndarray]  # P_CLICK, P_CONVERSION, P_COMPLAINT
    order_cents: float  # before any discount
    kind: ClassVar[str] = "rates"

    def predict(self, rows: pa.Table) -> pa.Table:
        """P_CLICK, P_CONVERSION, SPEND_CENTS, P_COMPLAINT, LIFT_CONVERSION, LIFT_SPEND_CENTS of n rows."""
        discount = pc.fill_null(pc.cast(rows[C.DISCOUNT_PERCENT], pa.float64()), 0.0).to_numpy()
        return pa.table(self._scores(self._segment(rows), self._strategy(rows[C.STRATEGY_ID]), discount))

    def score_grid(self, profiles: pa.Table, strategies: Sequence[Candidate]) -> dict[str, np.ndarray]:
        """The same for n customers and each of s strategies, (n, s) each."""
        table = strategy_table(strategies)
        discount = table[C.DISCOUNT_PERCENT].to_numpy()[None, :]
        return self._scores(self._segment(profiles)[:, None], self._strategy(table[C.STRATEGY_ID])[None, :], discount)

    def save(self, folder: Path) -> None:
        told: dict[str, Any] = {"task": "effect", "kind": self.kind, "order_cents": self.order_cents}
        told |= {"segments": self.segments, "strategies": self.strategies}
        told["rates"] = {name: values.tolist() for name, values in self.rates.items()}
        (folder / "model.json").write_text(json.dumps(told, indent=1, sort_keys=True), encoding="utf-8")

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "RatesModel":
        rates = {name: np.array(values, dtype=np.float64) for name, values in told["rates"].items()}
        return cls(tuple(told["segments"]), tuple(told["strategies"]), rates, float(told["order_cents"]))

    def _scores(self, segment: np.ndarray, strategy: np.ndarray, discount: np.ndarray) -> dict[str, np.ndarray]:
        click, bought, complaint = (self.rates[name][segment, strategy] for name in _OUTCOMES)
        unasked = self.rates[C.P_CONVERSION][segment, -1]
        spend = bought * self.order_cents * (1 - discount / 100)
        return {
            C.P_CLICK: click,
            C.P_CONVERSION: bought,
            C.SPEND_CENTS: spend,
            C.P_COMPLAINT: complaint,
            C.LIFT_CONVERSION: bought - unasked,
            C.LIFT_SPEND_CENTS: spend - unasked * self.order_cents,
        }

    def _segment(self, rows: pa.Table) -> np.ndarray:
        if C.SEGMENT_NAME not in rows.schema.names:
            return np.full(rows.num_rows, len(self.segments))
        return _places(rows[C.SEGMENT_NAME], self.segments, len(self.segments))

    def _strategy(self, ids: pa.ChunkedArray) -> np.ndarray:
        return _places(pc.fill_null(ids, NOTHING), (*self.strategies, "", NOTHING), len(self.strategies))


def fit_rates(train: Examples) -> RatesModel:
    """Weighted rates of `train`, shrunken as this file says."""
    ids = pc.fill_null(train.rows[C.STRATEGY_ID], NOTHING)
    strategies = tuple(sorted(set(pc.unique(ids).to_pylist()) - {NOTHING}))
    segments = tuple(sorted(set(train.segment.tolist()) - {""}))
    strategy = _places(ids, (*strategies, "", NOTHING), len(strategies))
    segment = _places(pa.array(train.segment, pa.string()), segments, len(segments))
    shape = (len(segments) + 1, len(strategies) + 2)
    cell = segment * shape[1] + strategy
    weight = train.target[WEIGHT].to_numpy()
    n = np.bincount(cell, weight, minlength=shape[0] * shape[1]).reshape(shape)
    rates = {}
    for name, outcome in _OUTCOMES.items():
        happened = np.nan_to_num(train.target[outcome].to_numpy())
        k = np.bincount(cell, weight * happened, minlength=n.size).reshape(shape)
        rates[name] = _shrunken(k, n, has_nothing=name == C.P_CONVERSION)
    bought = train.target[BOUGHT].to_numpy() > 0
    share = 1 - pc.fill_null(train.rows[C.DISCOUNT_PERCENT], 0.0).to_numpy()[bought] / 100
    full = train.target[C.SPEND_CENTS].to_numpy()[bought] / np.maximum(share, 0.01)
    return RatesModel(segments, strategies, rates, float(full.mean()) if len(full) else 0.0)


def _shrunken(k: np.ndarray, n: np.ndarray, *, has_nothing: bool) -> np.ndarray:
    """(segments + 1, strategies + 2) rates of k events in n. `has_nothing`: the event happens to those left alone too."""
    sent = slice(0, n.shape[1] - 1)
    of_all = (k[:, sent].sum() + 0.5) / (n[:, sent].sum() + 1)
    of_strategy = (k[:, sent].sum(axis=0) + _EVENTS) / (n[:, sent].sum(axis=0) + _EVENTS / of_all)
    rates = np.zeros(n.shape)
    usual = np.ones((len(n), 1))  # how much more often than others a segment does it anyway
    if has_nothing:
        unasked = (k[:, -1].sum() + 0.5) / (n[:, -1].sum() + 1)
        rates[:, -1] = (k[:, -1] + _EVENTS) / (n[:, -1] + _EVENTS / unasked)
        usual = rates[:, -1:] / unasked
    start = np.clip(usual * of_strategy[None, :], 1e-9, 1.0)
    rates[:, sent] = (k[:, sent] + _EVENTS) / (n[:, sent] + _EVENTS / start)
    return rates


def _places(texts: Any, known: Sequence[str], unknown: int) -> np.ndarray:
    """(n,) place of each text among the known ones, `unknown` for others."""
    place = pc.index_in(
        pa.chunked_array([texts]) if isinstance(texts, pa.Array) else texts, value_set=pa.array(known, pa.string())
    )
    return pc.fill_null(place, unknown).to_numpy()
