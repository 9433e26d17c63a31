"""The command `impasto`: finds the sub-command and runs it."""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

from impasto.options.errors import ImpastoError
from impasto.options.fields import nearest

__all__ = ["main"]

# Name -> module and one line of help. The modules are imported only when they are called, and
# import torch only after their options were parsed.
COMMANDS = {
    "backbone": ("impasto.scripts.backbone", "train an own VGG as the feature network of stylize"),
    "demo": ("impasto.scripts.demo", "the whole tour on shipped material, offline, in minutes"),
    "stylize": ("impasto.scripts.stylize", "show one picture in the style of others"),
    "evaluate": ("impasto.scripts.evaluate", "measure how near results are to a domain"),
    "models": ("impasto.scripts.models", "list the models that there are to translate with"),
    "plot": ("impasto.scripts.plot", "draw the losses of runs: png, svg, pdf, csv"),
    "survey": ("impasto.scripts.survey", "ask people which pictures are real"),
    "sweep": ("impasto.scripts.sweep", "stylize with all combinations of some settings"),
    "train": ("impasto.scripts.train", "train a CycleGAN on two folders of pictures"),
    "translate": ("impasto.scripts.translate", "translate pictures: any size in, same size out"),
    "weights": ("impasto.scripts.weights", "find, check and pack weights of feature networks"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `impasto` and return its exit status.

    Args:
        argv: the words after `impasto`; those of the process unless given.

    Returns:
        0 done; 1 the job failed, or some files did; 2 bad arguments; 130 and 143 stopped by
        Ctrl-C and SIGTERM.
    """
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(_help())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"impasto {version('impasto')}")
        return 0
    if words[0] not in COMMANDS:
        hint = nearest(words[0], COMMANDS)
        sys.stderr.write(f"impasto: error: unknown command {words[0]!r}{hint}\n")
        sys.stderr.write("Try 'impasto --help'.\n")
        return 2
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    return _run(words[0], words[1:])


def _run(command: str, argv: Sequence[str]) -> int:
    """Call a sub-command; a user's mistake becomes one message, without a traceback."""
    try:
        return int(importlib.import_module(COMMANDS[command][0]).main(argv))
    except ImpastoError as error:
        sys.stderr.write(f"impasto {command}: error: {error}\n")
        return error.exit_status
    except BrokenPipeError:
        raise
    except OSError as error:  # a full or failing disk, wherever it showed
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"impasto {command}: error: {where}{error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"impasto {command}: stopped\n")
        return 128 + signal.SIGINT


def _help() -> str:
    lines = "".join(f"  {name:<11} {text}\n" for name, (_, text) in COMMANDS.items())
    return (
        "usage: impasto COMMAND [options]\n\n"
        "Unpaired image-domain translation, style transfer, and real-or-fake surveys.\n\n"
        f"commands:\n{lines}\n"
        "'impasto COMMAND --help' lists the options of a command.\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
