"""A line chart for a page, as inline SVG: sharp at every width, and readable without its colors.

The curves lie in a drawing that is stretched to its place; ticks and words are ordinary text beside
it, so they keep their size. An axis is the range that shows all values, with round ticks on it.
``report.css`` gives the look, ``report.js`` the reading under the pointer; without JavaScript the
latest values stand in the caption.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from dominate import svg, tags

__all__ = ["Line", "axis_range", "line_chart", "round_ticks", "spell_number", "tick_labels"]


_PADDING = 0.04
_SUFFIXES = ((1e12, ""), (1e9, "G"), (1e6, "M"), (1e4, "k"))
_DIVISORS = {"G": 1e9, "M": 1e6, "k": 1e3}


def axis_range(values: Sequence[float], *, from_zero: bool = False) -> tuple[float, float]:
    """Return the ends of an axis that shows all values, the lower first.

    Zero is shown where it is near, or where ``from_zero`` asks for it; else the data decide.

    Args:
        values: values to show, finite numbers, at least one.
        from_zero: whether to begin at zero, for amounts such as a speed.
    """
    low, high = min(values), max(values)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    elif 0 <= low <= 0.6 * high:
        low = 0.0
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size:  # constant: in the middle, above or below zero
        return (min(0.0, 2 * low), max(0.0, 2 * high)) if size else (0.0, 1.0)
    padding = _PADDING * (high - low)
    return (low - padding if low else 0.0, high + padding if high else 0.0)


def round_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return the multiples of a round number (1, 2, 2.5 or 5 times a power of ten) in a range.

    Example:
        >>> round_ticks(0, 1300)
        [0.0, 500.0, 1000.0]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Write ticks alike: all in thousands (``k``), millions (``M``), or with one exponent.

    Example:
        >>> tick_labels([0, 500_000, 1_000_000])
        ['0', '0.5M', '1M']
        >>> tick_labels([0, 5e-5, 1e-4])
        ['0', '0.5e-4', '1e-4']
    """
    size = max((abs(tick) for tick in ticks), default=0.0)
    if not size:
        return ["0" for _ in ticks]
    suffix = next((suffix for least, suffix in _SUFFIXES if size >= least), "")
    divisor = _DIVISORS.get(suffix, 1.0)
    if size < 1e-2 or size >= 1e12:
        exponent = math.floor(math.log10(size) + 1e-9)
        divisor, suffix = 10.0**exponent, f"e{exponent}"
    return [f"{tick / divisor:.6g}{suffix}" if tick else "0" for tick in ticks]


def spell_number(value: float) -> str:
    """Write a value with three digits, and thousands with commas; as ``report.js`` does.

    Example:
        >>> spell_number(0.41234), spell_number(1234.5), spell_number(2e-4)
        ('0.412', '1,234', '2e-4')
    """
    if 999.5 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    if value and not 1e-3 <= abs(value) < 1e12:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.3g}"


_HEIGHT = 10_000  # of the drawing, in its own units; its width is in pictures
_SMOOTHED_FROM = 60  # points; fewer are readable as they are
_MARKS = "abc"  # classes of the style sheet
_WINDOWS = 25  # means over so many parts of a curve
_LARGEST = 1e300  # so that the difference of two values is finite


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart.

    Attributes:
        name: name of the line.
        points: x and y values, in order of x. Values that are not finite are left out.
    """

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The part of the plane that a chart shows; x begins at zero."""

    right: float
    low: float
    high: float

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Return the ``d`` of a path; one point alone is a line of no length, drawn as a dot."""
        up = _HEIGHT / (self.high - self.low)
        pairs = [f"{x:.10g} {(self.high - y) * up:.0f}" for x, y in points]
        return f"M{' '.join(pairs if len(pairs) > 1 else pairs * 2)}"

    def y_share(self, value: float) -> float:
        """Return how far below the top a value lies, 0 to 1."""
        return (self.high - value) / (self.high - self.low)


def line_chart(
    title: str,
    curves: Sequence[Line],
    *,
    note: str = "",
    from_zero: bool = False,
    smooth: bool = True,
) -> tags.html_tag:
    """Return a figure of up to three curves over the number of pictures.

    Args:
        title: heading of the chart.
        curves: lines of the chart; the second is dashed, the third dotted.
        note: words after the heading.
        from_zero: whether the y axis begins at zero.
        smooth: whether a long curve is drawn twice, thin without smoothing and bold as a moving
            mean.
    """
    drawn = [Line(name=curve.name, points=_finite(curve.points)) for curve in curves]
    drawn = [curve for curve in drawn if curve.points]
    figure = tags.figure(cls="panel")
    figure.add(_caption(title, note, drawn))
    if not drawn:
        figure.add(tags.p("No values yet.", cls="hint"))
        return figure
    low, high = axis_range([y for curve in drawn for _, y in curve.points], from_zero=from_zero)
    right = max(curve.points[-1][0] for curve in drawn) or 1.0
    frame = _Frame(right=right, low=low, high=high)
    figure.add(_plot(title, drawn, frame, smooth=smooth))
    return figure


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, min(max(y, -_LARGEST), _LARGEST)) for x, y in points if math.isfinite(y)]


def _caption(title: str, note: str, curves: Sequence[Line]) -> tags.html_tag:
    """Return the heading, and the key with the latest values."""
    keys = [
        tags.span(f"{curve.name} ", tags.b(spell_number(curve.points[-1][1])), cls=f"key {mark}")
        for curve, mark in zip(curves, _MARKS, strict=False)
    ]
    heading = tags.h3(title, tags.small(f" {note}") if note else "")
    return tags.figcaption(heading, tags.span(keys, cls="keys"))


def _plot(title: str, curves: Sequence[Line], frame: _Frame, *, smooth: bool) -> tags.html_tag:
    ticks = round_ticks(frame.low, frame.high)
    drawing = svg.svg(
        viewBox=f"0 0 {frame.right:.10g} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=_description(title, curves, frame),
    )
    heights = [round(frame.y_share(tick) * _HEIGHT) for tick in ticks]
    drawing.add(
        svg.path(d="".join(f"M0 {height}H{frame.right:.10g}" for height in heights), cls="grid")
    )
    for curve, mark in zip(curves, _MARKS, strict=False):
        _draw(drawing, curve, mark, frame, smooth=smooth)
    plot = tags.div(drawing, cls="plot")
    plot.set_attribute("data-range", f"{frame.low:.9g} {frame.high:.9g}")
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        share = f"top: {100 * frame.y_share(tick):.2f}%"
        plot.add(tags.span(label, cls="y-tick", style=share, aria_hidden="true"))
    across = round_ticks(0, frame.right, most=4)
    for tick, label in zip(across, tick_labels(across), strict=True):
        share = f"left: {100 * tick / frame.right:.2f}%"
        plot.add(tags.span(label, cls="x-tick", style=share, aria_hidden="true"))
    return plot


def _draw(drawing: tags.html_tag, curve: Line, mark: str, frame: _Frame, *, smooth: bool) -> None:
    """Add the curve as it is, which the script reads; bold, or thin under its moving mean."""
    long = smooth and len(curve.points) >= _SMOOTHED_FROM
    kind = "raw" if long else "curve"
    kind += " point" if len(curve.points) == 1 else ""
    path = frame.path(curve.points)
    drawing.add(svg.path(d=path, cls=f"{kind} {mark}", data_name=curve.name))
    if long:
        means = _moving_mean(curve.points, len(curve.points) // _WINDOWS | 1)
        drawing.add(svg.path(d=frame.path(means), cls=f"curve {mark}"))


def _moving_mean(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Return centered means over ``window`` points, fewer at the ends; some for each window."""
    sums = [0.0, *accumulate(y for _, y in points)]
    half, last = window // 2, len(points) - 1
    found = []
    for index in sorted({*range(0, last, max(1, window // 6)), last}):
        reach = min(half, max(index, 1), max(last - index, 1))
        first, end = max(0, index - reach), min(last, index + reach) + 1
        found.append((points[index][0], (sums[end] - sums[first]) / (end - first)))
    return found


def _description(title: str, curves: Sequence[Line], frame: _Frame) -> str:
    """Say in words what the chart shows."""
    parts = []
    for curve in curves:
        values = [y for _, y in curve.points]
        low, high, last = (spell_number(y) for y in (min(values), max(values), values[-1]))
        parts.append(f"{curve.name} between {low} and {high}, latest {last}")
    return f"{title} over {spell_number(frame.right)} images: {'; '.join(parts)}"
