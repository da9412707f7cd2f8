"""What the effect model learns from: who was sent what (or nothing) on a night, and what they did that night.

A night's customers are those of user_profiles at the end of the night before, with what was known of them then. What
they were sent stands in the night's deliveries; clicks and complaints are answers to a delivery, purchases are counted in
the night's events, alike for those who were sent something and those who were not.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from pipelines.core.feedback import Feedback
from pipelines.core.reading import read
from pipelines.core.recommending import AGAIN
from pipelines.core.shop import Shop
from pipelines.core.shown import best_items
from pipelines.core.storage import Store, window
from pipelines.strategy.candidates import NOTHING, Candidate, candidates
from training.task import Examples

CLICKED, BOUGHT, COMPLAINED, WEIGHT = "clicked", "bought", "complained", "weight"

NUMBERS: Final = (
    C.RECENCY_NIGHTS, C.N_ACTIVE_NIGHTS, C.N_SESSIONS, C.N_EVENTS, C.N_VIEWS, C.N_SEARCHES, C.N_FAVORITES, C.N_CARTS,
    C.N_PURCHASES, C.REVENUE_CENTS, C.N_ITEMS, C.AVG_ORDER_CENTS, C.AVG_PRICE_CENTS, C.TOP_CATEGORY_SHARE,
    C.TOP_BRAND_SHARE, C.ACTIVE_HOUR, C.NIGHT_SHARE, C.MORNING_SHARE, C.AFTERNOON_SHARE, C.EVENING_SHARE,
    C.NON_LATIN_SHARE, C.N_DELIVERIES, C.N_CLICKS,
)  # fmt: skip
# Counts over the window, told as for a whole one where the shop is younger: so they mean the same on every night.
_COUNTED: Final = (
    C.N_ACTIVE_NIGHTS, C.N_SESSIONS, C.N_EVENTS, C.N_VIEWS, C.N_SEARCHES, C.N_FAVORITES, C.N_CARTS, C.N_PURCHASES,
    C.REVENUE_CENTS, C.N_ITEMS,
)  # fmt: skip
RECENT: Final = "n_deliveries_recent"  # on all channels, within their cap windows
ON_CHANNEL: Final = (C.N_DELIVERIES, C.N_CLICKS)  # also per channel, as "email_n_clicks"
SEEN: Final = "n_sessions_seen"  # as counted, however young the shop is: how much is known of the customer's hours
WEEKDAY: Final = "weekday"  # 1 to 7 from Monday, of the night after
# Whether the item that a message would be about is recommended for the customer's own earlier interest in it; null: no item.
OWN_ITEM: Final = "is_own_item"
CUSTOMER_NUMBERS: Final = (*NUMBERS, RECENT, SEEN, WEEKDAY, OWN_ITEM)
CUSTOMER_TEXTS: Final = (C.TOP_CATEGORY_ID,)
STRATEGY_COLUMNS: Final = (
    C.STRATEGY_ID, C.OFFER, C.DISCOUNT_PERCENT, C.CHANNEL, C.SEND_WINDOW, C.FREQUENCY, C.CREATIVE_STYLE,
)  # fmt: skip
_STRATEGY = pa.schema(
    [(name, pa.float64() if name in (C.DISCOUNT_PERCENT, C.FREQUENCY) else pa.string()) for name in STRATEGY_COLUMNS]
)
_MAX_WEIGHT = 4.0


def on_channel(channel: str, name: str) -> str:
    """Column of a customer's answers on one channel."""
    return f"{channel}_{name}"


def strategy_table(strategies: Sequence[Candidate | None]) -> pa.Table:
    """STRATEGY_COLUMNS of each strategy, one row each; None is sending nothing."""
    rows = [
        {
            C.STRATEGY_ID: NOTHING,
            C.OFFER: "",
            C.CHANNEL: "",
            C.SEND_WINDOW: "",
            C.CREATIVE_STYLE: "",
            C.FREQUENCY: 0,
            C.DISCOUNT_PERCENT: 0,
        }
        if one is None
        else {name: getattr(one, name) for name in STRATEGY_COLUMNS}
        for one in strategies
    ]
    return pa.Table.from_pylist(rows, schema=_STRATEGY)


def profiles_of(shop: Shop, store: Store, night: date) -> pa.Table:
    """The customers known at the end of `night`, by user_key: key, segment's name, numbers, texts, answers per channel.

    Raises NoDataError where the night has no features.
    """
    profiles = read(store, "user_profiles", [night], C.USER_KEY, *NUMBERS, *CUSTOMER_TEXTS)
    segments = read(store, "segments", [night], C.USER_KEY, C.SEGMENT_NAME)
    if profiles is None or segments is None:
        raise NoDataError(f"shop {shop.shop}, night {night}: no customer features; run the features stage first")
    profiles = profiles.sort_by(C.USER_KEY)
    keys = profiles[C.USER_KEY].combine_chunks()
    n_nights = len(set(window(night, shop.features.window_nights)) & set(store.nights("events")))
    whole = shop.features.window_nights / max(n_nights, 1)
    profiles = profiles.append_column(SEEN, pc.cast(profiles[C.N_SESSIONS], pa.float64()))
    for name in _COUNTED:
        at = profiles.schema.get_field_index(name)
        profiles = profiles.set_column(at, name, pc.multiply(pc.cast(profiles[name], pa.float64()), whole))
    where = pc.index_in(keys, value_set=segments[C.USER_KEY])
    profiles = profiles.append_column(C.SEGMENT_NAME, segments[C.SEGMENT_NAME].take(where).fill_null(""))
    history = read(
        store, "channel_response", [night], C.USER_KEY, C.CHANNEL, C.N_DELIVERIES_CAP_WINDOW, *ON_CHANNEL
    )  # fmt: skip
    recent = np.zeros(len(keys))
    for channel in shop.strategy.channels:
        found = {name: np.zeros(len(keys)) for name in (C.N_DELIVERIES_CAP_WINDOW, *ON_CHANNEL)}
        if history is not None:
            mine = history.filter(pc.equal(history[C.CHANNEL], channel.id))
            row = pc.index_in(mine[C.USER_KEY], value_set=keys)
            mine, row = mine.filter(pc.is_valid(row)), row.drop_null().to_numpy()
            for name, values in found.items():
                values[row] = pc.fill_null(mine[name], 0).to_numpy()
        recent += found[C.N_DELIVERIES_CAP_WINDOW]
        for name in ON_CHANNEL:
            profiles = profiles.append_column(on_channel(channel.id, name), pa.array(found[name]))
    tomorrow = pa.array(np.full(len(keys), float((night + timedelta(days=1)).isoweekday())))
    profiles = profiles.append_column(RECENT, pa.array(recent)).append_column(WEEKDAY, tomorrow)
    return profiles.append_column(OWN_ITEM, _own_item(store, night, keys))


def _own_item(store: Store, night: date, keys: pa.Array) -> pa.Array:
    """(n,) OWN_ITEM of each customer."""
    best = best_items(night, store, C.REASON_CODE)
    if best is None:
        return pa.nulls(len(keys), pa.float64())
    is_own = pc.cast(pc.equal(best[C.REASON_CODE], AGAIN), pa.float64())
    return is_own.take(pc.index_in(keys, value_set=best[C.USER_KEY])).combine_chunks()


def examples_of(shop: Shop, store: Store, nights: tuple[date, ...], max_examples: int) -> Examples:
    """One example per customer and night, at most `max_examples` (customers by lot, the same lot in every run).

    Customers whose message bounced, who got several strategies in one night, or whose strategy cannot be read are left
    out of that night, and how many that are is told. What the feeds told later counts as far as it was told by the last of
    the nights. Raises NoDataError where nothing was delivered in any of the nights.
    """
    left_out: Counter[str] = Counter()
    feedback = Feedback(shop, store, max(nights, default=date.min))
    parts = [part for night in sorted(nights) if (part := _night(shop, feedback, night, left_out)) is not None]
    if +left_out:
        told = ", ".join(f"{n:,} {why}" for why, n in sorted((+left_out).items()))
        print(f"effect: customer-nights left out: {told}", file=sys.stderr)
    if not parts or not any(pc.any(pc.not_equal(rows[C.STRATEGY_ID], NOTHING)).as_py() for rows, _, _ in parts):
        raise NoDataError(
            f"shop {shop.shop}: nothing was delivered in {len(nights)} nights"
            + (f" from {min(nights)} to {max(nights)}" if nights else "")
            + "; the effect of campaigns is learnt once some were sent"
        )
    rows = pa.concat_tables([rows for rows, _, _ in parts])
    target = pa.concat_tables([target for _, target, _ in parts])
    night = np.concatenate([np.full(rows.num_rows, np.datetime64(night, "D")) for rows, _, night in parts])
    keys = rows[C.USER_KEY].to_numpy(zero_copy_only=False)
    segment = rows[C.SEGMENT_NAME].to_numpy(zero_copy_only=False)
    found = Examples(rows, target, keys, segment, night)
    if len(found) > max_examples:
        drawn = np.random.default_rng(shop.strategy.seed).permutation(len(found))[:max_examples]
        found = found.take(np.sort(drawn))
    return found


def _night(
    shop: Shop, feedback: Feedback, night: date, left_out: Counter[str]
) -> tuple[pa.Table, pa.Table, date] | None:
    """Rows and targets of one night; None where nothing was delivered or nobody was known the night before."""
    eve, store = night - timedelta(days=1), feedback.store
    sent = feedback.sent_on(night)
    if not sent.num_rows or not store.files("user_profiles", [eve]):
        return None
    profiles = profiles_of(shop, store, eve)
    keys = profiles[C.USER_KEY].combine_chunks()
    strategies = _strategies(shop, pc.unique(sent[C.STRATEGY_ID]).to_pylist())
    known = pa.array(list(strategies))
    per_user = sent.group_by(C.USER_KEY).aggregate([([], "count_all")])
    several = per_user.filter(pc.greater(per_user["count_all"], 1))[C.USER_KEY]
    is_told = pc.and_(pc.equal(sent[C.STATUS], "delivered"), pc.is_in(sent[C.STRATEGY_ID], value_set=known))
    is_told = pc.and_(is_told, pc.invert(pc.is_in(sent[C.USER_KEY], value_set=several)))
    told = sent.filter(is_told)
    in_reach = pc.is_in(sent[C.USER_KEY], value_set=keys)
    once = pc.and_(in_reach, pc.invert(pc.is_in(sent[C.USER_KEY], value_set=several)))
    is_strange = pc.invert(pc.is_in(sent[C.STRATEGY_ID], value_set=known))
    for why, which in (
        ("of several strategies in one night", pc.is_in(keys, value_set=several)),
        ("of strategies that the shop does not know", pc.and_(once, is_strange)),
        ("whose message did not arrive", pc.and_(once, pc.not_equal(sent[C.STATUS], "delivered"))),
    ):
        left_out[why] += pc.sum(which).as_py() or 0

    place = pc.index_in(keys, value_set=told[C.USER_KEY])
    got_any = pc.is_in(keys, value_set=sent[C.USER_KEY])
    kept = pc.or_(pc.is_valid(place), pc.invert(got_any))
    profiles, keys, place = profiles.filter(kept), keys.filter(kept), place.filter(kept)
    strategy = pc.fill_null(told[C.STRATEGY_ID].take(place), NOTHING)
    table = strategy_table([None, *strategies.values()])
    attributes = table.take(pc.index_in(strategy, value_set=table[C.STRATEGY_ID]))
    rows = profiles
    for name in STRATEGY_COLUMNS:
        rows = rows.append_column(name, attributes[name])

    delivery = told[C.DELIVERY_ID].take(place)
    answers = [told for _, told in feedback.answers_to(night, sent)]
    spent = _spent(store, night, keys)
    target = pa.table(
        {
            CLICKED: _answered(answers, delivery, "click"),
            BOUGHT: (~np.isnan(spent)).astype(np.float64),
            C.SPEND_CENTS: np.nan_to_num(spent),
            COMPLAINED: _answered(answers, delivery, "complaint"),
            WEIGHT: _weights(store, eve, keys, strategy),
        }
    )
    return rows, target, night


def _strategies(shop: Shop, ids: list[str]) -> dict[str, Candidate]:
    """The strategies behind these ids: of today's candidates, or read from the id where the shop has changed since."""
    known = {one.strategy_id: one for one in candidates(shop.strategy)}
    discounts = {offer.id: offer.discount_percent for offer in shop.strategy.offers}
    for text in ids:
        parts = text.split(".")
        if text in known or len(parts) != 5 or parts[1] not in discounts or not parts[3].removeprefix("x").isdigit():
            continue
        channel, offer, window, frequency, style = parts
        known[text] = Candidate(
            text, offer, discounts[offer], channel, window, int(frequency.removeprefix("x")), style, 0, 0.0
        )
    return known


def _answered(answers: list[pa.Table], delivery: pa.ChunkedArray, outcome: str) -> np.ndarray:
    """(n,) 1.0 where the delivery was answered like this, NaN where nothing was sent."""
    sent = delivery.is_valid().to_numpy()
    mine = [told.filter(pc.equal(told[C.OUTCOME], outcome))[C.DELIVERY_ID].combine_chunks() for told in answers]
    if not mine:
        return np.where(sent, 0.0, np.nan)
    found = pc.is_in(delivery, value_set=pa.chunked_array(mine).combine_chunks(), skip_nulls=True).to_numpy()
    return np.where(sent, found.astype(np.float64), np.nan)


def _spent(store: Store, night: date, keys: pa.Array) -> np.ndarray:
    """(n,) cents that each customer paid on the night, NaN for those who bought nothing."""
    spent = np.full(len(keys), np.nan)
    events = read(store, "events", [night], C.USER_KEY, C.EVENT_TYPE, C.PRICE_CENTS, C.QUANTITY, C.IS_BOT)
    if events is None:
        return spent
    is_purchase = pc.equal(events[C.EVENT_TYPE], "purchase")
    bought = events.filter(pc.and_(is_purchase, pc.invert(pc.fill_null(events[C.IS_BOT], False))))
    place = pc.index_in(bought[C.USER_KEY], value_set=keys)
    bought, place = bought.filter(pc.is_valid(place)), place.drop_null().to_numpy()
    cents = pc.multiply(pc.fill_null(bought[C.PRICE_CENTS], 0), pc.fill_null(bought[C.QUANTITY], 1)).to_numpy()
    total = np.bincount(place, cents, minlength=len(keys))
    spent[place] = total[place]
    return spent


def _weights(store: Store, eve: date, keys: pa.Array, strategy: pa.ChunkedArray) -> np.ndarray:
    """(n,) stabilised inverse propensities (Robins, Hernan, Brumback 2000): how often the night's plan gave this strategy
    to anybody, over how likely it was to give it to this customer; within 1/4 and 4. 1 where all were alike: campaigns
    drawn by lot without a plan, and the holdout."""
    plan = read(store, "campaign_plan", [eve], C.USER_KEY, C.STRATEGY_ID, C.PROPENSITY, C.IS_HOLDOUT)
    weight = np.ones(len(keys))
    if plan is None:
        return weight
    counted = pc.value_counts(plan[C.STRATEGY_ID])
    share = counted.field("counts").to_numpy() / plan.num_rows
    usual = share[pc.index_in(plan[C.STRATEGY_ID], value_set=counted.field("values")).to_numpy()]
    row = pc.index_in(keys, value_set=plan[C.USER_KEY])
    planned = pc.fill_null(pc.equal(plan[C.STRATEGY_ID].take(row), strategy), False).to_numpy(zero_copy_only=False)
    lot = planned & ~pc.fill_null(plan[C.IS_HOLDOUT].take(row), True).to_numpy(zero_copy_only=False)
    at = pc.fill_null(row, 0).to_numpy()[lot]
    weight[lot] = usual[at] / np.maximum(plan[C.PROPENSITY].to_numpy()[at], 1e-6)
    return np.clip(weight, 1 / _MAX_WEIGHT, _MAX_WEIGHT)
