"""What the champion expects of each strategy, read from strategy_scores and turned into profit for the plan stage.

Where a policy over time is champion, its scores say what a message brings or costs in later nights too, and that counts.
A message that does not arrive costs and earns nothing, and a channel may fail from one night to the next, long before a model
learns of it. So each channel's profits count as far as its messages have arrived of late.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.shop import Strategy
from pipelines.core.storage import Store, window
from pipelines.strategy.candidates import candidates
from pipelines.strategy.exploit import kept_share, profit_lift
from pipelines.strategy.explore import Setting

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "strategy_scores"
NO_VERSION = "none"  # of the baseline that scores where there is no champion
REACH_NIGHTS = 7  # how far back deliveries tell whether a channel works
_USUAL_MESSAGES = 5.0  # how many messages of a night what was known before weighs as much as
_BATCH_ROWS = 1 << 19  # read together: memory stays the same however many customers there are
_TEXTS = (C.USER_KEY, C.STRATEGY_ID, C.MODEL_NAME, C.MODEL_VERSION)
_NUMBERS = (C.SPEND_CENTS, C.LIFT_SPEND_CENTS, C.P_COMPLAINT)


@dataclass(frozen=True)
class Scores:
    """Expected profit of each customer (n) under each candidate (s)."""

    profit_cents: np.ndarray  # (n, s) float32, over sending nothing, later nights included; NaN: not scored
    later_cents: np.ndarray | None  # (n, s) float32, of it in later nights; None: no policy thinks of them
    sd_cents: np.ndarray | None  # (n, s) float32, its standard error; None: the scores tell none, or nobody asks
    model_name: str
    model_version: str

    def later_of(self, strategy: np.ndarray) -> np.ndarray:
        """(n,) cents of later nights in the profit of each customer's candidate, 0 for nothing, -1."""
        if self.later_cents is None:
            return np.zeros(len(strategy))
        later = self.later_cents[np.arange(len(strategy)), strategy]
        return np.where(strategy >= 0, np.nan_to_num(later), 0.0)

    def of_lots(self, rows: np.ndarray, given: Setting) -> np.ndarray:
        """(n,) cents: tonight's profit of what a lot may send each of the customers `rows`, on average; NaN for others."""
        found = np.full(len(self.profit_cents), np.nan)
        profit = self.profit_cents[rows].astype(np.float64)
        if self.later_cents is not None:
            profit -= np.nan_to_num(self.later_cents[rows])
        may = given.may_get(rows) & np.isfinite(profit)
        n_scored = may.sum(axis=1)
        total = np.where(may, profit, 0.0).sum(axis=1)
        found[rows] = np.divide(total, n_scored, out=np.full(len(rows), np.nan), where=n_scored > 0)
        return found


def read_scores(
    night: date, store: Store, keys: "pa.Array", margin_percent: np.ndarray, strategy: Strategy
) -> Scores | None:
    """The night's scores of the customers `keys` (n), whose margins are `margin_percent` (n,); None: no champion scored.

    Customers and strategies that are none of ours any more are left out. Raises NoDataError where two models have
    scored one night.
    """
    import pyarrow.parquet as pq

    files = store.files(TABLE, [night])
    if not files:
        return None
    found = candidates(strategy)
    discount = np.array([candidate.discount_percent for candidate in found], dtype=np.float64)
    message_cost = np.array([candidate.message_cost_cents for candidate in found], dtype=np.float64)
    ids = [candidate.strategy_id for candidate in found]
    reached = reach(night, store, strategy)
    arrives = np.array([reached[candidate.channel] for candidate in found])
    profit = np.full((len(keys), len(found)), np.nan, dtype=np.float32)
    sd = None if strategy.uncertainty.rule == "mean" else np.full_like(profit, np.nan)
    later = None
    models: dict[str, set[str]] = {C.MODEL_NAME: set(), C.MODEL_VERSION: set()}
    for file in files:
        parts = pq.ParquetFile(file, read_dictionary=list(_TEXTS))
        error = [C.LIFT_SPEND_SE_CENTS] if sd is not None and C.LIFT_SPEND_SE_CENTS in parts.schema_arrow.names else []
        long_run = [C.LONG_RUN_CENTS] if C.LONG_RUN_CENTS in parts.schema_arrow.names else []  # not in older scores
        for batch in parts.iter_batches(_BATCH_ROWS, columns=[*_TEXTS, *_NUMBERS, *error, *long_run]):
            user, candidate = _places(batch[C.USER_KEY], keys), _places(batch[C.STRATEGY_ID], ids)
            known = np.flatnonzero((user >= 0) & (candidate >= 0))
            user, candidate = user[known], candidate[known]
            spend, lift, p_complaint = (batch[name].to_numpy(zero_copy_only=False)[known] for name in _NUMBERS)
            delivered = profit_lift(
                spend, lift, p_complaint, margin_percent[user], discount[candidate], 0.0, strategy.complaint_cost_cents
            )
            if long_run and batch[C.LONG_RUN_CENTS].null_count < len(batch):
                beyond = np.nan_to_num(batch[C.LONG_RUN_CENTS].to_numpy(zero_copy_only=False)[known])
                delivered = delivered + beyond
                later = np.zeros_like(profit) if later is None else later
                later[user, candidate] = arrives[candidate] * beyond
            profit[user, candidate] = arrives[candidate] * delivered - message_cost[candidate]
            if sd is not None and error:
                kept = arrives[candidate] * kept_share(margin_percent[user], discount[candidate])
                sd[user, candidate] = np.abs(kept) * batch[C.LIFT_SPEND_SE_CENTS].to_numpy(zero_copy_only=False)[known]
            for column, seen in models.items():
                seen |= set(batch[column].unique().to_pylist())
    told = [sorted(seen, key=str) for seen in models.values()]
    if any(len(seen) > 1 for seen in told):
        raise NoDataError(
            f"shop {store.shop}, {night}: {TABLE} holds scores of several models, {told}; score the night again"
        )
    name, version = (seen[0] if seen else "" for seen in told)
    return Scores(profit, later, None if sd is None or np.isnan(sd).all() else sd, name, version)


def reach(night: date, store: Store, strategy: Strategy) -> dict[str, float]:
    """Per channel the share of messages that arrive, as the last REACH_NIGHTS nights tell it, the newest most: each night's
    delivered and bounced messages together with _USUAL_MESSAGES of what was known before, all arriving at first.

    So a night of failure counts at once, and the few messages by lot that a channel then still carries tell when it is back.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    share = {channel.id: 1.0 for channel in strategy.channels}
    for one in sorted(window(night, REACH_NIGHTS)):
        for file in store.files("deliveries", [one]):
            told = pq.ParquetFile(file).read(columns=[C.CHANNEL, C.STATUS])
            for channel in share:
                status = told.filter(pc.equal(told[C.CHANNEL], channel))[C.STATUS]
                delivered, bounced = (pc.sum(pc.equal(status, name)).as_py() or 0 for name in ("delivered", "bounced"))
                known = _USUAL_MESSAGES * share[channel] + delivered
                share[channel] = known / (_USUAL_MESSAGES + delivered + bounced)
    return share


def _places(texts: Any, known: Any) -> np.ndarray:
    """(n,) int64: where in `known` each of the texts (dictionary-encoded, n) stands, -1 for none of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = known if isinstance(known, pa.Array) else pa.array(known, pa.string())
    place = pc.fill_null(pc.index_in(texts.dictionary, value_set=known), -1).to_numpy()
    return np.append(place, -1)[pc.fill_null(texts.indices, len(place)).to_numpy()]
