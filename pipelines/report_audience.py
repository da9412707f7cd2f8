"""The report's numbers about customers: their segments, what is planned for them, and how they answered so far."""

from datetime import date, timedelta
from math import floor, log10, sqrt
from typing import Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from pipelines.report_read import counts_of, ranked, rows_by, share
from pipelines.strategy.candidates import NOTHING

PROPENSITY_BINS = 10
MEASURED_NIGHTS = 28
ANSWERS = ("click", "purchase", "complaint", "unsubscribe")
Z95 = 1.959963984540054  # two-sided 95% of the normal distribution
# What a profile says about a customer, in the order of the small multiples: column, words, unit.
PROFILE = (
    (C.RECENCY_NIGHTS, "nights unseen", "number"),
    (C.N_ACTIVE_NIGHTS, "nights active", "number"),
    (C.N_SESSIONS, "visits", "number"),
    (C.N_VIEWS, "items viewed", "number"),
    (C.N_SEARCHES, "searches", "number"),
    (C.N_FAVORITES, "favourites", "number"),
    (C.N_CARTS, "added to basket", "number"),
    (C.N_PURCHASES, "purchases", "number"),
    (C.REVENUE_CENTS, "spent", "money"),
    (C.AVG_PRICE_CENTS, "usual price looked at", "money"),
    (C.TOP_CATEGORY_SHARE, "loyalty to one category", "share"),
    (C.EVENING_SHARE, "active in the evening", "share"),
)


def segments(night: date, store: Store) -> dict[str, Any]:
    """Size and mean profile per segment; `apart`: the features furthest from all customers, in standard deviations."""
    import pyarrow.compute as pc

    members = read(store, "segments", [night], C.USER_KEY, C.SEGMENT_ID, C.SEGMENT_NAME)
    profiles = read(store, "user_profiles", [night], C.USER_KEY, *(name for name, _, _ in PROFILE))
    if members is None or profiles is None or not len(members):
        return {"missing": "There are no customer segments for this night: the features stage has not made them."}
    where = pc.index_in(members[C.USER_KEY], value_set=profiles[C.USER_KEY])
    members, profiles = members.filter(pc.is_valid(where)), profiles.take(where.drop_null())
    ids = members[C.SEGMENT_ID].to_numpy()
    values = np.column_stack([pc.fill_null(profiles[name].cast("double"), 0.0).to_numpy() for name, _, _ in PROFILE])
    mean, scale = values.mean(axis=0), values.std(axis=0)
    varied = [i for i in range(len(PROFILE)) if scale[i] > 1e-9]
    names = {row[C.SEGMENT_ID]: row[C.SEGMENT_NAME] for row in rows_by(members, [C.SEGMENT_ID, C.SEGMENT_NAME])}
    found = []
    for segment_id in sorted(names, key=lambda key: (-int((ids == key).sum()), key)):
        mine = values[ids == segment_id].mean(axis=0)
        away = {i: float((mine[i] - mean[i]) / scale[i]) for i in varied}
        found.append(
            {
                "id": segment_id,
                "name": names[segment_id],
                "users": int((ids == segment_id).sum()),
                "share": share(int((ids == segment_id).sum()), len(ids)),
                "profile": {
                    PROFILE[i][0]: {"mean": round(float(mine[i]), 4), "away": round(away[i], 4)} for i in varied
                },
                "apart": [PROFILE[i][0] for i in sorted(varied, key=lambda i: (-round(abs(away[i]), 6), i))[:3]],
            }
        )
    return {
        "users": len(ids),
        "features": [
            {"column": PROFILE[i][0], "words": PROFILE[i][1], "unit": PROFILE[i][2], "mean": round(float(mean[i]), 4)}
            for i in varied
        ],
        "segments": found,
    }


def plan(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """Who gets what tomorrow, what stood in the way, and how much of budget and capacity that uses."""
    import pyarrow.compute as pc

    texts = (C.STRATEGY_ID, C.OFFER, C.CHANNEL, C.SEND_WINDOW, C.CREATIVE_STYLE, C.BINDING_CONSTRAINT)
    table = read(store, "campaign_plan", [night], *texts, C.FREQUENCY, C.COST_CENTS, C.IS_HOLDOUT, C.PROPENSITY,
                 C.SEND_HOUR)  # fmt: skip
    manifest = store.manifest("campaign_plan", night)
    if table is None or manifest is None:
        return {"missing": "There is no plan for tomorrow: the plan stage has not run for this night."}
    sent = table.filter(pc.not_equal(table[C.STRATEGY_ID], NOTHING))
    holdout = pc.sum(table[C.IS_HOLDOUT]).as_py() or 0
    control = pc.sum(pc.equal(table[C.BINDING_CONSTRAINT], "control")).as_py() or 0
    message_cost = pc.sum(sent[C.COST_CENTS]).as_py() or 0
    propensity = sent[C.PROPENSITY].to_numpy()
    edges = _bins(float(propensity.max()) if len(propensity) else 1.0)
    counts, _ = np.histogram(propensity, edges)

    def by(column: str) -> list[dict[str, Any]]:
        found = rows_by(sent, [column], (C.STRATEGY_ID, "count"), (C.FREQUENCY, "sum"), (C.COST_CENTS, "sum"))
        return [
            {
                "name": row[column],
                "customers": row[f"{C.STRATEGY_ID}_count"],
                "messages": row[f"{C.FREQUENCY}_sum"],
                "cost_cents": row[f"{C.COST_CENTS}_sum"],
            }
            for row in found
        ]

    capacity = {channel.id: channel.capacity_per_night for channel in shop.strategy.channels}
    used = {row["name"]: row["messages"] for row in by(C.CHANNEL)}
    windows = {
        f"{channel.id}, {window}": messages
        for channel in shop.strategy.channels
        for window, messages in channel.window_capacity.items()
    }
    if windows:
        in_window = rows_by(sent, [C.CHANNEL, C.SEND_WINDOW], (C.FREQUENCY, "sum"))
        used |= {f"{row[C.CHANNEL]}, {row[C.SEND_WINDOW]}": row[f"{C.FREQUENCY}_sum"] for row in in_window}
    capacity |= windows
    return {
        "customers": len(table),
        "sent": len(sent),
        "control": control,
        "holdout": holdout,
        "other": len(table) - len(sent) - control - holdout,
        "messages": pc.sum(sent[C.FREQUENCY]).as_py() or 0,
        "message_cost_cents": message_cost,
        "expected_cost_cents": manifest.counts.get("expected_cost_cents"),
        "budget_cents": manifest.counts.get("budget_cents", shop.strategy.nightly_budget_cents),
        **({"pacing": manifest.counts["pacing"]} if manifest.counts.get("pacing") else {}),
        "by_channel": by(C.CHANNEL),
        "by_offer": by(C.OFFER),
        "by_window": by(C.SEND_WINDOW),
        "by_style": by(C.CREATIVE_STYLE),
        "by_hour": _by_hour(sent),
        "send_hours": manifest.counts.get("send_hours"),
        "by_constraint": ranked(counts_of(table, C.BINDING_CONSTRAINT)),
        "capacity": [
            {"name": name, "messages": used.get(name, 0), "capacity": limit} for name, limit in sorted(capacity.items())
        ],
        "propensity": {
            "edges": edges,
            "customers": counts.tolist(),
            "min": round(float(propensity.min()), 6) if len(propensity) else None,
            "median": round(float(np.median(propensity)), 6) if len(propensity) else None,
            "max": round(float(propensity.max()), 6) if len(propensity) else None,
        },
    }


def _by_hour(sent: Any) -> list[dict[str, int]]:
    """Messages per hour of the shop's clock, from the first hour with any to the last."""
    found = {row[C.SEND_HOUR]: row[f"{C.FREQUENCY}_sum"] for row in rows_by(sent, [C.SEND_HOUR], (C.FREQUENCY, "sum"))}
    hours = range(min(found), max(found) + 1) if found else ()
    return [{"hour": hour, "messages": found.get(hour, 0)} for hour in hours]


def _bins(highest: float) -> list[float]:
    """Equal bins from 0 to the next 1, 2 or 5 times a power of ten at or above `highest`, which lies in (0, 1]."""
    power = 10.0 ** floor(log10(highest))
    top = next(step * power for step in (1, 2, 5, 10) if highest <= step * power * (1 + 1e-9))
    return [round(i * top / PROPENSITY_BINS, 12) for i in range(PROPENSITY_BINS)] + [max(round(top, 12), highest)]


def measured(night: date, store: Store) -> dict[str, Any]:
    """Answers to what was delivered in the last nights, and purchases of the holdout beside everybody else."""
    return {"answers": answers(night, store), "effect": effect(night, store)}


def answers(night: date, store: Store) -> dict[str, Any]:
    """Per channel and per strategy: messages delivered and how many of them were answered in each way.

    A message counts once per kind of answer. Re-told deliveries and outcomes count once.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    nights = window(night, MEASURED_NIGHTS)
    told = read(store, "deliveries", nights, C.DELIVERY_ID, C.CHANNEL, C.STRATEGY_ID, C.STATUS, C.COST_CENTS)
    if told is None or not len(told):
        return {"missing": "No deliveries have come back yet: what the plans did shows here once the shop sends them."}
    last = [(name, "last") for name in (C.CHANNEL, C.STRATEGY_ID, C.STATUS, C.COST_CENTS)]
    told = told.group_by(C.DELIVERY_ID, use_threads=False).aggregate(last)
    told = told.rename_columns([name.removesuffix("_last") for name in told.column_names])
    outcomes = read(store, "outcomes", nights, C.DELIVERY_ID, C.OUTCOME)
    answered = {kind: pa.array([], pa.string()) for kind in ANSWERS}
    for kind in ANSWERS if outcomes is not None else ():
        answered[kind] = pc.unique(outcomes.filter(pc.equal(outcomes[C.OUTCOME], kind))[C.DELIVERY_ID])
    arrived = told.filter(pc.equal(told[C.STATUS], "delivered"))
    for kind in ANSWERS:
        is_answered = pc.is_in(arrived[C.DELIVERY_ID], value_set=answered[kind])
        arrived = arrived.append_column(kind, is_answered.cast("int64"))

    def by(keys: list[str]) -> list[dict[str, Any]]:
        rows = rows_by(arrived, keys, (C.DELIVERY_ID, "count"), *((kind, "sum") for kind in ANSWERS))
        return [
            {
                **{key: row[key] for key in keys},
                "delivered": row[f"{C.DELIVERY_ID}_count"],
                **{kind: proportion(row[f"{kind}_sum"], row[f"{C.DELIVERY_ID}_count"]) for kind in ANSWERS},
            }
            for row in rows
        ]

    by_strategy = by([C.CHANNEL, C.STRATEGY_ID])
    return {
        "nights": len(store.files("deliveries", nights)),
        "statuses": ranked(counts_of(told, C.STATUS)),
        "cost_cents": pc.sum(told[C.COST_CENTS]).as_py(),
        "by_channel": by([C.CHANNEL]),
        "by_strategy": sorted(by_strategy, key=lambda row: (-row["delivered"], row[C.STRATEGY_ID])),
    }


def effect(night: date, store: Store) -> dict[str, Any]:
    """Customers who bought tonight, by what last night's plan dealt them.

    The holdout is drawn by hash alone, so it is fairly held against everybody else of that plan, sent to or not.
    """
    import pyarrow.compute as pc

    before = night - timedelta(days=1)
    dealt = read(store, "campaign_plan", [before], C.USER_KEY, C.STRATEGY_ID, C.IS_HOLDOUT)
    events = read(store, "events", [night], C.USER_KEY, C.EVENT_TYPE, C.IS_BOT)
    if dealt is None or events is None or not len(dealt):
        return {"missing": "There was no plan the night before, so tonight's purchases cannot be held against one."}
    is_purchase = pc.and_(pc.equal(events[C.EVENT_TYPE], "purchase"), pc.invert(pc.fill_null(events[C.IS_BOT], False)))
    buyers = pc.unique(events.filter(is_purchase)[C.USER_KEY])
    bought = pc.is_in(dealt[C.USER_KEY], value_set=buyers).to_numpy()
    held = dealt[C.IS_HOLDOUT].to_numpy()
    sent = pc.not_equal(dealt[C.STRATEGY_ID], NOTHING).to_numpy()
    groups = {"planned": ~held, "sent": sent, "not_sent": ~held & ~sent, "holdout": held}
    rates = {name: proportion(int(bought[mask].sum()), int(mask.sum())) for name, mask in groups.items()}
    return {"plan_night": before.isoformat(), **rates, "difference": difference(rates["planned"], rates["holdout"])}


def proportion(k: int, n: int, alike: float = 1.0) -> dict[str, Any]:
    """k of n with Wilson's 95% score interval (Wilson 1927); of nothing: rate None, interval 0 to 1. `alike`: how many rows
    tell as much as one independent one (Kish's design effect), where customers have several."""
    if n == 0:
        return {"k": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}
    p, spread = k / n, Z95**2 * alike / n
    middle = (p + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * sqrt(p * (1 - p) * alike / n + spread * alike / (4 * n))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"k": k, "n": n, "rate": round(p, 6), "low": round(low, 6), "high": round(high, 6)}


def difference(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """Rate of one minus rate of the other with Newcombe's 95% hybrid score interval (Newcombe 1998, method 10)."""
    if not one["n"] or not other["n"]:
        return None
    d = one["rate"] - other["rate"]
    low = d - sqrt((one["rate"] - one["low"]) ** 2 + (other["high"] - other["rate"]) ** 2)
    high = d + sqrt((one["high"] - one["rate"]) ** 2 + (other["rate"] - other["low"]) ** 2)
    return {"rate": round(d, 6), "low": round(low, 6), "high": round(high, 6)}
