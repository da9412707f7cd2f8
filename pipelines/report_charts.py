"""Small inline SVG charts: pure functions of numbers that return markup.

Marks are placed in percent of the box, so a chart fills whatever width it is given without distortion; words stay in
the page's HTML, where they keep their size on a phone. Colours come from the page's CSS (`t-...` fill, `s-...` stroke).
"""

from collections.abc import Sequence

from markupsafe import Markup, escape


def bar(part: float, whole: float, label: str, tone: str = "accent") -> Markup:
    """One horizontal bar, `part` of `whole` wide; a sliver stays visible for what is small but not nothing."""
    width = 100 * part / whole if whole else 0.0
    mark = f'<rect class="t-{tone}" width="{_n(max(width, 0.4 if part else 0))}%" height="100%" rx="2"/>'
    return _svg("bar", label, f'<rect class="t-track" width="100%" height="100%" rx="2"/>{mark}')


def stacked(parts: Sequence[tuple[float, str]], label: str) -> Markup:
    """One bar cut into (value, tone) parts in their order, thin gaps between them."""
    whole, x, marks = sum(value for value, _ in parts), 0.0, ""
    for value, tone in parts:
        width = 100 * value / whole if whole else 0.0
        if value:
            marks += f'<rect class="t-{tone}" x="{_n(x)}%" width="{_n(max(width, 0.3))}%" height="100%"/>'
        x += width
        if 0 < x < 99.99 and value:
            marks += f'<rect class="t-paper" x="{_n(x)}%" width="1.5" height="100%"/>'
    return _svg("stack", label, marks)


def diverging(value: float, limit: float, label: str) -> Markup:
    """A bar from the middle, right for more and left for less than usual; longer than `limit` is cut off there."""
    half = 50 * min(abs(value), limit) / limit if limit else 0.0
    x, tone = (50.0, "accent") if value >= 0 else (50 - half, "warm")
    mark = f'<rect class="t-{tone}" x="{_n(x)}%" y="15%" width="{_n(half)}%" height="70%" rx="1.5"/>'
    return _svg("diverging", label, mark + '<line class="s-axis" x1="50%" x2="50%" y1="0" y2="100%"/>')


def interval(
    low: float,
    value: float | None,
    high: float,
    limits: tuple[float, float],
    label: str,
    expected: float | None = None,
) -> Markup:
    """A dot with its interval on a scale from limits[0] to limits[1]; a line marks zero where the scale crosses it, another
    what was expected."""
    start, end = limits
    span = (end - start) or 1.0

    def at(number: float) -> str:
        return _n(100 * min(max((number - start) / span, 0.0), 1.0))

    marks = '<line class="s-grid" x1="0" x2="100%" y1="50%" y2="50%"/>'
    if start < 0 < end:
        marks += f'<line class="s-axis" x1="{at(0)}%" x2="{at(0)}%" y1="0" y2="100%"/>'
    marks += f'<line class="s-accent wide" x1="{at(low)}%" x2="{at(high)}%" y1="50%" y2="50%"/>'
    if expected is not None:
        marks += f'<line class="s-other" x1="{at(expected)}%" x2="{at(expected)}%" y1="8%" y2="92%"/>'
    if value is not None:
        marks += f'<circle class="t-accent ring" cx="{at(value)}%" cy="50%" r="5"/>'
    return _svg("interval", label, marks)


def line(values: Sequence[float | None], label: str, kind: str = "spark") -> Markup:
    """Values over equal steps, from zero up, the last one dotted; None leaves a gap."""
    top = max((value for value in values if value is not None), default=0) or 1
    step = 100 / (len(values) - 1) if len(values) > 1 else 0.0
    points = [(i * step, None if value is None else 94 - 86 * value / top) for i, value in enumerate(values)]
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    paths = ""
    for run in runs:
        if len(run) > 1:
            path = " ".join(f"{_n(x)},{_n(y)}" for x, y in run)
            paths += f'<polygon class="t-wash" points="{_n(run[0][0])},94 {path} {_n(run[-1][0])},94"/>'
            paths += f'<polyline class="s-accent" points="{path}"/>'
    drawn = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">{paths}</svg>'
    marks = '<line class="s-grid" x1="0" x2="100%" y1="94%" y2="94%"/>' + drawn
    x, y = points[-1] if points else (0.0, None)
    if y is not None:
        marks += f'<circle class="t-accent" cx="{_n(x)}%" cy="{_n(y)}%" r="3.5"/>'
    return _svg(kind, label, marks)


def curve(points: Sequence[tuple[float, float]], here: tuple[float, float], label: str) -> Markup:
    """A line through points of not negative x and rising x, both axes from zero, with a dot at `here`."""
    right = max((x for x, _ in points), default=0) or 1
    top = max((y for _, y in points), default=0) or 1

    def at(x: float, y: float) -> tuple[float, float]:
        return 98 * x / right, 94 - 86 * max(y, 0) / top

    path = " ".join(f"{_n(x)},{_n(y)}" for x, y in (at(*point) for point in points))
    x, y = at(*here)
    drawn = f'<polyline class="s-accent" points="{path}"/>'
    return _svg(
        "area",
        label,
        '<line class="s-grid" x1="0" x2="100%" y1="94%" y2="94%"/>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">{drawn}</svg>'
        f'<line class="s-axis" x1="{_n(x)}%" x2="{_n(x)}%" y1="{_n(y)}%" y2="94%"/>'
        f'<circle class="t-accent" cx="{_n(x)}%" cy="{_n(y)}%" r="3.5"/>',
    )


def gain(
    shares: Sequence[float], values: Sequence[float], low: Sequence[float], high: Sequence[float], label: str
) -> Markup:
    """What a growing share brings, from nothing at 0 to all at 1, within its band; dashed, what as many by lot bring."""
    bottom, top = min([0.0, *low]), max([0.0, *high])
    span = (top - bottom) or 1.0

    def points(numbers: Sequence[float]) -> list[str]:
        return [
            f"{_n(100 * share)},{_n(96 - 92 * (number - bottom) / span)}"
            for share, number in zip((0.0, *shares), (0.0, *numbers), strict=True)
        ]

    zero = _n(96 + 92 * bottom / span)
    last = values[-1] if values else 0.0
    marks = f'<polygon class="t-wash" points="{" ".join(points(low) + points(high)[::-1])}"/>'
    marks += (
        f'<polyline class="s-other" stroke-dasharray="4 3" points="{" ".join(points([s * last for s in shares]))}"/>'
    )
    marks += f'<polyline class="s-accent" points="{" ".join(points(values))}"/>'
    drawn = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">{marks}</svg>'
    return _svg("area tall", label, f'<line class="s-axis" x1="0" x2="100%" y1="{zero}%" y2="{zero}%"/>' + drawn)


def outlook(
    values: Sequence[float | None], coming: Sequence[float], low: Sequence[float], high: Sequence[float], label: str
) -> Markup:
    """Values over equal steps, from zero up, then what is expected, dashed, within its band from `low` to `high`."""
    top = max([*(value for value in values if value is not None), *high], default=0) or 1
    n = len(values) + len(coming)
    step = 100 / (n - 1) if n > 1 else 0.0

    def points(numbers: Sequence[float | None], start: int) -> list[str]:
        return [f"{_n((start + i) * step)},{_n(94 - 86 * v / top)}" for i, v in enumerate(numbers) if v is not None]

    now = len(values)
    last = [value for value in values[-1:] if value is not None]
    band = " ".join(points(high, now) + points(low, now)[::-1])
    marks = f'<polygon class="t-wash" points="{band}"/>'
    marks += f'<polyline class="s-accent" points="{" ".join(points(values, 0))}"/>'
    ahead = " ".join(points([*last, *coming], now - len(last)))
    marks += f'<polyline class="s-accent" stroke-dasharray="4 3" points="{ahead}"/>'
    drawn = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">{marks}</svg>'
    return _svg("spark", label, '<line class="s-grid" x1="0" x2="100%" y1="94%" y2="94%"/>' + drawn)


def columns(values: Sequence[float], label: str) -> Markup:
    """Upright bars side by side; their words stand under them in the page's grid of as many equal columns."""
    top, width = max(values, default=0) or 1, 100 / max(len(values), 1)
    marks = ""
    for i, value in enumerate(values):
        height = 100 * value / top
        box = f'x="{_n(i * width + 0.1 * width)}%" width="{_n(0.8 * width)}%"'
        marks += f'<rect class="t-accent" {box} y="{_n(100 - height)}%" height="{_n(height)}%"/>'
    return _svg("columns", label, marks + '<line class="s-axis" x1="0" x2="100%" y1="100%" y2="100%"/>')


def _svg(kind: str, label: str, marks: str) -> Markup:
    text = escape(label)
    return Markup(f'<svg class="{kind}" role="img" aria-label="{text}"><title>{text}</title>{marks}</svg>')  # noqa: S704


def _n(number: float) -> str:
    """At most two decimals, never '-0': the same number is always the same text."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
