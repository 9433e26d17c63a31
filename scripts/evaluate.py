"""`impasto evaluate`: measure how near results are to a domain, and to their inputs."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.options.command_line import CommandParser
from impasto.options.evaluate import EvaluateOptions

if TYPE_CHECKING:
    from impasto.cyclegan.evaluation.table import Row
    from impasto.cyclegan.jobs.evaluate import EvaluateResult

__all__ = ["main"]

_EPILOG = """examples:
  impasto evaluate monet --real testA --inputs testB --more_real trainA
  impasto evaluate checkpoints/mine --direction BtoA --epochs all --real testA --inputs testB
  impasto evaluate old_monets new_monets --real testA --inputs photos --backbone checkpoints/vgg
  impasto evaluate stylized --inputs photos --styles starry_night.jpg
  impasto evaluate night.png --inputs photo.jpg --styles starry_night.jpg the_scream.jpg
  impasto evaluate monets --real testA --weights pt_inception-2015-12-05-6726825d.pth

KID (lite) and FID (lite) are KID and FID as EfficientNet-Lite0 sees pictures, which is
installed with Impasto: for comparisons within one table, not with published figures.
docs/evaluating.md explains every number.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, measure, write, say; return the exit status."""
    parser = CommandParser(
        "impasto evaluate",
        EvaluateOptions,
        description="Measure how near translated pictures are to a domain, or stylized ones to "
        "their styles, and to their inputs. References are measured, too: the inputs themselves, "
        "other real pictures, and parts of the styles.",
        epilog=_EPILOG,
        positionals="RESULTS [RESULTS ...]",
    )
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RESULTS",
        help="folders of translated or stylized pictures, run folders, generator files, models "
        "that ship with Impasto (monet, vangogh), or, with --styles, single pictures",
    )
    parsed = parser.parse(argv)
    options = parser.make(EvaluateOptions, parsed, drop=["results"])

    _refuse_missing([Path(path) for path in parsed.results], options)

    from impasto.cyclegan.jobs.evaluate import run_evaluation  # noqa: PLC0415 - torch
    from impasto.runs.displays.bar import ProgressBar  # noqa: PLC0415

    with ProgressBar() as bar:

        def say(row: "Row") -> None:
            bar.say(f"measured {row.name}: {row.pictures} pictures")

        result = run_evaluation(
            [Path(path) for path in parsed.results],
            options,
            on_start=bar.start,
            on_sample=lambda row: bar.move(doing=row),
            on_row=say,
        )
    _report(result)
    return 0


def _refuse_missing(results: Sequence[Path], options: EvaluateOptions) -> None:
    """Refuse folders and models that are not there, before the seconds that torch takes."""
    from impasto.cyclegan.models import resolve_results  # noqa: PLC0415
    from impasto.data.files import list_pictures  # noqa: PLC0415

    for folder in (options.real, options.more_real):
        if folder is not None:
            list_pictures(folder)
    for path in (options.inputs, *options.styles):
        if path is not None and not path.is_file():
            list_pictures(path)
    for path in results:
        if not (options.styles and path.is_file()):
            resolve_results(path)


def _report(result: "EvaluateResult") -> None:
    from impasto.cyclegan.evaluation.page import legend_of, text_table  # noqa: PLC0415

    width = shutil.get_terminal_size(fallback=(100, 0)).columns
    evaluation = result.evaluation
    print(_printable(text_table(evaluation.rows, headings=evaluation.headings, width=width)))
    for sentence in (*legend_of(evaluation.rows), *result.sentences):
        print(_printable(sentence))
    print(
        _printable(
            f"numbers: {result.results}, {result.table}\n"
            f"page: {result.page}; open it to see the pictures"
        )
    )


def _printable(text: str) -> str:
    """Replace what the terminal cannot show; arrows, which say what is better, by v and ^."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        "\u2193\u2191".encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("\u2193", "v").replace("\u2191", "^")
    return text.encode(encoding, "replace").decode(encoding)
