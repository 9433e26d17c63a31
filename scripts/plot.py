"""`impasto plot`: draw the losses of one or several runs."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.options.command_line import CommandParser
from impasto.options.errors import ImpastoError, OptionError
from impasto.options.plot import PlotOptions

if TYPE_CHECKING:
    from impasto.runs.curves import Curve
    from impasto.runs.log import RunLog

__all__ = ["main"]

_EPILOG = """examples:
  impasto plot monet --output losses.png
  impasto plot monet --output start.pdf --first 1500 --losses G_A D_A cycle
  impasto plot checkpoints/monet old/monet --output both.svg --x_axis epochs --smoothing 0.9
  impasto plot monet --output losses.png --losses all --table losses.csv
"""
_FEW_POINTS = 10


def main(argv: Sequence[str]) -> int:
    """Parse, read, draw, report; return the exit status."""
    parser = CommandParser(
        "impasto plot",
        PlotOptions,
        description="Draw the losses of one or several runs, from their log.jsonl.",
        epilog=_EPILOG,
        positionals="RUN [RUN ...]",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folders, names of runs, or log files"
    )
    parsed = parser.parse(argv)
    options = parser.make(PlotOptions, parsed, drop=["runs"])

    from impasto.runs.curves import choose_losses  # noqa: PLC0415 - NumPy, after parsing
    from impasto.runs.log import read_runs  # noqa: PLC0415

    logs = read_runs(parsed.runs, options.checkpoints_dir)
    present = dict.fromkeys(loss for log in logs for loss in log.losses)
    losses = choose_losses(options.loss_names, list(present))
    curves = _curves(logs, losses, options)
    # Of the coarsest log, so that all are smoothed over equally many iterations.
    span = max(log.span for log in logs)
    _draw(curves, span, options)
    print(_last_values(curves, losses, span, options))
    print(_what_was_written(span, options))
    return 0


def _curves(logs: Sequence["RunLog"], losses: Sequence[str], options: PlotOptions) -> list["Curve"]:
    """Return the curves that are drawn, and say what is missing from them."""
    curves: list[Curve] = []
    few = []
    for log in logs:
        found = [curve for loss in losses if len((curve := log.curve(loss)).values) > 1]
        if absent := [loss for loss in losses if loss not in {curve.loss for curve in found}]:
            print(f"note: {log.run} has no {', '.join(absent)}", file=sys.stderr)
        if options.first is not None:
            found = [_first(curve, options.first, log.span) for curve in found]
        points = min((len(curve.values) for curve in found), default=_FEW_POINTS)
        if points < _FEW_POINTS:
            few.append(f"{log.run} has {points}")
        curves += found
    if not curves:
        raise ImpastoError(f"a curve needs two reports, and no run has two of {', '.join(losses)}")
    if few:
        print(
            f"note: few points: {', '.join(few)}; training with a smaller --print_freq gives "
            "finer curves",
            file=sys.stderr,
        )
    return curves


def _first(curve: "Curve", iterations: int, span: float) -> "Curve":
    """Cut a curve, and refuse one that would be no line."""
    cut = curve.first(iterations)
    if len(cut.values) < 2:
        raise OptionError(
            "first",
            f"a curve needs two reports, and {curve.run} has {len(cut.values)} up to iteration "
            f"{iterations}: there is one every {span:g} iterations (--print_freq of its training)",
        )
    return cut


def _draw(curves: Sequence["Curve"], span: float, options: PlotOptions) -> None:
    from impasto.runs.curves import curves_csv  # noqa: PLC0415
    from impasto.runs.pages.figures import draw_curves, figure_bytes  # noqa: PLC0415 - matplotlib

    figure = draw_curves(
        curves,
        x_axis=options.x_axis,
        smoothing=options.smoothing,
        span=span,
        log_scale=options.log_scale,
        title=options.title,
        size_inches=(options.width_inches, options.height_inches),
    )
    _write(options.output, figure_bytes(figure, options.output.suffix, dpi=options.dpi))
    if options.table is not None:
        _write(options.table, curves_csv(curves).encode("utf-8"))


def _write(path: Path, content: bytes) -> None:
    from impasto.data.atomic import atomic_path  # noqa: PLC0415

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ImpastoError(f"{path}: cannot be written ({error.strerror or error})") from error


def _last_values(
    curves: Sequence["Curve"], losses: Sequence[str], span: float, options: PlotOptions
) -> str:
    """Return a table: for each run where its curves end, and at which values."""
    ends: dict[str, dict[str, str]] = {}
    for curve in curves:
        row = ends.setdefault(curve.run, {"iteration": f"{curve.iterations[-1]:,}"})
        row[curve.loss] = f"{curve.smoothed(options.smoothing, span=span)[-1]:.4g}"
    columns = ["iteration", *losses]
    lines = [["run", *columns]]
    lines += [[run, *(row.get(column, "-") for column in columns)] for run, row in ends.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )


def _what_was_written(span: float, options: PlotOptions) -> str:
    smoothing = "not smoothed"
    if options.smoothing:
        half = span * math.log(0.5) / math.log(options.smoothing)
        smoothing = f"smoothed: a value counts half after {half:,.1f} iterations"
    table = f" and {options.table}" if options.table else ""
    return f"wrote {options.output}{table} ({smoothing}); open {options.output}"
