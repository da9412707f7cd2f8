"""What the champion expects of each strategy, read from strategy_scores and turned into profit for the plan stage.

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

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "strategy_scores"
NO_VERSION = "none"  # of the baseline that scores where there is no champion
REACH_NIGHTS = 7  # how far back deliveries tell whether a channel works
_USUAL_MESSAGES = 5.0  # how many messages of a night what was known before weighs as much as
_BATCH_ROWS = 1 << 19  # read together: memory stays the same however many customers there are
_TEXTS = (C.USER_KEY, C.STRATEGY_ID, C.MODEL_NAME, C.MODEL_VERSION)
_ERROR = "lift_spend_se_cents"  # standard error of lift_spend_cents, where scores tell it
_NUMBERS = (C.SPEND_CENTS, C.LIFT_SPEND_CENTS, C.P_COMPLAINT)


@dataclass(frozen=True)
class Scores:
    """Expected profit of each customer (n) under each candidate (s)."""

    profit_cents: np.ndarray  # (n, s) float32, over sending nothing; NaN: not scored
    sd_cents: np.ndarray | None  # (n, s) float32, its standard error; None: the scores tell none, or nobody asks
    model_name: str
    model_version: str


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
    models: dict[str, set[str]] = {C.MODEL_NAME: set(), C.MODEL_VERSION: set()}
    for file in files:
        parts = pq.ParquetFile(file, read_dictionary=list(_TEXTS))
        error = [_ERROR] if sd is not None and _ERROR in parts.schema_arrow.names else []
        for batch in parts.iter_batches(_BATCH_ROWS, columns=[*_TEXTS, *_NUMBERS, *error]):
            user, candidate = _places(batch[C.USER_KEY], keys), _places(batch[C.STRATEGY_ID], ids)
            known = np.flatnonzero((user >= 0) & (candidate >= 0))
            user, candidate = user[known], candidate[known]
            spend, lift, p_complaint = (batch[name].to_numpy(zero_copy_only=False)[known] for name in _NUMBERS)
            delivered = profit_lift(
                spend, lift, p_complaint, margin_percent[user], discount[candidate], 0.0, strategy.complaint_cost_cents
            )
            profit[user, candidate] = arrives[candidate] * delivered - message_cost[candidate]
            if sd is not None and error:
                kept = arrives[candidate] * kept_share(margin_percent[user], discount[candidate])
                sd[user, candidate] = np.abs(kept) * batch[_ERROR].to_numpy(zero_copy_only=False)[known]
            for column, seen in models.items():
                seen |= set(batch[column].unique().to_pylist())
    told = [sorted(seen, key=str) for seen in models.values()]
    if any(len(seen) > 1 for seen in told):
        raise NoDataError(
            f"shop {store.shop}, {night}: {TABLE} holds scores of several models, {told}; score the night again"
        )
    name, version = (seen[0] if seen else "" for seen in told)
    return Scores(profit, None if sd is None or np.isnan(sd).all() else sd, name, version)


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
