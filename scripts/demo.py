"""`impasto demo`: the whole tour on shipped material, offline, in minutes."""

from collections.abc import Sequence
from functools import partial

from impasto.options.command_line import CommandParser
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
        description="Turn photographs that ship with Impasto into Monets, with the model that "
        "ships too; then paint two small domains, train a CycleGAN on them and compare it with the "
        "truth, translate whole photographs with it, stylize a picture, make a survey, and write "
        "one page with all of it.",
        epilog=_EPILOG,
    )
    options = parser.make(DemoOptions, parser.parse(argv))

    from impasto.demo import run_demo  # noqa: PLC0415 - torch and the rest come after parsing

    result = run_demo(options, say=partial(print, flush=True))
    if result.signal is not None:
        print("stopped")
        return 128 + result.signal
    print(f"done in {result.seconds:.0f} s; open {result.page.resolve()}")
    return 0
