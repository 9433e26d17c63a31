"""Line charts: what is drawn of which values."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.runs.chart import Line, line_chart
from impasto.runs.page import page, write_page

if TYPE_CHECKING:
    from tests.conftest import Page

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
        for found, given in zip(coordinates(parsed, name), points, strict=True):
            assert found == pytest.approx(given, abs=2e-4)
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
