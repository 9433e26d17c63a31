"""The command line of one `impasto` command: option classes become flat options, by jsonargparse.

Every command takes ``--config FILE.yaml`` (or the name of a preset), single options that override
it, ``--print_config`` and ``--help``.
"""

import re
import sys
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from docstring_parser import parse_from_object
from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from impasto.options.errors import OptionError
from impasto.options.fields import make, nearest, sections

__all__ = ["CommandParser", "preset_names", "preset_text"]

T = TypeVar("T")

set_parsing_settings(docstring_parse_attribute_docstrings=True)


def preset_names(folder: str = ".") -> list[str]:
    """Return the names of the presets that ship with Impasto, sorted.

    Args:
        folder: where they lie in ``options/presets``; those of ``impasto train`` unless given.
    """
    entries = (files("impasto.options") / "presets" / folder).iterdir()
    return sorted(Path(entry.name).stem for entry in entries if _is_yaml(entry.name))


def preset_text(name: str) -> str:
    """Return the YAML of a shipped preset."""
    return (files("impasto.options") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")


class CommandParser(ArgumentParser):
    """Parser of one command; a mistake ends with exit status 2 and the nearest valid name.

    Args:
        command: the words before the options, e.g. ``"impasto train"``.
        options: the options class that :meth:`parse` makes.
        description: first lines of the help.
        epilog: last lines of the help, e.g. examples.
        positionals: how the positional arguments read in the usage line.
        skip: fields that the caller adds itself, as positional arguments.
        lists: fields that take one or more values, divided by spaces, and their types.
        presets: folder in ``options/presets`` with the presets whose names ``--config`` takes,
            too; none unless given.
    """

    def __init__(  # noqa: PLR0913 - each command says all of itself in one call
        self,
        command: str,
        options: type,
        *,
        description: str,
        epilog: str = "",
        positionals: str = "",
        skip: set[str] | None = None,
        lists: Mapping[str, type] | None = None,
        presets: str | None = None,
    ) -> None:
        super().__init__(
            prog=command,
            description=description,
            epilog=epilog,
            usage=f"{command} [--config FILE.yaml] [options]{positionals}",
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self.preset_folder = presets or ""
        known = f", or a preset: {', '.join(preset_names(presets))}" if presets else ""
        self.add_argument(
            "--config",
            action=_ConfigOrPreset if presets else ActionConfigFile,
            metavar="FILE.yaml",
            help=f"file with options{known}",
        )
        self._options = options
        lists = lists or {}
        kinds = list(sections(options).values()) or [options]
        for kind in kinds:
            self.add_class_arguments(kind, skip={*(skip or ()), *lists})
        for name, type_ in lists.items():
            self.add_argument(
                f"--{name}",
                nargs="+",
                type=type_,
                default=[],
                metavar=re.sub("(?<=SS)ES$|S$", "", name.upper()),
                help=_describe(kinds, name),
            )

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse ``argv`` into a namespace of flat options; exits with status 2 on a mistake."""
        try:
            return self.parse_args(list(argv))
        except UnicodeDecodeError:
            self.error("--config: the file is no text; expected YAML, such as night.png.yaml")

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
        hint = ""
        unknown = re.search(r"Option '([^']+)' is not accepted", message)
        unrecognized = re.search(r"[Uu]nrecognized arguments:?\s+(?:--)?([\w.-]+)", message)
        if unknown:
            hint = nearest(unknown[1], self._names())
        elif unrecognized:
            hint = nearest(unrecognized[1], self._names()).replace("mean ", "mean --")
        sys.stderr.write(f"{self.prog}: error: {_plain_words(message)}{hint}\n")
        sys.stderr.write(f"Try '{self.prog} --help'.\n")
        raise SystemExit(2)

    def _names(self) -> set[str]:
        return {action.dest for action in self._actions if action.dest != "help"}


def _describe(kinds: Sequence[type], field: str) -> str:
    """Return what the docstring below a field of one of some option classes says."""
    texts = {
        each.arg_name: each.description for kind in kinds for each in parse_from_object(kind).params
    }
    return (texts[field] or "").replace("\n", " ")


class _Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """jsonargparse's help, without Python's type names, with the line breaks of the epilog."""

    def _expand_help(self, action: Action) -> str:
        text = super()._expand_help(action)
        return re.sub(r"\(type: .*?, default: ", "(default: ", text, flags=re.DOTALL)


class _ConfigOrPreset(ActionConfigFile):
    """``--config``: a file, or the name of a shipped preset."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        name = str(values)
        if not Path(name).exists() or Path(name).is_dir():
            presets = preset_names(parser.preset_folder)
            if name not in presets:
                if (Path(name) / "options.yaml").is_file():
                    parser.error(
                        f"--config: {name} is a folder; its options: {Path(name) / 'options.yaml'}"
                    )
                parser.error(
                    f"--config: {name} is neither a file nor a preset{nearest(name, presets)}"
                    f" (presets: {', '.join(presets)})"
                )
            folder = files("impasto.options") / "presets" / parser.preset_folder
            values = str(folder / f"{name}.yaml")
        super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call]


def _plain_words(message: str) -> str:
    """Say a type mistake in the words of the command line instead of Python's."""
    message = re.sub(r"Parser key \"(\w+)\":\s*", r"--\1: ", message)
    message = re.sub(
        r"Expected a <class '(\w+)'>\. Got value: (.*)",
        lambda found: f"expected {_KINDS.get(found[1], found[1])}, got {found[2]}",
        message,
    )
    return re.sub(
        r"Expected a typing\.Literal\[(.*?)\]\. Got value: (\S*)",
        lambda found: (
            f"expected one of {found[1].replace(chr(39), '')}, got {found[2]}"
            f"{nearest(found[2], re.findall(chr(39) + '(.*?)' + chr(39), found[1]))}"
        ),
        message,
    )


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def _is_yaml(name: str) -> bool:
    return name.endswith(".yaml")
