"""What all option classes share: flat names, checks of values, help for a mistyped name.

Option classes may be nested; on the command line and in YAML files their names are flat.

``TrainOptions(schedule=ScheduleOptions(lr=1e-4))`` is ``{"lr": 1e-4, ...}`` in flat form, so that
the reference's ``--lr`` stays ``--lr``. Names are unique across the sections of one command.
"""

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin

from impasto.options.errors import OptionError

__all__ = [
    "ABSENT",
    "MOST_BENT_PX",
    "add_choice",
    "check_value",
    "choices",
    "default_values",
    "describe_type",
    "difference",
    "expand_home",
    "flatten",
    "kind_of",
    "make",
    "nearest",
    "nearest_suffix",
    "option_class",
    "parse_bytes",
    "require",
    "require_at_least",
    "require_between",
    "require_grid_bend",
    "require_positive",
    "require_range",
    "require_seed",
    "sections",
    "spell_change",
    "split_backbone",
    "types_of",
]


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` for the valid names closest to ``name``, or nothing."""
    by_lower = {choice.lower(): choice for choice in valid}
    found = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if not found:
        return ""
    return f"; did you mean {' or '.join(by_lower[match] for match in found)}?"


_OTHER_FORMATS = {
    *(".apng", ".avi", ".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".mov", ".mp4", ".pdf"),
    *(".png", ".ppm", ".svg", ".tif", ".tiff", ".webm", ".webp"),
}


def nearest_suffix(suffix: str, valid: Iterable[str]) -> str:
    """Return what :func:`nearest` does, but for an ending that is no misspelling of another.

    ``.gif`` means another format than ``.tif``, and ``.pngg`` means ``.png``.
    """
    return "" if suffix in _OTHER_FORMATS or not suffix else nearest(suffix, valid)


_KINDS: dict[Any, tuple[str, Any]] = {
    bool: ("true or false", bool),
    int: ("a whole number", Integral),
    float: ("a number", Real),
    str: ("a text", str | Integral),  # a year, an epoch: YAML and Python have them as numbers
    Path: ("a path", str | PathLike),
}


_ADDED: dict[Any, list[str]] = {}


def add_choice(kind: Any, value: str) -> None:
    """Let options of a type take one more value than it lists, from Python and from files.

    Args:
        kind: the ``Literal``.
        value: the new value.
    """
    _ADDED.setdefault(kind, []).append(value)


def choices(hint: Any) -> list[str]:
    """Return the values that a type lists (``Literal``), as texts; nothing for other types."""
    kinds = [kind for kind in (hint, *get_args(hint)) if get_origin(kind) is Literal]
    return [str(word) for kind in kinds for word in (*get_args(kind), *_ADDED.get(kind, ()))]


def describe_type(hint: Any) -> str:
    """Say in plain words which values an option takes, e.g. ``"a whole number"``.

    Args:
        hint: type of the option or, where it takes several values, of each of them. None, which
            stands for "not given" in the option classes, is not mentioned.
    """
    kinds = (hint, *get_args(hint))
    plain = next((words for kind, (words, _) in _KINDS.items() if kind in kinds), "")
    if plain:
        return " or ".join([plain, *choices(hint)])
    words = choices(hint)
    return " or ".join(words) if len(words) == 2 else f"one of {', '.join(words)}"


T = TypeVar("T")

ABSENT = "(absent)"
"""What :func:`difference` gives for an option that one side does not have."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def option_class(options: type[T]) -> type[T]:
    """Make a class of options: a frozen dataclass whose values are checked when it is made.

    Values are checked and converted as :func:`make` does, so that a path may be a text; then
    ``__post_init__`` of the class, if it has one, checks what its values have to do with each
    other.
    """
    further: Callable[[Any], None] | None = options.__dict__.get("__post_init__")

    def check(self: Any) -> None:
        inner = sections(type(self))
        for name, hint in _hints(type(self)).items():
            if name not in inner:
                object.__setattr__(self, name, check_value(name, hint, getattr(self, name)))
        if further is not None:
            further(self)

    if further is not None or not hasattr(options, "__post_init__"):
        setattr(options, "__post_init__", check)  # noqa: B010 - no declared attribute of a type
    return dataclass(frozen=True, kw_only=True)(options)


def sections(options: type) -> dict[str, type]:
    """Return the sections (fields that are option classes themselves) of an options class."""
    found = {}
    for entry in fields(options):
        if isinstance(entry.type, type) and is_dataclass(entry.type):
            found[entry.name] = entry.type
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
    for name, value in ((entry.name, getattr(options, entry.name)) for entry in fields(options)):
        if name in inner:
            flat.update(flatten(value))
        else:
            flat[name] = _plain(value)
    return flat


def default_values(options: type) -> dict[str, Any]:
    """Return the defaults of an options class in flat form, of options that have one."""
    inner = sections(options)
    flat: dict[str, Any] = {}
    for entry in fields(options):
        if entry.name in inner:
            flat.update(default_values(inner[entry.name]))
        elif entry.default is not MISSING:
            flat[entry.name] = _plain(entry.default)
        elif entry.default_factory is not MISSING:
            flat[entry.name] = _plain(entry.default_factory())
    return flat


def make(
    options: type[T], flat: Mapping[str, Any], *, places: Mapping[str, str] | None = None
) -> T:
    """Make an options object from flat values; what is missing keeps its default.

    A class with a method ``implied_defaults`` has other defaults beside some values.

    Args:
        options: an options class, perhaps with sections.
        flat: values by their names; a path may be a text, and one value may stand for a list.
        places: file, and line where it is known, that a value is from, by the option's name; a
            message about such a value begins with it.

    Raises:
        OptionError: a name is unknown (the nearest valid one is shown), a value is of another type
            or bad, or one is missing that has no default.
    """
    implied: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None
    implied = getattr(options, "implied_defaults", None)
    try:
        return _make(options, flat if implied is None else {**implied(flat), **flat})
    except OptionError as error:
        place = (places or {}).get(error.option, "")
        if not place or error.place:
            raise
        raise OptionError(error.option, error.reason, place=place) from error


def _make(options: type[T], flat: Mapping[str, Any]) -> T:
    known = _names(options)
    for name in flat:
        if name not in known:
            raise OptionError(name, f"unknown option{nearest(name, known)}")
    inner = sections(options)
    values: dict[str, Any] = {name: _make(kind, _part(kind, flat)) for name, kind in inner.items()}
    for name, hint in _hints(options).items():
        if name not in inner and name in flat:
            values[name] = check_value(name, hint, flat[name])
    _require_all(options, values)
    return options(**values)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options whose values differ, as ``{name: (old, new)}``, sorted by name."""
    names = sorted({*old, *new})
    pairs = {name: (old.get(name, ABSENT), new.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def spell_change(name: str, old: Any, new: Any) -> str:
    """Write that an option has another value, with the values as they are given to it.

    Example:
        >>> spell_change("max_images", 2, None)
        'max_images: 2 -> null'
    """
    return f"{name}: {_spelled(old)} -> {_spelled(new)}"


def _spelled(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return " ".join(map(_spelled, value)) or "[]"
    return str(value) or "''"


def _names(options: type) -> set[str]:
    inner = sections(options)
    names = {entry.name for entry in fields(options)} - set(inner)
    return names.union(*(_names(kind) for kind in inner.values()))


def _part(kind: type, flat: Mapping[str, Any]) -> dict[str, Any]:
    names = _names(kind)
    return {name: value for name, value in flat.items() if name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _hints(options: type) -> dict[str, Any]:
    return {entry.name: entry.type for entry in fields(options)}


def types_of(options: type) -> dict[str, Any]:
    """Return the declared types of all options, those of the sections included, by flat name."""
    inner = sections(options)
    found = {name: hint for name, hint in _hints(options).items() if name not in inner}
    for kind in inner.values():
        found |= types_of(kind)
    return found


def _require_all(options: type, values: Mapping[str, Any]) -> None:
    """Refuse, in one message, that options are left out which have no default."""
    missing = [
        entry.name
        for entry in fields(options)
        if entry.default is MISSING
        and entry.default_factory is MISSING
        and entry.name not in values
    ]
    if missing:
        others = "".join(f", and so is --{name}" for name in missing[1:])
        which = "these options" if others else "this option"
        raise OptionError(missing[0], f"is missing{others}; {which} must be given")


def expand_home(path: str | PathLike[str]) -> Path:
    """Return a path with ``~`` at its beginning replaced by the home folder.

    Shells do that only where it begins a word, and not in ``--dataroot=~/photos`` or in a file.
    What names no user's home folder stays as it is.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of Path fails for unknown users


def kind_of(hint: Any) -> tuple[Any, bool]:
    """Return the type of an option, and whether None, which stands for "not given", is one, too."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return kinds[0], NoneType in kinds


def check_value(name: str, hint: Any, value: Any) -> Any:
    """Return a value of the declared type: paths of texts, tuples of lists or of a single value.

    Args:
        name: name of the option, for the message.
        hint: declared type of the option.
        value: the value.

    Raises:
        OptionError: the value is of another type, or is not one of the choices.
    """
    kind, optional = kind_of(hint)
    if value is None and optional:
        return None
    if get_origin(kind) is Sequence:
        several = value if isinstance(value, list | tuple) else [value]
        return tuple(check_value(name, get_args(kind)[0], item) for item in several)
    if get_origin(kind) is Literal:
        fits = value in (*get_args(kind), *_ADDED.get(kind, ()))
    else:
        if isinstance(value, str) and value in choices(hint):  # a word in place of a number
            return value
        # True and False are whole numbers to Python, and to nobody else.
        fits = isinstance(value, _KINDS[kind][1]) and (kind is bool or not isinstance(value, bool))
    shown = "null" if value is None else value
    if listed := choices(kind):
        expected = f"expected {describe_type(kind)}, got {shown}{nearest(str(value), listed)}"
        require(fits, name, expected)
        return value
    shown = shown if value is None else repr(value)
    require(fits, name, f"expected {describe_type(hint)}, got {shown}")
    return expand_home(value) if kind is Path else kind(value)


MOST_BENT_PX = 3.5
"""How far pictures may be bent for a generator; beyond, they would fold."""


def require(condition: bool, option: str, message: str) -> None:
    """Raise :class:`OptionError` for ``option`` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise OptionError(option, message)


_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES |= {f"{unit}i": 2 ** (10 * power) for power, unit in enumerate("KMGT", 1)}


def parse_bytes(option: str, text: str) -> int:
    """Return an amount of memory, such as ``2GB``, ``500 MB`` or ``1.5GiB``, in bytes.

    Raises:
        OptionError: it is none, or nothing.

    Example:
        >>> parse_bytes("memory", "1.5GB")
        1500000000
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?)B\s*", text.upper())
    count = 0
    if found is not None:
        count = round(float(found[1]) * _BYTES[found[2].replace("I", "i")])
    require(count > 0, option, f"expected an amount such as 2GB or 500MB, got {text!r}")
    return count


def require_positive(option: str, value: float) -> None:
    """Refuse a ``value`` that is not above zero (not-a-number included) or infinite."""
    require(value > 0, option, f"{value} is not above 0")
    require(not math.isinf(value), option, f"{value} is not a finite number")


def require_at_least(option: str, value: float, minimum: float) -> None:
    """Refuse a ``value`` below ``minimum`` (not-a-number included) or infinite."""
    require(value >= minimum, option, f"must be at least {minimum:g}, got {value}")
    require(not math.isinf(value), option, f"{value} is not a finite number")


def require_between(option: str, value: float, low: float, high: float) -> None:
    """Refuse a ``value`` outside of [``low``, ``high``) (not-a-number included)."""
    if math.isinf(high):
        require_at_least(option, value, low)
    else:
        require(low <= value < high, option, f"{value} is not from {low} to below {high}")


def require_range(option: str, value: float, low: float, high: float) -> None:
    """Refuse a ``value`` outside of [``low``, ``high``] (not-a-number included)."""
    require(low <= value <= high, option, f"{value} is not between {low} and {high}")


def require_seed(value: int) -> None:
    """Refuse a ``seed`` outside of [0, 2**63), which random number generators do not take."""
    require_range("seed", value, 0, 2**63 - 1)


def require_grid_bend(length_px: float) -> None:
    """Refuse a ``grid_bend_px`` outside of [0, 3.5] (not-a-number included)."""
    require(
        0 <= length_px <= MOST_BENT_PX,
        "grid_bend_px",
        f"{length_px} is not between 0 and {MOST_BENT_PX}; bent further, pictures would fold",
    )


_SUFFIXES = (".safetensors", ".pth", ".pt")


def split_backbone(
    backbone: str, weights: Path | None, *, options: tuple[str, str]
) -> tuple[str, Path | None]:
    """Return the network's name and its file, where the name may be a file or a run directory.

    Args:
        backbone: a name, or a path.
        weights: a file, or None.
        options: names of the two options, for the message.

    Raises:
        OptionError: there are two files.

    Example:
        >>> split_backbone("mine.safetensors", None, options=("backbone", "weights"))
        ('auto', PosixPath('mine.safetensors'))
    """
    path = expand_home(backbone)
    trained = path / "backbone.safetensors"
    if path.suffix.lower() not in _SUFFIXES and not trained.is_file():
        return backbone, weights
    require(
        weights is None,
        options[0],
        f"{backbone} is a weights file, and --{options[1]} is {weights}; expected one of the two",
    )
    return "auto", trained if trained.is_file() else path
