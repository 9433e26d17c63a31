"""Options in YAML files: shipped presets, and files of a user, whose mistakes are named by line.

A file has one ``NAME: VALUE`` per line, with the names of the command line. The type of the option
decides what a word means: ``name: no`` is the text "no", ``flip: no`` is false.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from impasto.options.errors import OptionError
from impasto.options.fields import (
    check_value,
    choices,
    describe_type,
    expand_home,
    kind_of,
    nearest,
    require,
)

__all__ = ["ConfigFile", "preset_names", "preset_text", "read_config", "read_typed_config"]


_FORMER = {"monet_strokes": "monet"}  # names that presets had, which scripts may still say


def preset_names(folder: str = ".") -> list[str]:
    """Return the names of the presets that ship with Impasto, sorted.

    Args:
        folder: sub-folder of ``options/presets``; by default the one with those of `impasto train`.
    """
    entries = (files("impasto.options") / "presets" / folder).iterdir()
    return sorted(Path(entry.name).stem for entry in entries if entry.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """Return the YAML of a shipped preset."""
    return (files("impasto.options") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """The options in one YAML file.

    Attributes:
        path: the file.
        values: options by name; those whose type is known have that type.
        lines: line of each option in the file, from 1.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def place(self, name: str) -> str:
        """Say where an option stands, for messages."""
        return f"{self.path}, line {self.lines[name]}"


def read_typed_config(
    config: str | PathLike[str], hints: Mapping[str, Any], presets: str | None = None
) -> ConfigFile:
    """Read the options in a YAML file, and bring each value to the type of its option.

    Args:
        config: the file, or the name of a preset.
        hints: types of the options, by name.
        presets: folder in ``options/presets`` with the presets of the command, if it has some.

    Raises:
        OptionError: there is no such file or preset; it is not YAML with one option per line; an
            option is unknown or there twice; or a value is of another type. What is wrong in the
            file is named with its line.
    """
    path = _find_config(str(config), presets)
    values, lines = {}, {}
    for line, name, node in _entries(path):
        place = f"{path}, line {line}"
        if name not in hints:
            nested = "; options stand at the beginning of a line, without sections"
            hint = nested if isinstance(node, yaml.MappingNode) else nearest(name, hints)
            raise OptionError(name, f"unknown option{hint}", place=place)
        values[name] = _typed(name, hints[name], node, place)
        lines[name] = line
    return ConfigFile(path=path, values=values, lines=lines)


def read_config(config: str | PathLike[str], presets: str | None = None) -> dict[str, Any]:
    """Read the options in a YAML file as they are, for a program that checks them itself.

    Args:
        config: the file, or the name of a preset.
        presets: folder in ``options/presets`` with the presets of the command, if it has some.

    Raises:
        OptionError: there is no such file or preset, or it is no YAML file with options.
    """
    path = _find_config(str(config), presets)
    return {name: _plain(name, node, f"{path}, line {line}") for line, name, node in _entries(path)}


def _find_config(name: str, presets: str | None) -> Path:
    name = str(expand_home(name))
    if Path(name).exists() and not Path(name).is_dir():
        return Path(name)
    known = [] if presets is None else preset_names(presets)
    name = _FORMER.get(name, name) if presets == "." else name
    stored = Path(name) / "options.yaml"
    require(
        name in known or not stored.is_file(),
        "config",
        f"{name} is a folder; its options are in {stored}",
    )
    if presets is None:
        found = "is a folder; expected a YAML file" if Path(name).is_dir() else "no such file"
        raise OptionError("config", f"{name}: {found}")
    require(
        name in known,
        "config",
        f"{name} is neither a file nor a preset{nearest(name, known)} "
        f"(presets: {', '.join(known)})",
    )
    return Path(str(files("impasto.options") / "presets" / presets / f"{name}.yaml"))


def _entries(path: Path) -> Iterator[tuple[int, str, yaml.Node]]:
    """Yield the line, the name and the value of each option in a file; an empty one has none."""
    root = _root(path)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1
        reason = f"expected lines such as NAME: VALUE, got {_shown(root)}"
        raise OptionError("config", f"{path}, line {line}: {reason}")
    first: dict[str, int] = {}
    for key, node in root.value:
        line, name = key.start_mark.line + 1, str(key.value)
        if name in first:
            reason = f"stands in line {first[name]}, too; keep one of them"
            raise OptionError(name, reason, place=f"{path}, line {line}")
        first[name] = line
        yield line, name, node


def _root(path: Path) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(path.read_text(encoding="utf-8-sig"), _Loader)
    except UnicodeDecodeError as error:
        reason = "the file is not text; expected YAML, such as night.png.yaml"
        raise OptionError("config", f"{path}: {reason}") from error
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        raise OptionError("config", f"{path}: {reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "'\\t'" in problem or "tab" in problem:
            problem = "indent with spaces, not with a tab"
        reason = f"expected YAML with lines NAME: VALUE; {problem}"
        raise OptionError("config", f"{path}{line}: {reason}") from error
    return root


def _typed(name: str, hint: Any, node: yaml.Node, place: str) -> Any:
    """Bring the value of an option to its type; where several may be given, one will do."""
    kind, optional = kind_of(hint)
    if optional and _is_null(node):
        return None
    if get_origin(kind) is not Sequence:
        whole = kind if optional else hint  # which may be a number or a word
        return _single(name, whole, node, place, expected=describe_type(whole))
    one = get_args(kind)[0]
    expected = f"{describe_type(one)}, or several in square brackets, divided by commas"
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [_single(name, one, item, place, expected=expected) for item in items]


def _single(name: str, kind: Any, node: yaml.Node, place: str, *, expected: str) -> Any:
    scalar = isinstance(node, yaml.ScalarNode) and not _is_null(node)
    text = str(node.value)
    if scalar and kind in (str, Path):
        return kind(text)
    words = {str(word): word for word in get_args(kind)} if get_origin(kind) is Literal else {}
    if scalar and text in words:
        return words[text]
    try:
        # A number in quotes is a number, where one is expected.
        return check_value(name, kind, yaml.load(text, _Loader) if scalar else None)  # noqa: S506
    except (OptionError, yaml.YAMLError) as error:
        near = nearest(text, choices(kind)) if scalar else ""
        reason = f"expected {expected}, got {_shown(node)}{near}"
        raise OptionError(name, reason, place=place) from error


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _shown(node: yaml.Node) -> str:
    """Return what is written in the file, shortened."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value) or "nothing"
    words = f"{node.start_mark.buffer or ''}"[node.start_mark.pointer : node.end_mark.pointer]
    line = " ".join(words.rstrip("\0").split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def _plain(name: str, node: yaml.Node, place: str) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = f"expected a number, a word or a list of them, got {_shown(node)}"
        raise OptionError(name, reason, place=place) from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """YAML with the numbers of its version 1.2: 2e-4 is one, 010 is ten and 1:30 a text."""


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {_INT, _FLOAT}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?\d+\Z"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"(?:[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
    list("-+0123456789."),
)


def _decimal(loader: yaml.SafeLoader, node: yaml.Node) -> int:
    return int(str(loader.construct_scalar(node))) if isinstance(node, yaml.ScalarNode) else 0


_Loader.add_constructor(_INT, _decimal)
