"""What came out of one comparison: numbers per arm and metric, the verdict in words, segments, the smallest effect found."""

import math
from typing import Any, Final

import numpy as np

from pipelines.readout_nights import BOUGHT, RETURNED, REVENUE
from pipelines.readout_tally import BOUGHT_METRIC, PROFIT_METRIC, Metric, Tally
from pipelines.strategy import experiments as words
from pipelines.strategy.cuped import Difference
from pipelines.strategy.experiments import Guardrail, Reading
from pipelines.strategy.multiple import holm, shrink, smallest_detectable
from pipelines.strategy.sample_ratio import SampleRatio
from pipelines.strategy.sequential import LEVEL, half_width, looks_needed, p_value

_Z95: Final = 1.959963984540054


def told(tally: Tally) -> dict[str, Any]:
    """What came out of one comparison, for people and programs; numbers that are not known yet are None."""
    ratio = tally.ratio()
    is_priced = bool(tally.values[:, :, REVENUE].any())
    primary = PROFIT_METRIC if is_priced or not tally.values[:, :, BOUGHT].any() else BOUGHT_METRIC
    shown = [metric for metric in tally.metrics if _is_told(metric, is_priced, tally)]
    found = {(k, m.name): tally.difference_of(k, m) for k in range(1, len(tally.arms)) for m in shown}
    p = np.array([_p(tally, k, primary, found[k, primary.name]) for k in range(1, len(tally.arms))])
    adjusted, levels = holm(p)
    readings, verdicts = [], []
    for k, arm in enumerate(tally.arms[1:], start=1):
        guardrails = [_guardrail(tally, k, m, found[k, m.name]) for m in shown if m.role == "guardrail"]
        guardrails = [one for one in guardrails if not math.isnan(one.low)]
        for metric in shown:
            is_primary = metric is primary
            row = _row(tally, k, metric, found[k, metric.name], float(levels[k - 1]) if is_primary else LEVEL)
            row |= {"role": "primary", "p_value": _number(adjusted[k - 1])} if is_primary else {"p_value": None}
            state, text = _verdict(tally, k, metric, row, guardrails, ratio, is_primary)
            readings.append(row | {"sample_ratio_p": _number(ratio.p_value), "state": state, "verdict": text})
            if is_primary:
                verdicts.append({"arm": arm, "state": state, "text": text, "power": _power(tally, k, metric, row)})
    return {
        "experiment": tally.name,
        "question": tally.question,
        "nights": tally.n_nights,
        "arms": [
            {"arm": arm, "customers": int((tally.rows[k] > 0).sum()), "share": tally.shares[k] if tally.shares else None}
            for k, arm in enumerate(tally.arms)
        ],
        "sample_ratio": {
            "p_value": _number(ratio.p_value), "deviation": _number(ratio.deviation), "is_broken": ratio.is_broken,
        },
        "readings": readings,
        "segments": _segments(tally, primary),
        "verdicts": verdicts,
    }  # fmt: skip


def _is_told(metric: Metric, is_priced: bool, tally: Tally) -> bool:
    """Left out: money where no purchase names a price, returns where the shop tells of none."""
    if metric.above == RETURNED:
        return bool(tally.values[:, :, RETURNED].any())
    return is_priced or metric.name not in ("revenue_cents", "order_cents")


def _p(tally: Tally, k: int, metric: Metric, found: Difference) -> float:
    rho = tally.rho.get((k, metric.name))
    return math.nan if rho is None else float(p_value(found.effect, found.std_error, rho))


def _row(tally: Tally, k: int, metric: Metric, found: Difference, level: float) -> dict[str, Any]:
    rho = tally.rho.get((k, metric.name))
    half = math.nan if rho is None else float(half_width(found.std_error, rho, level))
    is_known = not math.isnan(half)
    errors = found.std_error, found.plain_error
    if not is_known:
        errors = tally.planned_error_of(k, metric, found.variance_cut), tally.planned_error_of(k, metric, 0)
    return {
        "arm": tally.arms[k],
        "control_arm": tally.arms[0],
        "metric": metric.name,
        "unit": metric.unit,
        "role": metric.role,
        "n_nights": tally.n_nights,
        "n_users": int((tally.rows[k] > 0).sum()),
        "n_control_users": int((tally.rows[0] > 0).sum()),
        "arm_value": _number(found.value),
        "control_value": _number(found.control_value),
        "effect": _number(found.effect if is_known else math.nan),
        "effect_low": _number(found.effect - half),
        "effect_high": _number(found.effect + half),
        "std_error": _number(found.std_error if is_known else math.nan),
        "variance_cut_share": _number(found.variance_cut if errors[0] > 0 else math.nan),
        "smallest_effect": _number(smallest_detectable(errors[0])),
        "smallest_unadjusted": _number(smallest_detectable(errors[1])),
    }


def _verdict(
    tally: Tally,
    k: int,
    metric: Metric,
    row: dict[str, Any],
    guardrails: list[Guardrail],
    ratio: SampleRatio,
    is_primary: bool,
) -> tuple[str, str]:
    """State and sentence of one row."""
    empty = [tally.arms[i] for i in (k, 0) if not tally.rows[i].any()]
    if empty:
        return "no_data", words.empty_arm(" and ".join(empty), by_lot=tally.shares is None)
    if ratio.is_broken:
        unit = "customers" if tally.shares else "customer-nights, weighted,"
        return "ratio_broken", words.broken_ratio(ratio, tally.arms[ratio.worst], unit)
    if row["effect_low"] is None:
        fewest = min((k, 0), key=tally.n_buyers)
        return "open", words.too_few(tally.arms[fewest], tally.n_buyers(fewest))
    reading = Reading(
        tally.arms[k], tally.arms[0], metric.unit, row["effect"], row["effect_low"], row["effect_high"],
        looks_needed(row["effect"], row["std_error"], tally.rho[k, metric.name], tally.n_nights),
    )  # fmt: skip
    if is_primary:
        return words.decide(reading, guardrails), words.verdict(reading, guardrails, tally.n_nights)
    if metric.role == "guardrail":
        mine = next(one for one in guardrails if one.name == metric.name)
        return mine.state, mine.text
    return words.decide(
        reading, []
    ), f"{metric.name} {row['effect']:+.2f} [{row['effect_low']:+.2f}, {row['effect_high']:+.2f}] {metric.unit}"


def _guardrail(tally: Tally, k: int, metric: Metric, found: Difference) -> Guardrail:
    row = _row(tally, k, metric, found, LEVEL)
    low, high = (math.nan if row[name] is None else row[name] for name in ("effect_low", "effect_high"))
    return Guardrail(metric.name, metric.unit, found.effect, low, high, float(getattr(tally.limits, metric.margin)))


def _power(tally: Tally, k: int, metric: Metric, row: dict[str, Any]) -> str:
    """The smallest effect that these data would have shown."""
    if row["smallest_effect"] is None:
        return ""
    return (
        f"{row['n_users']:,} and {row['n_control_users']:,} customers after {words.nights(tally.n_nights)}: one two-sided 5% test would "
        f"find {row['smallest_effect']:.2f} {metric.unit} with 80% power ({row['smallest_unadjusted']:.2f} without CUPED, "
        f"which took away {row['variance_cut_share']:.0%} of the variance)"
    )


def _segments(tally: Tally, metric: Metric) -> list[dict[str, Any]]:
    """Effects per segment, drawn towards their common mean; for a look at the end, not every night."""
    found: list[dict[str, Any]] = []
    names = sorted({name for name in tally.segments if name})
    where = np.asarray(tally.segments, dtype=object)
    for k in range(1, len(tally.arms)):
        parts = [(name, tally.difference_of(k, metric, (where == name).astype(np.float64))) for name in names]
        parts = [(name, part) for name, part in parts if part.std_error > 0]
        if len(parts) < 2:
            continue
        both = shrink(np.array([part.effect for _, part in parts]), np.array([part.std_error for _, part in parts]))
        found += [
            {
                "segment": name,
                "arm": tally.arms[k],
                "unshrunk": _number(part.effect),
                "effect": _number(effect),
                "low": _number(effect - _Z95 * error),
                "high": _number(effect + _Z95 * error),
            }
            for (name, part), effect, error in zip(parts, both.effect, both.std_error, strict=True)
        ]
    return found


def _number(value: float) -> float | None:
    """Six digits behind the point are told, and what is not known is None."""
    return round(float(value), 6) + 0.0 if math.isfinite(value) else None
