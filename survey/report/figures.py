"""The figures of a report, for papers: rates, pictures by percentages, pictures with percentages.

Only matplotlib's objects are used, never pyplot, and the same findings give the same bytes. The
pictures are taken from the exported folder, checked against the key, and copied.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from impasto.data.atomic import atomic_path
from impasto.data.decode import read_picture
from impasto.options.errors import SurveyError
from impasto.runs.pages.figures import figure_style
from impasto.survey.analysis.findings import Estimate, Findings, PictureFindings
from impasto.survey.analysis.judgements import REAL_GROUP
from impasto.survey.key import Key
from impasto.survey.rates import Interval

__all__ = [
    "copy_pictures",
    "draw_gallery",
    "draw_pictures",
    "draw_rates",
    "draw_times",
]


# Okabe and Ito 2008: told apart by every kind of color vision, and by brightness.
_REAL, _FAKE = "#0067a8", "#c04a00"
_GRAY = "#6b747b"
# Bars and whiskers lie along x; only there are lines of a grid, and some panels are placed by hand.
_STYLE = {
    "axes.grid": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": False,
}
_ACROSS = 5
_LONGEST_NAME = 28


def draw_rates(findings: Findings) -> Figure:
    """Draw the share of REAL for each group's pictures, with both intervals."""
    rows: list[tuple[str, Estimate, str]] = [
        (_label(group.name), group.called_real, _color(group.name)) for group in findings.groups
    ]
    rows += [
        (f"{_short(one.name)}: error", one.error, _GRAY)
        for one in findings.generators
        if one.error is not None and not findings.in_pairs
    ]
    with figure_style(_STYLE):
        figure = Figure(figsize=(6.5, 0.9 + 0.42 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, (_, measured, color) in enumerate(rows):
            _whisker(axes, place, measured.value, measured.interval, color, width=1.6)
            if measured.people is not None:
                _whisker(axes, place, None, measured.people, color, width=5.0, alpha=0.3)
        _percent_axis(axes, [label for label, _, _ in rows])
        axes.set_xlabel(
            "called REAL, and errors; thin: 95 % for other people and pictures, broad: for other "
            "people",
            fontsize=8,
        )
    return figure


def draw_pictures(findings: Findings) -> Figure:
    """Draw the percentage of each picture with its Wilson interval, with one panel per group."""
    groups = [group.name for group in findings.groups]
    shown = {name: [one for one in findings.pictures if one.group == name] for name in groups}
    if findings.in_pairs:
        shown[REAL_GROUP] = [one for one in findings.pictures if one.group == REAL_GROUP]
    counts = [len(some) for some in shown.values()]
    with figure_style(_STYLE):
        figure = Figure(
            figsize=(6.5, 0.6 * len(counts) + 0.2 * sum(counts) + 0.5), layout="constrained"
        )
        panels = figure.subplots(
            len(counts), 1, sharex=True, squeeze=False, height_ratios=[max(n, 2) for n in counts]
        )[:, 0]
        for axes, (name, some) in zip(panels, shown.items(), strict=True):
            for place, one in enumerate(some):
                _whisker(axes, place, one.real_share, one.wilson, _color(name), width=1.4)
            _percent_axis(axes, [one.name.removeprefix(f"{name} ") for one in some])
            axes.set_title(_label(name), parse_math=False)
        panels[-1].set_xlabel("called REAL, with 95 % interval (Wilson)")
    return figure


def draw_gallery(findings: Findings, pictures: Mapping[str, Path], group: str) -> Figure:
    """Draw the pictures of a group with their percentages beneath."""
    shown = [one for one in findings.pictures if one.group == group and one.token in pictures]
    across = min(_ACROSS, max(len(shown), 1))
    down = -(-len(shown) // across)
    first = read_picture(pictures[shown[0].token]).rgb if shown else np.ones((1, 1, 3))
    tall = first.shape[0] / first.shape[1]
    cell = 7.0 / _ACROSS
    with figure_style(_STYLE):
        figure = Figure(figsize=(cell * across, down * (cell * tall + 0.55) + 0.3))
        figure.suptitle(_label(group), x=0.01, ha="left", fontsize=10, parse_math=False)
        cells = figure.subplots(down, across, squeeze=False).ravel()
        figure.subplots_adjust(
            left=0.01,
            right=0.99,
            bottom=0.45 / figure.get_figheight(),
            top=1 - 0.3 / figure.get_figheight(),
            wspace=0.08,
            hspace=0.55 / (cell * tall),
        )
        for axes in cells:
            axes.set_axis_off()
        for axes, one in zip(cells, shown, strict=False):
            axes.imshow(read_picture(pictures[one.token]).rgb)
            _caption(axes, one)
    return figure


def draw_times(findings: Findings) -> Figure | None:
    """Draw medians and quartiles of the reaction times; None without reaction times."""
    timed = [group for group in findings.groups if group.times is not None]
    if not timed:
        return None
    with figure_style(_STYLE):
        figure = Figure(figsize=(6.5, 0.9 + 0.42 * len(timed)), layout="constrained")
        axes = figure.subplots()
        for place, group in enumerate(timed):
            if group.times is None:
                continue
            low, middle, high = (value / 1000 for value in group.times.quartiles)
            color = _color(group.name)
            axes.hlines(place, low, high, color=color, linewidth=5, alpha=0.3)
            axes.plot(middle, place, "o", color=color, markersize=6)
            for value, mark in ((group.times.right, "|"), (group.times.wrong, "x")):
                if value is not None:
                    axes.plot(value / 1000, place, mark, color="#222222", markersize=7)
        axes.set_yticks(range(len(timed)), [_label(group.name) for group in timed])
        axes.invert_yaxis()
        axes.margins(y=0.3)
        axes.set_xlim(left=0)
        axes.grid(visible=True, axis="x")
        axes.set_xlabel(
            "seconds; dot: median, bar: quartiles, |: right answers, \N{MULTIPLICATION SIGN}: "
            "wrong answers",
            fontsize=8,
        )
    return figure


def _caption(axes: Axes, picture: PictureFindings) -> None:
    if picture.real_share is None or picture.wilson is None:
        return
    lines = (
        (0.0, "left", f"REAL {100 * picture.real_share:.0f} %", _REAL, "bold"),
        (1.0, "right", f"FAKE {100 * (1 - picture.real_share):.0f} %", _FAKE, "bold"),
    )
    for x, side, text, color, weight in lines:
        axes.text(
            x,
            -0.04,
            text,
            color=color,
            fontsize=6.5,
            fontweight=weight,
            ha=side,
            va="top",
            transform=axes.transAxes,
        )
    y = -0.2
    axes.plot([0, 1], [y, y], color="#d5dade", linewidth=1, transform=axes.transAxes, clip_on=False)
    axes.plot(
        [picture.wilson.low, picture.wilson.high],
        [y, y],
        color=_REAL,
        linewidth=2,
        transform=axes.transAxes,
        clip_on=False,
    )
    axes.plot(
        picture.real_share,
        y,
        "o",
        color=_REAL,
        markersize=3.5,
        transform=axes.transAxes,
        clip_on=False,
    )
    axes.text(
        0.5,
        -0.25,
        f"{100 * picture.wilson.low:.0f}\N{EN DASH}{100 * picture.wilson.high:.0f} % REAL, "
        f"n = {picture.n}",
        color="#444444",
        fontsize=5.5,
        ha="center",
        va="top",
        transform=axes.transAxes,
    )


def _whisker(
    axes: Axes,
    place: int,
    value: float | None,
    interval: Interval | None,
    color: str,
    *,
    width: float,
    alpha: float = 1.0,
) -> None:
    if interval is not None:
        axes.hlines(
            place,
            100 * interval.low,
            100 * interval.high,
            color=color,
            linewidth=width,
            alpha=alpha,
        )
    if value is not None:
        axes.plot(100 * value, place, "o", color=color, markersize=5.5, clip_on=False, zorder=3)


def _percent_axis(axes: Axes, labels: Sequence[str]) -> None:
    axes.axvline(50, color="#999999", linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    axes.set_xlim(0, 100)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)), labels)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.xaxis.set_major_formatter("{x:.0f} %")
    axes.grid(visible=True, axis="x")


def _label(name: str) -> str:
    return "Real pictures" if name == REAL_GROUP else _short(name)


def _short(name: str) -> str:
    return (
        name
        if len(name) <= _LONGEST_NAME
        else name[: _LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def _color(name: str) -> str:
    return _REAL if name == REAL_GROUP else _FAKE


def copy_pictures(study: Path, key: Key, tokens: Iterable[str], folder: Path) -> dict[str, Path]:
    """Copy exported pictures into the folder of a report.

    Args:
        study: exported folder of the study.
        key: answer key of the study.
        tokens: tokens of the pictures to copy.
        folder: destination folder; created if missing.

    Returns:
        Mapping from token to the path of the copy.

    Raises:
        SurveyError: ``study`` is not an exported folder, or a picture is missing or does not match
            the key.
        OSError: a file cannot be read or written.
    """
    files = _files(study)
    folder.mkdir(parents=True, exist_ok=True)
    copies = {}
    for token in tokens:
        path = files.get(token)
        if path is None or not path.is_file():
            raise SurveyError(
                study, f"has no picture {token}; give the folder that was exported with this key"
            )
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != key.pictures[token].picture_sha256:
            raise SurveyError(
                path,
                "is not the picture of the key: it was changed, or is of another study; give the "
                "folder that was exported with this key",
            )
        copies[token] = folder / f"{token}{path.suffix}"
        with atomic_path(copies[token]) as temporary:
            temporary.write_bytes(content)
    return copies


def _files(study: Path) -> dict[str, Path]:
    """Return token to file, as the study's manifest has it, or as its pictures are named."""
    manifest = study / "study.json"
    if not manifest.is_file():
        return {path.stem: path for path in sorted((study / "images").glob("*"))}
    try:
        stored = json.loads(manifest.read_text(encoding="utf-8"))["pictures"]
        found = {str(token): study / str(name) for token, name in stored.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SurveyError(manifest, f"is no manifest of a study: {error}") from error
    inside = study.resolve()
    for path in found.values():
        if not path.resolve().is_relative_to(inside):
            raise SurveyError(manifest, f"names a picture outside of its folder: {path}")
    return found
