"""The command `impasto`: finds the command, and its action where it has some, and runs it."""

import importlib
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from impasto.options.errors import ImpastoError, OptionError
from impasto.options.fields import nearest
from impasto.runs.signals import Stopped, end_on_signals

__all__ = ["COMMANDS", "Command", "main"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command: a module that runs it, or actions, which are commands again.

    Attributes:
        text: one line of help.
        module: has ``main(argv)``, which returns the exit status. It is imported only when it is
            called, and imports torch only after its options were parsed.
        actions: by name; a command with actions has no module.
        group: heading in the list of commands.
        examples: lines at the end of the help of a command with actions.
    """

    text: str
    module: str = ""
    actions: Mapping[str, "Command"] = field(default_factory=dict)
    group: str = ""
    examples: Sequence[str] = ()


_START = "start here"
_PAIRLESS = "translate between two collections of pictures (CycleGAN)"
_STYLE = "show single pictures in the style of others (Gatys et al.)"
_PEOPLE = "ask people whether results look real"

COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        group=_START,
        text="run everything once on shipped pictures, offline, in a few minutes",
        module="impasto.scripts.demo",
    ),
    "app": Command(
        group=_START,
        text="open a page on this machine that paints the pictures you drop on it",
        module="impasto.scripts.app",
    ),
    "fetch": Command(
        group=_START,
        text="get data sets, published models and weights of feature networks",
        module="impasto.scripts.fetch",
    ),
    "translate": Command(
        group=_PAIRLESS,
        text="translate pictures of any size with a trained model",
        module="impasto.scripts.translate",
    ),
    "models": Command(
        group=_PAIRLESS,
        text="list the models that you can translate with",
        module="impasto.scripts.models",
    ),
    "export": Command(
        group=_PAIRLESS,
        text="write a model for other programs: ONNX, TorchScript, torch.export",
        module="impasto.scripts.outside.export",
    ),
    "train": Command(
        group=_PAIRLESS,
        text="train a model on two folders of pictures",
        module="impasto.scripts.train",
    ),
    "plot": Command(
        group=_PAIRLESS,
        text="draw the loss curves of trainings",
        module="impasto.scripts.plot",
    ),
    "evaluate": Command(
        group=_PAIRLESS,
        text="measure how close translations are to real pictures",
        module="impasto.scripts.evaluate",
    ),
    "stylize": Command(
        group=_STYLE,
        text="show a picture in the style of one or more others",
        module="impasto.scripts.stylize",
    ),
    "style": Command(
        group=_STYLE,
        text="train one small network for some paintings, used in moments",
        actions={
            "train": Command(
                text="train a network for one or more paintings, with the losses of stylize",
                module="impasto.scripts.style",
            ),
        },
        examples=(
            "impasto style train --styles great_wave.jpg the_scream.jpg --photos photos",
            "impasto translate photos --model checkpoints/styles --style the_scream --output out",
        ),
    ),
    "sweep": Command(
        group=_STYLE,
        text="stylize with every combination of some settings, and compare",
        module="impasto.scripts.sweep",
    ),
    "weights": Command(
        group=_STYLE,
        text="find, check and pack the weights of feature networks",
        module="impasto.scripts.weights",
    ),
    "backbone": Command(
        group=_STYLE,
        text="train a feature network of your own",
        actions={
            "train": Command(
                text="train VGG16 or VGG19 as a classifier of pictures",
                module="impasto.scripts.backbone",
            ),
        },
        examples=(
            "impasto backbone train --dataroot animals --name animals",
            "impasto stylize photo.jpg starry.jpg --backbone checkpoints/animals",
        ),
    ),
    "survey": Command(
        group=_PEOPLE,
        text="make, serve and analyze a study in which people tell real from fake",
        actions={
            "power": Command(
                text="compute how precise a study will be, before it is made",
                module="impasto.scripts.survey.power",
            ),
            "export": Command(
                text="make a study from folders of real and fake pictures",
                module="impasto.scripts.survey.export",
            ),
            "audit": Command(
                text="search a study for anything that gives the answers away",
                module="impasto.scripts.survey.audit",
            ),
            "serve": Command(
                text="run a study in browsers and store the answers in SQLite",
                module="impasto.scripts.survey.serve",
            ),
            "links": Command(
                text="make a signed link to a served study for each participant",
                module="impasto.scripts.survey.links",
            ),
            "import": Command(
                text="read the answers of forms and crowdsourcing platforms",
                module="impasto.scripts.survey.import_",
            ),
            "report": Command(
                text="analyze the answers: rates, intervals, tests, figures, a page",
                module="impasto.scripts.survey.report",
            ),
        },
        examples=(
            "impasto survey power --raters 14 --pictures 10",
            "impasto survey export --real photos --fake cyclegan=translated --output study",
            "impasto survey serve study --key study.key.json --database answers.sqlite",
            "impasto survey report answers.csv --key study.key.json --output report",
        ),
    ),
}
"""All commands, in the order of the help."""

_ROOT = Command(
    text="Unpaired image-domain translation, style transfer, and real-or-fake surveys.",
    actions=COMMANDS,
    examples=(
        "impasto demo",
        "impasto translate photos --output monets",
        "impasto stylize photo.jpg starry_night.jpg --output night.png",
    ),
)
_HELP = {"-h", "--help", "help"}
# What the scripts of the reference, and of others, call it.
_ELSEWHERE = {
    "test": "translate",
    "convert": "translate",
    "serve": "survey serve",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `impasto` and return its exit status.

    Args:
        argv: the words after `impasto`; by default those of the process.

    Returns:
        0 done; 1 the job failed, or some files did; 2 bad arguments; 130, 143 and 129 stopped by
        Ctrl-C, SIGTERM and SIGHUP.
    """
    _accept_all_characters()
    try:
        status = _dispatch("impasto", _ROOT, list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except OSError:
        # What is printed goes to a full disk; Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _accept_all_characters() -> None:
    """Let streams escape what they cannot encode, such as the names of files, or lead nowhere.

    A reader, `head` say, that has seen enough does not end the work either.

    Terminals of Windows and pipes of the C locale know few characters, and none knows the bytes of
    a name that is not UTF-8. What was started without a terminal may have no streams at all.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif type(stream) is io.TextIOWrapper and not stream.isatty():
            setattr(sys, name, _outliving_its_reader(stream))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _outliving_its_reader(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a stream to the same file, for which a pipe that is closed is no error."""
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_LastingFile(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
        write_through=stream.write_through,
    )


class _LastingFile(io.FileIO):
    """A file that leads nowhere once nobody reads what is written to it."""

    def write(self, data: Any, /) -> int:
        """Write some bytes; return how many are done with."""
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # for other programs and libraries, too
            os.close(nowhere)
            return memoryview(data).nbytes


def _dispatch(called: str, command: Command, argv: Sequence[str]) -> int:
    """Run a command, or the one of its actions that the first word names.

    Args:
        called: the words that led here, such as ``impasto survey``.
        command: what they mean.
        argv: the words after them.
    """
    if not command.actions:
        return _run(called, command.module, argv)
    if not argv or argv[0] in _HELP:
        sys.stdout.write(_help(called, command))
        return 0 if argv else 2
    if command is _ROOT and argv[0].partition("=")[0] in _PRINTS:
        return _PRINTS[argv[0].partition("=")[0]](argv)
    if argv[0] in command.actions:
        return _dispatch(f"{called} {argv[0]}", command.actions[argv[0]], argv[1:])
    hint = nearest(argv[0], command.actions)
    if command is _ROOT and argv[0] in _ELSEWHERE:
        hint = f"; did you mean {_ELSEWHERE[argv[0]]}?"
    sys.stderr.write(f"{called}: error: unknown {_kind(command)} {argv[0]!r}{hint}\n")
    sys.stderr.write(f"Try '{called} --help'.\n")
    return 2


def _print_version(_argv: Sequence[str]) -> int:
    from impasto.version import __version__  # noqa: PLC0415 - it is looked up among all packages

    print(f"impasto {__version__}")
    return 0


def _print_completion(argv: Sequence[str]) -> int:
    """Print the script that completes commands and options in a shell."""
    from impasto.scripts.outside.completion import completion  # noqa: PLC0415 - seldom

    shell = argv[0].partition("=")[2] or "".join(argv[1:2])
    try:
        script = completion(shell, _ROOT, main)
    except OptionError as error:
        sys.stderr.write(f"impasto: error: {error}\n")
        return 2
    sys.stdout.write(script)
    return 0


# Options of `impasto` itself.
_PRINTS = {"--version": _print_version, "--print_completion": _print_completion}


def _run(called: str, module: str, argv: Sequence[str]) -> int:
    """Call a command's module; a user's mistake becomes one message, without a traceback."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    # What readers of pictures complain of has no file name; our own message of the file has.
    for reader in ("PIL", "tifffile"):
        logging.getLogger(reader).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"PIL\.|pillow_heif")
    # Names of files in other scripts, of which a figure shows boxes.
    warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
    try:
        # A training's end is far away.
        with end_on_signals(), _notes_of_folders(at_once=called.endswith("train")):
            return int(importlib.import_module(module).main(argv))
    except ImpastoError as error:
        sys.stderr.write(f"{called}: error: {error}\n")
        return error.exit_status
    except OSError as error:  # a full or failing disk, wherever it showed
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{called}: error: {where}{error.strerror or error}\n")
        return 1
    except KeyboardInterrupt as asked:
        sys.stderr.write(f"{called}: stopped\n")
        return 128 + (asked.number if isinstance(asked, Stopped) else signal.SIGINT)


@contextmanager
def _notes_of_folders(*, at_once: bool) -> Iterator[None]:
    """Print, at once or at the end, what was not looked at in folders of pictures, each once."""
    told: dict[str, None] = {}

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if at_once and text not in told:
                sys.stderr.write(f"note: {text}\n")
            told[text] = None

    logger, handler = logging.getLogger("impasto.data.files"), Notes(logging.INFO)
    if os.environ.get("RANK", "0") != "0":  # another process of the job says it
        yield
        return
    level, logger.propagate = logger.level, False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
        logger.setLevel(level)
        for text in told if not at_once else ():
            sys.stderr.write(f"note: {text}\n")


def _kind(command: Command) -> str:
    return "command" if command is _ROOT else "action"


def _help(called: str, command: Command) -> str:
    kind = _kind(command)
    article = "a" if command is _ROOT else "an"
    text = command.text if command is _ROOT else f"{command.text[0].upper()}{command.text[1:]}."
    examples = "".join(f"  {example}\n" for example in command.examples)
    completing = (
        "'impasto --print_completion SHELL' prints a script for bash, zsh or fish.\n"
        if command is _ROOT
        else ""
    )
    return (
        f"usage: {called} {kind.upper()} [options]\n\n{text}\n\n"
        f"{''.join(_listed(command))}"
        f"examples:\n{examples}\n"
        f"{completing}'{called} {kind.upper()} --help' lists the options of {article} {kind}.\n"
    )


def _listed(command: Command) -> Iterator[str]:
    """Yield the lines that list the actions of a command, under the headings of their groups."""
    width = max(map(len, command.actions)) + 2
    for group in dict.fromkeys(action.group for action in command.actions.values()):
        yield f"{group or f'{_kind(command)}s'}:\n"
        for name, action in command.actions.items():
            if action.group == group:
                yield f"  {name:<{width}}{action.text}\n"
        yield "\n"


if __name__ == "__main__":
    raise SystemExit(main())
