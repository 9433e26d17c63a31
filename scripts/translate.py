"""`impasto translate`: translate pictures of any size with a trained model."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from impasto.options.command_line import CommandParser
from impasto.options.translate import TranslateOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto translate photos --output monets
  impasto translate photos --model checkpoints/mine --direction BtoA --output results
  impasto translate a.jpg b.png --model style_monet.pth --output out --format jpg
  impasto translate photos --output monets --stroke_scale 2
  impasto translate photos --output small --long_side 1024
"""


def main(argv: Sequence[str]) -> int:
    """Parse, translate, report; return the exit status."""
    parser = CommandParser(
        "impasto translate",
        TranslateOptions,
        description="Translate pictures with a trained generator; every result has the size of its "
        "input, unless --long_side reduces it.",
        epilog=_EPILOG,
        positionals="PHOTOS [PHOTOS ...]",
    )
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTOS", help="picture files, and folders of pictures"
    )
    parsed = parser.parse(argv)
    options = parser.make(TranslateOptions, parsed, drop=["photos"])

    from tqdm import tqdm  # noqa: PLC0415 - torch and the rest come after parsing

    from impasto.cyclegan.jobs.translate import translate  # noqa: PLC0415
    from impasto.runs.signals import Stopped  # noqa: PLC0415

    with tqdm(unit="img", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:

        def start(count: int, generator: object) -> None:
            bar.reset(total=count)
            bar.write(f"{options.model}: {generator}", file=sys.stderr)

        def count(_job: object) -> None:
            bar.update()

        try:
            result = translate(
                [Path(photo) for photo in parsed.photos],
                options,
                on_start=lambda count, loaded: start(
                    count, "; ".join([str(loaded.architecture), *loaded.notes])
                ),
                on_done=count,
                on_note=lambda words: bar.write(words, file=sys.stderr),
            )
        except KeyboardInterrupt as asked:
            bar.close()
            again = "the same command" + " without --overwrite" * options.overwrite
            print(
                f"stopped after {bar.n} of {bar.total or 0} pictures; finished pictures are in "
                f"{options.output}, and {again} continues",
                file=sys.stderr,
            )
            return 128 + (asked.number if isinstance(asked, Stopped) else signal.SIGINT)
    converted = result.converted
    for source, reason in converted.failures.items():
        print(f"failed: {source}: {reason}", file=sys.stderr)
    done, seconds = len(converted.done), converted.seconds
    print(
        f"{done} translated in {seconds:.1f} s ({done / max(seconds, 1e-9):.2f} images/s, "
        f"{converted.pixels / 1e6 / max(seconds, 1e-9):.2f} megapixels/s), "
        f"{result.skipped} already there, {len(converted.failures)} failed"
    )
    if result.strokes_look_small:
        print(
            "note: the strokes are a few pixels wide, which is small in pictures of this size; for "
            "larger strokes, use --stroke_scale 2 --overwrite true",
            file=sys.stderr,
        )
    for words in result.differing:
        print(
            f"note: {options.output} also holds results of other pictures, made with {words}",
            file=sys.stderr,
        )
    print(f"page: {result.page}")
    return 1 if converted.failures else 0
