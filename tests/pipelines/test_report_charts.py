"""Charts are markup made of numbers: well-formed, labelled, inside their box, the same every time."""

import re
from xml.etree import ElementTree

import pytest

from pipelines.report import count, day, money, path, percent, points, signed, size, words
from pipelines.report_audience import difference, proportion
from pipelines.report_charts import bar, columns, curve, diverging, gain, interval, line, stacked

CHARTS = {
    "bar": bar(1, 4, "a quarter"),
    "bar of nothing": bar(0, 0, "empty"),
    "stacked": stacked([(3, "accent"), (0, "mute"), (1, "bad")], "three and one"),
    "stacked of nothing": stacked([(0, "accent")], "empty"),
    "diverging": diverging(-9, 2, "far less"),
    "interval": interval(0.1, 0.2, 0.4, (0, 0.4), "a rate"),
    "interval beside what was expected": interval(0.1, 0.2, 0.4, (0, 0.5), "a rate", 0.5),
    "interval without a value": interval(0, None, 1, (0, 1), "no rate"),
    "interval across zero": interval(-0.1, 0.0, 0.1, (-0.2, 0.2), "a difference"),
    "curve": curve([(0, 0), (2, 5), (4, 7)], (2, 5), "profit against budget"),
    "curve of nothing": curve([], (0, 0), "empty"),
    "gain": gain([0.5, 1], [3, 2], [-1, -4], [7, 8], "profit of a growing share"),
    "gain of nothing": gain([], [], [], [], "empty"),
    "line": line([1, None, 3, 2], "with a gap"),
    "line of nothing": line([], "empty"),
    "line of one": line([5], "one night"),
    "line of zeros": line([0, 0], "nothing happened"),
    "columns": columns([1, 0, 2], "three"),
    "columns of nothing": columns([], "empty"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_well_formed_labelled_and_inside_its_box(name: str) -> None:
    root = ElementTree.fromstring(CHARTS[name])
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == root.findtext("title")
    for number in re.findall(r'="(-?[\d.]+)%"', CHARTS[name]):
        assert 0 <= float(number) <= 100
    assert "nan" not in CHARTS[name]


def test_bars_are_as_wide_as_their_share_and_small_is_not_nothing() -> None:
    assert 'width="25%"' in bar(1, 4, "x")
    assert 'class="t-accent" width="0.4%"' in bar(1, 100_000, "x")
    assert 'class="t-accent" width="0%"' in bar(0, 4, "x")


def test_a_gap_in_a_line_is_not_drawn_over() -> None:
    assert line([1, 2, None, 3, 4], "x").count("<polyline") == 2


def test_a_curve_of_gains_starts_at_nothing_and_as_many_by_lot_end_where_it_ends() -> None:
    chart = gain([0.5, 1], [3.0, 2.0], [0.0, 0.0], [4.0, 4.0], "x")
    lot, own = re.findall(r'<polyline class="s-\w+"[^>]* points="([^"]+)"', chart)
    assert own == "0,96 50,27 100,50"  # 4 is at 4 and 0 at 96 from the top
    assert lot == "0,96 50,73 100,50"


def test_what_was_expected_is_a_line_across_the_interval() -> None:
    assert 'class="s-other" x1="50%" x2="50%"' in interval(0.1, 0.2, 0.4, (0, 0.5), "a rate", 0.25)
    assert "s-other" not in interval(0.1, 0.2, 0.4, (0, 0.5), "a rate")


def test_bars_of_a_scale_without_width_are_empty() -> None:
    assert 'width="0%"' in diverging(0.0, 0.0, "all the same")
    assert 'width="0%"' in bar(0, 0, "nothing")


def test_labels_are_escaped() -> None:
    assert "<script>" not in bar(1, 2, '"><script>')


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (81, 263, 0.255275, 0.366210), (15, 148, 0.062386, 0.160500)],
)  # the last two: Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3: .2553 .3662, .0624 .1605
def test_wilson_intervals_match_the_literature(k: int, n: int, low: float, high: float) -> None:
    found = proportion(k, n)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_a_proportion_of_nothing_says_nothing() -> None:
    assert proportion(0, 0) == {"k": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}
    assert difference(proportion(1, 2), proportion(0, 0)) is None


@pytest.mark.parametrize(
    ("one", "other", "low", "high"), [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)]
)  # Newcombe 1998, Statistics in Medicine 17, 873-890, table II, method 10
def test_intervals_of_differences_match_the_literature(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float
) -> None:
    found = difference(proportion(*one), proportion(*other))
    assert found is not None
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_numbers_read_as_a_person_writes_them() -> None:
    assert [count(1234567), count(None)] == ["1,234,567", "–"]
    assert [money(123456, "€"), money(1_234_567_89, "¥"), money(-50, "$"), money(None, "€")] == [
        "€1,234.56", "¥1,234,568", "−$0.50", "–",
    ]  # fmt: skip
    assert [percent(0.1234), percent(0.0012), percent(0), percent(None)] == ["12.3%", "0.12%", "0%", "–"]
    assert [signed(-0.05), signed(0.05), points(-0.0123)] == ["−5.0%", "+5.0%", "−1.23"]
    assert [size(12), size(1536), size(2_500_000), size(3_000_000_000)] == ["12 B", "1.5 kB", "2.5 MB", "3.0 GB"]
    assert [words("capacity:sms"), words("none")] == ["sms at capacity", "nothing in the way"]
    assert [day("2017-12-03"), day("2017-12-03", long=True)] == ["3 Dec", "Sunday 3 December 2017"]
    assert path("home/kettles") == "home / kettles"


def test_a_curve_goes_through_its_points_and_marks_where_one_is() -> None:
    drawn = str(curve([(0, 0), (50, 80), (100, 100)], (50, 80), "Profit & budget"))
    assert 'points="0,94 49,25.2 98,8"' in drawn
    assert 'cx="49%" cy="25.2%"' in drawn
    assert "Profit &amp; budget" in drawn
    assert str(curve([], (0, 0), "nothing")).count("<circle") == 1
