"""Line charts: what is drawn of which values.

Axes: ranges, round ticks, labels.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from impasto.runs.pages.charts import (
    Line,
    axis_range,
    line_chart,
    round_ticks,
    spell_number,
    tick_labels,
)
from impasto.runs.pages.page import page, write_page

if TYPE_CHECKING:
    from tests.browser import Page


Parse = Callable[[Path], "Page"]
Points = list[tuple[float, float]]


@pytest.fixture
def draw(tmp_path: Path, parse_page: Parse) -> Callable[..., "Page"]:
    """Return a function that draws a chart of curves by name, and parses it."""

    def drawn(curves: dict[str, Points], *, smooth: bool = True) -> "Page":
        document = page("Chart")
        named = [Line(name=name, points=points) for name, points in curves.items()]
        document.main.add(line_chart("G", named, smooth=smooth))
        write_page(tmp_path / "chart.html", document)
        return parse_page(tmp_path / "chart.html")

    return drawn


def coordinates(parsed: "Page", name: str) -> list[tuple[float, float]]:
    """Read a curve back as ``report.js`` does."""
    box = parsed.find("svg")[0].attributes["viewbox"].split()
    low, high = map(float, parsed.find("div", class_="plot")[0].attributes["data-range"].split())
    text = parsed.find("path", data_name=name)[0].attributes["d"]
    assert re.fullmatch(r"M-?[\d.e+]+( -?[\d.e+]+)+", text)
    numbers = [float(number) for number in text[1:].split()]
    heights = [high - y / float(box[3]) * (high - low) for y in numbers[1::2]]
    return list(zip(numbers[::2], heights, strict=True))


def test_values_can_be_read_back(draw: Callable[..., "Page"]) -> None:
    curves: dict[str, Points] = {
        "G_A": [(100, 0.5), (200, 0.25), (350, 0.375)],
        "G_B": [(100, 1.5), (350, 0.0)],
    }
    parsed = draw(curves)
    for name, points in curves.items():
        for found, expected in zip(coordinates(parsed, name), points, strict=True):
            assert found == pytest.approx(expected, abs=2e-4)
    assert parsed.find("svg", role="img")[0].attributes["aria-label"] == (
        "G over 350 images: G_A between 0.25 and 0.5, latest 0.375; G_B between 0 and 1.5, latest 0"
    )
    assert [key.text.strip() for key in parsed.find("b")] == ["0.375", "0"]
    assert "G" in parsed.find("h3")[0].text


@pytest.mark.parametrize("points", [[], [(1, float("nan")), (2, float("inf"))]])
def test_without_values(draw: Callable[..., "Page"], points: Points) -> None:
    parsed = draw({"G_A": points})
    assert not parsed.find("svg")
    assert "No values yet." in parsed.find("main")[0].text


def test_one_point_is_a_dot_and_what_is_not_finite_is_left_out(draw: Callable[..., "Page"]) -> None:
    parsed = draw({"G_A": [(50, float("nan")), (100, 3.0)]})
    assert coordinates(parsed, "G_A") == [(100, 3.0), (100, 3.0)]
    (path,) = [one for one in parsed.find("path") if one.attributes.get("data-name") == "G_A"]
    assert path.attributes["class"] == "curve point a"  # which the style sheet draws as a dot


@pytest.mark.parametrize(
    "values", [[7.0] * 5, [0.0] * 5, [-1e12, 1e12], [-1.7e308, 1.7e308], [1e-300, 2e-300]]
)
def test_extreme_values(draw: Callable[..., "Page"], values: list[float]) -> None:
    parsed = draw({"G_A": list(enumerate(values))})
    found = coordinates(parsed, "G_A")
    assert len(found) == len(values)
    assert parsed.find("span", class_="y-tick")
    assert not re.search("nan|inf", parsed.find("path", class_="grid")[0].attributes["d"])


def test_long_curves_have_a_moving_mean(draw: Callable[..., "Page"]) -> None:
    line = [(float(x), x + (1.0 if x % 2 else -1.0)) for x in range(1, 513)]
    parsed = draw({"G_A": line})
    assert len(coordinates(parsed, "G_A")) == 512
    assert parsed.find("path", data_name="G_A")[0].attributes["class"] == "raw a"
    mean = parsed.find("path", class_="curve")[0].attributes
    mean["data-name"] = "mean"
    found = coordinates(parsed, "mean")
    assert len(found) < 256
    assert found[-1][0] == 512
    # Of a straight line with noise, the mean is the line.
    assert all(abs(x - y) < 1.5 for x, y in found)
    assert not draw({"G_A": line}, smooth=False).find("path", class_="raw")


def test_names_are_escaped(draw: Callable[..., "Page"]) -> None:
    name = '<script>"&'
    parsed = draw({name: [(1, 2.0)]})
    assert parsed.find("path", data_name=name)
    assert len(parsed.find("script")) == 1


NUMBERS = st.floats(-1e300, 1e300).filter(lambda value: value == 0 or abs(value) > 1e-290)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1_257_400, [0, 500_000, 1_000_000]),
        (0.13, 0.29, [0.15, 0.2, 0.25]),
        (-3, 3, [-2, 0, 2]),
        (0, 2.08e-4, [0, 0.5e-4, 1e-4, 1.5e-4, 2e-4]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.booleans())
def test_every_value_is_shown_between_few_ticks(values: list[float], from_zero: bool) -> None:
    low, high = axis_range(values, from_zero=from_zero)
    assert math.isfinite(high - low)
    assert low < high
    assert low <= min(values) <= max(values) <= high
    ticks = round_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert all(low - (high - low) / 1e6 <= tick <= high + (high - low) / 1e6 for tick in ticks)
    assert len(tick_labels(ticks)) == len(ticks)


@pytest.mark.parametrize(
    ("values", "from_zero", "ends"),
    [
        ([0.5, 0.5], False, (0, 1)),
        ([0.5], False, (0, 1)),
        ([-2.0], False, (-4, 0)),
        ([0.0, 0.0], True, (0, 1)),
        ([2e-4, 2e-4], True, (0, 2.08e-4)),
        ([1.0, 2.0], False, (0, 2.08)),
        ([9.0, 10.0], False, (8.96, 10.04)),
        ([-1.0, 1.0], False, (-1.08, 1.08)),
    ],
)
def test_ranges(values: list[float], from_zero: bool, ends: tuple[float, float]) -> None:
    assert axis_range(values, from_zero=from_zero) == pytest.approx(ends)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([], []),
        ([0.0], ["0"]),
        ([0, 0.25, 0.5], ["0", "0.25", "0.5"]),
        ([0, 500, 1000], ["0", "500", "1000"]),
        ([0, 50_000, 100_000], ["0", "50k", "100k"]),
        ([0, 2_500_000], ["0", "2.5M"]),
        ([-4e9, 0], ["-4G", "0"]),
        ([0, 5e-5, 1e-4], ["0", "0.5e-4", "1e-4"]),
        ([0, 2e20], ["0", "2e20"]),
    ],
)
def test_labels(ticks: list[float], labels: list[str]) -> None:
    assert tick_labels(ticks) == labels


def test_numbers() -> None:
    spelled = {0: "0", 0.04567: "0.0457", 12.34: "12.3", -98765.4: "-98,765", 1.5e-5: "1.5e-5"}
    assert {value: spell_number(value) for value in spelled} == spelled
