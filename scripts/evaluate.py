"""`impasto evaluate`: measure how near results are to a domain, and to their inputs."""

import json
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.data.films.reading import is_film
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
  impasto evaluate painted.mp4 --inputs clip.mp4

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
    parser.add_switch("running", "json", "print one line of JSON for each row, and nothing else")
    parsed = parser.parse(argv)
    results, as_json = [Path(path) for path in parsed.results], bool(parsed.json)
    if parsed.real is None and not parsed.styles and all(map(is_film, results)):
        inputs = None if parsed.inputs is None else Path(parsed.inputs)
        return _measure_films(results, inputs, as_json=as_json)
    options = parser.make(EvaluateOptions, parsed, drop=["results", "json"])

    _refuse_missing(results, options)

    from impasto.cyclegan.jobs.evaluate import row_as_json, run_evaluation  # noqa: PLC0415 - torch
    from impasto.runs.displays.bar import ProgressBar  # noqa: PLC0415

    with ProgressBar() as bar:

        def say(row: "Row") -> None:
            stream = sys.stderr if as_json else sys.stdout
            bar.say(f"measured {row.name}: {row.pictures} pictures", stream)

        result = run_evaluation(
            results,
            options,
            on_start=bar.start,
            on_sample=lambda row: bar.move(doing=row),
            on_row=say,
        )
    if as_json:
        for row in result.evaluation.rows:
            print(json.dumps(row_as_json(result.evaluation, row), allow_nan=False))
    else:
        _report(result)
    return 0


def _measure_films(films: Sequence[Path], inputs: Path | None, *, as_json: bool) -> int:
    """Measure and print how much films flicker."""
    from impasto.cyclegan.films.job import measure_flicker  # noqa: PLC0415
    from impasto.runs.displays.bar import ProgressBar  # noqa: PLC0415

    for film in films:
        with ProgressBar("frame", noun="frames") as bar:
            found = measure_flicker(film, inputs, on_start=bar.start, on_frame=bar.move)
        if as_json:
            facts = {
                name: str(value) if isinstance(value, Path) else value
                for name, value in asdict(found).items()
            }
            if math.isnan(found.warping_error):
                facts["warping_error"] = None
            print(json.dumps(facts))
            continue
        beside = found.inputs_warping_error
        least = "" if beside is None else f", that of its inputs {beside:.2e}"
        cuts = f", {found.cuts} {'cut' if found.cuts == 1 else 'cuts'}"
        print(
            f"{film}: warping error {found.warping_error:.2e}{least} ({found.frames} frames{cuts})"
        )
    print_ = sys.stderr if as_json else sys.stdout
    why = "less is steadier" if inputs else "less is steadier; compare films by their --inputs"
    print(f"{why}; docs/films.md says what it is", file=print_)
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
