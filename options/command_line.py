"""The command line of one `impasto` command: option classes become flat options, by jsonargparse.

Every command takes ``--config FILE.yaml`` (or the name of a preset), single options that override
it, ``--print_config`` and ``--help``. Help and messages are for somebody who does not know Python:
options stand in groups, and no name of a type, no "null" and no empty default is shown.
"""

import re
import sys
import textwrap
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import yaml
from docstring_parser import parse_from_object
from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
)

from impasto.options.errors import OptionError
from impasto.options.fields import choices, describe_type, make, nearest, require, sections

__all__ = ["CommandParser", "preset_names", "preset_text", "read_config"]

T = TypeVar("T")


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


class CommandParser(ArgumentParser):
    """Parser of one command; a mistake ends with exit status 2 and the nearest valid name.

    A field of the type ``Sequence[...]`` takes one or more values, divided by spaces. Each section
    of the options class is a group in the help, under its name. A class without sections has groups
    if it has the class variable ``headings``: the first field of each group, and its heading.

    Args:
        command: the words before the options, e.g. ``"impasto train"``.
        options: the options class that :meth:`parse` makes.
        description: first lines of the help.
        epilog: last lines of the help, e.g. examples.
        positionals: the positional arguments as the usage line shows them.
        skip: fields that the caller adds itself, as positional arguments or switches.
        presets: folder in ``options/presets`` with the presets whose names ``--config`` takes in
            place of a file; by default it takes files only.
    """

    def __init__(
        self,
        command: str,
        options: type,
        *,
        description: str,
        epilog: str = "",
        positionals: str = "",
        skip: set[str] | None = None,
        presets: str | None = None,
    ) -> None:
        super().__init__(
            prog=command,
            description=description,
            epilog=epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self.preset_folder = presets or ""
        known = f", or from a preset: {', '.join(preset_names(presets))}" if presets else ""
        self.add_argument(
            "--config",
            action=_ConfigOrPreset if presets else ActionConfigFile,
            metavar="FILE.yaml",
            help=f"read options from a YAML file, one NAME: VALUE per line{known}; options on the "
            "command line take precedence",
        )
        self._name_the_general_options()
        self._hints: dict[str, Any] = {}
        skip = skip or set()
        inner = sections(options)
        for name, kind in inner.items():
            group = self.add_argument_group(name, name=name)
            self._add_fields(
                kind, dict.fromkeys((field.name for field in fields(kind)), group), skip
            )
        if not inner:
            self._add_fields(options, self._groups_of(options, skip), skip)
        required = [
            f"{action.option_strings[0]} {action.dest.upper()}"
            for action in self._actions
            if action.required
        ]
        self.usage = " ".join(
            word for word in (command, positionals, *required, "[options]") if word
        )

    def _name_the_general_options(self) -> None:
        """Give what argparse and jsonargparse add by themselves the words of the other help."""
        self._positionals.title, self._optionals.title = "arguments", "general options"
        for action in self._actions:
            if action.dest == "help":
                action.help = "show this help and exit"
            elif "--print_config" in action.option_strings:
                action.metavar = "[=skip_default]"
                action.help = (
                    "print all options and their values as --config reads them, and exit; with "
                    "=skip_default, print only those that differ from the defaults"
                )

    def _groups_of(self, options: type, skip: set[str]) -> dict[str, Any]:
        """Return the group of each field of a class without sections."""
        headings: Mapping[str, str] = getattr(options, "headings", {})
        groups: dict[str, Any] = {}
        title, group = "options", None
        for field in fields(options):
            if field.name in headings:
                title, group = headings[field.name], None
            if field.name not in skip:
                group = group or self.add_argument_group(title)
                groups[field.name] = group
        return groups

    def _add_fields(self, options: type, groups: Mapping[str, Any], skip: set[str]) -> None:
        """Add the fields of one class, each to its group."""
        texts = _help_texts(options)
        for field in fields(options):
            if field.name in skip:
                continue
            several = get_origin(field.type) is Sequence
            hint = get_args(field.type)[0] if several else field.type
            words: dict[str, Any] = {"type": hint, "help": texts[field.name]}
            if several:
                words |= {"nargs": "+", "metavar": _singular(field.name).upper()}
            elif choices(hint):
                words["metavar"] = f"{{{','.join(choices(hint))}}}"
            elif bool in (hint, *get_args(hint)):
                words["metavar"] = "{true,false}"
            default = _default_of(field)
            if default is MISSING:
                words["required"] = True
            else:
                words["default"] = list(default) if several else default
            groups[field.name].add_argument(f"--{field.name}", **words)
            self._hints[field.name] = hint

    def add_switch(self, section: str, name: str, text: str) -> None:
        """Add an option without a value to a group; it is false unless it is given.

        Args:
            section: section of the options class in whose group the help shows it.
            name: name of the option, without dashes.
            text: help of the option.
        """
        assert self.groups is not None  # noqa: S101 - made above, one for each section
        self.groups[section].add_argument(f"--{name}", action="store_true", help=text)

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse ``argv`` into a namespace of flat options; exits with status 2 on a mistake."""
        try:
            return self.parse_args(list(argv))
        except UnicodeDecodeError:
            self.error("--config: the file is not text; expected YAML, such as night.png.yaml")

    def make(self, options: type[T], parsed: Namespace, *, drop: Sequence[str] = ()) -> T:
        """Make the options object from what :meth:`parse` gave; exits with 2 on a bad value."""
        flat = {name: value for name, value in parsed.as_dict().items() if name not in drop}
        flat.pop("config", None)
        try:
            return make(options, flat)
        except OptionError as error:
            self.error(str(error))

    def set_stored(self, stored: Mapping[str, Any]) -> None:
        """Use the options of an earlier run as defaults, so that only changes need be given."""
        self.set_defaults({name: stored[name] for name in stored if name in self._names()})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # noqa: ARG002
        """Print the mistake, with the nearest valid name if it was a name, and exit with 2."""
        sys.stderr.write(f"{self.prog}: error: {self._in_plain_words(message)}\n")
        sys.stderr.write(f"Try '{self.prog} --help'.\n")
        raise SystemExit(2)

    def _in_plain_words(self, message: str) -> str:
        """Say in the words of the command line what jsonargparse says in those of Python."""
        if match := re.search(r"Option '([^']+)' is not accepted", message):
            return f"--config: unknown option {match[1]}{nearest(match[1], self._names())}"
        if match := re.search(r"[Uu]nrecognized arguments:?\s+(?:--)?([\w.-]+)", message):
            hint = nearest(match[1], self._names()).replace("mean ", "mean --")
            return f"{message}{hint}"
        if match := re.search(r"the following arguments are required: (.*)", message):
            return f"missing: {', '.join(map(self._as_written, match[1].split(', ')))}"
        if match := re.match(r"Parser key \"(?!config)(\w+)\"", message):
            return self._wrong_type(match[1], message)
        for pattern, words in _SAYINGS.items():
            message = re.sub(pattern, words, message)
        return message

    def _wrong_type(self, name: str, message: str) -> str:
        hint = self._hints.get(name, str)
        expected = f"--{name}: expected {describe_type(hint)}"
        # There is no value in the message where YAML could not read it, such as "?".
        if match := re.search(r"(?:Got|Given) value: (.*)", message):
            return f"{expected}, got {match[1]}{nearest(match[1], choices(hint))}"
        return expected

    def _as_written(self, name: str) -> str:
        """Return how an argument is written: with dashes, or as the usage line shows it."""
        for action in self._actions:
            if action.dest == name and action.option_strings:
                return action.option_strings[0]
            if action.dest == name and action.choices:
                return f"one of {', '.join(action.choices)}"
            if action.dest == name:
                return str(action.metavar)
        return name

    def _names(self) -> set[str]:
        return {action.dest for action in self._actions if action.dest != "help"}


# What argparse and jsonargparse say, and what we do.
_SAYINGS = {
    r"^argument (--\w+)": r"\1",
    r"expected one argument": "expected a value",
    r"expected at least one argument": "expected one value or more",
    r"^argument \w+: invalid choice: (.*) \(choose from (.*)\)": r"expected one of \2, got \1",
    r"^Parser key \"config\": File does not exist: '(.*)'": r"--config: \1: no such file",
    r"^'\w+' object (is not iterable|does not support item assignment)": (
        "--config: an option with several values takes a list, such as [a, b]"
    ),
    r"^(Problems parsing|Unexpected) config: ": (
        "--config: expected YAML with lines NAME: VALUE, found: "
    ),
}


def _singular(name: str) -> str:
    """Return the name of one of several values: losses, loss; styles, style."""
    return re.sub("(?<=ss)es$|s$", "", name)


def _default_of(field: "Field[Any]") -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _help_texts(options: type) -> dict[str, str]:
    """Return the texts below the fields of an options class and of its bases, as single lines."""
    return {
        each.arg_name: " ".join(each.description.split())
        for base in reversed(options.__mro__)
        if is_dataclass(base)
        for each in parse_from_object(base).params
        if each.description
    }


class _Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """argparse's help with defaults where there are any; the line breaks of the epilog stay."""

    def _expand_help(self, action: Action) -> str:
        text = action.help or ""
        if not action.option_strings or action.nargs == 0:
            return text
        if action.required:
            return f"{text} (required)"
        default = _shown(action.default)
        return f"{text} (default: {default})" if default else text

    def _format_action_invocation(self, action: Action) -> str:
        return super()._format_action_invocation(action).replace(" [=", "[=")

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap the lines that are too long, but for those that are indented: examples."""
        lines = [
            line if line.startswith(" ") else textwrap.fill(line, width)
            for line in text.splitlines()
        ]
        return super()._fill_text("\n".join(lines), width, indent)


def _shown(default: Any) -> str:
    """Return a default as it is written on the command line; nothing for "not given"."""
    if default is None or default == SUPPRESS:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list | tuple):
        return " ".join(map(str, default))
    return str(default)


class _ConfigOrPreset(ActionConfigFile):
    """``--config``: a file, or the name of a shipped preset."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        try:
            values = str(_find_config(str(values), parser.preset_folder))
        except OptionError as error:
            parser.error(str(error))
        super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call]


def _find_config(name: str, presets: str) -> Path:
    if Path(name).exists() and not Path(name).is_dir():
        return Path(name)
    known = preset_names(presets)
    stored = Path(name) / "options.yaml"
    require(
        name in known or not stored.is_file(),
        "config",
        f"{name} is a folder; its options are in {stored}",
    )
    require(
        name in known,
        "config",
        f"{name} is neither a file nor a preset{nearest(name, known)} "
        f"(presets: {', '.join(known)})",
    )
    return Path(str(files("impasto.options") / "presets" / presets / f"{name}.yaml"))


def read_config(config: str | PathLike[str], presets: str | None = None) -> dict[str, Any]:
    """Read the options in a YAML file, as ``--config`` does, for a program.

    Args:
        config: the file, or the name of a preset.
        presets: folder in ``options/presets`` with the presets of the command; it has none unless
            given.

    Raises:
        OptionError: there is no such file or preset, or it is no YAML file with options.
    """
    path = Path(config) if presets is None else _find_config(str(config), presets)
    try:
        flat = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError("config", f"{path}: cannot be read ({error})") from error
    require(isinstance(flat, dict), "config", f"{path}: expected lines such as 'name: value'")
    return dict(flat)


class _Loader(yaml.SafeLoader):
    """YAML as of version 1.2: 2e-4 is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+"), list("-+0123456789")
)
