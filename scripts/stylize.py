"""`impasto stylize`: show one picture in the style of others."""

import os
import re
import shlex
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.data.files import fit_name
from impasto.options.command_line import CommandParser
from impasto.options.errors import ImpastoError
from impasto.options.stylize import StylizeOptions

if TYPE_CHECKING:
    from impasto.gatys.jobs.stylize import Plan, StylizeResult
    from impasto.gatys.optim.iterates import Iterate

__all__ = ["main"]

_EPILOG = """examples:
  impasto stylize photo.jpg starry_night.jpg --output night.png
  impasto stylize photo.jpg a.jpg b.jpg --style_weights 2 1 --size 512 --output mixed.png
  impasto stylize photo.jpg starry.jpg scream.jpg --masks sky.png=starry.jpg --output sky.png
  impasto stylize photo.jpg monets/ --keep_colors luminance --video making.gif --output out.png
  impasto stylize photo.jpg starry.jpg --backbone resnet50 --style_layers layer1 layer2
  impasto stylize --config night.png.yaml --output again.png

The command also writes a table of the losses and a recipe, OUTPUT.yaml, from which --config makes
the same picture again.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, stylize, say what was done; return the exit status."""
    options, recipes = _parse(argv)
    _refuse_missing(options)

    from impasto.gatys.jobs.stylize_files import stylize_to_files  # noqa: PLC0415
    from impasto.runs.displays.bar import ProgressBar  # noqa: PLC0415
    from impasto.runs.processes import parent_is_gone  # noqa: PLC0415
    from impasto.runs.signals import Interrupts  # noqa: PLC0415

    # Evaluations at fine scales take longer than those at coarse ones.
    bars = ProgressBar("it", noun="evaluations", steady=False)
    with bars as bar, Interrupts() as interrupts:

        def begin(plan: "Plan", changes: Sequence[str]) -> None:
            bar.say(str(plan))
            for change in changes:
                bar.say(f"not as in the recipe: {change}")
            bar.start(plan.evaluations)

        def show(iterate: "Iterate") -> None:
            bar.move(iterate.evaluations, doing=f"{iterate.width} x {iterate.height} pixels")

        def report(result: "StylizeResult") -> None:
            bar.close()
            print(_report(result, options), flush=True)

        def stop() -> bool:
            if parent_is_gone():  # its next sweep may be writing to the same folder by now
                raise ImpastoError(
                    "the sweep that this is a cell of was killed; nothing is written"
                )
            return interrupts.received is not None

        stylize_to_files(
            options, recipes=recipes, begin=begin, watcher=show, stop=stop, on_written=report
        )
    recipe, other = f"{options.output}.yaml", _unused(options.output)
    words = ["impasto", "stylize", "--config", recipe, "--output", str(other)]
    print(f"next: {shlex.join(words)}, with other options")
    return 0 if interrupts.received is None else 128 + interrupts.received


def _unused(output: Path) -> Path:
    """Return a path beside a result that nothing has: after ``night.png``, ``night_2.png``."""
    found = re.fullmatch(r"(.*?)_([1-9]\d{0,8})", output.stem, re.DOTALL)
    stem, number = found.groups() if found else (output.stem, "1")
    later = (
        output.with_name(fit_name(f"{stem}_{place}{output.suffix}"))
        for place in count(int(number) + 1)
    )
    return next(path for path in later if not os.path.lexists(path))


def _refuse_missing(options: StylizeOptions) -> None:
    """Refuse pictures that are not there, before the seconds that torch takes."""
    from impasto.data.decode import read_size  # noqa: PLC0415 - after parsing
    from impasto.data.files import list_pictures, refuse_missing  # noqa: PLC0415
    from impasto.gatys.masks import parse_mask_pair  # noqa: PLC0415

    masks = [parse_mask_pair(text, options.styles).path for text in options.masks]
    for path in (options.content, *options.styles, *masks, options.init_image):
        if path is not None and path.is_dir() and path in options.styles:
            list_pictures(path)
        elif path is not None:
            refuse_missing(path)
            read_size(path)


def _parse(argv: Sequence[str]) -> tuple[StylizeOptions, list[Path]]:
    """Return the options, and the files they were read from."""
    parser = CommandParser(
        "impasto stylize",
        StylizeOptions,
        description="Show the content of one picture in the style of others, by optimizing the "
        "pixels (Gatys et al. 2016).",
        epilog=_EPILOG,
        positionals="[CONTENT STYLE [STYLE ...]]",
    )
    parser.add_argument(
        "pictures",
        nargs="*",
        metavar="CONTENT STYLE",
        help="content picture, followed by one or more styles: each is a picture, or a folder "
        "whose pictures make up one style",
    )
    parsed = parser.parse(argv)
    given = [Path(picture) for picture in parsed.pictures]
    if given:
        if len(given) < 2 and not parsed.styles:
            parser.error(f"missing: STYLE, a picture or a folder of them, after {given[0]}")
        parsed.content = given[0]
        parsed.styles = given[1:] or parsed.styles
    options = parser.make(StylizeOptions, parsed, drop=["pictures"])
    if options.content is None or not options.styles:
        missing = {"CONTENT": options.content, "STYLE": options.styles}
        parser.error(f"missing: {', '.join(name for name, it in missing.items() if not it)}")
    return options, [Path(str(path)) for path in parsed.config or ()]


def _report(result: "StylizeResult", options: StylizeOptions) -> str:
    height, width = result.image.shape[:2]
    how = "stopped; wrote" if result.stopped else "wrote"
    diverged = [statement for statement in result.statements if "diverged" in statement]
    wrote = (
        f"{how} {options.output} ({width} x {height}) "
        f"after {result.evaluations} evaluations in {result.seconds:.0f} s of optimizing"
    )
    return "\n".join([*diverged, wrote])
