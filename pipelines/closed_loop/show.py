"""The closed loop in the terminal: what each policy earned, what it missed, how soon it recovered."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from pipelines.closed_loop.plot import POLICIES, SHOCKS
from pipelines.closed_loop.summary import TARGET_REGRET


def loop_table(result: Mapping[str, Any], currency: str) -> Table:
    """Means over seeds with 95% intervals."""
    told = result["summary"]
    share = told["last_week"]["share_of_random_regret"]["plan"]
    verdict = "met" if told["regret_on_target"] else "missed"
    table = Table(
        title=f"{result['shop']}: {len(result['seeds'])} worlds of {result['customers']:,} customers, {result['nights']} nights",
        caption=f"Regret in the last week: {_percent(share)} of random's; target {TARGET_REGRET:.0%}: {verdict}.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("policy")
    table.add_column(f"profit, {currency}", justify="right")
    table.add_column("plan less this", justify="right")
    table.add_column("regret, of random's", justify="right")
    table.add_column("the same, last week", justify="right")
    shocks: dict[str, list[str]] = {}
    for shock in result["shocks"]:
        shocks.setdefault(str(shock["night"]), []).append(SHOCKS[shock["kind"]])
    known = next(iter(told["recovery_nights"].values()))
    for night in known:
        table.add_column(f"nights to recover from {night}: {', '.join(shocks[night])}", justify="right")
    whole, last = told["all_nights"], told["last_week"]
    for who, (words, _, _) in POLICIES.items():
        ahead = whole["plan_minus_cents"].get(who)
        recovered = ["-" if nights is None else str(nights) for nights in told["recovery_nights"][who].values()]
        table.add_row(
            words,
            _money(whole["profit_cents"][who]),
            _money(ahead) if ahead else "",
            _percent(whole["share_of_random_regret"][who]),
            _percent(last["share_of_random_regret"][who]),
            *recovered,
        )
    return table


def _money(told: Mapping[str, float]) -> str:
    return f"{told['value'] / 100:,.0f} [{told['low'] / 100:,.0f}, {told['high'] / 100:,.0f}]"


def _percent(told: Mapping[str, float]) -> str:
    return f"{told['value']:.1%} [{told['low']:.1%}, {told['high']:.1%}]"
