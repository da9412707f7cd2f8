"""The report's numbers about groups of customers: what the plan gives them, how far apart they are, what came of it."""

from datetime import date, timedelta
from typing import Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from pipelines.fairness import MEASURES, groups_of
from pipelines.report_audience import MEASURED_NIGHTS
from pipelines.strategy.fairness import difference_of_means
from pipelines.strategy.judgement import MIN_SEGMENT_CUSTOMERS


def fairness(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """Groups and gaps of tomorrow's plan, as its manifest keeps them, and the lift measured of each group."""
    plan = store.manifest("campaign_plan", night)
    told = plan.counts.get("fairness") if plan else None
    if not told:
        return {"missing": "There is no plan for tomorrow that was held against its groups of customers."}
    came = measured(night, shop, store)
    return {
        "column": told["column"],
        "customers": told["customers"],
        "nights": came["nights"],
        "off": _off(came["groups"]),
        "groups": [group | {"measured": came["groups"].get(group["name"])} for group in told["groups"]],
        "gaps": [gap | {"words": MEASURES[gap["measure"]], "passed": _passed(gap)} for gap in told["gaps"]],
    }


def measured(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """{nights, groups: name -> {planned, held, lift_cents {value, low, high}, expected_cents}}: what customers who were not
    held out spent more in a night than those who were, and what the model expected of that.

    Over the last nights whose plan has reasons, or, where none has, all that had a plan; then nothing was expected. A
    customer is one value, the mean of those nights, so that intervals do not take nights for customers.
    """
    keys = read(store, "user_profiles", [night], C.USER_KEY)
    nights = [
        one for one in window(night, MEASURED_NIGHTS)
        if store.files("campaign_plan", [one - timedelta(days=1)]) and store.files("events", [one])
    ]  # fmt: skip
    explained = [one for one in nights if store.files("plan_reasons", [one - timedelta(days=1)])]
    nights = explained or nights
    if keys is None or not nights:
        return {"nights": 0, "groups": {}}
    names = keys[C.USER_KEY].combine_chunks()
    n_nights, held, spent, expected = (np.zeros(len(names)) for _ in range(4))
    for one in nights:
        dealt = read(store, "campaign_plan", [one - timedelta(days=1)], C.USER_KEY, C.IS_HOLDOUT)
        place, is_here = _places(dealt[C.USER_KEY], names)
        n_nights[place] += 1
        held[place] += dealt[C.IS_HOLDOUT].to_numpy()[is_here]
        tonight = np.zeros(len(names), dtype=bool)
        tonight[place] = True
        spent += np.where(tonight, _spent(one, store, names), 0.0)
        if explained:
            parts = read(store, "plan_reasons", [one - timedelta(days=1)], C.USER_KEY, C.CONTRIBUTION_CENTS)
            place, is_here = _places(parts[C.USER_KEY], names)
            expected += np.bincount(place, parts[C.CONTRIBUTION_CENTS].to_numpy()[is_here], minlength=len(names))
    known = n_nights > 0
    group = groups_of(night, shop.fairness_gate.column, store, keys[C.USER_KEY])
    per_night = np.maximum(n_nights, 1)
    found = {}
    for name in sorted(set(group[known].tolist())):
        mine = known & (group == name)
        planned, out = mine & (held == 0), mine & (held == n_nights)
        is_judged = min(planned.sum(), out.sum()) >= MIN_SEGMENT_CUSTOMERS
        lift = difference_of_means((spent / per_night)[planned], (spent / per_night)[out]) if is_judged else None
        mean = float((expected / per_night)[planned].mean()) if explained and planned.any() else None
        found[name] = {
            "planned": int(planned.sum()),
            "held": int(out.sum()),
            "lift_cents": {end: round(value, 4) for end, value in vars(lift).items()} if lift else None,
            "expected_cents": None if mean is None else round(mean, 4),
        }
    return {"nights": len(nights), "groups": found}


def _places(keys: Any, names: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where those of `keys` stand that are among `names` (k,), and which they are (n,) bool."""
    import pyarrow.compute as pc

    place = pc.index_in(keys, value_set=names)
    return place.drop_null().to_numpy(), pc.is_valid(place).to_numpy()


def _spent(night: date, store: Store, names: Any) -> np.ndarray:
    """(n,) cents that each customer paid on the night."""
    import pyarrow.compute as pc

    events = read(store, "events", [night], C.USER_KEY, C.EVENT_TYPE, C.PRICE_CENTS, C.QUANTITY, C.IS_BOT)
    is_bought = pc.and_(pc.equal(events[C.EVENT_TYPE], "purchase"), pc.invert(pc.fill_null(events[C.IS_BOT], False)))
    bought = events.filter(is_bought)
    place, is_here = _places(bought[C.USER_KEY], names)
    cents = pc.multiply(pc.fill_null(bought[C.PRICE_CENTS], 0), pc.fill_null(bought[C.QUANTITY], 1)).to_numpy()
    return np.bincount(place, cents[is_here], minlength=len(names)).astype(np.float64)


def _off(groups: dict[str, Any]) -> list[str] | None:
    """Groups whose measured lift, with its interval, leaves out what was expected; None where none can be said."""
    judged = {name: one for name, one in groups.items() if one["lift_cents"] and one["expected_cents"] is not None}
    if not judged:
        return None
    return [
        name
        for name, one in judged.items()
        if not one["lift_cents"]["low"] <= one["expected_cents"] <= one["lift_cents"]["high"]
    ]


def _passed(gap: dict[str, Any]) -> bool | None:
    return None if gap["bound"] is None else gap["difference"]["low"] <= gap["bound"]
