"""What the policy learns from: a customer's state on an eve, what was sent the night after, and what that brought.

A state is what the effect model knows of a customer (effect_examples.py) and what the last nights left: recent messages
and answers, forgotten at two rates, and the messages that caps, rest and consent still allow on each channel. Two rows of
one customer on nights in a row are a transition.
"""

import sys
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.feedback import Feedback
from pipelines.core.margins import margins_of
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from training.task import Examples
from training.tasks import effect_examples
from training.tasks.effect_examples import profiles_of

# Messages, clicks, complaints and purchases of the last nights, each counting this much less with every night.
FORGET: Final = {"fast": 0.6, "slow": 0.85}
LOOK_BACK: Final = 14  # nights; 0.85^14 is 0.1
_COUNTED: Final = ("message", "click", "complaint", "purchase")
RECENT: Final = tuple(f"{what}_{speed}" for what in _COUNTED for speed in FORGET)
TIRED: Final = "message_slow"
MARGIN_PERCENT: Final = "margin_percent"
MESSAGE_COST: Final = "message_cost_cents"  # of what was sent
COMPLAINT_COST: Final = "complaint_cost_cents"
STATE: Final = (*RECENT, MARGIN_PERCENT, COMPLAINT_COST)
NIGHT: Final = "night"  # of the target, days since 1970: with the key it tells which rows follow on which
USUAL_CENTS: Final = "usual_cents"  # margin that the customer brought per night of the window
MARGIN_CENTS: Final = "margin_cents"  # of what was bought that night, less what message and complaint cost


def left_on(channel: str) -> str:
    """Column: messages that may still be sent to a customer on a channel tonight."""
    return f"{channel}_left"


def states_of(shop: Shop, store: Store, night: date) -> pa.Table:
    """`profiles_of` the end of `night` and STATE of those customers. Raises NoDataError where there are no features."""
    rows = profiles_of(shop, store, night)
    keys = rows[C.USER_KEY].combine_chunks()
    recent, resting = _recent(shop, store, night, keys)
    for name, values in recent.items():
        rows = rows.append_column(name, pa.array(values))
    goods = read(store, "catalog", [night], C.CATEGORY_ID, C.PRICE_CENTS, C.UNIT_COST_CENTS)
    margins = margins_of(goods, rows[C.TOP_CATEGORY_ID], shop.strategy.default_margin_percent)
    rows = rows.append_column(MARGIN_PERCENT, pa.array(margins))
    cost = np.full(len(keys), float(shop.strategy.complaint_cost_cents))
    rows = rows.append_column(COMPLAINT_COST, pa.array(cost))
    history = read(
        store, "channel_response", [night], C.USER_KEY, C.CHANNEL, C.N_DELIVERIES_CAP_WINDOW, C.IS_SUPPRESSED
    )
    for channel in shop.strategy.channels:
        left = np.full(len(keys), float(channel.cap_messages if channel.default_consent else 0))
        if history is not None:
            mine = history.filter(pc.equal(history[C.CHANNEL], channel.id))
            row = pc.index_in(mine[C.USER_KEY], value_set=keys)
            mine, row = mine.filter(pc.is_valid(row)), row.drop_null().to_numpy()
            left[row] -= pc.fill_null(mine[C.N_DELIVERIES_CAP_WINDOW], 0).to_numpy()
            left[row[pc.fill_null(mine[C.IS_SUPPRESSED], False).to_numpy(zero_copy_only=False)]] = 0
        left[resting] = 0
        rows = rows.append_column(left_on(channel.id), pa.array(np.maximum(left, 0)))
    return rows


def examples_of(shop: Shop, store: Store, nights: tuple[date, ...], max_examples: int) -> Examples:
    """One example per customer and night; of customers by lot where there are more, so that transitions stay whole.

    Rows and targets are those of the effect model with the state and the night's margin. Raises NoDataError where nothing
    was delivered in any of the nights, or there are no two nights in a row.
    """
    found = effect_examples.examples_of(shop, store, nights, sys.maxsize)
    told = np.unique(found.night)
    if not (np.diff(told) == np.timedelta64(1, "D")).any():
        raise NoDataError(
            f"shop {shop.shop}: {len(told)} nights of deliveries up to {told[-1]}, no two of them in a row; a policy is "
            "learnt from what one night does to the next: wait for more nights (models.valid_nights and judged_nights of two "
            "at least)"
        )
    if len(found) > max_examples:
        keys, code = np.unique(found.customer, return_inverse=True)
        order = np.random.default_rng(shop.strategy.seed).permutation(len(keys))
        found = found.take(order[code] < max(1, len(keys) * max_examples // len(found)))
    parts = []
    for night in told:
        _check_propensities(shop, store, night.astype(date) - timedelta(days=1))
        rows = found.rows.filter(pa.array(found.night == night))
        states = states_of(shop, store, night.astype(date) - timedelta(days=1))
        states = states.take(pc.index_in(rows[C.USER_KEY], value_set=states[C.USER_KEY].combine_chunks()))
        parts.append(states.select([name for name in states.schema.names if name not in rows.schema.names]))
    rows = found.rows
    states = pa.concat_tables(parts)
    for name in states.schema.names:
        rows = rows.append_column(name, states[name])
    cost = {channel.id: float(channel.cost_cents) for channel in shop.strategy.channels}
    paid = [cost.get(channel, 0.0) for channel in rows[C.CHANNEL].to_pylist()]
    message_cost = np.array(paid) * rows[C.FREQUENCY].to_numpy()
    rows = rows.append_column(MESSAGE_COST, pa.array(message_cost))
    target = found.target.append_column(C.USER_KEY, rows[C.USER_KEY])
    target = target.append_column(NIGHT, pa.array(found.night.astype(np.int64)))
    usual = rows[C.REVENUE_CENTS].to_numpy() * rows[MARGIN_PERCENT].to_numpy() / 100 / shop.features.window_nights
    target = target.append_column(USUAL_CENTS, pa.array(usual))
    target = target.append_column(MARGIN_CENTS, pa.array(_margin_cents(rows, found.target, message_cost)))
    for name in (TIRED, C.FREQUENCY, C.DISCOUNT_PERCENT):
        target = target.append_column(name, rows[name])
    return Examples(rows, target, found.customer, found.segment, found.night)


def followers(customer: np.ndarray, night: np.ndarray) -> np.ndarray:
    """(n,) int64: the row of the same customer one night later, -1 where there is none; rows differ in (customer, night)."""
    _, code = np.unique(customer, return_inverse=True)
    day = night.astype(np.int64) - int(night.astype(np.int64).min(initial=0))
    width = int(day.max(initial=0)) + 2
    at = code * width + day
    order = np.argsort(at, kind="stable")
    place = np.minimum(np.searchsorted(at[order], at + 1), len(at) - 1)
    return np.where(at[order][place] == at + 1, order[place], -1) if len(at) else at


def _check_propensities(shop: Shop, store: Store, eve: date) -> None:
    """Raises NoDataError where a plan does not tell how likely it was to send what it sent: it cannot be learnt from."""
    plan = read(store, "campaign_plan", [eve], C.PROPENSITY)
    if plan is None:
        return
    told = pc.fill_null(plan[C.PROPENSITY], 0.0).to_numpy()
    if n_wrong := int((~((told > 0) & (told <= 1))).sum()):
        raise NoDataError(
            f"shop {shop.shop}, campaign_plan of {eve}: {n_wrong} of {len(told)} rows have no propensity in 0 to 1; "
            "make the plan again, or leave the night out of models.train_nights"
        )


def _margin_cents(rows: pa.Table, target: pa.Table, message_cost: np.ndarray) -> np.ndarray:
    """(n,) margin on what was paid at the discounted price, see pipelines.strategy.exploit.profit_lift, less the costs."""
    margin = rows[MARGIN_PERCENT].to_numpy() / 100
    kept = 1 - (1 - margin) / (1 - rows[C.DISCOUNT_PERCENT].to_numpy() / 100)
    complained = np.nan_to_num(target[effect_examples.COMPLAINED].to_numpy())
    return target[C.SPEND_CENTS].to_numpy() * kept - message_cost - complained * rows[COMPLAINT_COST].to_numpy()


def _recent(shop: Shop, store: Store, night: date, keys: pa.Array) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """RECENT of the customers `keys` (n), and the places of those who rest from a message.

    What was told late counts for the night of its message, as far as it was told by the end of `night`.
    """
    found = {name: np.zeros(len(keys)) for name in RECENT}
    resting = np.zeros(len(keys), dtype=bool)
    feedback = Feedback(shop, store, night)
    for one in window(night, max(LOOK_BACK, shop.strategy.rest_nights)):
        ago = (night - one).days
        sent = feedback.sent_on(one)
        counts = {what: np.zeros(len(keys)) for what in _COUNTED}
        counts["message"] += _count(sent.filter(pc.equal(sent[C.STATUS], "delivered"))[C.USER_KEY], keys)
        if ago < shop.strategy.rest_nights:
            resting |= counts["message"] > 0
        if answers := [told for _, told in feedback.answers_to(one, sent)]:
            by = [C.OUTCOME_ID, C.USER_KEY, C.OUTCOME]
            told = pa.concat_tables(answers).group_by(by).aggregate([])  # what is told twice counts once
            for what in _COUNTED[1:]:
                counts[what] += _count(told.filter(pc.equal(told[C.OUTCOME], what))[C.USER_KEY], keys)
        for what, n in counts.items():
            for speed, left in FORGET.items():
                found[f"{what}_{speed}"] += left**ago * n
    return found, np.flatnonzero(resting)


def _count(whose: pa.ChunkedArray, keys: pa.Array) -> np.ndarray:
    place = pc.index_in(whose, value_set=keys).drop_null().to_numpy()
    return np.bincount(place, minlength=len(keys)).astype(np.float64)
