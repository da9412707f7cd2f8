"""The report's numbers about models: who scored the plan, how much of it was drawn by lot, and what the loop earned where
the truth is known (simulated shops: pipelines/closed_loop/ writes it beside the store)."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.report_read import rows_by, share
from pipelines.strategy.candidates import NOTHING

POLICIES = {
    "random": "drawn by lot",
    "single": "best single strategy, in hindsight",
    "first_version": "the first model, never trained again",
    "plan": "our plan",
    "insider": "whoever knew all customers",
    "oracle": "whoever knew tonight, too",
}
SPANS = {"all_nights": "All nights", "last_week": "The last week"}


def closed_loop_file(store: Store) -> Path:
    """Where an evaluation of the whole loop lies; it is no partition, as no night makes it."""
    return store.folder / "evaluations" / "closed_loop.json"


def models(night: date, store: Store) -> dict[str, Any]:
    """Who scored tomorrow's plan and why, how many were decided by lot and by score, and what that is expected to earn."""
    import pyarrow.compute as pc

    manifest, scores = store.manifest("campaign_plan", night), store.manifest("strategy_scores", night)
    plan = read(store, "campaign_plan", [night], C.WHY, C.STRATEGY_ID, C.CHANNEL, C.EXPECTED_PROFIT_CENTS)
    if manifest is None or plan is None or "by_lot" not in manifest.counts:
        return {"missing": "There is no plan for tomorrow, so no model was asked."}
    told = manifest.counts
    chosen = plan.filter(
        pc.and_(pc.match_substring(plan[C.WHY], "exploit: "), pc.not_equal(plan[C.STRATEGY_ID], NOTHING))
    )
    profit = C.EXPECTED_PROFIT_CENTS
    return {
        "model": told["model"],
        "why": scores.counts.get("why") if scores else None,
        **({"policy": scores.counts["policy"]} if scores and "policy" in scores.counts else {}),
        "pairs": scores.rows if scores else 0,
        "by_lot": told["by_lot"],
        "by_score": told["rows"] - told["by_lot"] - told["holdout"],
        "lot_share": share(told["by_lot"], told["rows"] - told["holdout"]),
        "chosen": len(chosen),
        **_budget_curve(told),
        "frequencies": told.get("frequencies", []),
        "by_channel": [
            {
                "name": row[C.CHANNEL],
                "customers": row[f"{profit}_count"],
                "profit_cents": round(row[f"{profit}_sum"] or 0.0, 2),
            }
            for row in rows_by(chosen, [C.CHANNEL], (profit, "count"), (profit, "sum"))
        ],
    }


def _budget_curve(told: dict[str, Any]) -> dict[str, Any]:
    """Profit against budget from no budget on, tonight's point and what a quarter more would add; nothing where not told."""
    points, budget = told.get("budget_curve", []), told.get("budget_cents")
    here = next((point for point in points if point["budget_cents"] == budget), None)
    more = next((point for point in points if here and point["budget_cents"] > here["budget_cents"]), None)
    if here is None or more is None:
        return {}
    further = {
        "budget_cents": more["budget_cents"] - here["budget_cents"],
        "profit_cents": round(more["profit_cents"] - here["profit_cents"], 2),
    }
    return {"budget_curve": {"points": points, "here": here, "more": further}}


def closed_loop(shop: Shop, store: Store) -> dict[str, Any] | None:
    """What the plan truly earned in worlds of a simulated shop, beside other policies, in cents; None: not simulated."""
    if shop.simulator is None:
        return None
    try:
        told = json.loads(closed_loop_file(store).read_text(encoding="utf-8"))
        summary = told["summary"]
        spans = [
            {
                "name": words,
                "nights": summary[name]["nights"],
                "policies": [
                    {
                        "name": POLICIES[who],
                        "is_plan": who == "plan",
                        **value,
                        "ahead": summary[name]["plan_minus_cents"].get(who),
                    }
                    for who, value in sorted(
                        summary[name]["profit_cents"].items(), key=lambda pair: list(POLICIES).index(pair[0])
                    )
                ],
            }
            for name, words in SPANS.items()
        ]
        return {
            "customers": told["customers"],
            "seeds": len(told["seeds"]),
            "regret_share": summary["last_week"]["share_of_random_regret"]["plan"],
            "expected_cents": summary["expected_of_chosen_cents"],
            "true_cents": summary["true_of_chosen_cents"],
            "spans": spans,
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {
            "missing": "The loop has not been played for this shop yet: "
            f"nightmarket simulate --shop {shop.shop} --nights 30 --evaluate plays it."
        }
