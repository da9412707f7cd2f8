"""The report's numbers about how good the choosing is: what messages by lot brought among those ranked highest, and what
the policies of two models, lots and sending nothing would have earned on the same nights."""

import json
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.judged_policies import last_kept
from pipelines.readout_anomalies import Anomalies
from pipelines.readout_compare import plans_lived
from pipelines.readout_nights import PROFIT, PURCHASES, REVENUE, Living
from pipelines.readout_plan import covariates_of, customers_of, read_plan
from pipelines.report_audience import MEASURED_NIGHTS
from pipelines.strategy.judgement import MIN_POLICY_ROWS, Interval
from pipelines.strategy.off_policy_interval import MIN_EVENTS
from pipelines.strategy.uplift_curve import SHARES, TOP, Trial, uplift_curve

POLICIES: Final = {
    "challenger": "the challenger, {challenger}",
    "champion": "who served, {champion}",
    "by_lot": "lots, as drawn",
    "send_nothing": "sending nothing",
}
_PER: Final = 1_000  # customer-nights, of purchases


def uplift(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """Curves of profit and purchases over the customers of the last nights for whom a lot decided, those first of whom the
    champion had expected most.

    The holdout is left out: it has not been written to for long, so what a model expects of it is not what it would
    expect of the same customer in the plan, and ranks would not compare.
    """
    made = [one for one in plans_lived(night, store) if one >= night - timedelta(days=MEASURED_NIGHTS)]
    keys, parts = customers_of(made, store), []
    anomalies = Anomalies(shop.cleaning.late_nights)  # told in the section on experiments
    living = Living(shop, store, keys, night, anomalies)
    for one in made:
        plan = read_plan(one, store, keys, anomalies)
        drawn = ~np.isnan(plan.lot_expected) & (plan.lot_nothing > 0) & (plan.lot_nothing < 1)
        if not drawn.any():
            continue
        user = plan.user[drawn]
        lived = living.night(one + timedelta(days=1), plan)[user]
        known = covariates_of(one, store, keys)[user]
        day = np.full(len(user), one.toordinal())
        parts.append(
            (plan.lot_expected[drawn], plan.is_sent[drawn], 1 - plan.lot_nothing[drawn], user, day, known, lived)
        )
    if not parts:
        return {
            "missing": "No night has been lived on which a lot decided for customers whom a model had ranked before."
        }
    expected, is_sent, chance, user, day, known, lived = (np.concatenate(found) for found in zip(*parts, strict=True))
    bought = lived[:, PURCHASES] > 0
    buyers = [len(np.unique(user[bought & arm])) for arm in (is_sent, ~is_sent)]
    if min(buyers) < MIN_EVENTS:  # intervals of a mean that rests on fewer promise too much
        nights = "1 night" if len(parts) == 1 else f"{len(parts)} nights"
        return {
            "missing": f"Of the ranked customers for whom a lot decided in {nights}, {buyers[0]} bought on a night with a "
            f"message and {buyers[1]} on one without; curves are drawn from {MIN_EVENTS:.0f} of each on. More of them come with "
            "more nights, and with strategy.explore_percent."
        }
    curves = []
    for name, column, unit, scale in (("profit", PROFIT, "cents", 1.0), ("purchases", PURCHASES, "purchases", _PER)):
        if name == "profit" and not lived[:, REVENUE].any():
            continue  # no purchase names a price
        found = uplift_curve(Trial(expected, is_sent, chance, scale * lived[:, column], known, user, day))
        points = [{"share": share, **_rounded(point)} for share, point in zip(SHARES, found.points, strict=True)]
        curves.append({"name": name, "unit": unit, "points": points, "ahead": _rounded(found.ahead)})
    return {
        "nights": len(parts), "rows": len(user), "customers": len(np.unique(user)), "sent": int(is_sent.sum()), "top": TOP,
        "curves": curves,
    }  # fmt: skip


def policies(night: date, store: Store) -> dict[str, Any]:
    """The values of the policies that the last promotion compared, in cents per customer and night, as it kept them."""
    kept = last_kept(night, store)
    try:
        told = json.loads(kept.read_text(encoding="utf-8")) if kept else {}
        if not told.get("rows"):
            return {
                "missing": "No challenger has been held against a champion on nights whose plan tells how likely each message "
                "was, so policies cannot be compared yet."
            }
        return {
            **{name: told[name] for name in ("night", "first", "last", "rows", "effective_rows", "disagree", "verdict")},
            "can_tell": told["effective_rows"] >= MIN_POLICY_ROWS,
            "difference": told["difference"],
            "policies": [
                {"name": words.format(**told["versions"]), **told[who]} for who, words in POLICIES.items() if who in told
            ],
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"missing": f"The comparison of policies in {kept} cannot be read: the next promotion writes it anew."}


def _rounded(interval: Interval) -> dict[str, float]:
    return {end: round(value, 6) for end, value in vars(interval).items()}
