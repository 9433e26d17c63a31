"""`impasto translate`: translate pictures of any size with a trained model."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.options.command_line import CommandParser
from impasto.options.translate import ALL_PAINTERS, TranslateOptions

if TYPE_CHECKING:
    from impasto.cyclegan.jobs.painters import PaintersResult
    from impasto.cyclegan.jobs.translate import Outcome, TranslateResult
    from impasto.cyclegan.weights import LoadedGenerator
    from impasto.runs.displays.bar import ProgressBar

__all__ = ["main"]

_MOST_NAMED = 50  # failed pictures in the terminal

_EPILOG = """examples:
  impasto translate photos --output monets
  impasto translate photos --model checkpoints/mine --direction BtoA --output results
  impasto translate a.jpg b.png --model style_monet.pth --output out --format jpg
  impasto translate photo.jpg --model all --sheet sheet.jpg
  impasto translate photos --output gentle --strength 0.6
  impasto translate photos --model monet_cycle --output monets --stroke_scale 2
  impasto translate photos --output small --long_side 1024
  impasto translate photos --output monets --shard 3/16
  impasto translate photos --output monets --engine ray --ray_workers 2
  impasto translate clip.mp4 --output painted.mp4 --model vangogh --steady
"""


def main(argv: Sequence[str]) -> int:
    """Parse, translate, report; return the exit status."""
    parser = CommandParser(
        "impasto translate",
        TranslateOptions,
        description="Translate pictures with a trained generator; every result has the size of its "
        "input, unless --long_side reduces it.",
        epilog=_EPILOG,
        positionals="PHOTOS [PHOTOS ...] --output OUTPUT",
    )
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTOS",
        help="picture files, films (video files, animated GIF, PNG and WebP), and folders of both",
    )
    parser.add_switch(
        "running", "json", "print one line of JSON for each picture and film, and nothing else"
    )
    parsed = parser.parse(argv)
    options = parser.make(TranslateOptions, parsed, drop=["photos", "json"])
    as_json = bool(parsed.json)

    photos = [Path(photo) for photo in parsed.photos]
    _refuse_missing(photos, options)

    from impasto.cyclegan.jobs.painters import translate_all  # noqa: PLC0415 - torch, after parsing
    from impasto.runs.displays.bar import ProgressBar  # noqa: PLC0415

    with ProgressBar() as bar:

        def start(name: str, count: int, generator: "LoadedGenerator") -> None:
            bar.start(count)
            network = "; ".join([str(generator.architecture), *generator.notes])
            bar.say(f"{name}: {network}", sys.stderr)

        def film(source: Path, frames: int, done: int) -> None:
            bar.say(f"film: {source}", sys.stderr)
            bar.start(frames, noun="frames")
            for _ in range(done):
                bar.skip()

        try:
            made = translate_all(
                photos,
                options,
                on_start=start,
                on_done=lambda _job: bar.move(),
                on_note=lambda words: bar.say(words, sys.stderr),
                on_film=film,
                on_frame=bar.move,
                on_outcome=partial(_print_json, bar if as_json else None),
            )
        except KeyboardInterrupt:
            bar.close()
            again = "the same command" + " without --overwrite" * options.overwrite
            what = "finished pictures are in"
            if options.folder.suffix and not options.folder.is_dir():
                what = "finished parts lie beside"  # of a film
            print(
                f"stopped after {bar}; {what} {options.folder}, and {again} continues",
                file=sys.stderr,
            )
            raise
    if not as_json:
        _report_all(made)
    return 1 if any(result.converted.failures for result in made.results.values()) else 0


def _report_all(made: "PaintersResult") -> None:
    for name, result in made.results.items():
        _report(result, f"{name}: " if len(made.results) > 1 else "")
    if made.sheet is not None:
        more = f"; it has no room for {made.left_out} more photographs" if made.left_out else ""
        print(f"sheet: {made.sheet}{more}")


def _print_json(bar: "ProgressBar | None", name: str, outcome: "Outcome") -> None:
    """Print what became of a picture or film, above the bar; without one, nothing."""
    if bar is None:
        return
    facts = {
        "model": name,
        "source": str(outcome.source),
        "result": None if outcome.result is None else str(outcome.result),
        "kind": outcome.kind,
        "status": outcome.status,
        "reason": outcome.reason,
    }
    # As ASCII: a name need not be valid text.
    bar.say(json.dumps(facts))


def _report(result: "TranslateResult", who: str) -> None:
    """Say what a model made, after ``who`` where there are several."""
    converted = result.converted
    for source, reason in islice(converted.failures.items(), _MOST_NAMED):
        print(f"{who}failed: {source}: {reason}", file=sys.stderr)
    if (more := len(converted.failures) - _MOST_NAMED) > 0:
        print(f"{who}failed: {more:,} more, which the page names, too", file=sys.stderr)
    done, seconds = len(converted.done) - result.films, converted.seconds
    speed = (
        f" in {seconds:.1f} s of translating ({done / max(seconds, 1e-9):.2f} images/s, "
        f"{converted.pixels / 1e6 / max(seconds, 1e-9):.2f} megapixels/s)"
    )
    films = f"{result.films} {'film' if result.films == 1 else 'films'}, " if result.films else ""
    print(
        f"{who}{done} translated{speed if done else ''}, {films}"
        f"{result.skipped} already there, {len(converted.failures)} failed"
    )
    if result.strokes_look_small:
        print(
            f"note: {who}the strokes are a few pixels wide, which is small in pictures of this "
            "size; for larger strokes, use --stroke_scale 2",
            file=sys.stderr,
        )
    for words in result.differing:
        print(
            f"note: {result.page.parent} also holds other results, made with {words}",
            file=sys.stderr,
        )
    if not result.page.name.endswith(".html"):
        if not converted.failures:
            print(f"film: {result.page}")
        return
    shows = len(converted.done) + result.skipped + result.others > 0
    what = "open it to compare before and after" if shows else "it names what failed, and why"
    print(f"page: {result.page}; {what}")


def _refuse_missing(photos: Sequence[Path], options: TranslateOptions) -> None:
    """Refuse pictures and models that are not there, before the seconds that torch takes."""
    from impasto.cyclegan.films.steady import require_cv2  # noqa: PLC0415
    from impasto.cyclegan.models import painters, reads_numbers, refuse_choices  # noqa: PLC0415
    from impasto.data.files import gather_pictures  # noqa: PLC0415

    if options.steady:
        require_cv2()
    if options.engine == "ray":
        from impasto.cyclegan.cluster.job import address_of, require_ray  # noqa: PLC0415 - torch

        require_ray(alone=address_of(options) == "local")

    # None of the painters has a choice, so that the first one speaks for all.
    model = Path(painters()[0].name) if options.model == ALL_PAINTERS else options.model
    refuse_choices(model, direction=options.direction, epoch=options.epoch)
    # The job says which are results.
    gather_pictures(
        photos,
        exclude=options.folder,
        results=True,
        films=True,
        arrays=reads_numbers(model, direction=options.direction),
    )
