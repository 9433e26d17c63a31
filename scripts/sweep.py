"""`impasto sweep`: stylize with all combinations of some settings, and compare."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from impasto.options.command_line import CommandParser
from impasto.options.errors import OptionError
from impasto.options.stylize import SweepOptions

if TYPE_CHECKING:
    from impasto.gatys.sweep.cells import CellResult
    from impasto.gatys.sweep.plan import SweepCell
    from impasto.gatys.sweep.run import SweepResult

__all__ = ["main"]

_EPILOG = """examples:
  impasto sweep style_weight --contents photo.jpg --styles starry.jpg --output sweeps/weight
  impasto sweep contents_by_styles --contents photos/ --styles paintings/ --output gallery --jobs 2
  impasto sweep mine.yaml --output mine --set size=128 iterations=50

The file of a sweep looks like this:
  title: Style weight and layers
  options: {content: photo.jpg, styles: starry.jpg, size: 256}
  axes:
    style_layers: {shallow: [relu1_1], deep: [relu1_1, relu2_1, relu3_1]}
    style_weight: [0.1, 1, 10]
  rows: style_layers
  columns: style_weight

If the command is stopped, run it again, and it continues where it stopped. To make one cell again:
  impasto stylize --config OUTPUT/cells/CELL/cell.yaml --output again.png

Sweeps that ship with Impasto: """


def main(argv: Sequence[str]) -> int:
    """Parse, run the cells, write table, sheet, curves and page; return the exit status."""
    from impasto.gatys.sweep.plan import sweep_names  # noqa: PLC0415 - NumPy, but no torch

    parser = CommandParser(
        "impasto sweep",
        SweepOptions,
        description="Stylize with all combinations of some settings, and compare the pictures, the "
        "losses and the times.",
        epilog=_EPILOG + ", ".join(sweep_names()),
        positionals="SWEEP",
    )
    parser.add_argument(
        "sweep",
        metavar="SWEEP",
        help="YAML file of a sweep, or the name of one that ships with Impasto",
    )
    parsed = parser.parse(argv)
    options = parser.make(SweepOptions, parsed, drop=["sweep"])

    from impasto.gatys.jobs.sweep import sweep  # noqa: PLC0415 - torch, after parsing
    from impasto.runs.displays.bar import ProgressBar  # noqa: PLC0415
    from impasto.runs.signals import Interrupts  # noqa: PLC0415

    with Interrupts() as interrupts, ProgressBar("cell", noun="cells") as bar:

        def tell(cell: "SweepCell", result: "CellResult", known: bool) -> None:
            if known:
                bar.skip()
                return
            bar.move()
            named = ", ".join(f"{axis} {label}" for axis, label in cell.labels.items())
            if result.error:
                bar.say(f"failed: {named}: {result.error}")
            else:
                took = f"{result.wall_seconds:.1f} s, {result.seconds:.1f} s of it optimizing"
                left = f"; {bar.left}" if bar.left else ""
                bar.say(f"{named}: {took}, total loss {result.losses['total']:.4g}{left}")

        try:
            result = sweep(
                parsed.sweep,
                options,
                on_start=bar.start,
                on_cell=tell,
                stop=lambda: interrupts.received is not None,
            )
        except OptionError as error:
            if error.option != "sweep":
                raise
            bar.close()
            parser.error(f"SWEEP: {error.reason}")
    _report(result, options, bar.seconds)
    if interrupts.received is not None:
        return 128 + interrupts.received
    return 0 if len(result.done) == len(result.cells) else 1


def _report(result: "SweepResult", options: SweepOptions, seconds: float) -> None:
    """Say how it ended, and what to do next."""
    from impasto.runs.displays.bar import spell_rest  # noqa: PLC0415

    done = len(result.done)
    failed = f"{len(result.failed)} failed, after {spell_rest(seconds)}"
    print(f"{done} of {len(result.cells)} cells done, {failed}", end="; ")
    # With it, all that is done would be done again, unless some of other settings are left.
    without = options.overwrite and all(number in result.results for number in result.replaced)
    rest = f"; the same command{' without --overwrite' * without} does the rest"
    again = "" if done == len(result.cells) else rest
    print(f"open {options.output / 'index.html'}{again}")
