"""All options of `impasto sweep`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin

from impasto.options.checks import require, require_positive
from impasto.options.command_line import CommandParser
from impasto.options.errors import OptionError
from impasto.options.names import nearest
from impasto.options.stylize import StylizeOptions

__all__ = ["SweepOptions", "typed_stylize_options"]

_HINTS: dict[str, Any] = {field.name: field.type for field in fields(StylizeOptions)}
_LISTS = {name: get_args(hint)[0] for name, hint in _HINTS.items() if get_origin(hint) is Sequence}
_WORDS = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Stylize with all combinations of some settings; compare pictures, losses and times."""

    output: Path
    """folder for pictures, results.csv, contact sheet, curves and page"""
    contents: Sequence[Path] = ()
    """what to show: pictures or folders, in place of the sweep's"""
    styles: Sequence[Path] = ()
    """how: pictures or folders, each picture a style, in place of the sweep's"""
    set: Sequence[str] = ()
    """NAME=VALUE options of impasto stylize for all cells, such as size=128"""
    jobs: int = 1
    """cells that are computed at the same time, each in a process of its own"""
    threads: int = 1
    """threads of each job; the pictures depend on it, in their last bits"""
    overwrite: bool = False
    """whether to compute again what is done"""

    def __post_init__(self) -> None:
        require_positive("jobs", self.jobs)
        require_positive("threads", self.threads)
        for text in self.set:
            require("=" in text, "set", f"expected NAME=VALUE, got {text!r}")

    def changes(self) -> dict[str, Any]:
        """Return what ``set`` says, values still as texts."""
        return {name: value for name, _, value in (text.partition("=") for text in self.set)}


def typed_stylize_options(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Bring values of a YAML file to the types of ``impasto stylize``, as its command line does.

    Args:
        flat: by the names of the options, which must be known. Where several values may be given,
            one will do.

    Raises:
        OptionError: a value is of another type, or none of those that there are.
    """
    return {name: _typed(name, value) for name, value in flat.items()}


def _typed(name: str, value: Any) -> Any:
    hint = _LISTS.get(name, _HINTS[name])
    if value is None and NoneType in get_args(hint):
        return None
    several = list(value) if isinstance(value, list | tuple) else [value]
    asked = several if name in _LISTS else value
    if value is None or (name in _LISTS and None in several):
        raise OptionError(name, f"expected {_words(hint)}, got null")
    try:
        found = _checker().parse_object({name: asked})[name]
    except (TypeError, ValueError) as error:
        near = nearest(str(value), _choices(hint))
        raise OptionError(name, f"expected {_words(hint)}, got {value}{near}") from error
    return tuple(found) if name in _LISTS else found


def _choices(hint: Any) -> list[str]:
    kinds = [hint, *get_args(hint)]
    return [str(one) for kind in kinds if get_origin(kind) is Literal for one in get_args(kind)]


def _words(hint: Any) -> str:
    if choices := _choices(hint):
        return f"one of {', '.join(choices)}"
    return next(words for kind, words in _WORDS.items() if kind in (hint, *get_args(hint)))


class _Checker(CommandParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ValueError(message) from ex


@cache
def _checker() -> _Checker:
    return _Checker("impasto sweep", StylizeOptions, description="", lists=_LISTS)
