"""The command line of one `impasto` command: option classes become flat options, by jsonargparse.

Every command takes ``--config FILE.yaml`` (or the name of a preset), single options that override
it, ``--print_config`` and ``--help``. Help and messages are for somebody who does not know Python:
options stand in groups, and no name of a type, no "null" and no empty default is shown.
"""

import re
import sys
import textwrap
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import yaml
from docstring_parser import parse_from_object
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from impasto.options.config import ConfigFile, preset_names, read_typed_config
from impasto.options.errors import OptionError
from impasto.options.fields import (
    check_value,
    choices,
    describe_type,
    expand_home,
    kind_of,
    make,
    nearest,
    sections,
    types_of,
)

__all__ = ["REFERENCE_GUIDE", "REFERENCE_OPTIONS", "CommandParser", "answer_for"]

T = TypeVar("T")

_PRINT = "--print_config"


class CommandParser(ArgumentParser):
    """Parser of one command; a mistake ends with exit status 2 and the nearest valid name.

    A field of the type ``Sequence[...]`` takes one or more values, divided by spaces. Each section
    of the options class is a group in the help, under its name. A class without sections has groups
    if it has the class variable ``headings``: the first field of each group, and its heading. The
    class variable ``required`` names fields that only a program may leave out.

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
        self._presets = presets
        self._types = types_of(options)
        self._implied = getattr(options, "implied_defaults", None)
        self._switches: set[str] = set()
        self._configs: list[ConfigFile] = []
        self._stored: Mapping[str, Any] = {}
        self._stored_place = ""
        known = f", or from a preset: {', '.join(preset_names(presets))}" if presets else ""
        self.add_argument(
            "--config",
            action="append",
            metavar="FILE.yaml",
            help=f"read options from a YAML file, one NAME: VALUE per line{known}; options on the "
            "command line take precedence",
        )
        self.add_argument(
            _PRINT,
            metavar="[=skip_default]",
            help="print all options and their values as --config reads them, and exit; with "
            "=skip_default, print only those that differ from the defaults",
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
            f"{action.option_strings[0]} {_metavar(action)}"
            for action in self._actions
            if action.required
        ]
        self.usage = " ".join(
            word for word in (command, positionals, *required, "[options]") if word
        )

    def _name_the_general_options(self) -> None:
        """Give what argparse adds by itself the words of the other help."""
        self._positionals.title, self._optionals.title = "arguments", "general options"
        for action in self._actions:
            if action.dest == "help":
                action.help = "show this help and exit"

    def _groups_of(self, options: type, skip: set[str]) -> dict[str, Any]:
        """Return the group of each field of a class without sections."""
        headings: Mapping[str, str] = getattr(options, "headings", {})
        groups: dict[str, Any] = {}
        title, group = "options", None
        for field in fields(options):
            if field.name in headings:
                title, group = headings[field.name], None
            if field.name not in skip:
                group = group or self.add_argument_group(title, name=title)
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
            elif choices(hint) and kind_of(hint)[0] is not float:
                words["metavar"] = f"{{{','.join(choices(hint))}}}"
            elif bool in (hint, *get_args(hint)):
                words["metavar"] = "{true,false}"
            default = _default_of(field)
            if default is MISSING or field.name in getattr(options, "required", ()):
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
        self._switches.add(name)

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse ``argv`` into a namespace of flat options; exits with status 2 on a mistake.

        Of the same option, the command line counts before ``--config``, a later file before an
        earlier one, and all before the defaults.
        """
        words = [f"{_PRINT}=" if word == _PRINT else word.translate(_HIDDEN) for word in argv]
        words = self._with_truth(words)
        if not {"-h", "--help"} & set(words):
            self._refuse_unknown(words)
            self._read_configs(words)
        asked = [word for word in words if word.startswith(f"{_PRINT}=")]
        if asked:
            self._write_options(words, asked[-1].partition("=")[2])
        parsed = self._parsed(words)
        parsed.pop("print_config")
        # What stands alone is a path, or a name, which does not begin so; options are expanded when
        # they are made.
        for name in ("config", *(each.dest for each in self._actions if not each.option_strings)):
            if parsed.get(name):
                parsed[name] = _at_home(parsed[name])
        return parsed

    def _with_truth(self, words: Sequence[str]) -> list[str]:
        """Return the words with ``=true`` after each option that is true or false and stands bare.

        What follows it is its value only where it can be one: it may as well be the path of a
        picture. Where a command takes no such word, it is a value, and a mistake is named.
        """
        bare = {f"--{name}" for name, hint in self._hints.items() if kind_of(hint)[0] is bool}
        alone = all(action.option_strings for action in self._actions)
        found: list[str] = []
        for index, (word, after) in enumerate(pairwise([*words, "--"])):
            if word == "--":
                return [*found, *words[index:]]
            value = after.lower() in _TRUTH or (alone and not after.startswith("-"))
            found.append(f"{word}=true" if word in bare and not value else word)
        return found

    def _parsed(self, words: Sequence[str]) -> Namespace:
        given = {name: value for file in self._configs for name, value in file.values.items()}
        parsed = self.parse_args(list(words), namespace=Namespace(given))  # type: ignore[no-untyped-call]
        implied = {} if self._implied is None or self._stored else self._implied(parsed.as_dict())
        if implied:
            given = {**implied, **given}
            parsed = self.parse_args(list(words), namespace=Namespace(given))  # type: ignore[no-untyped-call]
        for action in self._actions:
            # argparse takes a list that may be empty for empty, where no word stands for it.
            if not action.option_strings and given.get(action.dest) and not parsed[action.dest]:
                parsed[action.dest] = given[action.dest]
        for name, value in parsed.as_dict().items():
            parsed[name] = _unhidden(value)
        return parsed

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        """Answer, in one message, all options that there are not."""
        known = {name for action in self._actions for name in action.option_strings}
        unknown = [word.partition("=")[0] for word in _options_in(words)]
        unknown = [name for name in dict.fromkeys(unknown) if name not in known]
        answers = [(name, answer_for(self.prog, name.lstrip("-"))) for name in unknown]
        if not answers:
            return
        lines = [
            f"{name}: {answer}" if answer else f"unknown option {name}{self._like(name)}"
            for name, answer in answers
        ]
        if any(answer for _, answer in answers):
            lines.append(f"{REFERENCE_GUIDE} has a table of what is called what")
        self.error("\n  ".join(lines))

    def _like(self, name: str) -> str:
        """Return the options that are most like a name; of one letter, those that begin with it."""
        names = sorted(self._names())
        if name.startswith("--"):
            return nearest(name[2:], names).replace("mean ", "mean --").replace(" or ", " or --")
        found = [f"--{each}" for each in names if each.startswith(name[1])]
        return f"; did you mean {' or '.join(found[:3])}?" if found else ""

    def _read_configs(self, words: Sequence[str]) -> None:
        """Read the files that ``--config`` names."""
        positionals = {
            action.dest: Sequence[str] if action.nargs in {"+", "*"} else str
            for action in self._actions
            if not action.option_strings
        }
        self._configs = []
        try:
            for name in _unhidden(list(_values_of("--config", words))):
                file = read_typed_config(name, self._types | positionals, self._presets)
                self._configs.append(file)
        except OptionError as error:
            self.error(str(error))

    def _write_options(self, words: Sequence[str], which: str) -> NoReturn:
        """Print the options as YAML, and exit; what is required may be missing."""
        if which not in {"", "skip_default"}:
            self.error(f"{_PRINT}: expected nothing, or skip_default, got {which}")
        for action in self._actions:
            action.required = False
        parsed = self._parsed(words).as_dict()
        defaults = self.get_defaults().as_dict()
        shown = {
            name: _written(value)
            for name, value in parsed.items()
            # Files know no switches.
            if name not in {"config", "print_config", *self._switches}
            and not (value is None and not kind_of(self._types.get(name))[1])
            and not (which and value == defaults[name])
        }
        sys.stdout.write(yaml.safe_dump(shown, sort_keys=False) if shown else "")
        raise SystemExit(0)

    def make(self, options: type[T], parsed: Namespace, *, drop: Sequence[str] = ()) -> T:
        """Make the options object from what :meth:`parse` gave; exits with 2 on a bad value."""
        flat = {name: value for name, value in parsed.as_dict().items() if name not in drop}
        flat.pop("config", None)
        stored = {name for name in self._stored if self._stored[name] == flat.get(name)}
        places = dict.fromkeys(stored, self._stored_place) | {
            name: file.place(name)
            for file in self._configs
            for name, value in file.values.items()
            if name in flat and flat[name] == value
        }
        try:
            return make(options, flat, places=places)
        except OptionError as error:
            self.error(str(error))

    def set_stored(self, stored: Mapping[str, Any], place: str) -> None:
        """Use the options of an earlier run as defaults, so that only changes need be given.

        Exits with status 2 where one of them has a value of a wrong type.

        Args:
            stored: options by name; those that there are no more are passed over.
            place: file that they are from, for messages.
        """
        known = {name: stored[name] for name in stored if name in self._types}
        try:
            values = {name: check_value(name, self._types[name], known[name]) for name in known}
        except OptionError as error:
            self.error(f"{place}: {error.option}: {error.reason}")
        self._stored_place = place
        self._stored = {
            name: list(value) if isinstance(value, tuple) else known[name]
            for name, value in values.items()
        }
        self.set_defaults({name: _translated(self._stored[name], _HIDDEN) for name in self._stored})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # noqa: ARG002
        """Print the mistake, with the nearest valid name if it was a name, and exit with 2."""
        sys.stderr.write(f"{self.prog}: error: {_unhidden(self._in_plain_words(message))}\n")
        sys.stderr.write(f"Try '{self.prog} --help'.\n")
        raise SystemExit(2)

    def _in_plain_words(self, message: str) -> str:
        """Say in the words of the command line what jsonargparse says in those of Python."""
        if match := re.search(r"[Uu]nrecognized arguments:?\s+(.*)", message):
            return f"expected no more arguments, got {match[1]}"
        if match := re.search(r"the following arguments are required: (.*)", message):
            return f"missing: {', '.join(map(self._as_written, match[1].split(', ')))}"
        if match := re.match(r"Parser key \"(\w+)\"", message):
            return self._wrong_type(match[1], message)
        if match := re.match(r"argument \w+: invalid choice: '(.*)' \(choose from (.*)\)", message):
            known = match[2].replace("'", "").split(", ")
            expected = f"expected one of {', '.join(known)}, got {match[1]}"
            return f"{expected}{nearest(match[1], known)}"
        for pattern, words in _SAYINGS.items():
            message = re.sub(pattern, words, message)
        return message

    def _wrong_type(self, name: str, message: str) -> str:
        hint = self._hints.get(name, str)
        expected = f"--{name}: expected {describe_type(hint)}"
        # There is no value in the message where YAML could not read it, such as "?".
        if match := re.search(r"(?:Got|Given) value: (.*)", message):
            value = match[1] or "nothing"
            if value in {"inf", "infinity"} and type(None) in get_args(hint):
                return f"{expected}, got {value}; for no limit, leave it out, or give null"
            return f"{expected}, got {value}{nearest(value, choices(hint))}"
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


# What is meant as the value of an option that is true or false, also where it is none.
_TRUTH = {"true", "false", "yes", "no", "on", "off", "1", "0", "null"}

# What argparse says, and what we do.
_SAYINGS = {
    r"^argument (--\w+)": r"\1",
    r"expected one argument": "expected a value",
    r"expected at least one argument": "expected one value or more",
}


def _metavar(action: Action) -> str:
    return str(action.metavar or action.dest.upper())


def _options_in(words: Sequence[str]) -> Iterator[str]:
    """Yield the words that are options: those with dashes, but for negative numbers."""
    for word in words:
        if word == "--":
            return
        if re.match(r"--[A-Za-z]|-[A-Za-z]$", word):
            yield word


def _values_of(option: str, words: Sequence[str]) -> Iterator[str]:
    """Yield the values that an option is given, whose mistakes argparse names later."""
    for word, after in pairwise([*words, "--"]):
        if word == "--":
            return
        if word.startswith(f"{option}="):
            yield word.partition("=")[2]
        elif word == option and not after.startswith("--"):
            yield after


def _written(value: Any) -> Any:
    """Return a value as YAML has it."""
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return str(value) if isinstance(value, Path) else value


# A byte of a file name that is no text is a lone surrogate in Python, which the reader of values
# does not take: while it reads, such a byte is a letter that nobody uses.
_HIDDEN = {0xDC00 + byte: 0x10FE00 + byte for byte in range(0x80, 0x100)}
_SHOWN = {letter: byte for byte, letter in _HIDDEN.items()}


def _unhidden(value: Any) -> Any:
    """Return a value with the bytes of file names as Python has them."""
    return _translated(value, _SHOWN)


def _translated(value: Any, letters: Mapping[int, int]) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_translated(one, letters) for one in value)
    if isinstance(value, str | Path):
        return type(value)(str(value).translate(letters))
    return value


def _at_home(value: Any) -> Any:
    """Return paths, as texts, with ``~`` replaced by the home folder."""
    if isinstance(value, list | tuple):
        return [_at_home(one) for one in value]
    text = str(value)
    return str(expand_home(text)) if text.startswith("~") else value


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
        """Wrap paragraphs anew; lines that are indented, such as examples, stay as they are."""
        lines: list[str] = []
        for prose, some in groupby(text.splitlines(), _is_prose):
            block = list(some)
            lines += textwrap.wrap(" ".join(block), width) if prose else block
        return super()._fill_text("\n".join(lines), width, indent)


def _is_prose(line: str) -> bool:
    return bool(line) and not line.startswith(" ")


def _shown(default: Any) -> str:
    """Return a default as it is written on the command line; nothing for "not given"."""
    if default is None or default == SUPPRESS:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list | tuple):
        return " ".join(map(str, default))
    return str(default)


# Of the reference, pytorch-CycleGAN-and-pix2pix, of every age; CUT has most of these, too.
REFERENCE_GUIDE = "docs/from_the_reference.md"
"""The guide for who comes from the reference."""

_LEAVE_OUT = "leave it out"
_SIZES = f"{_LEAVE_OUT}; pictures keep their own size, and --long_side reduces large ones"

REFERENCE_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "impasto train": {
        "model": f"{_LEAVE_OUT}; impasto train trains a CycleGAN; for pix2pix, add --paired true, "
        "for CUT, --one_sided true --lambda_nce 1",
        "gpu_ids": "is --device here: --device cpu for -1, --device cuda for 0; several GPUs are "
        "started by torchrun or accelerate launch",
        "continue_train": "is --resume here, which knows where the run was",
        "epoch_count": f"{_LEAVE_OUT}; --resume knows where the run was",
        "epoch": f"{_LEAVE_OUT}; --resume continues the latest state",
        "load_iter": f"{_LEAVE_OUT}; --resume continues the latest state",
        "no_flip": "is --flip false here",
        "no_dropout": "is --dropout false here, the default but with --paired",
        "no_html": "is --display console here, without page",
        "no_lsgan": "is --gan_mode vanilla here",
        "display_id": f"{_LEAVE_OUT}; no display server is needed; to use visdom, give "
        "--display console,page,visdom",
        "display_ncols": _LEAVE_OUT,
        "display_winsize": _LEAVE_OUT,
        "update_html_freq": "is --display_freq here",
        "save_by_iter": f"{_LEAVE_OUT}; --save_latest_freq keeps the latest state",
        "dataset_mode": f"{_LEAVE_OUT}; the two folders are unaligned, and aligned with --paired "
        "true",
        "phase": f"{_LEAVE_OUT}; impasto train reads trainA and trainB; for other folders, give "
        "--folder_A and --folder_B",
        "niter": "is --n_epochs here",
        "niter_decay": "is --n_epochs_decay here",
        "identity": "is --lambda_identity here",
        "which_direction": "is --direction here",
        "which_model_netG": "is --netG here",
        "which_model_netD": "is --netD here",
        "loadSize": "is --load_size here",
        "fineSize": "is --crop_size here",
        "batchSize": "is --batch_size here",
        "nThreads": "is --num_threads here",
        "resize_or_crop": "is --preprocess here",
        "suffix": f"{_LEAVE_OUT}; write the whole name into --name",
        "verbose": _LEAVE_OUT,
        "use_wandb": "is --display console,page,wandb here",
        "wandb_project_name": f"{_LEAVE_OUT}; the environment variable WANDB_PROJECT names it",
    },
    "impasto translate": {
        "dataroot": "is an argument here: impasto translate FOLDER --output DIR",
        "name": "is --model here: the name of the run, its folder, or a .pth file",
        "checkpoints_dir": "is part of --model here: --model CHECKPOINTS_DIR/NAME",
        "results_dir": "is --output here",
        "model_suffix": "is --direction here: AtoB for _A, BtoA for _B",
        "gpu_ids": "is --device here: --device cpu for -1, --device cuda for 0",
        "num_test": f"{_LEAVE_OUT}; all pictures are translated",
        "how_many": f"{_LEAVE_OUT}; all pictures are translated",
        "which_epoch": "is --epoch here",
        "which_direction": "is --direction here",
        "netG": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "which_model_netG": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "ngf": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "norm": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "no_dropout": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "input_nc": f"{_LEAVE_OUT}; the channels are read off the weights",
        "output_nc": f"{_LEAVE_OUT}; the channels are read off the weights",
        "preprocess": _SIZES,
        "load_size": _SIZES,
        "crop_size": _SIZES,
        "loadSize": _SIZES,
        "fineSize": _SIZES,
        "resize_or_crop": _SIZES,
        "aspect_ratio": _SIZES,
        "dataset_mode": _LEAVE_OUT,
        "phase": _LEAVE_OUT,
        "eval": f"{_LEAVE_OUT}; dropout is always off, and docs/paired.md says which statistics "
        "are taken",
        "serial_batches": _LEAVE_OUT,
        "no_flip": _LEAVE_OUT,
        "load_iter": _LEAVE_OUT,
        "display_winsize": _LEAVE_OUT,
        "display_id": _LEAVE_OUT,
        "ntest": _LEAVE_OUT,
        "suffix": _LEAVE_OUT,
        "verbose": _LEAVE_OUT,
    },
}
"""What to type instead, by command and by the reference's name, without dashes."""


def answer_for(command: str, name: str) -> str:
    """Return what to type instead of an option of the reference; nothing for any other option.

    Args:
        command: the words before the options, e.g. ``"impasto train"``.
        name: name of the option, without dashes.
    """
    return REFERENCE_OPTIONS.get(command, {}).get(name, "")
