"""What several worlds of one shop say together: profit, regret and recovery, means over seeds with Student's intervals.

Regret of a night is the oracle's profit less the policy's, each in its own course of events. A policy's share of the
random one's regret is formed of sums within each seed, then averaged. A night's shortfall is the part of what the knapsack
with tonight's truth would have earned in the policy's own place (same fatigue, caps and rest) that the policy missed: as
both look at the same customers, it is far less noisy than regret, so recovery is judged by it. A policy has recovered on
the first night of two together whose mean shortfall, over all seeds, is no more than the highest mean of any two nights
together of the week before the shock.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

Nights = Sequence[Mapping[str, float]]
Run = Mapping[str, Nights]  # policy -> its nights

LAST_NIGHTS: Final = 7  # a week that ends with the last night stands for it: every weekday once
TARGET_REGRET: Final = 0.25
WINDOW: Final = 2  # nights that recovery is judged on together: rest makes every other night a thin one
BEFORE: Final = 7


def summary(runs: Sequence[Run], shocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of n seeds' runs of the same policies and nights, `plan`, `random` and `oracle` among them."""
    n_nights = len(runs[0]["plan"])
    names = list(runs[0])

    def total(run: Run, who: str, first: int) -> float:
        return sum(night["incremental"] for night in run[who][first:])

    spans = {"all_nights": 0, "last_week": n_nights - LAST_NIGHTS}
    found: dict[str, Any] = {}
    for span, first in spans.items():
        profit = {who: [total(run, who, first) for run in runs] for who in names}
        regret = {who: _minus(profit["oracle"], values) for who, values in profit.items()}
        found[span] = {
            "nights": n_nights - first,
            "profit_cents": {who: interval(values) for who, values in profit.items()},
            "plan_minus_cents": {
                who: interval(_minus(profit["plan"], values)) for who, values in profit.items() if who != "plan"
            },
            "regret_cents": {who: interval(values) for who, values in regret.items()},
            "share_of_random_regret": {
                who: interval([mine / lots for mine, lots in zip(values, regret["random"], strict=True)])
                for who, values in regret.items()
            },
        }
    chosen = [night for run in runs for night in run["plan"] if "expected_of_chosen" in night]
    return found | {
        "regret_on_target": found["last_week"]["share_of_random_regret"]["plan"]["value"] <= TARGET_REGRET,
        "recovery_nights": {
            who: {
                str(shock): recovery(shortfalls(runs, who), shock, n_nights)
                for shock in sorted({int(one["night"]) for one in shocks if one["night"] <= n_nights})
            }
            for who in names
        },
        "expected_of_chosen_cents": round(sum(night["expected_of_chosen"] for night in chosen) / len(runs)),
        "true_of_chosen_cents": round(sum(night["true_of_chosen"] for night in chosen) / len(runs)),
    }


def shortfalls(runs: Sequence[Run], who: str) -> list[float]:
    """Per night, the share of what was possible that the policy missed, all seeds together."""
    return [
        1 - sum(night["incremental"] for night in tonight) / max(sum(night["possible"] for night in tonight), 1.0)
        for tonight in zip(*(run[who] for run in runs), strict=True)
    ]


def recovery(shortfall: Sequence[float], shock: int, n_nights: int) -> int | None:
    """Nights from the shock's first (counted from 1) until the policy misses no more than in the week before; 0: it never
    missed more, None: not within the nights played."""
    together = [statistics.fmean(shortfall[k - WINDOW + 1 : k + 1]) for k in range(WINDOW - 1, n_nights)]
    before = together[max(shock - 1 - BEFORE, 0) : shock - WINDOW]
    after = shortfall[shock - 1 :]
    level = max(before)
    if after[0] <= level and statistics.fmean(after[:WINDOW]) <= level:
        return 0
    for nights in range(1, len(after) - WINDOW + 1):
        if statistics.fmean(after[nights : nights + WINDOW]) <= level:
            return nights
    return None


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean with Student's 95% interval over seeds."""
    from scipy.stats import t

    mean, n = statistics.fmean(values), len(values)
    half = float(t.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    digits = 4 if abs(mean) < 100 else 0
    return {"value": round(mean, digits), "low": round(mean - half, digits), "high": round(mean + half, digits)}


def _minus(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(left, right, strict=True)]
