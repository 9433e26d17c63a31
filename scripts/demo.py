"""`impasto demo`: the whole tour on shipped material, offline, in minutes."""

import shlex
from collections.abc import Sequence
from functools import partial

from impasto.options.command_line import CommandParser
from impasto.options.errors import FolderError
from impasto.options.translate import DemoOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto demo
  impasto demo --output /tmp/tour --seed 1
"""


def main(argv: Sequence[str]) -> int:
    """Parse, do all steps, say where the page is; return the exit status."""
    parser = CommandParser(
        "impasto demo",
        DemoOptions,
        description="Show a photograph in the hands of the painters that ship with Impasto, and "
        "turn others into Monets; then paint two small domains, train a CycleGAN on them and "
        "compare it with the truth, translate whole photographs with it, stylize a picture, make "
        "a survey, and write one page with all of it.",
        epilog=_EPILOG,
    )
    options = parser.make(DemoOptions, parser.parse(argv))

    if options.output.exists() and not options.output.is_dir():
        raise FolderError(
            options.output,
            "cannot be written (it is a file, not a folder); choose another --output",
        )

    # torch and the rest come after parsing
    from impasto.demo import called_as, run_demo, spell_seconds  # noqa: PLC0415

    result = run_demo(options, say=partial(print, flush=True))
    if result.signal is not None:
        print("stopped in step 4 of 7, the training; the same command begins again")
        return 128 + result.signal
    print(f"done in {spell_seconds(result.seconds)}; open {result.page.resolve()}")
    own = shlex.join([*called_as(), "translate", "PHOTOS"])
    print(f"now with your own pictures: {own} --output monets")
    return 0
