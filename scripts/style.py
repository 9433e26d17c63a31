"""`impasto style train`: train one small network for some paintings."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from impasto.options.command_line import CommandParser
from impasto.options.styles import StyleTrainOptions
from impasto.scripts._training import add_resuming, parse_training, run_training

if TYPE_CHECKING:
    from impasto.runs.job import TrainResult
    from impasto.runs.observers import Observer

__all__ = ["main"]

_EPILOG = """examples:
  impasto style train --styles great_wave.jpg the_scream.jpg --photos photos
  impasto style train --styles starry_night.jpg --photos photos --name starry --max_minutes 60
  impasto style train --resume --name starry
  impasto translate photos --model checkpoints/styles --style great_wave --output waves
  impasto translate photos --model checkpoints/styles --style great_wave:0.7,the_scream:0.3 \\
      --output mixed
"""


def main(argv: Sequence[str]) -> int:
    """Parse, train, report; return the exit status."""
    words = parse_training(_parser, StyleTrainOptions, argv)
    words.options.require_pictures()
    data = words.options.data
    from impasto.data.files import refuse_missing  # noqa: PLC0415 - after parsing

    for path in (*data.styles, *data.photos):
        refuse_missing(path)  # before the seconds that torch takes

    def start(observers: "Sequence[Observer]") -> "TrainResult":
        from impasto.styles.job import train_styles  # noqa: PLC0415 - torch

        return train_styles(
            words.options,
            resume=words.resume,
            allow_changes=words.allow_changes,
            observers=observers,
        )

    return run_training(
        start,
        command="style train",
        changes=words.changes,
        report=partial(_report, words.options),
        note=words.note,
        longer="raise --max_images, or --max_minutes",
    )


def _report(options: StyleTrainOptions, result: "TrainResult") -> None:
    """Say what was trained, and what comes next."""
    from impasto.styles.job import name_styles, styles_file  # noqa: PLC0415 - torch

    file = styles_file(result.directory)
    names = name_styles(options.data.styles)
    if result.progress.images != result.first_image:
        print(f"trained: {file} ({result.progress.images} images)")
    print(
        f"translate with: impasto translate PHOTOS --model {file} --style {names[0]} --output OUT"
    )


def _parser() -> CommandParser:
    parser = CommandParser(
        "impasto style train",
        StyleTrainOptions,
        description="Train one small network that shows pictures of any size in the style of one "
        "of several paintings, or of a mixture of them, in less than a second.",
        epilog=_EPILOG,
    )
    add_resuming(parser)
    return parser
