"""The baseline of the effect task: how often each segment answered each strategy, shrunken where little was seen.

Clicks and complaints: a segment's rate for a strategy starts from the strategy's rate, that from the rate of all messages;
each start weighs as much as ten events. Purchases: what a strategy adds to the rate of those left alone is shrunken
towards what strategies of the same offer depth, channel, window, frequency and style add (training/uplift/shrinkage.py).
So a strategy that nobody was sent yet borrows from those like it, and every lift has its standard error.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.strategy.candidates import NOTHING, Candidate
from training.task import Examples
from training.tasks.effect_examples import BOUGHT, CLICKED, COMPLAINED, STRATEGY_COLUMNS, WEIGHT, strategy_table
from training.uplift.shrinkage import rate_cells, shrink

_EVENTS: Final = 10.0
_MAX_CELLS: Final = 800  # of strategies and segments that are thought of together, some seconds' work
_ASKED: Final = {C.P_CLICK: CLICKED, C.P_COMPLAINT: COMPLAINED}
_LEVELS: Final = (C.OFFER, C.CHANNEL, C.SEND_WINDOW, C.CREATIVE_STYLE)


@dataclass(frozen=True)
class RatesModel:
    """Rates (segments + 1, strategies + 2): the last segment stands for unknown ones; the last two strategies are any
    other one and nothing."""

    segments: tuple[str, ...]
    # Sent ones, and those made of the same offers, channels, windows, frequencies and styles.
    strategies: tuple[str, ...]
    rates: Mapping[str, np.ndarray]  # P_CLICK, P_CONVERSION, P_COMPLAINT
    lift_sd: np.ndarray  # of P_CONVERSION over sending nothing
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
        told |= {
            "rates": {name: values.tolist() for name, values in self.rates.items()},
            "lift_sd": self.lift_sd.tolist(),
        }
        (folder / "model.json").write_text(json.dumps(told, indent=1, sort_keys=True), encoding="utf-8")

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "RatesModel":
        rates = {name: np.array(values, dtype=np.float64) for name, values in told["rates"].items()}
        lift_sd = np.array(told["lift_sd"], dtype=np.float64)
        return cls(tuple(told["segments"]), tuple(told["strategies"]), rates, lift_sd, float(told["order_cents"]))

    def _scores(self, segment: np.ndarray, strategy: np.ndarray, discount: np.ndarray) -> dict[str, np.ndarray]:
        click, bought, complaint = (
            self.rates[name][segment, strategy] for name in (C.P_CLICK, C.P_CONVERSION, C.P_COMPLAINT)
        )
        unasked = self.rates[C.P_CONVERSION][segment, -1]
        paid = self.order_cents * (1 - discount / 100)
        spend = bought * paid
        return {
            C.P_CLICK: click,
            C.P_CONVERSION: bought,
            C.SPEND_CENTS: spend,
            C.P_COMPLAINT: complaint,
            C.LIFT_CONVERSION: bought - unasked,
            C.LIFT_SPEND_CENTS: spend - unasked * self.order_cents,
            C.LIFT_SPEND_SE_CENTS: self.lift_sd[segment, strategy] * paid,
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
    strategies, attributes = _strategies(train.rows)
    segments = tuple(sorted(set(train.segment.tolist()) - {""}))
    strategy = _places(ids, (*strategies, "", NOTHING), len(strategies))
    segment = _places(pa.array(train.segment, pa.string()), segments, len(segments))
    shape = (len(segments) + 1, len(strategies) + 2)
    cell = segment * shape[1] + strategy
    weight = train.target[WEIGHT].to_numpy()

    def counted(happened: np.ndarray | float) -> np.ndarray:
        return np.bincount(cell, weight * happened, minlength=shape[0] * shape[1]).reshape(shape)

    n = counted(1.0)
    rates = {name: _shrunken(counted(_of(train, outcome)), n) for name, outcome in _ASKED.items()}
    rates[C.P_CONVERSION], lift_sd = _bought(counted(_of(train, BOUGHT)), n, attributes)
    bought = _of(train, BOUGHT) > 0
    share = 1 - pc.fill_null(train.rows[C.DISCOUNT_PERCENT], 0.0).to_numpy()[bought] / 100
    full = train.target[C.SPEND_CENTS].to_numpy()[bought] / np.maximum(share, 0.01)
    return RatesModel(segments, strategies, rates, lift_sd, float(full.mean()) if len(full) else 0.0)


def _of(train: Examples, outcome: str) -> np.ndarray:
    return np.nan_to_num(train.target[outcome].to_numpy())


def _strategies(rows: pa.Table) -> tuple[tuple[str, ...], np.ndarray]:
    """Ids of all strategies made of what the sent ones are made of, and their attributes (S, a); the sent ones alone where
    that would be too many."""
    sent = rows.select(STRATEGY_COLUMNS).filter(pc.fill_null(pc.not_equal(rows[C.STRATEGY_ID], NOTHING), False))
    told = {row[C.STRATEGY_ID]: row for row in sent.group_by(list(STRATEGY_COLUMNS)).aggregate([]).to_pylist()}
    found = sorted(told.values(), key=lambda row: str(row[C.STRATEGY_ID]))
    discount = {row[C.OFFER]: row[C.DISCOUNT_PERCENT] for row in found}
    levels = {name: sorted({row[name] for row in found}) for name in (*_LEVELS, C.FREQUENCY)}
    for offer, channel, window, style, frequency in product(*levels.values()):
        text = f"{channel}.{offer}.{window}.x{frequency:.0f}.{style}"
        values = (text, offer, discount[offer], channel, window, frequency, style)
        told.setdefault(text, dict(zip(STRATEGY_COLUMNS, values, strict=True)))
    if len(told) <= _MAX_CELLS:
        found = [told[text] for text in sorted(told)]
    numbers = [[row[C.DISCOUNT_PERCENT], row[C.FREQUENCY]] for row in found]
    flags = [[row[name] == level for name in _LEVELS[1:] for level in levels[name][1:]] for row in found]
    attributes = np.concatenate(
        [np.array(part, dtype=np.float64).reshape(len(found), -1) for part in (numbers, flags)], 1
    )
    return tuple(str(row[C.STRATEGY_ID]) for row in found), attributes


def _shrunken(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    """(segments + 1, strategies + 2) rates of k answers to n messages, none to nothing."""
    sent = slice(0, n.shape[1] - 1)
    of_all = (k[:, sent].sum() + 0.5) / (n[:, sent].sum() + 1)
    of_strategy = (k[:, sent].sum(axis=0) + _EVENTS) / (n[:, sent].sum(axis=0) + _EVENTS / of_all)
    rates = np.zeros(n.shape)
    rates[:, sent] = (k[:, sent] + _EVENTS) / (n[:, sent] + _EVENTS / of_strategy)
    return rates


def _bought(k: np.ndarray, n: np.ndarray, attributes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(segments + 1, strategies + 2) rates of k buyers among n, and the standard error of what strategies add to nothing.

    Where strategies and segments are too many to be thought of together, all segments are one. A strategy of which nothing
    is known adds what the others do on average, give or take as much as they differ.
    """
    unasked = (k[:, -1].sum() + 0.5) / (n[:, -1].sum() + 1)
    control, n_control = k[:, -1] + _EVENTS, n[:, -1] + _EVENTS / unasked
    rates, sd = np.zeros(n.shape), np.zeros(n.shape)
    rates[:, -1] = control / n_control
    treated, asked = k[:, :-2].T, n[:, :-2].T
    is_one = asked.size > _MAX_CELLS
    if is_one:
        treated, asked = treated.sum(axis=1, keepdims=True), asked.sum(axis=1, keepdims=True)
        control, n_control = control.sum(keepdims=True), n_control.sum(keepdims=True)
    if not asked.any() or len(asked) > _MAX_CELLS:
        rates[:, :-1], sd[:, :-1] = rates[:, -1:], unasked
        return rates, sd
    found = shrink(rate_cells(np.minimum(treated, asked), asked, control, n_control), attributes, asked.shape[1])
    lift, spread = found.mean.T, found.sd.T
    rates[:, :-2] = rates[:, -1:] + lift
    sd[:, :-2] = spread
    rates[:, -2] = rates[:, -1] + lift.mean(axis=1)
    sd[:, -2] = np.sqrt((spread**2).mean(axis=1) + lift.var(axis=1))
    return np.clip(rates, 0.0, 1.0), sd


def _places(texts: Any, known: Sequence[str], unknown: int) -> np.ndarray:
    """(n,) place of each text among the known ones, `unknown` for others."""
    place = pc.index_in(
        pa.chunked_array([texts]) if isinstance(texts, pa.Array) else texts, value_set=pa.array(known, pa.string())
    )
    return pc.fill_null(place, unknown).to_numpy()
