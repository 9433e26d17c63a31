"""Between nested option classes and the flat names of the command line and YAML files.

``TrainOptions(schedule=ScheduleOptions(lr=1e-4))`` is ``{"lr": 1e-4, ...}`` in flat form, so that
the reference's ``--lr`` stays ``--lr``. Names are unique across the sections of one command.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from impasto.options.errors import OptionError
from impasto.options.names import nearest

__all__ = ["ABSENT", "default_values", "difference", "flatten", "make", "sections"]

T = TypeVar("T")

ABSENT = "(absent)"
"""What :func:`difference` gives for an option that one side does not have."""


def sections(options: type) -> dict[str, type]:
    """Return the sections (fields that are option classes themselves) of an options class."""
    found = {}
    for field in fields(options):
        if isinstance(field.type, type) and is_dataclass(field.type):
            found[field.name] = field.type
    return found


def flatten(options: object) -> dict[str, Any]:
    """Return all options as one flat dictionary of plain values (paths become strings).

    Raises:
        TypeError: ``options`` is not an instance of an options class.
    """
    if not is_dataclass(options) or isinstance(options, type):
        raise TypeError(f"expected an options object, got {options!r}")
    inner = sections(type(options))
    flat: dict[str, Any] = {}
    for name, value in ((field.name, getattr(options, field.name)) for field in fields(options)):
        if name in inner:
            flat.update(flatten(value))
        else:
            flat[name] = _plain(value)
    return flat


def default_values(options: type) -> dict[str, Any]:
    """Return the defaults of an options class in flat form, of options that have one."""
    inner = sections(options)
    flat: dict[str, Any] = {}
    for field in fields(options):
        if field.name in inner:
            flat.update(default_values(inner[field.name]))
        elif field.default is not MISSING:
            flat[field.name] = _plain(field.default)
        elif field.default_factory is not MISSING:
            flat[field.name] = _plain(field.default_factory())
    return flat


def make(options: type[T], flat: Mapping[str, Any]) -> T:
    """Make an options object from flat values; what is missing keeps its default.

    Raises:
        OptionError: a name is unknown (the nearest valid one is shown) or a value is bad.
    """
    known = _names(options)
    for name in flat:
        if name not in known:
            raise OptionError(name, f"unknown option{nearest(name, known)}")
    inner = sections(options)
    values: dict[str, Any] = {name: make(kind, _part(kind, flat)) for name, kind in inner.items()}
    for name in known - set().union(*(_names(kind) for kind in inner.values())):
        if name in flat:
            values[name] = _typed(options, name, flat[name])
    return options(**values)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options whose values differ, as ``{name: (old, new)}``, sorted by name."""
    names = sorted({*old, *new})
    pairs = {name: (old.get(name, ABSENT), new.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _names(options: type) -> set[str]:
    inner = sections(options)
    names = {field.name for field in fields(options)} - set(inner)
    return names.union(*(_names(kind) for kind in inner.values()))


def _part(kind: type, flat: Mapping[str, Any]) -> dict[str, Any]:
    names = _names(kind)
    return {name: value for name, value in flat.items() if name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _typed(options: type, name: str, value: Any) -> Any:
    """Give a plain value back its type: only paths and tuples differ between the two forms."""
    declared = str(next(field.type for field in fields(options) if field.name == name))
    if value is None or "Path" not in declared:
        return value
    return tuple(map(Path, value)) if isinstance(value, list | tuple) else Path(value)
