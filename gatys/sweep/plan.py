"""The plan of a sweep: a YAML file of axes is expanded into cells, each one stylization."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from impasto.data.files import list_pictures
from impasto.options.errors import OptionError
from impasto.options.fields import make, nearest
from impasto.options.stylize import StylizeOptions, typed_stylize_options

__all__ = ["SweepCell", "SweepPlan", "read_sweep", "sweep_cells", "sweep_names"]

# A cell keeps its picture and losses, and nothing else, and is made where it has to be.
_USELESS = {"output", "video", "triptych", "plot_losses", "save_every", "overwrite"}
_OPTIONS = {each.name for each in fields(StylizeOptions)} - _USELESS


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """A sweep as read from its file.

    Attributes:
        name: name of the file, without its suffix.
        title: heading of the page.
        source: publication whose study the sweep repeats; may be empty.
        options: options of ``impasto stylize`` that hold for all cells.
        axes: varied settings, by the name of the axis: the label of each value, and the options
            that it sets.
        combinations: labels of the requested cells; empty: all combinations.
        rows: names of the axes that go down the contact sheet.
        columns: names of the axes that go across.
    """

    name: str
    title: str
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Mapping[str, Mapping[str, Any]]]
    combinations: Sequence[Mapping[str, str]] = ()
    rows: Sequence[str]
    columns: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class SweepCell:
    """One stylization of a sweep.

    Attributes:
        number: number of the cell, counted from 1, in the order of the axes.
        labels: label of the cell's value on each axis, by the name of the axis.
        options: all options of the stylization; ``output`` is the picture's file name only.
    """

    number: int
    labels: Mapping[str, str]
    options: StylizeOptions

    @property
    def folder(self) -> str:
        """Name of the cell's folder, made only of labels, so that axes may grow or be reordered."""
        labels = dict(sorted(self.labels.items()))
        words = "_".join(_slug(label) for label in labels.values())
        digest = hashlib.sha256(json.dumps(labels).encode()).hexdigest()
        return f"{words[:60]}_{digest[:8]}"


def sweep_names() -> list[str]:
    """Return the names of the sweeps that ship with Impasto, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in _shipped().iterdir()
        if entry.name.endswith(".yaml")
    )


def read_sweep(
    name: str,
    *,
    contents: Sequence[Path] = (),
    styles: Sequence[Path] = (),
    changes: Mapping[str, Any] | None = None,
) -> SweepPlan:
    """Read a sweep.

    Args:
        name: YAML file, or the name of a shipped sweep.
        contents: content pictures or folders that replace the file's; several become an axis.
        styles: style pictures or folders that replace the file's; each picture is a style, and
            several become an axis.
        changes: changed options for all cells; values are texts, or what YAML reads from them.

    Raises:
        OptionError: the file is not a sweep, or contains something unknown.
    """
    raw = _read(name)
    known = {"title", "source", "options", "axes", "combinations", "rows", "columns"}
    for key in raw:
        if key not in known:
            raise OptionError("sweep", f"{name}: {key} is unknown{nearest(key, known)}")
    axes = {
        str(axis): _values(str(axis), values) for axis, values in (raw.get("axes") or {}).items()
    }
    combinations = _read_combinations(name, raw.get("combinations"), {*axes, "style", "content"})
    options = dict(raw.get("options") or {})
    for text, value in (changes or {}).items():
        options[text] = _parsed(text, value)
        axes.pop(text, None)  # said for all cells, so it does not vary
    options = _known(name, options)
    named = {*_as_list(raw.get("rows")), *_as_list(raw.get("columns")), *axes}
    for axis, option, given in (("style", "styles", styles), ("content", "content", contents)):
        pictures = _pictures(given)
        if len(pictures) == 1 and axis not in named:
            options[option] = pictures[0]  # the same for all cells
        elif pictures:
            options.pop(option, None)
            axes = {axis: _picture_axis(option, pictures), **_without(axes, axis)}
    if not axes:
        raise OptionError("sweep", f"{name}: expected at least one axis, e.g. style_weight")
    rows, columns = _layout(name, raw, list(axes))
    return SweepPlan(
        name=Path(name).stem,
        title=str(raw.get("title", Path(name).stem)),
        source=str(raw.get("source", "")),
        options=options,
        axes=axes,
        combinations=[
            {axis: label for axis, label in one.items() if axis in axes} for one in combinations
        ],
        rows=rows,
        columns=columns,
    )


def sweep_cells(plan: SweepPlan) -> list[SweepCell]:
    """Return the cells, in the order of the axes, the last one varying first.

    Raises:
        OptionError: options do not fit together, or a listed combination is none of the axes'.
    """
    _check_combinations(plan)
    typed_stylize_options(plan.options)  # a mistake in all cells is said without a cell's labels
    made: list[SweepCell] = []
    for labels in _combined(plan):
        flat = dict(plan.options)
        for axis, label in labels.items():
            flat.update(plan.axes[axis][label])
        try:
            typed = typed_stylize_options(flat)
            options = make(StylizeOptions, {**typed, "output": "picture.png"})
        except OptionError as error:
            where = ", ".join(f"{axis} {label}" for axis, label in labels.items())
            raise OptionError("sweep", f"{where}: {error}") from error
        if options.content is None or not options.styles:
            raise OptionError(
                "sweep",
                f"{plan.name} names no {'style' if options.content else 'content'} picture"
                "; give --contents and --styles",
            )
        made.append(SweepCell(number=len(made) + 1, labels=labels, options=options))
    return made


def _combined(plan: SweepPlan) -> Iterator[dict[str, str]]:
    for values in itertools.product(*plan.axes.values()):
        labels = dict(zip(plan.axes, values, strict=True))
        wanted = plan.combinations
        if not wanted or any(one.items() <= labels.items() for one in wanted):
            yield labels


def _check_combinations(plan: SweepPlan) -> None:
    for one in plan.combinations:
        for axis, label in one.items():
            if label not in plan.axes[axis]:
                hint = nearest(label, plan.axes[axis])
                raise OptionError("sweep", f"combinations: {label!r} is no value of {axis}{hint}")


def _shipped() -> Any:
    return files("impasto.options") / "presets" / "sweeps"


def _read(name: str) -> dict[str, Any]:
    path = Path(name)
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
        elif name in sweep_names():
            text = (_shipped() / f"{name}.yaml").read_text(encoding="utf-8")
        else:
            raise OptionError(
                "sweep",
                f"{name} is neither a file nor a sweep{nearest(name, sweep_names())}"
                f" (sweeps: {', '.join(sweep_names())})",
            )
        raw = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError("sweep", f"{name} cannot be read: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("axes") or {}, dict):
        raise OptionError("sweep", f"{name}: expected 'axes:' and below it 'name: [values]'")
    if not isinstance(raw.get("options") or {}, dict):
        raise OptionError("sweep", f"{name}: expected 'options:' and below it 'name: value'")
    return {str(key): value for key, value in raw.items()}


def _parsed(option: str, value: Any) -> Any:
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise OptionError("set", f"{option}={value} is no YAML value") from error


def _read_combinations(name: str, raw: Any, known: set[str]) -> list[dict[str, str]]:
    """Return the combinations that a file lists, by axes that the file may have."""
    raw = [] if raw is None else raw
    if not isinstance(raw, list) or not all(one and isinstance(one, dict) for one in raw):
        raise OptionError(
            "sweep", f"{name}: combinations: expected a list of {{axis: label}}, got {raw}"
        )
    for axis in itertools.chain.from_iterable(raw):
        if axis not in known:
            raise OptionError(
                "sweep", f"{name}: combinations: {axis} is no axis{nearest(str(axis), known)}"
            )
    return [{axis: _label(label) for axis, label in one.items()} for one in raw]


def _values(axis: str, values: Any) -> dict[str, dict[str, Any]]:
    """Return the options that each value of an axis sets, by label."""
    if not isinstance(values, list | dict) or not values:
        raise OptionError("sweep", f"{axis}: expected a list of values, or 'label: value' lines")
    if isinstance(values, list):
        values = {_label(value): value for value in values}
    named = {}
    for label, value in values.items():
        options = value if isinstance(value, dict) else {_option_of(axis): value}
        named[_label(label)] = _known(axis, options)
    return named


def _option_of(axis: str) -> str:
    return "styles" if axis == "style" else axis


def _known(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name in _USELESS:
            raise OptionError(
                "sweep",
                f"{where}: {name} is not for sweeps, which keep picture and losses of each cell; "
                "leave it out",
            )
        if name not in _OPTIONS:
            near = nearest(str(name), _OPTIONS)
            raise OptionError("sweep", f"{where}: {name} is no option of impasto stylize{near}")
    return dict(options)


def _label(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def _pictures(given: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        found += list_pictures(path) if path.is_dir() else [path]
    return found


def _picture_axis(option: str, pictures: Sequence[Path]) -> dict[str, dict[str, Any]]:
    names = [path.stem.replace("_", " ") for path in pictures]
    return {
        name if names.count(name) == 1 else str(path): {option: path}
        for name, path in zip(names, pictures, strict=True)
    }


def _without(axes: Mapping[str, Any], axis: str) -> dict[str, Any]:
    return {name: values for name, values in axes.items() if name != axis}


def _layout(name: str, raw: Mapping[str, Any], axes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the axes that go down and across: the file's, and the others where there is room."""
    asked = {side: _as_list(raw.get(side)) for side in ("rows", "columns")}
    for side, names in asked.items():
        known = set(dict(raw.get("axes") or {})) | set(axes)
        for axis in names:
            if axis not in known:
                raise OptionError(
                    "sweep", f"{name}: {side}: {axis} is no axis{nearest(axis, known)}"
                )
    columns = [axis for axis in asked["columns"] if axis in axes]
    rows = [axis for axis in asked["rows"] if axis in axes]
    free = [axis for axis in axes if axis not in rows and axis not in columns]
    if not columns and free:
        columns.append(free.pop())
    return [*free, *rows], columns


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-.+" else "-" for letter in text)[:24]
