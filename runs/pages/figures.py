"""The style of all figures, and the loss curves of runs as a figure.

Only matplotlib's objects are used, never pyplot: no window, no state that outlives a call. Every
figure is drawn and written within :func:`figure_style`, so that the user's own settings change
nothing and the same values give the same bytes.
"""

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from impasto.data.atomic import atomic_path
from impasto.options.errors import OptionError
from impasto.options.plot import XAxis
from impasto.runs.curves import Curve, loss_kind

__all__ = [
    "add_legend",
    "count_along",
    "draw_curves",
    "figure_bytes",
    "figure_style",
    "make_logarithmic",
    "point_marks",
    "say_values",
    "series_color",
    "write_figure",
]

# Okabe and Ito 2008, "Color Universal Design": without yellow, which is too light for a line, and
# the two darkest, of unlike brightness, first.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GRAY = "#555555"
_DASHES = (0, (4, 1.6))
_TITLES = {
    "G": "Generator loss",
    "D": "Discriminator loss",
    "cycle": "Cycle loss",
    "idt": "Identity loss",
    "perceptual": "Perceptual loss",
    "loss": "Cross-entropy",
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
}
_AXES = {"iterations": "Iteration", "images": "Images", "epochs": "Epoch"}
_DOMAINS = ("A", "B")
_DASHED = ("B", "val")
# Of the values of single points, so many can be read in one panel.
_MOST_SAID = 8
_CHARACTER_INCHES = 0.083  # of the legend's font, on average
_HANDLE_INCHES = 0.65
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.labelsize": 9.5,
    "legend.fontsize": 9,
    "legend.title_fontsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.xmargin": 0.01,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": "#888888",
    "ytick.color": "#888888",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "text.color": "#222222",
    "axes.labelcolor": "#222222",
    "figure.constrained_layout.use": True,
    # Text that can be searched and edited, in fonts that a publisher takes.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    # The same curves give the same bytes.
    "svg.hashsalt": "impasto",
}


def draw_curves(
    curves: Sequence[Curve],
    *,
    x_axis: XAxis = "iterations",
    smoothing: float = 0.0,
    span: float = 1.0,
    log_scale: bool = False,
    title: str = "",
    size_inches: tuple[float, float | None] = (8.0, None),
) -> Figure:
    """Draw curves: the smoothed ones, with what was reported faintly behind them.

    Args:
        curves: loss curves of one or several runs; curves of one kind (``G_A``, ``G_B``) share a
            panel.
        x_axis: unit of the x axis.
        smoothing: weight of earlier values; see :meth:`impasto.runs.Curve.smoothed`.
        span: number of iterations that ``smoothing`` refers to.
        log_scale: whether the losses have a logarithmic scale.
        title: heading.
        size_inches: width and height; without a height, it grows with the number of panels.

    Raises:
        OptionError: a value cannot stand on a logarithmic scale, or a run not on one of epochs.
    """
    kinds = list(dict.fromkeys(loss_kind(curve.loss) for curve in curves))
    looks = _looks(curves)
    width, height = size_inches
    with figure_style():
        figure = Figure(figsize=(width, height or 1.0 + 2.0 * len(kinds)))
        panels = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
        by_kind = dict(zip(kinds, panels, strict=True))
        for curve in curves:
            axes, look = by_kind[loss_kind(curve.loss)], looks[curve.run, _domain(curve)]
            x, smooth = curve.x(x_axis), curve.smoothed(smoothing, span=span)
            if smoothing:
                axes.plot(x, curve.values, **look.behind)
            axes.plot(x, smooth, **look.front, **point_marks(smooth, hollow=look.dashed))
        for kind, axes in by_kind.items():
            axes.set_ylabel(_TITLES.get(kind, f"{kind} loss"), parse_math=False)
            if log_scale:
                _refuse_below_zero([c for c in curves if loss_kind(c.loss) == kind])
                make_logarithmic(axes)
            say_values(axes)
        paired = any(_domain(curve) in _DOMAINS for curve in curves)
        of_each = " of each domain" if x_axis == "images" and paired else ""
        panels[-1].set_xlabel(_AXES[x_axis] + of_each)
        if x_axis != "epochs":
            count_along(panels[-1])
        panels[-1].set_xlim(left=0)
        figure.align_ylabels()
        marked = any(line.get_markevery() for axes in panels for line in axes.lines)
        entries = [
            (Line2D([], [], **look.front, **_sample_marks(look, marked=marked)), label)
            for look, label in _legend_entries(curves, looks)
        ]
        add_legend(figure, entries, title=title)
    return figure


def figure_bytes(figure: Figure, suffix: str, *, dpi: int = 200) -> bytes:
    """Return a figure as the bytes of a file; equal figures give equal bytes.

    Args:
        figure: figure to write.
        suffix: ``.png``, ``.svg`` or ``.pdf``, in any case.
        dpi: pixels per inch of a PNG.
    """
    _escape_names(figure)
    kind = suffix.lower().lstrip(".")
    undated: Mapping[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    file = io.BytesIO()
    with figure_style():
        figure.savefig(file, format=kind, dpi=dpi, metadata=undated.get(kind, {}))
    return file.getvalue()


def _escape_names(figure: Figure) -> None:
    """Escape the bytes that are no text, which names of files may have, in all that is written."""
    for artist in figure.findobj():
        if (name := artist.get_gid()) is not None:
            artist.set_gid(_escaped(name))
        if isinstance(artist, Text) and artist.get_text() != _escaped(artist.get_text()):
            artist.set_text(_escaped(artist.get_text()))


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_figure(path: Path, figure: Figure, *, dpi: int = 200) -> None:
    """Write a figure atomically, in the format that the suffix of ``path`` names.

    Args:
        path: ends in ``.png``, ``.svg`` or ``.pdf``, in any case.
        figure: figure to write.
        dpi: pixels per inch of a PNG.

    Raises:
        OSError: the file cannot be written.
    """
    content = figure_bytes(figure, path.suffix, dpi=dpi)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def add_legend(figure: Figure, entries: Sequence[tuple[Line2D, str]], *, title: str = "") -> None:
    """Put heading and legend above the panels, where they cover no curve, and no wider.

    Args:
        figure: figure in constrained layout, which makes room for the legend.
        entries: sample lines with their labels, which are shown as they are: no mathematics between
            dollars, and a label may begin with ``_``.
        title: heading.
    """
    width = figure.get_figwidth()
    most = max(8, int((width - _HANDLE_INCHES) / _CHARACTER_INCHES))
    labels = ["\n".join(textwrap.wrap(label, most)) for _, label in entries]
    longest = max((len(line) for label in labels for line in label.splitlines()), default=0)
    columns = int(width / (_HANDLE_INCHES + _CHARACTER_INCHES * longest))
    legend = figure.legend(
        [line for line, _ in entries],
        [str(number) for number in range(len(labels))],
        loc="outside upper center",
        ncols=min(max(columns, 1), len(entries)),
        frameon=False,
        title=title or None,
    )
    legend.get_title().set_parse_math(False)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


@contextmanager
def figure_style(changes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """While active, matplotlib draws by its defaults and ours, independent of the user's settings.

    Args:
        changes: settings of matplotlib that differ for this figure.
    """
    with matplotlib.style.context(["default", {**_STYLE, **(changes or {})}]):
        yield


@dataclass(frozen=True)
class _Look:
    """How the lines of one run and domain look."""

    color: str
    dashed: bool = False

    @property
    def front(self) -> dict[str, Any]:
        return {
            "color": self.color,
            "linestyle": _DASHES if self.dashed else "-",
            "linewidth": 1.5,
            "zorder": 3,
        }

    @property
    def behind(self) -> dict[str, Any]:
        return {"color": self.color, "alpha": 0.25, "linewidth": 0.7, "zorder": 2}


def _looks(curves: Sequence[Curve]) -> dict[tuple[str, str], _Look]:
    """Give each run a color and each domain a line; with one run, each domain a color too."""
    runs = list(dict.fromkeys(curve.run for curve in curves))
    domains = sorted({_domain(curve) for curve in curves})
    looks = {}
    for row, run in enumerate(runs):
        for column, domain in enumerate(domains):
            color = series_color(row, len(runs)) if len(runs) > 1 else _COLORS[column]
            looks[run, domain] = _Look(color, dashed=domain in _DASHED)
    return looks


def series_color(index: int, count: int) -> str:
    """Return the color of a series, as ``#0072b2``, told apart by every kind of color vision.

    Args:
        index: index of the series, counted from 0.
        count: number of all series.
    """
    if count <= len(_COLORS):
        return _COLORS[index]
    # More than anyone can tell apart: at least in order, and safe for the color-blind.
    return to_hex(mpl.colormaps["viridis"](0.92 * index / (count - 1)))


def _domain(curve: Curve) -> str:
    """Return ``A``, ``B`` or ``val`` (held out), or nothing for a loss of none of these."""
    return curve.loss[len(loss_kind(curve.loss)) + 1 :]


def count_along(axes: Axes) -> None:
    """Let an x axis count in whole numbers, with commas."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def point_marks(
    values: NDArray[np.float64], *, marker: str = "o", hollow: bool = False
) -> dict[str, Any]:
    """Return settings of a line that mark the points which no line leads to or from.

    Without them, a curve of one value would not be seen.

    Args:
        values: y values of the line; what is not finite is not drawn.
        marker: matplotlib's name of the mark.
        hollow: draw the mark as a ring, for a line that is not solid.
    """
    there = np.concatenate([[False], np.isfinite(values), [False]])
    lone = np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:])
    look = {"markerfacecolor": "white"} if hollow else {}
    return {"marker": marker, "markersize": 5, "markevery": lone.tolist(), **look}


def say_values(axes: Axes) -> None:
    """Write the values beside the curves of a single point; say so where there is nothing.

    Args:
        axes: panel with all its curves.
    """
    single = []
    for line in axes.lines:
        x, y = (np.asarray(values, np.float64) for values in (line.get_xdata(), line.get_ydata()))
        finite = np.isfinite(y)
        if finite.sum() == 1:
            single.append((float(x[finite][0]), float(y[finite][0]), line.get_color()))
    if len(single) <= _MOST_SAID:
        for across, value, color in single:
            axes.annotate(
                f"{value:.3g}",
                (across, value),
                xytext=(-7, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8,
                color=color,
            )
    if not any(np.isfinite(np.asarray(line.get_ydata(), np.float64)).any() for line in axes.lines):
        axes.text(0.5, 0.5, "no values to draw", transform=axes.transAxes, ha="center")
        axes.set(xticks=[], yticks=[])


def _sample_marks(look: "_Look", *, marked: bool) -> dict[str, Any]:
    """Return settings of a line in the legend: a mark where there are marks in the panels."""
    if not marked:
        return {}
    return {**point_marks(np.zeros(1), hollow=look.dashed), "markevery": None}


def _refuse_below_zero(curves: Sequence[Curve]) -> None:
    for curve in curves:
        lowest = curve.values.min()
        if lowest <= 0:
            raise OptionError(
                "log_scale",
                f"{curve.loss} of {curve.run} goes down to {lowest:.3g}, and a logarithmic scale "
                "has only values above 0",
            )


def make_logarithmic(axes: Axes) -> None:
    """Give a panel, whose values are above 0, a logarithmic y axis with two ticks or more."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high > 1000 * low:
        return  # powers of ten suffice
    # 0.02, 0.05, 0.1, ...
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [f * 10.0**power for power in range(first, last + 1) for f in (1, 2, 5)]
    if sum(low <= tick <= high for tick in ticks) < 2:
        axes.set_ylim(max(t for t in ticks if t <= low), min(t for t in ticks if t >= high))


def _legend_entries(
    curves: Sequence[Curve], looks: Mapping[tuple[str, str], _Look]
) -> list[tuple[_Look, str]]:
    """Return what the legend explains; with several runs, colors and lines separately."""
    losses: dict[str, list[str]] = {}
    for curve in curves:
        losses.setdefault(_domain(curve), []).append(curve.loss)
    lines = {domain: ", ".join(dict.fromkeys(names)) for domain, names in losses.items()}
    runs = list(dict.fromkeys(curve.run for curve in curves))
    if len(runs) == 1:
        return [(looks[runs[0], domain], names) for domain, names in lines.items()]
    entries = [(_Look(looks[run, next(iter(lines))].color), run) for run in runs]
    if len(lines) > 1:
        entries += [
            (_Look(_GRAY, dashed=domain in _DASHED), names) for domain, names in lines.items()
        ]
    return entries
