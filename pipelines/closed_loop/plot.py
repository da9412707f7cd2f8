"""The closed loop as one picture: profit per night and regret so far, each policy with its interval over seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pipelines.closed_loop.summary import interval

POLICIES: Final = {  # policy -> words, colour, dashes
    "oracle": ("oracle: tonight's truth", "#7a7a7a", "5 3"),
    "insider": ("insider: true responses", "#7a7a7a", "1 3"),
    "plan": ("our plan", "#0b6e4f", ""),
    "first_version": ("first model, kept", "#5aa9e6", ""),
    "single": ("best single strategy", "#d17b0f", ""),
    "random": ("drawn by lot", "#b3261e", ""),
}
SHOCKS: Final = {"price_war": "price war", "channel_outage": "channel outage", "new_category": "new category"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 920, 680, 70, 64, 64
TOGETHER: Final = 3  # nights averaged: who rests two nights after a message is written to every third


def plot(result: Mapping[str, Any]) -> str:
    """SVG of a result of evaluate.py."""
    nights = int(result["nights"])
    runs = [run["policies"] for run in result["seeds"]]
    profit = {who: [[night["incremental"] / 100 for night in run[who]] for run in runs] for who in POLICIES}
    smooth = {who: [_trailing(values) for values in per_seed] for who, per_seed in profit.items()}
    regret = {
        who: [
            _sums([a - b for a, b in zip(best, mine, strict=True)])
            for best, mine in zip(profit["oracle"], per_seed, strict=True)
        ]
        for who, per_seed in profit.items()
        if who != "oracle"
    }
    height = (HEIGHT - TOP - 2 * GAP) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        ' font-family="system-ui, sans-serif" font-size="13">',
        f"<title>Closed loop of {len(runs)} simulated worlds over {nights} nights</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _legend(),
        _panel(
            f"Profit per night over sending nothing, {result['currency']}, mean of three nights",
            smooth,
            nights,
            TOP + 20,
            height,
            result["shocks"],
            named=True,
        ),
        _panel(
            f"Regret so far: what the oracle earned more, {result['currency']}",
            regret,
            nights,
            TOP + 20 + height + GAP,
            height,
            result["shocks"],
        ),
        f'<text x="{LEFT + (WIDTH - LEFT - 24) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle" fill="#444">'
        f"planned night; bands are 95% intervals over {len(runs)} seeds</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend() -> str:
    marks = []
    for place, (words, colour, dashes) in enumerate(POLICIES.values()):
        x, y = LEFT + 280 * (place % 3), 18 + 22 * (place // 3)
        marks.append(
            f'<line x1="{x}" x2="{x + 28}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dashes}"/>'
            f'<text x="{x + 36}" y="{y + 4}" fill="#222">{words}</text>'
        )
    return "".join(marks)


def _panel(
    title: str,
    values: Mapping[str, Sequence[Sequence[float]]],
    nights: int,
    top: float,
    height: float,
    shocks: Sequence[Mapping[str, Any]],
    *,
    named: bool = False,
) -> str:
    """`values`: policy -> seed -> night."""
    means = {who: [interval(column) for column in zip(*per_seed, strict=True)] for who, per_seed in values.items()}
    # Lines set the scale: with few seeds an interval may be far wider than anything that happens.
    low = min(0.0, *(one["value"] for line in means.values() for one in line))
    high = max(one["value"] for line in means.values() for one in line)
    step = _step(high - low)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step

    def x(night: float) -> float:
        return LEFT + (WIDTH - LEFT - 24) * (night - 1) / max(nights - 1, 1)

    def y(value: float) -> float:
        return top + height * (high - value) / (high - low)

    marks = [f'<text x="{LEFT}" y="{top - 8:.0f}" font-weight="600" fill="#111">{title}</text>']
    for k in range(round((high - low) / step) + 1):
        tick = low + k * step
        tone = "#888" if abs(tick) < step / 2 else "#e4e4e4"
        marks.append(f'<line x1="{LEFT}" x2="{WIDTH - 24}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{tone}"/>')
        marks.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="#555">{tick:,.0f}</text>')
    for night in (1, *range(5, nights + 1, 5)):
        marks.append(
            f'<text x="{x(night):.1f}" y="{top + height + 17:.0f}" text-anchor="middle" fill="#555">{night}</text>'
        )
    marks += _shocks([shock for shock in shocks if shock["night"] <= nights], x, nights, top, height, named=named)
    clip = f"panel{top:.0f}"
    marks.append(
        f'<clipPath id="{clip}"><rect x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - 24}" height="{height:.1f}"/></clipPath>'
    )
    for who, line in sorted(means.items(), key=lambda pair: pair[0] == "plan"):  # ours on top
        _, colour, dashes = POLICIES[who]
        edge = [(x(k + 1), y(one["high"])) for k, one in enumerate(line)]
        edge += [(x(k + 1), y(one["low"])) for k, one in reversed(list(enumerate(line)))]
        if who in ("plan", "single", "random"):
            marks.append(f'<polygon points="{_points(edge)}" fill="{colour}" opacity="0.13" clip-path="url(#{clip})"/>')
        path = _points([(x(k + 1), y(one["value"])) for k, one in enumerate(line)])
        wide = 2.6 if who == "plan" else 1.8
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{wide}" stroke-dasharray="{dashes}"/>'
        )
    return "".join(marks)


def _shocks(
    shocks: Sequence[Mapping[str, Any]],
    x: Callable[[float], float],
    nights: int,
    top: float,
    height: float,
    *,
    named: bool,
) -> list[str]:
    """A line where shocks begin, with their names; a shade for as long as they last, but for a category, which stays."""
    marks = []
    by_night: dict[int, list[str]] = {}
    for shock in shocks:
        first, last = shock["night"], min(shock["night"] + shock["nights"] - 1, nights)
        by_night.setdefault(first, []).append(SHOCKS[shock["kind"]])
        if shock["kind"] != "new_category":
            wide = max(x(last) - x(first), 2.0)
            marks.append(
                f'<rect x="{x(first):.1f}" y="{top:.1f}" width="{wide:.1f}" height="{height:.1f}" fill="#f3ead7" opacity="0.6"/>'
            )
    for night, kinds in by_night.items():
        at, words = x(night), ", ".join(kinds)
        marks.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top:.1f}" y2="{top + height:.1f}" stroke="#8a6d3b" stroke-dasharray="4 3"/>'
        )
        if named:
            marks.append(f'<text x="{at + 5:.1f}" y="{top + 13:.1f}" fill="#6b5224" font-size="12">{words}</text>')
    return marks


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _trailing(values: Sequence[float]) -> list[float]:
    """Mean of each night and the two before it, as far as there are."""
    return [sum(part) / len(part) for k in range(len(values)) if (part := values[max(k - TOGETHER + 1, 0) : k + 1])]


def _sums(values: Sequence[float]) -> list[float]:
    return [sum(values[: k + 1]) for k in range(len(values))]


def _step(span: float) -> float:
    """A round distance between ticks, some five of them."""
    rough = max(span, 1.0) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    return next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
