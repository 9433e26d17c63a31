"""losses.csv, one row for each iterate, and the curves that are drawn from it."""

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from impasto.data.atomic import write_text_atomic
from impasto.gatys.optim.iterates import Iterate
from impasto.options.errors import ImpastoError
from impasto.runs.pages.figures import (
    add_legend,
    count_along,
    figure_style,
    make_logarithmic,
    point_marks,
    say_values,
    series_color,
)

__all__ = ["LossLog", "LossRow", "draw_losses", "read_losses"]

_LOGGER = logging.getLogger(__name__)
_COUNTS = ("scale", "step", "evaluations")  # columns before the losses
# The total is a sum of float32 tensors; seven digits, some of them lost by adding.
_TOLERANCE = 1e-4

_Line = Literal["-"] | tuple[float, Sequence[float]]
_LINES: dict[str, _Line] = {"content": "-", "style": (0, (1, 1.2))}
_OTHER_LINES: Sequence[_Line] = ((0, (6, 2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "o", "s", "D", "^")
# What keeps a picture smooth and within range says little about its progress.
_NOT_DRAWN = frozenset({"variation", "value_range", "total"})


@dataclass(frozen=True, kw_only=True)
class LossRow:
    """One row of losses.csv.

    Attributes:
        scale: number of the scale, counted from 1.
        step: number of evaluations of the losses at this scale.
        evaluations: number of evaluations since the beginning.
        losses: weighted losses by name, and ``total``, their sum, last.
        seconds: seconds since the beginning.

    Raises:
        ValueError: the total is missing or is not the sum of the losses.
    """

    scale: int
    step: int
    evaluations: int
    losses: Mapping[str, float]
    seconds: float

    def __post_init__(self) -> None:
        *terms, total = self.losses.values() if self.losses else [math.nan]
        if list(self.losses)[-1:] != ["total"]:
            raise ValueError(f"expected losses and their total, got {', '.join(self.losses)}")
        size = sum(abs(term) for term in terms)
        # So written that NaN and infinity, which a divergence leaves, pass.
        if abs(total - sum(terms)) > _TOLERANCE * max(size, 1e-12):
            raise ValueError(f"expected a total of {sum(terms)!r}, got {total!r}")

    @property
    def columns(self) -> dict[str, float]:
        """All numbers by the names of their columns, in order."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {**counts, **self.losses, "seconds": self.seconds}


class LossLog:
    """Writes losses.csv row by row: a watcher of the optimization.

    The file is created with the first row, so that an error before it leaves the file of an earlier
    run untouched. Each row is flushed at once, so that a killed run keeps its losses. Rows that
    cannot be written, for example on a full disk, are written with a later one.

    Args:
        path: file to write; an existing one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[LossRow] = []
        self._unwritten: list[str] = []
        self._failed = False
        self._seconds_before = 0.0
        self._size = 0

    def __call__(self, iterate: Iterate) -> None:
        """Append the losses of an iterate.

        Raises:
            ImpastoError: the file cannot be created.
        """
        if self.rows and iterate.scale != self.rows[-1].scale:
            self._seconds_before = self.rows[-1].seconds
        self.add(
            LossRow(
                scale=iterate.scale,
                step=iterate.step,
                evaluations=iterate.evaluations,
                losses=iterate.losses,
                seconds=self._seconds_before + iterate.seconds,
            )
        )

    def add(self, row: LossRow) -> None:
        """Append a row.

        Raises:
            ImpastoError: the file cannot be created.
        """
        if not self.rows:
            self._begin(row)
        self.rows.append(row)
        # repr keeps every digit of a float.
        self._unwritten.append(",".join(repr(value) for value in row.columns.values()) + "\n")
        data = "".join(self._unwritten).encode("ascii")
        try:
            with self.path.open("r+b") as file:
                file.truncate(self._size)  # what an earlier failure left of a row
                file.seek(self._size)
                file.write(data)
        except OSError as error:
            if not self._failed:
                _LOGGER.warning(
                    "%s: cannot be written (%s); trying again with each row",
                    self.path,
                    error.strerror or error,
                )
            self._failed = True
            return
        self._size += len(data)
        self._unwritten = []
        self._failed = False

    def _begin(self, row: LossRow) -> None:
        path = self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(path, ",".join(row.columns) + "\n")
            self._size = path.stat().st_size
        except OSError as error:
            raise ImpastoError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_losses(path: Path) -> list[LossRow]:
    """Return the rows of a losses.csv; an incomplete last row of a killed run is left out.

    Raises:
        ImpastoError: the file cannot be read, or a row other than the last is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ImpastoError(f"{path}: cannot be read: {reason.lower()}") from error
    records = csv.reader(text[: text.rfind("\n") + 1].splitlines())
    header, *lines = [record for record in records if record] or [[]]
    names = header[len(_COUNTS) : -1]
    if header != [*_COUNTS, *names, "seconds"] or names[-1:] != ["total"]:
        expected = ", ".join(_COUNTS)
        raise ImpastoError(f"{path}: expected the columns {expected}, losses, total, seconds")
    rows = []
    for line, values in enumerate(lines, start=2):
        try:
            rows.append(_read_row(names, values))
        except ValueError as error:
            raise ImpastoError(f"{path}: line {line} is damaged: {error}") from error
    return rows


def _read_row(names: Sequence[str], values: Sequence[str]) -> LossRow:
    """Read the columns of a row; ``names`` are those of the losses.

    Raises:
        ValueError: a column is missing, superfluous, or not a number.
    """
    expected = len(_COUNTS) + len(names) + 1
    if len(values) != expected:
        raise ValueError(f"expected {expected} columns, got {len(values)}")
    counts = dict(zip(_COUNTS, map(int, values), strict=False))
    losses = dict(zip(names, map(float, values[len(_COUNTS) : -1]), strict=True))
    return LossRow(**counts, losses=losses, seconds=float(values[-1]))


def draw_losses(
    runs: Mapping[str, Sequence[LossRow]],
    *,
    title: str = "",
    size_inches: tuple[float, float] = (7.0, 3.8),
) -> Figure:
    """Draw content (solid) and style (dotted) of one or several runs on a logarithmic scale.

    Further losses, besides those of ``impasto stylize``, are drawn dashed.

    If the content loss begins at 0, because the picture began as the content, it can only rise, and
    the figure notes this; a value of 0 has no place on the scale and is left out. With one run,
    thin lines show where a scale begins.

    Args:
        runs: rows of each run, by the name of the run; each run gets a color.
        title: heading of the figure.
        size_inches: width and height of the figure, in inches.

    Returns:
        A figure for :func:`impasto.runs.pages.figures.write_figure`.

    Raises:
        ImpastoError: there is nothing to draw.
    """
    drawn = {name: rows for name, rows in runs.items() if rows}
    if not drawn:
        raise ImpastoError("there are no losses to draw")
    with figure_style():
        figure = Figure(figsize=size_inches)
        axes = figure.subplots()
        lines = _lines_of_losses(drawn)
        for index, (name, rows) in enumerate(drawn.items()):
            _draw_run(axes, name, rows, lines, series_color(index, len(drawn)))
        marked = any(line.get_markevery() for line in axes.lines)
        if any(_positive(row) for rows in drawn.values() for row in rows):
            make_logarithmic(axes)
        say_values(axes)
        if len(drawn) == 1:
            _mark_scales(axes, next(iter(drawn.values())))
        axes.set_xlim(left=0)
        axes.set_xlabel("Evaluations of the losses")
        count_along(axes)
        axes.set_ylabel("Weighted loss")
        add_legend(figure, _legend_entries(list(drawn), lines, marked=marked), title=title)
        if any(_starts_as_content(rows) for rows in drawn.values()):
            note = "The picture starts as the content, so the content loss rises from 0."
            figure.supxlabel(note, fontsize=8, color="#555555")
    return figure


def _lines_of_losses(runs: Mapping[str, Sequence[LossRow]]) -> dict[str, _Line]:
    """Return how each loss of any of the runs is drawn."""
    names = {name: None for rows in runs.values() for name in rows[0].losses}
    others = [name for name in names if name not in _NOT_DRAWN | set(_LINES)]
    known = {name: line for name, line in _LINES.items() if name in names}
    return {**known, **dict(zip(others, cycle(_OTHER_LINES), strict=False))}


def _draw_run(
    axes: Axes, name: str, rows: Sequence[LossRow], lines: Mapping[str, _Line], color: str
) -> None:
    x = np.array([row.evaluations for row in rows])
    for term, line in lines.items():
        if term not in rows[0].losses:
            continue
        values = np.array([row.losses[term] for row in rows], np.float64)
        shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
        axes.plot(
            x,
            shown,
            color=color,
            linestyle=line,
            linewidth=1.6,
            gid=f"{name} {term}",
            **_marks(shown, lines, term),
        )


def _marks(values: NDArray[np.float64], lines: Mapping[str, _Line], term: str) -> dict[str, Any]:
    """Return the mark of single points of a loss: as unlike the others' as its line is."""
    marker = _MARKERS[list(lines).index(term) % len(_MARKERS)]
    return point_marks(values, marker=marker, hollow=lines[term] != "-")


def _mark_scales(axes: Axes, rows: Sequence[LossRow]) -> None:
    for before, after in pairwise(rows):
        if after.scale != before.scale:
            axes.axvline(before.evaluations, color="#bbbbbb", linewidth=0.8, zorder=0)


def _legend_entries(
    names: Sequence[str], lines: Mapping[str, _Line], *, marked: bool
) -> list[tuple[Line2D, str]]:
    """Return the samples of the legend: a color for each run, a kind of line for each loss."""
    alone = len(names) == 1
    color = series_color(0, 1) if alone else "#555555"
    entries: list[tuple[Line2D, str]] = []
    if not alone:
        entries = [
            (Line2D([], [], color=series_color(at, len(names)), linewidth=1.6), name)
            for at, name in enumerate(names)
        ]
    for term, line in lines.items():
        marks = {**_marks(np.zeros(1), lines, term), "markevery": None} if marked else {}
        sample = Line2D([], [], color=color, linestyle=line, linewidth=1.6, **marks)
        entries.append((sample, term))
    return entries


def _positive(row: LossRow) -> bool:
    """Whether a loss that is drawn has a place on a logarithmic scale."""
    drawn = (value for name, value in row.losses.items() if name not in _NOT_DRAWN)
    return any(math.isfinite(value) and value > 0 for value in drawn)


def _starts_as_content(rows: Sequence[LossRow]) -> bool:
    """Whether the content loss rises, which only a picture that began as the content does."""
    first, last = (row.losses.get("content", 0.0) for row in (rows[0], rows[-1]))
    return last > 0 and first < 0.5 * last
